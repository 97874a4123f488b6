//! Google's error object, read out of the several envelopes that it comes in.
//!
//! Plain `{"error":{…}}`, the same in a one-element array, the envelope of the Interactions API (whose `code` is a
//! string), or no JSON at all. Reading never fails: what cannot be read is described by the HTTP status alone.
//! What an error *means* is left to [`classify`](super::classify).

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::redact::redact;

/// Google's own errors have less than 10 kB. A larger body is judged by its status, so that it cannot cost much.
const MAX_PARSED_BYTES: usize = 1 << 20;

/// Longest message that is kept, in characters.
const MAX_MESSAGE_CHARS: usize = 4000;

/// Canonical names and their HTTP statuses; the first name of a status is the one that stands for it.
///
/// Source: `google/rpc/code.proto`.
const CANONICAL: [(&str, u16); 16] = [
    ("INVALID_ARGUMENT", 400),
    ("FAILED_PRECONDITION", 400),
    ("OUT_OF_RANGE", 400),
    ("UNAUTHENTICATED", 401),
    ("PERMISSION_DENIED", 403),
    ("NOT_FOUND", 404),
    ("ABORTED", 409),
    ("ALREADY_EXISTS", 409),
    ("RESOURCE_EXHAUSTED", 429),
    ("CANCELLED", 499),
    ("INTERNAL", 500),
    ("UNKNOWN", 500),
    ("DATA_LOSS", 500),
    ("UNIMPLEMENTED", 501),
    ("UNAVAILABLE", 503),
    ("DEADLINE_EXCEEDED", 504),
];

/// The codes that the Interactions API writes in words, where they are not a canonical name in lower case.
const INTERACTIONS_CODES: [(&str, u16); 4] = [
    ("invalid_request", 400),
    ("authentication", 401),
    ("rate_limit_exceeded", 429),
    ("internal_error", 500),
];

/// What Google said, without secrets; fit for logs and for the envelope of any dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoogleError {
    /// HTTP status: `error.code` where it is one, else that of the answer.
    pub code: u16,
    /// Canonical name, such as `INVALID_ARGUMENT`; made from the HTTP status when Google gave none.
    pub status: String,
    /// Secrets are masked.
    pub message: String,
    /// `ErrorInfo.reason`, such as `API_KEY_INVALID`.
    pub reason: Option<String>,
}

impl GoogleError {
    /// Google's own envelope around this error: `{"error":{"code","message","status"}}`, on one line.
    pub fn to_json(&self) -> Vec<u8> {
        json!({"error": {"code": self.code, "message": self.message, "status": self.status}})
            .to_string()
            .into_bytes()
    }
}

/// An error object as it came, with the readers that the rules need.
pub(super) struct RawError {
    /// HTTP status of the answer, or of the error when it arrived inside a 200.
    pub http_status: u16,
    object: Map<String, Value>,
}

impl RawError {
    /// Reads the body of an answer that was not a success.
    pub fn from_body(http_status: u16, body: &[u8]) -> Self {
        let object = parse(body).and_then(into_error).unwrap_or_default();
        Self { http_status, object }
    }

    /// Reads an error that stands where an answer was expected; `None` when it is something else.
    ///
    /// Files and operations carry an `error` of their own beside their `name`: that is their state, not a failure
    /// of the call that asked for it.
    pub fn from_event(json: &[u8]) -> Option<Self> {
        let event = unwrap_array(parse(json)?);
        if event.get("candidates").is_some() || event.get("name").is_some() {
            return None;
        }
        let mut error = Self { http_status: 500, object: into_error(event)? };
        error.http_status = error.code().or_else(|| error.canonical_status()).unwrap_or(500);
        Some(error)
    }

    /// What is kept of it for logs and clients.
    pub fn to_google_error(&self) -> GoogleError {
        let code = self.code().unwrap_or(self.http_status);
        let message = match self.message() {
            "" => format!("the upstream answered {code} without a readable message"),
            text => redact(truncated(text)).into_owned(),
        };
        let status = self.text("status").unwrap_or_else(|| canonical_name(code)).to_owned();
        GoogleError { code, status, message, reason: self.reason().map(str::to_owned) }
    }

    /// Its words; empty when there are none.
    pub fn message(&self) -> &str {
        self.text("message").unwrap_or_default()
    }

    /// Whether the message begins with one of these, in any case of letters.
    pub fn begins_with(&self, beginnings: &[&str]) -> bool {
        let message = self.message().as_bytes();
        let is_head = |text: &&str| {
            message.get(..text.len()).is_some_and(|head| head.eq_ignore_ascii_case(text.as_bytes()))
        };
        beginnings.iter().any(is_head)
    }

    /// The HTTP status that `error.status` stands for.
    pub fn canonical_status(&self) -> Option<u16> {
        let name = self.text("status")?;
        CANONICAL.iter().find(|(canonical, _)| *canonical == name).map(|(_, status)| *status)
    }

    /// `ErrorInfo.reason`.
    pub fn reason(&self) -> Option<&str> {
        self.error_infos().find_map(|info| info.get("reason")?.as_str())
    }

