//! Errors as `api.anthropic.com` writes them.

use serde_json::json;

use crate::{
    api::error::{ApiError, Envelope, ErrorKind, usual_status},
    convert::anthropic::words,
};

/// The Anthropic dialect.
#[derive(Debug)]
pub struct Anthropic;

/// What Anthropic's server answers while it has too much to do; no name of HTTP's own.
const OVERLOADED: u16 = 529;

impl Envelope for Anthropic {
    fn status(kind: ErrorKind) -> u16 {
        match kind {
            ErrorKind::Unavailable | ErrorKind::Upstream(503) => OVERLOADED,
            other => usual_status(other),
        }
    }

    fn body(error: &ApiError, status: u16) -> Vec<u8> {
        body(error, status, None)
    }
}

/// The whole body; `request_id` as in the header of that name.
pub fn body(error: &ApiError, status: u16, request_id: Option<&str>) -> Vec<u8> {
    let mut body = json!({"type": "error", "error": {"type": kind(status), "message": message(error)}});
    if let ApiError::Convert(error) = error
        && let Some(details) = words::details(error)
    {
        body["error"]["details"] = details;
    }
    if let Some(id) = request_id {
        body["request_id"] = id.into();
    }
    body.to_string().into_bytes()
}

/// `error.type`. Anthropic's server uses `invalid_request_error` for every other 4xx too.
pub fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        504 => "timeout_error",
        OVERLOADED => "overloaded_error",
        _ => "api_error",
    }
}

pub fn message(error: &ApiError) -> String {
    match error {
        ApiError::Convert(error) => words::message(error),
        ApiError::ModelName { .. } => format!("model: {error}"),
        _ => match error.refusal().and_then(|refusal| too_long(&refusal.fault.error.message)) {
            Some(message) => message,
            None => error.to_string(),
        },
    }
}

/// Agents look for these words, and then make their history shorter.
fn too_long(message: &str) -> Option<String> {
    if !(message.contains("token count") && message.contains("exceeds the maximum")) {
        return None;
    }
    let mut numbers =
        message.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse::<u64>().ok());
    Some(match (numbers.next()?, numbers.next()) {
        (tokens, Some(maximum)) => format!("prompt is too long: {tokens} tokens > {maximum} maximum"),
        (maximum, None) => format!("prompt is too long: more than {maximum} tokens > {maximum} maximum"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_that_is_too_long_is_told_in_anthropics_words() {
        let google =
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).";

        assert_eq!(too_long(google).as_deref(), Some("prompt is too long: 1200000 tokens > 1048576 maximum"));
        let without_count = "The input token count exceeds the maximum number of tokens allowed 1048576.";
        assert!(
            too_long(without_count)
                .is_some_and(|message| message.starts_with("prompt is too long: more than"))
        );
        assert_eq!(too_long("exceeds the maximum"), None);
    }

    #[test]
    fn every_status_has_a_type() {
        let statuses = [400, 401, 403, 404, 405, 408, 413, 415, 429, 500, 502, 504, 529];

        let kinds = statuses.map(kind);

        assert_eq!(
            kinds,
            [
                "invalid_request_error",
                "authentication_error",
                "permission_error",
                "not_found_error",
                "invalid_request_error",
                "invalid_request_error",
                "request_too_large",
                "invalid_request_error",
                "rate_limit_error",
                "api_error",
                "api_error",
                "timeout_error",
                "overloaded_error",
            ]
        );
    }
}
