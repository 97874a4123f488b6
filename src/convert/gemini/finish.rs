//! Why an answer ended, or why there is none.

use super::response::{Candidate, GenerateContentResponse, PromptFeedback};

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

/// What the events of one answer say about its end.
#[derive(Debug, Default)]
pub struct Ending {
    finish: Option<Finish>,
    /// Why the prompt was blocked.
    block: Option<String>,
}

#[derive(Debug)]
struct Finish {
    kind: FinishKind,
    /// Google's name for it.
    name: String,
    message: Option<String>,
}

/// How an answer ended, as every dialect tells it in its own words. Texts are for the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    Whole,
    /// It ends with calls of functions, which decide, whatever Gemini's own reason says.
    Calls,
    Length,
    /// A filter broke it off.
    Filtered(String),
    /// There is none, and why.
    Refused(String),
    /// There is none, as the model failed; Gemini's words about it may take its place.
    Failed(Option<&'a str>),
}

impl Ending {
    pub fn read(&mut self, response: &GenerateContentResponse<'_>) {
        if let Some(reason) = response.prompt_feedback.as_ref().and_then(block_reason) {
            self.block = Some(reason);
        }
        if let Some(finish) = response.candidates.first().and_then(Finish::of) {
            self.finish = Some(finish);
        }
    }

    /// `calls`: functions were called; `wrote`: some visible content came.
    pub fn verdict(&self, calls: bool, wrote: bool) -> Verdict<'_> {
        if let Some(reason) = &self.block {
            return Verdict::Refused(format!("Gemini blocked the prompt: {reason}"));
        }
        if calls {
            return Verdict::Calls;
        }
        let Some(Finish { kind, name, message }) = &self.finish else {
            return Verdict::Whole;
        };
        let words = message.as_deref().unwrap_or(name);
        match kind {
            FinishKind::Length => Verdict::Length,
            FinishKind::Filter if wrote => Verdict::Filtered(format!("Gemini ended its answer: {words}")),
            FinishKind::Filter | FinishKind::Unclear if !wrote => {
                Verdict::Refused(format!("Gemini gave no answer: {words}"))
            }
            FinishKind::Malformed if !wrote => Verdict::Failed(message.as_deref()),
            FinishKind::Stop | FinishKind::Filter | FinishKind::Malformed | FinishKind::Unclear => {
                Verdict::Whole
            }
        }
    }
}

impl Finish {
    /// `None` while the answer goes on.
    fn of(candidate: &Candidate<'_>) -> Option<Self> {
        let name = candidate.finish_reason.as_deref().filter(|name| *name != "FINISH_REASON_UNSPECIFIED")?;
        let message = candidate.finish_message.as_deref().map(str::to_owned);
        Some(Self { kind: FinishKind::of(name), name: name.to_owned(), message })
    }
}

/// Google's name for the reason of a blocked prompt, with its words for it.
fn block_reason(feedback: &PromptFeedback<'_>) -> Option<String> {
    let reason = feedback.block_reason.as_deref().filter(|reason| *reason != "BLOCK_REASON_UNSPECIFIED")?;
    Some(match feedback.block_reason_message.as_deref() {
        Some(message) if !message.is_empty() => format!("{reason} ({message})"),
        _ => reason.to_owned(),
    })
}
