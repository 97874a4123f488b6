//! Takes secrets out of what Google wrote, before anyone logs it or passes it on.
//!
//! Google repeats the caller's credential in some errors (`Consumer 'api_key:…' has been suspended`, `Invalid API
//! key: …`). What is masked here is found by its shape, so a key that nobody knows of is masked too. It would
//! rather hide a harmless word than show a secret.

use std::{borrow::Cow, ops::Range};

/// Stands where a secret was. Plain ASCII without quotes, so that it is safe inside a JSON string.
const MASK: &str = "[redacted]";

/// How a secret announces itself.
struct Marker {
    text: &'static [u8],
    /// Whether the marker is part of the secret, or only stands in front of it.
    belongs: bool,
    /// Fewer secret characters after the marker than this are left alone.
    at_least: usize,
}

const fn part(text: &'static [u8], at_least: usize) -> Marker {
    Marker { text, belongs: true, at_least }
}

const fn label(text: &'static [u8], at_least: usize) -> Marker {
    Marker { text, belongs: false, at_least }
}

/// Google's JSON writes `=` as `\u003d`, hence the two spellings.
const MARKERS: [Marker; 9] = [
    part(b"AIza", 20),
    part(b"AQ.", 20),
    label(b"api_key:", 1),
    label(b"API key: ", 1),
    label(b"api-key: ", 1),
    label(b"key=", 1),
    label(br"key\u003d", 1),
    label(b"auth_tokens/", 1),
    label(b"Bearer ", 16),
];

/// The text with every secret masked; borrowed when there was none.
pub fn redact(text: &str) -> Cow<'_, str> {
    let secrets = find_secrets(text.as_bytes());
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut from = 0;
    for secret in secrets {
        clean.push_str(&text[from..secret.start]);
        clean.push_str(MASK);
        from = secret.end;
    }
    clean.push_str(&text[from..]);
    Cow::Owned(clean)
}

/// Like [`redact`], for a body of any encoding. JSON stays JSON.
pub fn redact_body(body: &[u8]) -> Cow<'_, [u8]> {
    let secrets = find_secrets(body);
    if secrets.is_empty() {
        return Cow::Borrowed(body);
    }
    let mut clean = Vec::with_capacity(body.len());
    let mut from = 0;
    for secret in secrets {
        clean.extend_from_slice(&body[from..secret.start]);
        clean.extend_from_slice(MASK.as_bytes());
        from = secret.end;
    }
    clean.extend_from_slice(&body[from..]);
    Cow::Owned(clean)
}

/// Where the secrets are, in order and apart from each other. Both ends lie beside ASCII bytes, thus between
/// characters.
fn find_secrets(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match secret_at(bytes, at) {
            Some(secret) => {
                at = secret.end;
                found.push(secret);
            }
            None => at += 1,
        }
    }
    found
}

fn secret_at(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = &bytes[at..];
    let marker = MARKERS.iter().find(|marker| rest.starts_with(marker.text))?;
    let start = at + marker.text.len();
    let length = bytes[start..].iter().take_while(|byte| is_secret_byte(**byte)).count();
    let from = if marker.belongs { at } else { start };
    (length >= marker.at_least).then_some(from..start + length)
}

/// The characters of keys and tokens, plain or percent-encoded.
fn is_secret_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~%+/".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_known_shape_of_a_secret_is_masked() {
        for (text, clean) in [
            (
                "Consumer 'api_key:AIzaSyA1' has been suspended",
                "Consumer 'api_key:[redacted]' has been suspended",
            ),
            ("Invalid API key: AIzv00G7VmUC-5Ogl", "Invalid API key: [redacted]"),
            ("with AIzaSyA-1234567890_1234567890abcdef.", "with [redacted]"),
            ("got AQ.Ab8RN6KxXxXxXxXxXxXxXx, sorry", "got [redacted], sorry"),
            ("GET /v1beta/models?key=abc&alt=sse", "GET /v1beta/models?key=[redacted]&alt=sse"),
            (r"?key\u003dabc\u0026alt", r"?key\u003d[redacted]\u0026alt"),
            ("auth_tokens/abcdef is spent", "auth_tokens/[redacted] is spent"),
            ("Authorization: Bearer ya29.a0AfH6SMBxxxxxxxx", "Authorization: Bearer [redacted]"),
        ] {
            assert_eq!(redact(text), clean);
            assert_eq!(&*redact_body(text.as_bytes()), clean.as_bytes());
        }
    }

    #[test]
    fn text_without_a_secret_is_not_copied() {
        for text in ["API key not valid. Please pass a valid API key.", "AIza is a prefix", "größer", ""] {
            assert!(matches!(redact(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn a_masked_json_body_is_still_json() {
        let body = br#"{"error":{"message":"\"?key\u003dAIzaSyA-1234567890_1234567890abcdef\""}}"#;

        let clean = redact_body(body);

        assert!(!clean.windows(4).any(|four| four == b"AIza"));
        serde_json::from_slice::<serde_json::Value>(&clean).unwrap();
    }

    proptest! {
        #[test]
        fn a_key_is_masked_wherever_it_stands(before in "\\PC{0,40}", after in "\\PC{0,40}") {
            let key = "AIzaSyA-1234567890_1234567890abcdef";
            let text = format!("{before}{key}{after}");

            prop_assert!(!redact(&text).contains(key));
        }

        #[test]
        fn bytes_of_any_kind_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            redact_body(&bytes);
        }
    }
}
