//! Responses and their items as OpenAI's clients read them.
//!
//! Source: types of openai 3.54.0 and recorded answers.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::convert::openai::{logprobs::Token, types::ChatUsage};

/// The object around an output. `echo` holds what the request said, in the form that OpenAI tells it.
#[derive(Debug, Serialize)]
pub struct Response<'a> {
    pub id: &'a str,
    pub object: &'static str,
    /// Unix seconds.
    pub created_at: i64,
    pub completed_at: Option<i64>,
    pub status: Status,
    pub error: Option<ResponseError<'a>>,
    pub incomplete_details: Option<IncompleteDetails>,
    pub output: &'a [Item],
    /// `null` while it runs.
    pub usage: Option<Usage>,
    pub service_tier: &'a str,
    #[serde(flatten)]
    pub echo: &'a Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    InProgress,
    Completed,
    Incomplete,
    Failed,
    Cancelled,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct ResponseError<'a> {
    /// One of a closed list that SDKs check.
    pub code: &'static str,
    pub message: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct IncompleteDetails {
    pub reason: &'static str,
}

/// One item of an output.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Item {
    Reasoning(Reasoning),
    Message {
        id: String,
        status: Status,
        role: &'static str,
        content: Vec<Content>,
    },
    FunctionCall {
        id: String,
        call_id: String,
        name: String,
        /// A JSON object as text.
        arguments: String,
        status: Status,
    },
    CustomToolCall {
        id: String,
        call_id: String,
        name: String,
        input: String,
        status: Status,
    },
    WebSearchCall {
        id: String,
        status: Status,
        action: Search,
    },
    CodeInterpreterCall {
        id: String,
        status: Status,
        container_id: &'static str,
        code: String,
        outputs: Option<Vec<Logs>>,
    },
    ImageGenerationCall {
        id: String,
        status: Status,
        /// Base64.
        result: Option<String>,
        output_format: String,
    },
}

impl Item {
    pub fn id(&self) -> &str {
        match self {
            Self::Reasoning(Reasoning { id, .. })
            | Self::Message { id, .. }
            | Self::FunctionCall { id, .. }
            | Self::CustomToolCall { id, .. }
            | Self::WebSearchCall { id, .. }
            | Self::CodeInterpreterCall { id, .. }
            | Self::ImageGenerationCall { id, .. } => id,
        }
    }
}

/// Thoughts, as far as they are told, and what the next turn needs of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Reasoning {
    pub id: String,
    pub summary: Vec<Summary>,
    /// The signature of the call that follows; left out unless the client asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted_content: Option<String>,
    /// The same, for whoever keeps the response.
    #[serde(skip)]
    pub sealed: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "summary_text")]
pub struct Summary {
    pub text: String,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Content {
    OutputText { text: String, annotations: Vec<Annotation>, logprobs: Vec<Token> },
    Refusal { refusal: String },
}

/// A stretch of the text, in characters, and its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "url_citation")]
pub struct Annotation {
    pub start_index: usize,
    pub end_index: usize,
    pub url: String,
    pub title: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "search")]
pub struct Search {
    pub query: String,
    pub queries: Vec<String>,
    pub sources: Vec<Source>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "url")]
pub struct Source {
    pub url: String,
}

/// What code wrote while it ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "logs")]
pub struct Logs {
    pub logs: String,
}

/// Tokens; those of thoughts count as output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    pub input_tokens: u64,
    pub input_tokens_details: InputTokensDetails,
    pub output_tokens: u64,
    pub output_tokens_details: OutputTokensDetails,
    pub total_tokens: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct InputTokensDetails {
    pub cached_tokens: u64,
    pub cache_write_tokens: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OutputTokensDetails {
    pub reasoning_tokens: u64,
}

impl From<ChatUsage> for Usage {
    fn from(usage: ChatUsage) -> Self {
        Self {
            input_tokens: usage.prompt_tokens,
            input_tokens_details: InputTokensDetails {
                cached_tokens: usage.prompt_tokens_details.cached_tokens,
                cache_write_tokens: 0,
            },
            output_tokens: usage.completion_tokens,
            output_tokens_details: OutputTokensDetails {
                reasoning_tokens: usage.completion_tokens_details.reasoning_tokens,
            },
            total_tokens: usage.total_tokens,
        }
    }
}
