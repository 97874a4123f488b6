//! Takes secrets out of what Google wrote, before anyone logs it or passes it on.
//!
//! Google repeats the caller's credential in some errors (`Consumer 'api_key:…' has been suspended`, `Invalid API
//! key: …`). The key that was sent is masked wherever it stands, whatever its shape ([`mask_key`]); other secrets are
//! found by their shape, so a key that nobody knows of is masked too. It would rather hide a harmless word than show
//! a secret.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

use crate::domain::key::ApiKey;

/// Stands where a secret was. Plain ASCII without quotes, so that it is safe inside a JSON string.
const MASK: &str = "[redacted]";

/// A shorter key is no key of Google's, but it could be a word or a number that JSON needs.
const SHORTEST_KEY: usize = 8;

/// How a secret announces itself.
struct Marker {
    text: &'static [u8],
    /// Whether the marker is part of the secret, or only stands in front of it.
    belongs: bool,
    /// Fewer secret characters after the marker than this are left alone.
    at_least: usize,
    /// What a secret consists of.
    holds: fn(&u8) -> bool,
}

const fn part(text: &'static [u8], at_least: usize) -> Marker {
    Marker { text, belongs: true, at_least, holds: is_secret_byte }
}

const fn label(text: &'static [u8], at_least: usize) -> Marker {
    Marker { text, belongs: false, at_least, holds: is_secret_byte }
}

/// The number of a project: no secret, but nothing that clients should learn about the pool either.
const fn number(text: &'static [u8]) -> Marker {
    Marker { text, belongs: false, at_least: 6, holds: u8::is_ascii_digit }
}

/// Google's JSON writes `=` as `\u003d`, hence the two spellings.
const MARKERS: [Marker; 14] = [
    part(b"AIza", 20),
    part(b"AQ.", 20),
    label(b"api_key:", 1),
    label(b"API key: ", 1),
    label(b"api-key: ", 1),
    label(b"key=", 1),
    label(br"key\u003d", 1),
    label(b"auth_tokens/", 1),
    label(b"Bearer ", 16),
    number(b"projects/"),
    number(b"project_number:"),
    number(b"in project "),
    number(b"project="),
    number(br"project\u003d"),
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
    if secrets.is_empty() { Cow::Borrowed(body) } else { Cow::Owned(mask(body, &secrets)) }
}

/// The body without this key, plain, JSON-escaped or percent-encoded. JSON stays JSON.
pub fn mask_key(body: &Bytes, key: &ApiKey) -> Bytes {
    let key = key.expose().as_bytes();
    if key.len() < SHORTEST_KEY {
        return body.clone();
    }
    let secrets = find(body, |at| Some(at..at + spelled_length(&body[at..], key)?));
    if secrets.is_empty() { body.clone() } else { mask(body, &secrets).into() }
}

fn mask(body: &[u8], secrets: &[Range<usize>]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(body.len());
    let mut from = 0;
    for secret in secrets {
        clean.extend_from_slice(&body[from..secret.start]);
        clean.extend_from_slice(MASK.as_bytes());
        from = secret.end;
    }
    clean.extend_from_slice(&body[from..]);
    clean
}

/// Where the secrets are, in order and apart from each other. Both ends lie beside ASCII bytes, thus between
/// characters.
fn find_secrets(bytes: &[u8]) -> Vec<Range<usize>> {
    find(bytes, |at| secret_at(bytes, at))
}

fn find(bytes: &[u8], secret_at: impl Fn(usize) -> Option<Range<usize>>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match secret_at(at) {
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
    let length = bytes[start..].iter().take_while(|byte| (marker.holds)(byte)).count();
    let from = if marker.belongs { at } else { start };
    (length >= marker.at_least).then_some(from..start + length)
}

/// How many bytes the key takes up at the beginning of the text; `None` when something else stands there.
fn spelled_length(text: &[u8], key: &[u8]) -> Option<usize> {
    if text.starts_with(key) {
        return Some(key.len());
    }
    key.iter().try_fold(0, |length, byte| Some(length + spelling_of(*byte, &text[length..])?))
}

/// How many bytes write this one: itself, `\u003d` or `\/` as in JSON, `%3D` as in URLs.
fn spelling_of(byte: u8, text: &[u8]) -> Option<usize> {
    let is_hex = |digits: Option<&[u8]>| {
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        digits.is_some_and(|digits| u8::from_str_radix(digits, 16) == Ok(byte))
    };
    match text {
        [b'%', ..] if is_hex(text.get(1..3)) => Some(3),
        [b'\\', b'u', b'0', b'0', ..] if is_hex(text.get(4..6)) => Some(6),
        [b'\\', escaped, ..] if *escaped == byte => Some(2),
        [plain, ..] if *plain == byte => Some(1),
        _ => None,
    }
}

/// The characters of keys and tokens, plain or percent-encoded.
fn is_secret_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~%+/".contains(byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_of_projects_are_masked_and_other_numbers_are_not() {
        for (text, clean) in [
            ("for consumer 'project_number:348715329010'.", "for consumer 'project_number:[redacted]'."),
            (r#"{"consumer":"projects/348715329010"}"#, r#"{"consumer":"projects/[redacted]"}"#),
            ("not been used in project 348715329010 before", "not been used in project [redacted] before"),
            ("overview?project=348715329010", "overview?project=[redacted]"),
            ("in project 12, projects/mine/files/1", "in project 12, projects/mine/files/1"),
        ] {
            assert_eq!(redact(text), clean);
        }
    }

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
    fn a_known_key_of_any_shape_is_masked_in_every_spelling() {
        let key = ApiKey::parse("odd/key=of\\no:shape").unwrap();
        for text in [
            r"odd/key=of\no:shape",
            r"odd\/key\u003dof\\no:shape",
            "odd%2Fkey%3dof%5Cno%3Ashape",
            r"odd\u002Fkey\u003Dof\u005cno\u003ashape",
        ] {
            let body = Bytes::from(format!("before {text}, {text}."));
            assert_eq!(mask_key(&body, &key), "before [redacted], [redacted].");
        }
        for text in ["odd/key=of", r"odd\u00", "odd%2", "", "größer"] {
            assert_eq!(mask_key(&text.into(), &key), text);
        }
    }

    #[test]
    fn what_is_too_short_for_a_key_is_left_to_json() {
        let body = Bytes::from(r#"{"error":{"code":400}}"#);

        assert_eq!(mask_key(&body, &ApiKey::parse("400").unwrap()), body);
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
