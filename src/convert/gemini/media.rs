//! Pictures, sound and files inside a request: data URLs, MIME types, and the few addresses that Google fetches itself.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Part, sniff};

/// The type of what is not told.
const OF_ANY_KIND: &str = "application/octet-stream";

/// A medium as the hub takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    /// `text[data_at..]` is base64.
    Inline { mime_type: String, text: String, data_at: usize },
    /// An address that Google fetches itself.
    Uri(String),
    /// An address that has to be fetched before the request goes to Google, and where it stood in the client's request.
    Remote { url: String, param: String, place: Place },
}

/// What is wanted in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A picture, a sound or a video.
    Picture,
    /// The same, or a text.
    File,
}

/// Why an address cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaError {
    /// An http address that somebody would have to fetch.
    Remote,
    /// Neither base64 nor an address, or nothing at all.
    Malformed,
    /// A picture in a format that Gemini refuses.
    Format,
    /// A file of a kind that Gemini refuses.
    File,
    /// A text in the place of a picture.
    NoPicture,
}

impl Media {
    /// Reads a data URL, the URI of a Gemini file, or the address of a YouTube video.
    pub fn from_url(url: String) -> Result<Self, MediaError> {
        if url.starts_with("data:") {
            let (declared, data) = split(&url)?;
            let (mime_type, data_at) = (true_type(declared, data)?, url.len() - data.len());
            return Ok(Self::Inline { mime_type, text: url, data_at });
        }
        if fetched_by_google(&url) {
            return Ok(Self::Uri(url));
        }
        Err(if is_remote(&url) { MediaError::Remote } else { MediaError::Malformed })
    }

    /// The same, with an address that somebody has to fetch for a medium of its own; `param` is where it stands in the request.
    pub fn from_any_url(
        url: String,
        place: Place,
        param: impl FnOnce() -> String,
    ) -> Result<Self, MediaError> {
        if is_remote(&url) && !fetched_by_google(&url) {
            return Ok(Self::Remote { url, param: param(), place });
        }
        Self::from_url(url)
    }

    /// A file: a data URL, or bare base64; what is not told otherwise is what its name promises.
    pub fn from_file(name: &str, text: String) -> Result<Self, MediaError> {
        let (declared, data) = if text.starts_with("data:") { split(&text)? } else { ("", text.as_str()) };
        let mime_type = match declared {
            "" | OF_ANY_KIND => true_type(mime_type_of_file(name).unwrap_or(OF_ANY_KIND), data)?,
            declared => true_type(declared, data)?,
        };
        let data_at = text.len() - data.len();
        Ok(Self::Inline { mime_type: or_a_document(mime_type, data), text, data_at })
    }

    /// What was fetched from an address. `announced` is the type that the server told, for texts, which have no other.
    pub fn from_bytes(bytes: &[u8], announced: &str, place: Place) -> Result<Self, MediaError> {
        let mime_type = match (sniff::sniff(bytes), place) {
            (Some(known), _) => mime_type(known)?,
            (None, Place::File) if sniff::is_text(bytes) => mime_type_of_text(announced),
            (None, Place::Picture) if sniff::is_text(bytes) => return Err(MediaError::NoPicture),
            (None, Place::File | Place::Picture) => return Err(MediaError::Format),
        };
        Ok(Self::from_base64(&mime_type, STANDARD.encode(bytes)))
    }

    /// Bare base64 of a known type.
    fn from_base64(mime_type: &str, data: String) -> Self {
        Self::Inline { mime_type: mime_type.to_owned(), text: data, data_at: 0 }
    }

    /// Bare base64 of the type that the client names.
    pub fn of_type(mime: &str, data: String) -> Result<Self, MediaError> {
        Ok(Self::from_base64(&true_type(mime, &data)?, data))
    }

