//! Configured safety settings, for generations whose client sent none.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

/// The fields that decide; everything else stays unread.
#[derive(Deserialize)]
struct TopLevel {
    #[serde(rename = "safetySettings", alias = "safety_settings", default)]
    safety_settings: Option<IgnoredAny>,
}

/// The body with the settings put in front of its other fields; untouched when the client has settings of its own,
/// or when it is no JSON object, which is for Google to say.
pub fn with_safety_settings<'a>(body: &'a [u8], settings: &RawValue) -> Cow<'a, [u8]> {
    match serde_json::from_slice::<TopLevel>(body) {
        Ok(TopLevel { safety_settings: None }) => {
            insert_first(body, settings).map_or(Cow::Borrowed(body), Cow::Owned)
        }
        Ok(_) | Err(_) => Cow::Borrowed(body),
    }
}

/// Not a byte that the client sent changes; the field goes right behind the opening brace.
fn insert_first(body: &[u8], settings: &RawValue) -> Option<Vec<u8>> {
    let brace = body.iter().position(|byte| *byte == b'{')?;
    let (head, rest) = body.split_at(brace + 1);
    let is_empty = rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
    let field = format!("\"safetySettings\":{}{}", settings.get(), if is_empty { "" } else { "," });
    Some([head, field.as_bytes(), rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Box<RawValue> {
        RawValue::from_string(r#"[{"category":"C","threshold":"OFF"}]"#.to_owned()).unwrap()
    }

    fn applied(body: &str) -> String {
        String::from_utf8(with_safety_settings(body.as_bytes(), &settings()).into_owned()).unwrap()
    }

    #[test]
    fn they_are_added_without_touching_what_the_client_sent() {
        assert_eq!(
            applied(r#"{ "contents" : [],"x":1.0}"#),
            r#"{"safetySettings":[{"category":"C","threshold":"OFF"}], "contents" : [],"x":1.0}"#
        );
        assert_eq!(applied(" { } "), r#" {"safetySettings":[{"category":"C","threshold":"OFF"}] } "#);
    }

    #[test]
    fn a_clients_own_settings_win_in_either_spelling() {
        for body in [r#"{"safetySettings":[]}"#, r#"{"safety_settings":[{"category":"D"}],"contents":[]}"#] {
            assert_eq!(applied(body), body);
        }
    }

    #[test]
    fn what_is_not_an_object_is_left_to_google() {
        for body in ["", "[]", "{", "{\"a\":", "null", "\u{1}"] {
            assert_eq!(applied(body), body);
        }
    }
}
