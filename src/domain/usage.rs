//! What an answer cost, in Google's own counts.

use serde::{Deserialize, Serialize};

/// Tokens of one answer, from the last `usageMetadata` that it carried (earlier events may count less).
///
/// Source: `usageMetadata` of `GenerateContentResponse`; counts that Google leaves out are 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Includes the cached tokens.
    pub prompt_token_count: u64,
    pub cached_content_token_count: u64,
    /// Does not include thoughts.
    pub candidates_token_count: u64,
    pub thoughts_token_count: u64,
    pub tool_use_prompt_token_count: u64,
    pub total_token_count: u64,
}

impl Usage {
    /// Everything that was read: the prompt and what tools added to it.
    pub fn input(&self) -> u64 {
        self.prompt_token_count + self.tool_use_prompt_token_count
    }

    /// Everything that was written: the answer and the thoughts before it.
    pub fn output(&self) -> u64 {
        self.candidates_token_count + self.thoughts_token_count
    }
}

impl Usage {
    /// The cost of two requests.
    pub fn plus(self, other: Self) -> Self {
        Self {
            prompt_token_count: self.prompt_token_count + other.prompt_token_count,
            cached_content_token_count: self.cached_content_token_count + other.cached_content_token_count,
            tool_use_prompt_token_count: self.tool_use_prompt_token_count + other.tool_use_prompt_token_count,
            total_token_count: self.total_token_count + other.total_token_count,
            ..self.with_candidate(other)
        }
    }

    /// The cost of one request that was sent several times for several candidates: the prompt counts once.
    pub fn with_candidate(self, other: Self) -> Self {
        Self {
            candidates_token_count: self.candidates_token_count + other.candidates_token_count,
            thoughts_token_count: self.thoughts_token_count + other.thoughts_token_count,
            total_token_count: self.total_token_count + other.output(),
            ..self
        }
    }
}