    pub fn to_part(&self) -> Part<'_> {
        match self {
            Self::Inline { mime_type, text, data_at } => Part::inline(mime_type.as_str(), &text[*data_at..]),
            // An address that nobody fetched is Google's to refuse.
            Self::Uri(uri) | Self::Remote { url: uri, .. } => Part::file(uri.as_str()),
        }
    }
}

/// The type that a data URL declares, and its base64.
fn split(url: &str) -> Result<(&str, &str), MediaError> {
    let rest = url.strip_prefix("data:").ok_or(MediaError::Malformed)?;
    let (header, data) = rest.split_once(',').ok_or(MediaError::Malformed)?;
    let types = header.strip_suffix(";base64").ok_or(MediaError::Malformed)?;
    Ok((types.split(';').next().unwrap_or_default(), data))
}

fn is_remote(url: &str) -> bool {
    let has_scheme =
        |scheme: &str| url.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
    has_scheme("http://") || has_scheme("https://")
}

/// The type of base64 data: what its bytes are, where the client calls them a picture or nothing in particular.
fn true_type(declared: &str, data: &str) -> Result<String, MediaError> {
    let declared = mime_type(declared)?;
    let head = sniff::head(data).filter(|head| !head.is_empty()).ok_or(MediaError::Malformed)?;
    let is_picture = declared.starts_with("image/");
    if !is_picture && declared != OF_ANY_KIND {
        return Ok(declared);
    }
    match sniff::sniff(&head) {
        Some(known) => mime_type(known),
        None if is_picture && sniff::is_text(&head) => Err(MediaError::NoPicture),
        None => Ok(declared),
    }
}

/// The type of a file of which nothing else is known: a text, or a PDF.
fn or_a_document(mime_type: String, data: &str) -> String {
    if mime_type != OF_ANY_KIND {
        return mime_type;
    }
    let is_text = sniff::head(data).is_some_and(|head| sniff::is_text(&head));
    if is_text { "text/plain" } else { "application/pdf" }.to_owned()
}

/// YouTube videos, files of the Files API, and Cloud Storage objects.
fn fetched_by_google(url: &str) -> bool {
    const PREFIXES: [&str; 7] = [
        "https://generativelanguage.googleapis.com/",
        "gs://",
        "https://www.youtube.com/",
        "https://youtube.com/",
        "https://m.youtube.com/",
        "https://youtu.be/",
        "http://www.youtube.com/",
    ];
    PREFIXES.iter().any(|prefix| url.starts_with(prefix))
}

/// The type as Google spells it; its models read png, jpeg, webp, heic and heif, but neither gif nor svg.
fn mime_type(text: &str) -> Result<String, MediaError> {
    match text.to_ascii_lowercase().as_str() {
        "image/jpg" => Ok("image/jpeg".to_owned()),
        "image/gif" | "image/svg+xml" => Err(MediaError::Format),
        "" => Err(MediaError::Malformed),
        other if is_office(other) || other.contains("zip") => Err(MediaError::File),
        other => Ok(other.to_owned()),
    }
}

/// The formats of office programs, which are archives or have one vendor's format.
fn is_office(mime_type: &str) -> bool {
    const PREFIXES: [&str; 4] = [
        "application/msword",
        "application/vnd.ms-",
        "application/vnd.openxmlformats-",
        "application/vnd.oasis.",
    ];
    PREFIXES.iter().any(|prefix| mime_type.starts_with(prefix))
}

/// The type of a text by the server's word: every text can be read as a plain one.
fn mime_type_of_text(announced: &str) -> String {
    let announced = announced.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let known = ["text/csv", "text/markdown", "text/html", "text/xml", "text/rtf", "text/css"];
    if known.contains(&announced.as_str()) { announced } else { "text/plain".to_owned() }
}

