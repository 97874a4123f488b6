//! What is wrong with a request, in the words and paths of Anthropic's own server.

use serde_json::{Value, json};

use crate::convert::ConvertError;

/// The message of an `invalid_request_error`, such as `messages.0.role: Field required`.
pub fn message(error: &ConvertError) -> String {
    let reason = match error {
        ConvertError::InvalidJson { reason } => {
            return format!("The request body is not valid JSON: {reason}");
        }
        ConvertError::Missing { .. } => "Field required".to_owned(),
        ConvertError::InvalidType { expected, .. } => format!("Input should be {}", valid(expected)),
        ConvertError::UnknownValue { value, supported, .. } => {
            format!("Input should be {supported}, but is '{value}'")
        }
        ConvertError::InvalidValue { reason, .. }
        | ConvertError::OutOfRange { reason, .. }
        | ConvertError::RemoteMedia { reason, .. } => reason.clone(),
        ConvertError::EmptyArray { .. } => "List should have at least 1 item".to_owned(),
        ConvertError::ArrayTooLong { max, length, .. } => {
            format!("List should have at most {max} items, not {length}")
        }
        ConvertError::Unsupported { reason, .. } => format!("Not supported {reason}"),
        ConvertError::OrphanToolResult { id, .. } => format!(
            "unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must have a \
             corresponding `tool_use` block in a message before it."
        ),
    };
    match error.param() {
        Some(param) => format!("{}: {reason}", path(param)),
        None => reason,
    }
}

/// What programs read of an error, where they do: without a thread, the tool runners of the SDKs send the whole history.
pub fn details(error: &ConvertError) -> Option<Value> {
    let is_thread = matches!(error, ConvertError::Unsupported { param, .. } if param == "thread");
    is_thread.then(|| json!({"error_code": "thread_unsupported_request", "unsupported": ["thread"]}))
}

/// `messages[0].content` as `messages.0.content`.
fn path(param: &str) -> String {
    param.replace('[', ".").replace(']', "")
}

/// The names of types that Anthropic's server uses.
fn valid(expected: &'static str) -> &'static str {
    match expected {
        "a string" => "a valid string",
        "an array" => "a valid list",
        "an object" => "a valid dictionary",
        "a boolean" => "a valid boolean",
        "an integer" => "a valid integer",
        "a decimal" => "a valid number",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_dots_only() {
        let error = ConvertError::InvalidType {
            param: "messages[2].content[0].text".into(),
            expected: "a string",
            got: "an integer",
        };

        assert_eq!(message(&error), "messages.2.content.0.text: Input should be a valid string");
    }

    #[test]
    fn unreadable_json_has_no_place() {
        let error = ConvertError::InvalidJson { reason: "EOF at line 1 column 9".into() };

        assert_eq!(message(&error), "The request body is not valid JSON: EOF at line 1 column 9");
    }
}
