//! Pictures, sound and files inside a request: data URLs, MIME types, and the few addresses that Google fetches itself.

use super::Part;

/// A medium as the hub takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    /// `text[data_at..]` is base64.
    Inline { mime_type: String, text: String, data_at: usize },
    /// An address that Google fetches itself.
    Uri(String),
}

/// Why an address cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaError {
    /// An http address that somebody would have to fetch.
    Remote,
    /// Neither a data URL in base64 nor an address.
    Malformed,
    /// A picture in a format that Gemini refuses.
    Format,
}

impl Media {
    /// Reads a data URL, the URI of a Gemini file, or the address of a YouTube video.
    pub fn from_url(url: String) -> Result<Self, MediaError> {
        if let Some(rest) = url.strip_prefix("data:") {
            let (header, data) = rest.split_once(',').ok_or(MediaError::Malformed)?;
            let types = header.strip_suffix(";base64").ok_or(MediaError::Malformed)?;
            let mime_type = mime_type(types.split(';').next().unwrap_or_default())?;
            let data_at = url.len() - data.len();
            return Ok(Self::Inline { mime_type, text: url, data_at });
        }
        if fetched_by_google(&url) {
            return Ok(Self::Uri(url));
        }
        let remote = url.starts_with("http://") || url.starts_with("https://");
        Err(if remote { MediaError::Remote } else { MediaError::Malformed })
    }

    /// Bare base64 of a known type.
    pub fn from_base64(mime_type: &str, data: String) -> Self {
        Self::Inline { mime_type: mime_type.to_owned(), text: data, data_at: 0 }
    }

    /// Bare base64 of the type that the client names.
    pub fn of_type(mime: &str, data: String) -> Result<Self, MediaError> {
        Ok(Self::Inline { mime_type: mime_type(mime)?, text: data, data_at: 0 })
    }

    pub fn to_part(&self) -> Part<'_> {
        match self {
            Self::Inline { mime_type, text, data_at } => Part::inline(mime_type.as_str(), &text[*data_at..]),
            Self::Uri(uri) => Part::file(uri.as_str()),
        }
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
    fn a_file_without_a_telling_name_is_a_pdf() {
        assert_eq!(mime_type_of_file("notes.TXT"), "text/plain");
        assert_eq!(mime_type_of_file("report"), "application/pdf");
    }
}
