//! What bytes are, by their beginning: neither a client's word nor a server's header is taken for it.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// As much as any of the formats needs to be told.
pub const NEEDED: usize = 32;

/// Either alphabet's texts may lack their padding.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// MIME types by the bytes at an offset. Source: the formats' own specifications.
const SIGNATURES: &[(usize, &[u8], &str)] = &[
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (8, b"WEBP", "image/webp"),
    (0, b"GIF8", "image/gif"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypheix", "image/heic"),
    (4, b"ftypheim", "image/heic"),
    (4, b"ftypheis", "image/heic"),
    (4, b"ftyphevc", "image/heic"),
    (4, b"ftyphevx", "image/heic"),
    (4, b"ftypmif1", "image/heif"),
    (4, b"ftypmsf1", "image/heif"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypqt", "video/mov"),
    (4, b"ftypM4A", "audio/m4a"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (8, b"AVI ", "video/avi"),
    (8, b"WAVE", "audio/wav"),
    (0, b"ID3", "audio/mp3"),
    (0, b"\xff\xfb", "audio/mp3"),
    (0, b"\xff\xf3", "audio/mp3"),
    (0, b"\xff\xf1", "audio/aac"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"%PDF-", "application/pdf"),
    // Also what office programs write.
    (0, b"PK\x03\x04", "application/zip"),
];

/// The MIME type; `None` for what has no signature, texts among it.
pub fn sniff(bytes: &[u8]) -> Option<&'static str> {
    let fits = |(offset, mark, _): &&(usize, &[u8], &'static str)| {
        bytes.get(*offset..).is_some_and(|rest| rest.starts_with(mark))
    };
    let known = SIGNATURES.iter().find(fits).map(|(_, _, mime_type)| *mime_type);
    // Two letters are too few to tell a bitmap from a text.
    known.filter(|mime_type| *mime_type != "image/bmp" || !is_text(bytes))
}

/// Whether it reads as a text, in whatever script, as pictures and sounds without a signature never do.
pub fn is_text(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(NEEDED)];
    let text = match str::from_utf8(head) {
        Ok(text) => text,
        // The last character is cut.
        Err(error) if error.error_len().is_none() => {
            str::from_utf8(&head[..error.valid_up_to()]).unwrap_or("")
        }
        Err(_) => return false,
    };
    !text.is_empty() && !text.contains(|each: char| each.is_control() && !each.is_ascii_whitespace())
}

/// The first bytes of a base64 text; `None` when it is none.
pub fn head(base64: &str) -> Option<Vec<u8>> {
    let head = base64.as_bytes().get(..NEEDED / 3 * 4).unwrap_or(base64.as_bytes());
    STANDARD.decode(head).or_else(|_| URL_SAFE.decode(head)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_beginning() {
        assert_eq!(sniff(b"\x89PNG\r\n\x1a\n...."), Some("image/png"));
        assert_eq!(sniff(b"RIFF\0\0\0\0WEBPVP8 "), Some("image/webp"));
        assert_eq!(sniff(b"RIFF\0\0\0\0WAVEfmt "), Some("audio/wav"));
        assert_eq!(sniff(b"\0\0\0\x18ftypmp42"), Some("video/mp4"));
        assert_eq!(sniff(b"%PDF-1.7"), Some("application/pdf"));
        assert_eq!(sniff(b"PK\x03\x04\x14\0"), Some("application/zip"));
        assert_eq!(sniff(b"BM\x36\x10\0\0\0\0\0\0"), Some("image/bmp"));
        assert_eq!(sniff(b"BMI,age\n23,40\n"), None);
        assert_eq!(sniff(b"<html></html>"), None);
        assert_eq!(sniff(b""), None);
    }

    #[test]
    fn pictures_of_telephones_are_no_videos() {
        for brand in ["heic", "heix", "heim", "heis", "hevc", "hevx"] {
            assert_eq!(sniff(format!("\0\0\0\x18ftyp{brand}").as_bytes()), Some("image/heic"), "{brand}");
        }
        for brand in ["mif1", "msf1"] {
            assert_eq!(sniff(format!("\0\0\0\x18ftyp{brand}").as_bytes()), Some("image/heif"), "{brand}");
        }
    }

    #[test]
    fn a_text_is_told_from_binary() {
        assert!(is_text(b"<!doctype html>") && is_text(b"{\"error\": 1}"));
        assert!(is_text(b"hello") && is_text("Привет, как дела".as_bytes()));
        assert!(is_text("很长的一段中文，没有任何图片".as_bytes()), "whose last character is cut");
        assert!(!is_text(b"\0\x01\x02\x03\x04\x05\x06\x07\x08") && !is_text(b"\xff\xfehi") && !is_text(b""));
    }

    #[test]
    fn the_beginning_of_base64_is_read_in_either_alphabet() {
        assert_eq!(head("iVBORw0KGgo="), Some(b"\x89PNG\r\n\x1a\n".to_vec()));
        assert_eq!(head("_9j_4A"), Some(b"\xff\xd8\xff\xe0".to_vec()));
        assert_eq!(head("not base64!"), None);
    }
}
