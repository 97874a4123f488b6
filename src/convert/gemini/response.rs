//! `GenerateContentResponse`, a whole answer or one event of a stream, and the entries of the model list.
//!
//! Google adds fields and enum values at any time and leaves out what is empty, so every field may be missing and names stay
//! text. Texts, pictures and arguments are borrowed from the body they were read from.

use std::{borrow::Cow, ops::Deref};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::domain::usage::Usage;

/// A text that is borrowed where it needs no unescaping. (serde borrows a `Cow` only where it is not inside an `Option`.)
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GenerateContentResponse<'a> {
    #[serde(borrow, deserialize_with = "null_as_default")]
    pub candidates: Vec<Candidate<'a>>,
    #[serde(borrow)]
    pub prompt_feedback: Option<PromptFeedback<'a>>,
    #[serde(borrow)]
    pub usage_metadata: Option<UsageMetadata<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Candidate<'a> {
    #[serde(borrow, deserialize_with = "null_as_default")]
    pub content: Content<'a>,
    #[serde(borrow)]
    pub finish_reason: Option<Text<'a>>,
    #[serde(borrow)]
    pub finish_message: Option<Text<'a>>,
    #[serde(borrow)]
    pub grounding_metadata: Option<GroundingMetadata<'a>>,
    #[serde(borrow)]
    pub logprobs_result: Option<LogprobsResult<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Content<'a> {
    #[serde(borrow, deserialize_with = "null_as_default")]
    pub parts: Vec<Part<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Part<'a> {
    #[serde(borrow)]
    pub text: Option<Text<'a>>,
    /// The text is a summary of thoughts and no part of the answer.
    #[serde(deserialize_with = "null_as_default")]
    pub thought: bool,
    #[serde(borrow)]
    pub thought_signature: Option<Text<'a>>,
    #[serde(borrow)]
    pub inline_data: Option<Blob<'a>>,
    #[serde(borrow)]
    pub function_call: Option<FunctionCall<'a>>,
    #[serde(borrow)]
    pub executable_code: Option<ExecutableCode<'a>>,
    #[serde(borrow)]
    pub code_execution_result: Option<CodeExecutionResult<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Blob<'a> {
    #[serde(borrow)]
    pub mime_type: Option<Text<'a>>,
    #[serde(borrow)]
    pub data: Text<'a>,
}

/// Without a name it closes a call that came in pieces, and says nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct FunctionCall<'a> {
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// A JSON object; missing means `{}`.
    #[serde(borrow)]
    pub args: Option<&'a RawValue>,
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ExecutableCode<'a> {
    #[serde(borrow)]
    pub language: Option<Text<'a>>,
    #[serde(borrow)]
    pub code: Option<Text<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CodeExecutionResult<'a> {
    #[serde(borrow)]
    pub output: Option<Text<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PromptFeedback<'a> {
    #[serde(borrow)]
    pub block_reason: Option<Text<'a>>,
    #[serde(borrow)]
    pub block_reason_message: Option<Text<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroundingMetadata<'a> {
    #[serde(borrow, deserialize_with = "null_as_default")]
    pub grounding_chunks: Vec<GroundingChunk<'a>>,
    #[serde(borrow, deserialize_with = "null_as_default")]
    pub grounding_supports: Vec<GroundingSupport<'a>>,
    /// What was searched for.
    #[serde(borrow, deserialize_with = "null_as_default")]
    pub web_search_queries: Vec<Text<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct GroundingChunk<'a> {
    #[serde(borrow)]
    pub web: Option<WebChunk<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct WebChunk<'a> {
    #[serde(borrow)]
    pub uri: Option<Text<'a>>,
    #[serde(borrow)]
    pub title: Option<Text<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroundingSupport<'a> {
    #[serde(borrow)]
    pub segment: Option<Segment<'a>>,
    #[serde(deserialize_with = "null_as_default")]
    pub grounding_chunk_indices: Vec<usize>,
}

