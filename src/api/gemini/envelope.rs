//! Errors as `generativelanguage.googleapis.com` writes them.

use serde_json::{Value, json};

use crate::api::error::{ApiError, Envelope, ErrorKind, usual_status};

/// The Gemini dialect.
#[derive(Debug)]
pub struct Gemini;

impl Envelope for Gemini {
    fn status(kind: ErrorKind) -> u16 {
        match kind {
            // Google's front end knows no 401 for API keys and no 405.
            ErrorKind::WrongToken => 400,
            ErrorKind::MissingToken => 403,
            ErrorKind::WrongMethod => 404,
            other => usual_status(other),
        }
    }

    fn body(error: &ApiError, status: u16) -> Vec<u8> {
        if let Some(refusal) = error.refusal() {
            if !refusal.body.is_empty() && refusal.body.trim_ascii_start().starts_with(b"{") {
                return refusal.body.to_vec();
            }
            return refusal.fault.error.to_json();
        }
        let mut body =
            json!({"code": status, "message": message(error), "status": status_name(status, error.kind())});
        if let Some(details) = details(error) {
            body["details"] = details;
        }
        json!({ "error": body }).to_string().into_bytes()
    }
}

fn message(error: &ApiError) -> String {
    match error {
        // Google's own words, which its SDKs and tools know.
        ApiError::TokenExpired => format!("API key expired. Please renew the API key. ({error})"),
        _ if error.kind() == ErrorKind::WrongToken => {
            format!("API key not valid. Please pass a valid API key. ({error})")
        }
        _ => error.to_string(),
    }
}

/// What Google's SDKs read beside the status: the reason, and when to try again.
fn details(error: &ApiError) -> Option<Value> {
    match error {
        ApiError::WrongToken | ApiError::TokenExpired | ApiError::TokenDisabled => Some(json!([{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
            "metadata": {"service": "generativelanguage.googleapis.com"},
        }])),
        _ => error.retry_after().map(|wait| {
            json!([{
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": format!("{}s", wait.as_secs_f64().ceil().max(1.0)),
            }])
        }),
    }
}

/// The canonical name of a status. Source: `google/rpc/code.proto`.
fn status_name(status: u16, kind: ErrorKind) -> &'static str {
    match status {
        400 | 413 | 415 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        429 => "RESOURCE_EXHAUSTED",
        502 | 503 => "UNAVAILABLE",
        _ if kind == ErrorKind::Internal => "INTERNAL",
        _ => "UNKNOWN",
    }
}
