//! Bodies as Google writes them. Source: the pages of the Gemini API on `generateContent` and on errors.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};

/// What an upstream says that was told nothing else.
pub const ANSWER: &str = "Hello there";

/// A file of `tests/fixtures`.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn fixture_json(name: &str) -> Value {
    serde_json::from_slice(&fixture(name)).expect("fixtures of that kind are JSON")
}

/// A whole answer that says `text`.
pub fn generated(text: &str) -> Value {
    json!({
        "candidates": [{
            "content": {"role": "model", "parts": [{"text": text}]},
            "finishReason": "STOP",
            "index": 0,
        }],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8},
        "modelVersion": "gemini-2.5-flash",
        "responseId": "r-1",
    })
}

/// An event in the middle of a stream.
pub fn event(text: &str) -> Value {
    json!({
        "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 1, "totalTokenCount": 6},
        "modelVersion": "gemini-2.5-flash",
        "responseId": "r-1",
    })
}

/// The event that ends a stream; without a text it only says so.
pub fn last_event(text: &str) -> Value {
    generated(text)
}

pub fn google_error(status: u16, name: &str, message: &str) -> Value {
    json!({"error": {"code": status, "message": message, "status": name}})
}

/// The error that Google is likeliest to mean by that status.
pub fn usual_error(status: u16) -> Value {
    match status {
        400 => google_error(400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
        403 => google_error(403, "PERMISSION_DENIED", "The caller does not have permission"),
        404 => google_error(404, "NOT_FOUND", "models/nothing is not found for API version v1beta"),
        429 => quota_error(None),
        500 => google_error(500, "INTERNAL", "An internal error has occurred."),
        503 => google_error(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
        504 => google_error(504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
        other => google_error(other, "UNKNOWN", "Something else happened."),
    }
}

/// A minute's requests are spent.
pub fn quota_error(retry_after: Option<Duration>) -> Value {
    let mut error = fixture_json("gemini/quota-minute.error.json");
    if let Some(wait) = retry_after {
        let info = json!({
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{}s", wait.as_secs_f64()),
        });
        error["error"]["details"].as_array_mut().expect("the fixture has details").push(info);
    }
    error
}
