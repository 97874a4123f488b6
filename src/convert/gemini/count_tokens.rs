//! `countTokens`: how much a request would read.

use serde::{Deserialize, Serialize};

use super::GenerateContentRequest;

/// Body of `countTokens` for a whole request, system instruction and tools included.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CountTokensRequest<'a> {
    pub generate_content_request: CountedRequest<'a>,
}

/// A request that names its model, as Google wants it here.
#[derive(Debug, Serialize)]
pub struct CountedRequest<'a> {
    /// `models/ID`.
    pub model: &'a str,
    #[serde(flatten)]
    pub request: GenerateContentRequest<'a>,
}

impl CountTokensRequest<'_> {
    /// The JSON that goes to Google.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, numbers and maps with string keys always serialise")
    }
}

/// Answer of `countTokens`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CountTokensResponse {
    pub total_tokens: u64,
}
