//! What must be read of an answer of Google's own OpenAI layer while it is passed on as it comes.

use bytes::Bytes;
use serde::Deserialize;

use super::{
    answer_reader::Count,
    classify::{Classifier, Fault},
    redact::mask_key,
};
use crate::domain::{key::ApiKey, usage::Usage};

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
    prompt_tokens: Option<Count>,
    completion_tokens: Option<Count>,
    total_tokens: Option<Count>,
}

/// Looks at an event, or at a whole answer. What is no JSON is none of our business. The fault does not show the key.
pub fn look_at(data: &Bytes, key: &ApiKey, classifier: &Classifier) -> Seen {
    if data == "[DONE]" {
        return Seen { is_done: true, ..Seen::default() };
    }
    // An array is how this layer wraps its errors; a struct would take it for its fields.
    if data.trim_ascii_start().starts_with(b"[") {
        return Seen { fault: classifier.classify_error_event(&mask_key(data, key)), ..Seen::default() };
    }
    match serde_json::from_slice::<Chunk>(data) {
        Ok(chunk) if chunk.error.is_none() => Seen { usage: chunk.usage.map(usage), ..Seen::default() },
        Ok(_) => Seen { fault: classifier.classify_error_event(&mask_key(data, key)), ..Seen::default() },
        Err(_) => Seen::default(),
    }
}

/// This layer's `total_tokens` counts thoughts, its `completion_tokens` does not (recorded).
fn usage(counted: OpenAiUsage) -> Usage {
    let count = |count: Option<Count>| count.map_or(0, |count| count.0);
    let (prompt, completion) = (count(counted.prompt_tokens), count(counted.completion_tokens));
    let total = count(counted.total_tokens);
    Usage {
        prompt_token_count: prompt,
        candidates_token_count: completion,
        thoughts_token_count: total.saturating_sub(prompt + completion),
        total_token_count: total,
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(data: &'static str) -> Seen {
        look_at(&data.into(), &ApiKey::parse("a-key-of-the-tests").unwrap(), &Classifier::default())
    }

    #[test]
    fn thoughts_are_what_the_total_has_more_than_its_parts() {
        let seen =
            seen(r#"{"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":3,"total_tokens":31}}"#);

        let usage = seen.usage.unwrap();
        assert_eq!((usage.input(), usage.output(), usage.thoughts_token_count), (8, 23, 20));
    }

    #[test]
    fn absurd_counts_spoil_nothing() {
        let usage = |count: &str| {
            let body = format!(
                r#"{{"usage":{{"prompt_tokens":{count},"completion_tokens":{count},"total_tokens":{count}}}}}"#
            );
            look_at(&body.into(), &ApiKey::parse("a-key-of-the-tests").unwrap(), &Classifier::default())
                .usage
                .unwrap()
        };

        let huge = usage("18446744073709551615");
        assert_eq!((huge.prompt_token_count, huge.thoughts_token_count), (u32::MAX.into(), 0));
        for odd in ["-1", "1e300", "null", "99999999999999999999999", "\"many\""] {
            assert_eq!(usage(odd), Usage::default(), "{odd}");
        }
    }

    #[test]
    fn errors_wrapped_in_an_array_are_seen() {
        let body = r#"[{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}]"#;

        assert_eq!(seen(body).fault.unwrap().status, 503);
        assert!(seen("[DONE]").is_done);
    }
}