/// The type that a file name promises; `None` when it promises nothing known. Code and data are plain texts to Gemini.
fn mime_type_of_file(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "txt" | "log" | "json" | "jsonl" | "yaml" | "yml" | "toml" | "ini" | "py" | "js" | "ts" | "tsx"
        | "jsx" | "rs" | "go" | "java" | "kt" | "c" | "h" | "cpp" | "cs" | "rb" | "php" | "sh" | "sql"
        | "tex" => "text/plain",
        "md" | "markdown" => "text/markdown",
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "xml" => "text/xml",
        "rtf" => "text/rtf",
        "mp3" => "audio/mp3",
        "wav" => "audio/wav",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "flac" => "audio/flac",
        "aac" => "audio/aac",
        "aif" | "aiff" => "audio/aiff",
        "m4a" => "audio/m4a",
        "mp4" => "video/mp4",
        "mov" => "video/mov",
        "webm" => "video/webm",
        "mpg" | "mpeg" => "video/mpeg",
        "avi" => "video/avi",
        "3gp" => "video/3gpp",
        "doc" | "xls" | "ppt" => "application/msword",
        "docx" | "xlsx" | "pptx" | "odt" | "ods" | "odp" | "epub" | "zip" | "gz" | "7z" | "rar" => {
            "application/zip"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_url_becomes_inline_data_without_copying_it() {
        let media = Media::from_url("data:image/jpg;charset=x;base64,/9j/".into()).unwrap();

        let blob = media.to_part().inline_data.unwrap();

        assert_eq!((blob.mime_type.as_ref(), blob.data.as_ref()), ("image/jpeg", "/9j/"));
    }

    #[test]
    fn only_addresses_that_google_fetches_pass() {
        let youtube = "https://www.youtube.com/watch?v=x";

        assert_eq!(Media::from_url(youtube.into()), Ok(Media::Uri(youtube.into())));
        assert_eq!(Media::from_url("https://example.com/a.png".into()), Err(MediaError::Remote));
        assert_eq!(Media::from_url("a.png".into()), Err(MediaError::Malformed));
        assert_eq!(Media::from_url("data:image/png,%00".into()), Err(MediaError::Malformed));
        assert_eq!(Media::from_url("data:image/gif;base64,R0lG".into()), Err(MediaError::Format));
    }

    #[test]
    fn the_bytes_of_a_picture_decide_over_its_name() {
        let mime_type = |url: &str| match Media::from_url(url.into()) {
            Ok(Media::Inline { mime_type, .. }) => Ok(mime_type),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };

        assert_eq!(mime_type("data:image/png;base64,/9j/4AAQ"), Ok("image/jpeg".into()));
        assert_eq!(
            mime_type("data:application/octet-stream;base64,JVBERi0xLjc="),
            Ok("application/pdf".into())
        );
        assert_eq!(mime_type("data:image/png;base64,R0lGODlh"), Err(MediaError::Format));
        for text in ["PGh0bWw+PC9odG1sPg==", "aGVsbG8=", "0J/RgNC40LLQtdGC", "5L2g5aW977yM5LiW55WM"] {
            assert_eq!(
                mime_type(&format!("data:image/png;base64,{text}")),
                Err(MediaError::NoPicture),
                "{text}"
            );
        }
        assert_eq!(
            mime_type("data:image/png;base64,UEsDBBQAAAAIAA=="),
            Err(MediaError::File),
            "a ZIP archive"
        );
        for kind in ["msword", "x-zip-compressed", "vnd.openxmlformats-officedocument.spreadsheetml.sheet"] {
            assert_eq!(
                mime_type(&format!("data:application/{kind};base64,AA==")),
                Err(MediaError::File),
                "{kind}"
            );
        }
        for nothing in
            ["image/png;base64,%%%%", "image/png;base64,", "audio/wav;base64,%%%%", "application/pdf;base64,"]
        {
            assert_eq!(mime_type(&format!("data:{nothing}")), Err(MediaError::Malformed), "{nothing}");
        }
        assert_eq!(mime_type("data:image/new;base64,AA=="), Ok("image/new".into()), "Google may know it");
    }

    #[test]
    fn bare_base64_is_looked_at_as_well() {
        let of_type = |mime: &str, data: &str| Media::of_type(mime, data.to_owned());

        assert_eq!(of_type("image/png", "/9j/4AAQ"), Ok(Media::from_base64("image/jpeg", "/9j/4AAQ".into())));
        assert_eq!(of_type("image/jpeg", "PGh0bWw+PC9odG1sPg=="), Err(MediaError::NoPicture));
        assert_eq!(of_type("image/gif", "R0lGODlh"), Err(MediaError::Format));
        assert_eq!(of_type("audio/wav", "no base64"), Err(MediaError::Malformed));
    }

    #[test]
    fn what_was_fetched_is_what_its_bytes_say() {
        let picture = |bytes: &[u8], announced| Media::from_bytes(bytes, announced, Place::Picture);
        let png = picture(b"\x89PNG\r\n\x1a\n", "text/html").unwrap();

        assert_eq!(png, Media::from_base64("image/png", "iVBORw0KGgo=".into()));
        assert_eq!(picture(b"<!doctype html>", "image/png"), Err(MediaError::NoPicture));
        assert_eq!(picture(b"plain words", "text/plain"), Err(MediaError::NoPicture));
        assert_eq!(picture(b"GIF89a", "image/gif"), Err(MediaError::Format));
    }

    #[test]
    fn a_fetched_file_may_be_a_text_of_the_kind_that_its_server_tells() {
        let kind = |bytes: &[u8], announced| match Media::from_bytes(bytes, announced, Place::File) {
            Ok(Media::Inline { mime_type, .. }) => Ok(mime_type),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };

        for (announced, expected) in [
            ("text/csv; charset=utf-8", "text/csv"),
            ("text/markdown", "text/markdown"),
            ("Text/HTML", "text/html"),
            ("application/json", "text/plain"),
            ("", "text/plain"),
        ] {
            assert_eq!(kind(b"a,b\n1,2\n", announced), Ok(expected.to_owned()), "{announced}");
        }
        assert_eq!(kind(b"%PDF-1.7", "text/plain"), Ok("application/pdf".to_owned()));
        assert_eq!(kind(b"PK\x03\x04\x14\0", "application/pdf"), Err(MediaError::File));
    }

    #[test]
    fn a_file_is_what_its_name_promises() {
        let kind = |name: &str, data: &str| match Media::from_file(name, data.to_owned()) {
            Ok(Media::Inline { mime_type, .. }) => Ok(mime_type),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };

        for (name, expected) in [
            ("notes.TXT", "text/plain"),
            ("main.py", "text/plain"),
            ("a.yaml", "text/plain"),
            ("a.json", "text/plain"),
            ("a.md", "text/markdown"),
            ("a.csv", "text/csv"),
            ("a.heic", "image/heic"),
            ("a.ogg", "audio/ogg"),
            ("a.flac", "audio/flac"),
            ("a.mov", "video/mov"),
            ("a.webm", "video/webm"),
            ("report", "application/pdf"),
            ("a.unknown", "application/pdf"),
        ] {
            assert_eq!(kind(name, "AA=="), Ok(expected.to_owned()), "{name}");
        }
        for name in ["x.docx", "x.xlsx", "x.doc", "x.zip"] {
            assert_eq!(kind(name, "UEsDBBQA"), Err(MediaError::File), "{name}");
        }
        assert_eq!(kind("a.gif", "R0lGODlh"), Err(MediaError::Format));
        assert_eq!(kind("a.unknown", "aGVsbG8="), Ok("text/plain".into()), "what reads as a text is one");
        assert_eq!(kind("a.unknown", "iVBORw0KGgo="), Ok("image/png".into()));
        assert_eq!(kind("main.py", "data:application/octet-stream;base64,aGVsbG8="), Ok("text/plain".into()));
        assert_eq!(kind("main.py", "data:application/pdf;base64,JVBERi0="), Ok("application/pdf".into()));
    }
}
