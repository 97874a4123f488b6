//! Errors as `api.openai.com` writes them.

use serde_json::json;

use crate::api::{
    error::{ApiError, Envelope, ErrorKind},
    limits,
};

/// The OpenAI dialect.
#[derive(Debug)]
pub struct OpenAi;

impl Envelope for OpenAi {
    fn body(error: &ApiError, status: u16) -> Vec<u8> {
        let (kind, code) = words(error, status);
        json!({"error": {
            "message": message(error),
            "type": kind,
            "param": param(error),
            "code": code,
        }})
        .to_string()
        .into_bytes()
    }
}

/// `type` and `code`, in the words of OpenAI's own server.
pub fn words(error: &ApiError, status: u16) -> (&'static str, Option<&str>) {
    const INVALID: &str = "invalid_request_error";
    if let ApiError::Convert(error) = error {
        return (INVALID, error.code());
    }
    match error.kind() {
        ErrorKind::InvalidRequest | ErrorKind::NotFound | ErrorKind::Admin(_) => (INVALID, None),
        ErrorKind::WrongToken => (INVALID, Some("invalid_api_key")),
        ErrorKind::MissingToken => (INVALID, None),
        ErrorKind::Forbidden => match error {
            ApiError::ModelNotAllowed { .. } => (INVALID, Some("model_not_allowed")),
            _ => (INVALID, Some("address_not_allowed")),
        },
        ErrorKind::UnknownPath => (INVALID, Some("unknown_url")),
        ErrorKind::WrongMethod => (INVALID, Some("method_not_supported")),
        ErrorKind::ContentType => (INVALID, Some("unsupported_content_type")),
        ErrorKind::TooLarge => (INVALID, Some("request_too_large")),
        ErrorKind::Timeout => (INVALID, Some("request_timeout")),
        ErrorKind::ModelNotFound => (INVALID, Some("model_not_found")),
        ErrorKind::ResourceNotFound => (INVALID, None),
        ErrorKind::RateLimited => match error {
            // There the server names what is used up.
            ApiError::OverLimit(exceeded) => (limits::metric(exceeded), Some("rate_limit_exceeded")),
            _ => ("rate_limit_error", Some("rate_limit_exceeded")),
        },
        ErrorKind::Internal | ErrorKind::Unavailable => ("server_error", None),
        ErrorKind::Upstream(_) => of_google(error, status),
    }
}

fn of_google(error: &ApiError, status: u16) -> (&'static str, Option<&'static str>) {
    let message = error.refusal().map_or("", |refusal| refusal.fault.error.message.as_str());
    match status {
        404 => ("invalid_request_error", Some("model_not_found")),
        400 | 429 if message.contains("token count") && message.contains("exceeds the maximum") => {
            ("invalid_request_error", Some("context_length_exceeded"))
        }
        429 => ("rate_limit_error", Some("rate_limit_exceeded")),
        400..=499 => ("invalid_request_error", None),
        _ => ("server_error", None),
    }
}

fn message(error: &ApiError) -> String {
    match error {
        ApiError::UnknownPath { method, path } => format!("Invalid URL ({method} {path})"),
        ApiError::WrongToken => format!("Incorrect API key provided: {error}."),
        _ => error.to_string(),
    }
}

fn param(error: &ApiError) -> Option<&str> {
    match error {
        ApiError::Convert(error) => error.param(),
        ApiError::Parameter { name, .. } => Some(name),
        ApiError::NoEvents => Some("stream"),
        ApiError::ModelName { .. } | ApiError::UnknownModel { .. } | ApiError::ModelNotAllowed { .. } => {
            Some("model")
        }
        _ => None,
    }
}
