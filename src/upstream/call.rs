//! One request as it goes to Google: everything but the key.

use actix_web::http::{
    Method,
    header::{HeaderName, HeaderValue},
};
use bytes::Bytes;

use crate::domain::model::ModelName;

/// A request that any key could send. It is kept whole until the answer has begun, so that another key can repeat it.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    /// Path and query at Google, with the version that the client chose: `/v1beta/models/m:generateContent`.
    pub target: String,
    /// What quotas and cooldowns are counted for.
    pub model: ModelName,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
    pub credential: Credential,
    pub answer: AnswerKind,
}

/// How the key is sent; always exactly one credential, and never in the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// `x-goog-api-key`
    ApiKeyHeader,
    /// `Authorization: Bearer`, on Google's OpenAI layer.
    Bearer,
}

/// What a good answer looks like, which tells whether one is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerKind {
    /// `GenerateContentResponse`, whole or as events.
    Generation,
    /// Any other JSON: token counts, embeddings, models.
    Plain,
    /// An answer of Google's OpenAI layer, passed on as it comes.
    OpenAi,
}
