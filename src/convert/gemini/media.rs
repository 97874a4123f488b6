//! Pictures, sound and files inside a request: data URLs, MIME types, and the few addresses that Google fetches itself.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Part, sniff};

/// A medium as the hub takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    /// `text[data_at..]` is base64.
    Inline { mime_type: String, text: String, data_at: usize },
    /// An address that Google fetches itself.
    Uri(String),
    /// An address that has to be fetched before the request goes to Google, and where it stood in the client's request.
    Remote { url: String, param: String },
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
    /// A text in the place of a picture.
    NoPicture,
}

impl Media {
    /// Reads a data URL, the URI of a Gemini file, or the address of a YouTube video.
    pub fn from_url(url: String) -> Result<Self, MediaError> {
        if let Some(rest) = url.strip_prefix("data:") {
            let (header, data) = rest.split_once(',').ok_or(MediaError::Malformed)?;
            let types = header.strip_suffix(";base64").ok_or(MediaError::Malformed)?;
            let mime_type = true_type(types.split(';').next().unwrap_or_default(), data)?;
            let data_at = url.len() - data.len();
            return Ok(Self::Inline { mime_type, text: url, data_at });
        }
        if fetched_by_google(&url) {
            return Ok(Self::Uri(url));
        }
        Err(if is_remote(&url) { MediaError::Remote } else { MediaError::Malformed })
    }

    /// The same, with an address that somebody has to fetch for a medium of its own; `param` is its place in the request.
    pub fn from_any_url(url: String, param: impl FnOnce() -> String) -> Result<Self, MediaError> {
        if is_remote(&url) && !fetched_by_google(&url) {
            return Ok(Self::Remote { url, param: param() });
        }
        Self::from_url(url)
    }

    /// What was fetched from an address. `announced` is the type that the server told, for texts, which have no other.
    pub fn from_bytes(bytes: &[u8], announced: &str) -> Result<Self, MediaError> {
        let mime_type = match sniff::sniff(bytes) {
            Some(known) => mime_type(known)?,
            None if sniff::is_text(bytes) && announced.starts_with("text/plain") => "text/plain".to_owned(),
            None if sniff::is_text(bytes) => return Err(MediaError::NoPicture),
            None => return Err(MediaError::Format),
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
    if !is_picture && declared != "application/octet-stream" {
        return Ok(declared);
    }
    match sniff::sniff(&head) {
        Some(known) => mime_type(known),
        None if is_picture && sniff::is_text(&head) => Err(MediaError::NoPicture),
        None => Ok(declared),
    }
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
        other => Ok(other.to_owned()),
    }
}

/// The type that a file name promises; PDF when it promises nothing.
pub fn mime_type_of_file(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "txt" | "log" => "text/plain",
        "md" => "text/markdown",
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        "json" => "application/json",
        "xml" => "text/xml",
        "mp3" => "audio/mp3",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        _ => "application/pdf",
    }
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
        assert_eq!(mime_type("data:image/png;base64,PGh0bWw+PC9odG1sPg=="), Err(MediaError::NoPicture));
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
        let png = Media::from_bytes(b"\x89PNG\r\n\x1a\n", "text/html").unwrap();

        assert_eq!(png, Media::from_base64("image/png", "iVBORw0KGgo=".into()));
        assert_eq!(Media::from_bytes(b"<!doctype html>", "image/png"), Err(MediaError::NoPicture));
        assert_eq!(Media::from_bytes(b"GIF89a", "image/gif"), Err(MediaError::Format));
        assert!(Media::from_bytes(b"plain words", "text/plain; charset=utf-8").is_ok());
    }

    #[test]
    fn a_file_without_a_telling_name_is_a_pdf() {
        assert_eq!(mime_type_of_file("notes.TXT"), "text/plain");
        assert_eq!(mime_type_of_file("report"), "application/pdf");
    }
}
