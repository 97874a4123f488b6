//! What must be read of an answer of Google's own OpenAI layer while it is passed on as it comes.

use serde::Deserialize;

use super::classify::{Fault, classify_error_event};
use crate::domain::usage::Usage;

/// What one event says.
#[derive(Debug, Default)]
pub struct Seen {
    /// `[DONE]`, the last event of a whole answer.
    pub is_done: bool,
    pub usage: Option<Usage>,
    pub fault: Option<Fault>,
}

#[derive(Deserialize)]
struct Chunk {
    usage: Option<OpenAiUsage>,
    #[serde(default)]
    error: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OpenAiUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

/// Looks at an event, or at a whole answer. What is no JSON is none of our business.
pub fn look_at(data: &[u8]) -> Seen {
    if data == b"[DONE]" {
        return Seen { is_done: true, ..Seen::default() };
    }
    // An array is how this layer wraps its errors; a struct would take it for its fields.
    if data.trim_ascii_start().starts_with(b"[") {
        return Seen { fault: classify_error_event(data), ..Seen::default() };
    }
    match serde_json::from_slice::<Chunk>(data) {
        Ok(chunk) if chunk.error.is_none() => Seen { usage: chunk.usage.map(usage), ..Seen::default() },
        Ok(_) => Seen { fault: classify_error_event(data), ..Seen::default() },
        Err(_) => Seen::default(),
    }
}

/// This layer's `total_tokens` counts thoughts, its `completion_tokens` does not (recorded).
fn usage(counted: OpenAiUsage) -> Usage {
    let told = counted.prompt_tokens + counted.completion_tokens;
    Usage {
        prompt_token_count: counted.prompt_tokens,
        candidates_token_count: counted.completion_tokens,
        thoughts_token_count: counted.total_tokens.saturating_sub(told),
        total_token_count: counted.total_tokens,
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_are_what_the_total_has_more_than_its_parts() {
        let seen =
            look_at(br#"{"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":3,"total_tokens":31}}"#);

        let usage = seen.usage.unwrap();
        assert_eq!((usage.input(), usage.output(), usage.thoughts_token_count), (8, 23, 20));
    }

    #[test]
    fn errors_wrapped_in_an_array_are_seen() {
        let body = br#"[{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}]"#;

        assert_eq!(look_at(body).fault.unwrap().status, 503);
        assert!(look_at(b"[DONE]").is_done);
    }
}
