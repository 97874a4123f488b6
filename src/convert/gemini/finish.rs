//! Why an answer ended, or why there is none.

use super::response::PromptFeedback;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishKind {
    Stop,
    Length,
    Filter,
    /// The model failed to write a usable function call.
    Malformed,
    /// No fault of the prompt's, or a name that we have not heard of.
    Unclear,
}

impl FinishKind {
    /// Of Google's name for it.
    pub fn of(name: &str) -> Self {
        match name {
            "STOP" => Self::Stop,
            "MAX_TOKENS" => Self::Length,
            "SAFETY"
            | "PROHIBITED_CONTENT"
            | "BLOCKLIST"
            | "SPII"
            | "RECITATION"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION"
            | "MODEL_ARMOR" => Self::Filter,
            "MALFORMED_FUNCTION_CALL"
            | "UNEXPECTED_TOOL_CALL"
            | "TOO_MANY_TOOL_CALLS"
            | "MALFORMED_RESPONSE" => Self::Malformed,
            _ => Self::Unclear,
        }
    }
}

/// Google's name for the reason of a blocked prompt, with its words for it.
pub fn block_reason(feedback: &PromptFeedback<'_>) -> Option<String> {
    let reason = feedback.block_reason.as_deref().filter(|reason| *reason != "BLOCK_REASON_UNSPECIFIED")?;
    Some(match feedback.block_reason_message.as_deref() {
        Some(message) if !message.is_empty() => format!("{reason} ({message})"),
        _ => reason.to_owned(),
    })
}
