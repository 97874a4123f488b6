//! Chat completions as OpenAI's clients read them.
//!
//! Source: types of openai 3.54.0 and recorded answers. `reasoning_content` and `extra_content` are conventions of other
//! servers (DeepSeek's and Google's) that the SDKs keep as extra fields.

use std::borrow::Cow;

use serde::Serialize;

use super::logprobs::Logprobs;

#[derive(Debug, Serialize)]
pub struct ChatCompletion<'a> {
    pub id: &'a str,
    pub object: &'static str,
    /// Unix seconds.
    pub created: i64,
    pub model: &'a str,
    pub choices: Vec<Choice<'a>>,
    pub usage: ChatUsage,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<&'static str>,
}

impl ChatCompletion<'_> {
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always serialise")
    }
}

#[derive(Debug, Serialize)]
pub struct Choice<'a> {
    pub index: usize,
    pub message: Message<'a>,
    /// `null` when they were not asked for, and from models that do not tell them.
    pub logprobs: Option<Logprobs>,
    pub finish_reason: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Message<'a> {
    pub role: &'static str,
    /// `null` when only tool calls or a refusal came.
    pub content: Option<Cow<'a, str>>,
    pub refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall<'a>>,
    /// The one call of a client that sent `functions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<Audio>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Annotation>,
}

/// What one chunk of a stream adds to the message; one field is set.
#[derive(Debug, Default, Serialize)]
pub(super) struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub tool_calls: &'a [ToolCall<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<&'a FunctionText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<&'a Audio>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub annotations: &'a [Annotation],
}

/// Sound; a whole answer has all fields, a chunk of a stream those that it adds.
#[derive(Debug, Serialize)]
pub struct Audio {
    pub id: String,
    /// Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Gemini tells none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<&'static str>,
    /// Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

#[derive(Debug, Serialize)]
pub struct ToolCall<'a> {
    /// Position among the calls of the answer; told in streams only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    pub id: Cow<'a, str>,
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<FunctionText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_content: Option<ExtraContent<'a>>,
}

#[derive(Debug, Serialize)]
pub struct FunctionText<'a> {
    pub name: &'a str,
    /// A JSON object as text.
    pub arguments: Cow<'a, str>,
}

#[derive(Debug, Serialize)]
pub struct CustomText<'a> {
    pub name: &'a str,
    pub input: String,
}

/// What the client must send back with the call.
#[derive(Debug, Serialize)]
pub struct ExtraContent<'a> {
    pub google: GoogleContent<'a>,
}

#[derive(Debug, Serialize)]
pub struct GoogleContent<'a> {
    pub thought_signature: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Annotation {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub url_citation: UrlCitation,
}

/// A stretch of the content, in characters, and its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UrlCitation {
    pub start_index: usize,
    pub end_index: usize,
    pub title: String,
    pub url: String,
}

/// Tokens; those of thoughts count as completion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ChatUsage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub total_tokens: u64,
    pub prompt_tokens_details: PromptTokensDetails,
    pub completion_tokens_details: CompletionTokensDetails,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PromptTokensDetails {
    pub cached_tokens: u64,
    pub audio_tokens: u64,
    pub image_tokens: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CompletionTokensDetails {
    pub reasoning_tokens: u64,
    pub audio_tokens: u64,
    pub image_tokens: u64,
    pub accepted_prediction_tokens: u64,
    pub rejected_prediction_tokens: u64,
}
