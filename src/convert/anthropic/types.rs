//! Messages as Anthropic's clients read them.
//!
//! Source: types of anthropic 2.12.0 and recorded answers of versions 2023-06-01 and 2026-10-21.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::convert::gemini::response::UsageMetadata;

#[derive(Debug, Serialize)]
pub struct Message<'a> {
    pub id: &'a str,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub role: &'static str,
    /// As the client wrote it.
    pub model: &'a str,
    pub content: Vec<ContentBlock<'a>>,
    /// `null` at the start of a stream only.
    pub stop_reason: Option<&'static str>,
    pub stop_sequence: Option<String>,
    pub stop_details: Option<StopDetails>,
    pub usage: MessageUsage,
}

impl Message<'_> {
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, numbers and raw JSON always serialise")
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ContentBlock<'a> {
    Text { text: Cow<'a, str>, citations: Option<Vec<Citation>> },
    Thinking { thinking: Cow<'a, str>, signature: String },
    ToolUse(ToolUse<'a>),
}

#[derive(Debug, Serialize)]
pub struct ToolUse<'a> {
    pub id: Cow<'a, str>,
    pub name: &'a str,
    /// A JSON object.
    pub input: Cow<'a, RawValue>,
}

/// A stretch of the text and the page behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Citation {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub cited_text: String,
    pub url: String,
    pub title: Option<String>,
    /// Only Anthropic's own search has one; always empty.
    pub encrypted_index: &'static str,
}

/// Why there is no answer, or only a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StopDetails {
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Always `null`: Google's categories are others.
    pub category: (),
    pub explanation: String,
}

/// The cost of a message.
#[derive(Debug, Serialize)]
pub struct MessageUsage {
    #[serde(flatten)]
    pub counts: TokenCounts,
    pub cache_creation: CacheCreation,
    pub service_tier: &'static str,
}

/// Always 0: Gemini fills its cache without counting.
#[derive(Debug, Default, Serialize)]
pub struct CacheCreation {
    pub ephemeral_5m_input_tokens: u64,
    pub ephemeral_1h_input_tokens: u64,
}

/// Tokens. Those that were read from a cache are counted apart from the input, thoughts within the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TokenCounts {
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cache_creation_input_tokens: u64,
    pub cache_read_input_tokens: u64,
    pub output_tokens_details: OutputTokensDetails,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OutputTokensDetails {
    pub thinking_tokens: u64,
}

impl From<TokenCounts> for MessageUsage {
    fn from(counts: TokenCounts) -> Self {
        Self { counts, cache_creation: CacheCreation::default(), service_tier: "standard" }
    }
}

impl TokenCounts {
    pub(super) fn of(counts: &UsageMetadata<'_>) -> Self {
        let usage = counts.counts();
        Self {
            input_tokens: usage.input().saturating_sub(usage.cached_content_token_count),
            output_tokens: usage.output(),
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: usage.cached_content_token_count,
            output_tokens_details: OutputTokensDetails { thinking_tokens: usage.thoughts_token_count },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_tokens_are_no_input_and_thoughts_are_output() {
        let json = r#"{"promptTokenCount": 10, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 3,
            "thoughtsTokenCount": 4, "cachedContentTokenCount": 2, "totalTokenCount": 22}"#;

        let usage = TokenCounts::of(&serde_json::from_str(json).unwrap());

        assert_eq!((usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens), (13, 2, 7));
        assert_eq!(usage.output_tokens_details.thinking_tokens, 4);
    }
}