/// A stretch of the answer, in UTF-8 bytes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Segment<'a> {
    pub start_index: usize,
    pub end_index: usize,
    #[serde(borrow)]
    pub text: Option<Text<'a>>,
}

/// Log probabilities of the tokens of an answer, or of one event.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogprobsResult<'a> {
    #[serde(borrow, deserialize_with = "null_as_default")]
    pub chosen_candidates: Vec<TokenCandidate<'a>>,
    /// One list for each chosen token.
    #[serde(borrow, deserialize_with = "null_as_default")]
    pub top_candidates: Vec<TopCandidates<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TopCandidates<'a> {
    #[serde(borrow, deserialize_with = "null_as_default")]
    pub candidates: Vec<TokenCandidate<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenCandidate<'a> {
    #[serde(borrow)]
    pub token: Text<'a>,
    pub log_probability: f64,
}

/// Counts of tokens; those that are missing are 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UsageMetadata<'a> {
    pub prompt_token_count: u64,
    pub cached_content_token_count: u64,
    pub candidates_token_count: u64,
    pub thoughts_token_count: u64,
    pub tool_use_prompt_token_count: u64,
    pub total_token_count: u64,
    #[serde(borrow, deserialize_with = "null_as_default")]
    pub prompt_tokens_details: Vec<ModalityCount<'a>>,
    #[serde(borrow, deserialize_with = "null_as_default")]
    pub candidates_tokens_details: Vec<ModalityCount<'a>>,
    #[serde(borrow)]
    pub service_tier: Option<Text<'a>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModalityCount<'a> {
    #[serde(borrow)]
    pub modality: Option<Text<'a>>,
    pub token_count: u64,
}

impl<'a> GroundingMetadata<'a> {
    /// Each stretch of the answer, where Google tells it, with each page that it rests on and that has an address.
    pub fn cited(&self) -> impl Iterator<Item = (Option<&Segment<'a>>, &str, Option<&str>)> {
        self.grounding_supports.iter().flat_map(|support| {
            let chunks =
                support.grounding_chunk_indices.iter().filter_map(|at| self.grounding_chunks.get(*at));
            let pages = chunks.filter_map(|chunk| chunk.web.as_ref());
            pages
                .filter_map(|web| Some((support.segment.as_ref(), web.uri.as_deref()?, web.title.as_deref())))
        })
    }
}

impl UsageMetadata<'_> {
    pub fn counts(&self) -> Usage {
        Usage {
            prompt_token_count: self.prompt_token_count,
            cached_content_token_count: self.cached_content_token_count,
            candidates_token_count: self.candidates_token_count,
            thoughts_token_count: self.thoughts_token_count,
            tool_use_prompt_token_count: self.tool_use_prompt_token_count,
            total_token_count: self.total_token_count,
        }
    }
}
/// `null` where a list or object is expected is the same as nothing.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> GenerateContentResponse<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn missing_empty_and_unknown_fields_are_no_errors() {
        for json in [
            "{}",
            r#"{"candidates":null,"usageMetadata":null}"#,
            r#"{"candidates":[{}]}"#,
            r#"{"candidates":[{"content":null,"finishReason":"NEVER_HEARD_OF"}]}"#,
            r#"{"candidates":[{"content":{"parts":null,"new":1}}],"later":{}}"#,
            r#"{"candidates":[{"content":{"parts":[{},{"functionCall":{}}]}}]}"#,
        ] {
            let candidates = read(json).candidates.len();
            assert!(candidates <= 1, "{json}");
        }
    }

    #[test]
    fn a_text_without_escapes_is_borrowed() {
        let response = read(r#"{"candidates":[{"content":{"parts":[{"text":"plain"},{"text":"a\nb"}]}}]}"#);

        let parts = &response.candidates[0].content.parts;

        assert!(matches!(&parts[0].text, Some(Text(Cow::Borrowed("plain")))));
        assert_eq!(parts[1].text.as_deref(), Some("a\nb"));
    }
}