    /// A value of `ErrorInfo.metadata`.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.error_infos().find_map(|info| info.get("metadata")?.get(name)?.as_str())
    }

    /// The number of the project that Google charges, from `ErrorInfo.metadata`. What messages say does not count, as
    /// they repeat what clients sent.
    pub fn consumer(&self) -> Option<u64> {
        self.metadata("consumer")?.strip_prefix("projects/")?.parse().ok()
    }

    /// `QuotaFailure.violations`.
    pub fn violations(&self) -> impl Iterator<Item = &Value> {
        self.details("google.rpc.QuotaFailure")
            .filter_map(|detail| detail.get("violations")?.as_array())
            .flatten()
    }

    /// `RetryInfo.retryDelay`, or else what the message says after `Please retry in`.
    pub fn retry_after(&self) -> Option<Duration> {
        let told = self
            .details("google.rpc.RetryInfo")
            .find_map(|info| parse_duration(info.get("retryDelay")?.as_str()?));
        told.or_else(|| {
            let (_, after) = self.message().split_once("Please retry in ")?;
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(after.len());
            parse_duration(after[..end].trim_end_matches('.'))
        })
    }

    /// `error.code` as an HTTP status of a failure; the Interactions API writes it in words.
    fn code(&self) -> Option<u16> {
        match self.object.get("code")? {
            Value::String(word) => {
                let canonical = CANONICAL.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
                let code = canonical.or_else(|| INTERACTIONS_CODES.iter().find(|(name, _)| name == word))?;
                Some(code.1)
            }
            number => number.as_u64().filter(|code| (400..600).contains(code)).map(|code| code as u16),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.object.get(name)?.as_str()
    }

    fn error_infos(&self) -> impl Iterator<Item = &Value> {
        self.details("google.rpc.ErrorInfo")
    }

    /// The details of one type; `kind` is the type's name without its host.
    fn details(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        let details = self.object.get("details").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        details.iter().filter(move |detail| {
            let name = detail.get("@type").and_then(Value::as_str).unwrap_or_default();
            name.rsplit('/').next() == Some(kind)
        })
    }
}

fn parse(body: &[u8]) -> Option<Value> {
    if body.len() > MAX_PARSED_BYTES {
        return None;
    }
    serde_json::from_slice(body).ok()
}

/// The first element of an array that has one, else the value itself.
fn unwrap_array(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().next().unwrap_or_default(),
        other => other,
    }
}

/// The object under `error`; a bare string there is taken for its message.
fn into_error(value: Value) -> Option<Map<String, Value>> {
    let Value::Object(mut envelope) = unwrap_array(value) else {
        return None;
    };
    match envelope.remove("error")? {
        Value::Object(error) => Some(error),
        Value::String(message) => Some(Map::from_iter([("message".to_owned(), Value::String(message))])),
        _ => None,
    }
}

fn canonical_name(status: u16) -> &'static str {
    let exact = CANONICAL.iter().find(|(_, http)| *http == status).map(|(name, _)| *name);
    exact.unwrap_or(if status < 500 { "INVALID_ARGUMENT" } else { "INTERNAL" })
}

fn truncated(text: &str) -> &str {
    text.char_indices().nth(MAX_MESSAGE_CHARS).map_or(text, |(end, _)| &text[..end])
}

/// A duration as Google writes it: `34.074824224s`, and in messages also `1h52m56.4s` or `290.979975ms`.
///
/// `None` when it is negative, malformed, or longer than a `Duration` can hold. Source of the first form:
/// `google/protobuf/duration.proto`; the others are Go's.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let (unit, seconds) = UNITS.iter().find(|(unit, _)| tail.starts_with(unit))?;
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = &tail[unit.len()..];
    }
    Some(total)
}

/// Units in seconds; `ms` before `m`, as one begins with the other.
const UNITS: [(&str, f64); 6] =
    [("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_form_that_google_writes() {
        for (text, millis) in [
            ("34s", 34_000),
            ("34.074824224s", 34_074),
            ("0s", 0),
            ("1h52m56.4s", 6_776_400),
            ("290.979975ms", 290),
            ("2m", 120_000),
        ] {
            assert_eq!(parse_duration(text).map(|told| told.as_millis()), Some(millis), "{text}");
        }
    }

    #[test]
    fn durations_that_mean_nothing_are_not_guessed() {
        for text in
            ["", "s", "-5s", "34", "1.2.3s", "soon", "1e3s", "99999999999999999999999999s", "3 s", "NaNs"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn an_error_is_found_in_every_envelope() {
        for body in [
            r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}"#,
            r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}]"#,
            r#"{"event_type":"error","error":{"code":"resource_exhausted","message":"m"}}"#,
            r#"{"error":{"code":8,"message":"m"}}"#,
        ] {
            let error = RawError::from_body(429, body.as_bytes()).to_google_error();

            assert_eq!(
                (error.code, &*error.status, &*error.message),
                (429, "RESOURCE_EXHAUSTED", "m"),
                "{body}"
            );
        }
    }

    #[test]
    fn a_body_that_is_no_error_object_leaves_the_status_to_speak() {
        for body in ["<html>", "", "[]", "null", r#"{"error":7}"#, r#"{"error":{"details":{}}}"#] {
            let error = RawError::from_body(502, body.as_bytes()).to_google_error();

            assert_eq!((error.code, &*error.status), (502, "INTERNAL"), "{body}");
            assert_eq!(error.message, "the upstream answered 502 without a readable message");
        }
    }

    #[test]
    fn a_long_message_is_cut_and_a_key_in_it_masked() {
        let body = json!({"error": {"message": format!("key=abc {}", "ä".repeat(9000))}}).to_string();

        let message = RawError::from_body(400, body.as_bytes()).to_google_error().message;

        assert!(message.starts_with("key=[redacted] ä"));
        assert!(message.chars().count() < 4100);
    }

    #[test]
    fn the_envelope_can_be_read_back() {
        let error =
            RawError::from_body(404, br#"{"error":{"code":404,"message":"a \"b\"","status":"NOT_FOUND"}}"#);

        let again = RawError::from_body(404, &error.to_google_error().to_json());

        assert_eq!(again.to_google_error(), error.to_google_error());
    }
}
