//! One answer of Gemini's being read, event by event, into the pieces that OpenAI's clients know.

use std::borrow::Cow;

use super::{
    citations::Citations,
    logprobs::{self, Logprobs},
    markdown,
    response::ChatMeta,
    tool_call,
    types::{Annotation, ChatUsage, ToolCall},
    usage,
};
use crate::convert::gemini::{
    finish::{FinishKind, block_reason},
    response::{Blob, Candidate, GenerateContentResponse, Part},
};

/// What one event adds to the answer, in order.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    Thought(&'a str),
    Text(Cow<'a, str>),
    Call(ToolCall<'a>),
    Audio(&'a Blob<'a>),
    Logprobs(Logprobs),
    Citations(Vec<Annotation>),
}

/// A call of the model's that has a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCall {
    /// As the client knows it.
    pub id: String,
    /// Gemini's name of the function.
    pub function: String,
    pub signature: String,
}

impl SignedCall {
    fn of(part: &Part<'_>, id: &str) -> Option<Self> {
        let signature = part.thought_signature.as_deref().filter(|signature| !signature.is_empty())?;
        let function = part.function_call.as_ref()?.name.as_deref()?;
        Some(Self { id: id.to_owned(), function: function.to_owned(), signature: signature.to_owned() })
    }
}

/// How an answer ended.
#[derive(Debug)]
pub(super) struct End {
    /// OpenAI's `finish_reason`.
    pub reason: &'static str,
    /// Content that takes the place of a missing answer.
    pub text: Option<String>,
    pub refusal: Option<String>,
}

/// The state of one choice.
#[derive(Debug, Default)]
pub(super) struct Answer {
    choice: usize,
    calls: usize,
    /// Some visible content came.
    wrote: bool,
    /// The last content was a picture or a block of code, which the next text must not stick to.
    after_block: bool,
    citations: Citations,
    finish: Option<Finish>,
    block: Option<String>,
    /// Calls with signatures, for whoever remembers them.
    pub signed: Vec<SignedCall>,
    pub usage: ChatUsage,
    pub service_tier: Option<&'static str>,
}

#[derive(Debug)]
struct Finish {
    kind: FinishKind,
    /// Google's name and words for it.
    name: String,
    message: Option<String>,
}

impl Answer {
    pub fn new(choice: usize) -> Self {
        Self { choice, ..Self::default() }
    }

    /// Hands over what an event says; a unary answer is one event.
    pub fn read<'a>(
        &mut self,
        response: &'a GenerateContentResponse<'a>,
        meta: &'a ChatMeta,
        each: &mut impl FnMut(Piece<'a>),
    ) {
        if let Some(counts) = &response.usage_metadata
            && counts.prompt_token_count + counts.total_token_count > 0
        {
            self.usage = usage::of(counts);
            self.service_tier = usage::service_tier(counts);
        }
        if let Some(reason) = response.prompt_feedback.as_ref().and_then(block_reason) {
            self.block = Some(reason);
        }
        if let Some(candidate) = response.candidates.first() {
            self.read_candidate(candidate, meta, each);
        }
    }

    fn read_candidate<'a>(
        &mut self,
        candidate: &'a Candidate<'a>,
        meta: &'a ChatMeta,
        each: &mut impl FnMut(Piece<'a>),
    ) {
        for part in &candidate.content.parts {
            self.read_part(part, meta, each);
        }
        if let (Some(result), Some(alternatives)) = (&candidate.logprobs_result, meta.log_probabilities) {
            each(Piece::Logprobs(logprobs::read(result, alternatives)));
        }
        if let Some(grounding) = &candidate.grounding_metadata {
            let found = self.citations.read(grounding);
            if !found.is_empty() {
                each(Piece::Citations(found));
            }
        }
        if let Some(name) =
            candidate.finish_reason.as_deref().filter(|name| *name != "FINISH_REASON_UNSPECIFIED")
        {
            let message = candidate.finish_message.as_deref().map(str::to_owned);
            self.finish = Some(Finish { kind: FinishKind::of(name), name: name.to_owned(), message });
        }
    }

    fn read_part<'a>(&mut self, part: &'a Part<'a>, meta: &'a ChatMeta, each: &mut impl FnMut(Piece<'a>)) {
        if let Some(text) = part.text.as_deref().filter(|text| !text.is_empty()) {
            if !part.thought {
                self.write(text, each);
            } else if meta.show_thoughts {
                each(Piece::Thought(text));
            }
        }
        if let Some(image) = part.inline_data.as_ref().and_then(markdown::picture) {
            self.write_block(image, each);
        }
        if let Some(sound) = part.inline_data.as_ref().filter(|blob| is_sound(blob) && meta.speech.is_some())
        {
            self.wrote = true;
            each(Piece::Audio(sound));
        }
        if let Some(code) = &part.executable_code {
            let language = code.language.as_deref().unwrap_or_default().to_ascii_lowercase();
            self.write_block(markdown::fenced(&language, code.code.as_deref().unwrap_or_default()), each);
        }
        if let Some(output) = part.code_execution_result.as_ref().and_then(|result| result.output.as_deref())
        {
            self.write_block(markdown::fenced("", output), each);
        }
        let wanted = self.calls == 0 || meta.parallel_tool_calls && !meta.are_functions;
        if let Some(call) = tool_call::read(part, meta, self.choice, self.calls).filter(|_| wanted) {
            self.calls += 1;
            self.signed.extend(SignedCall::of(part, &call.id));
            each(Piece::Call(call));
        }
    }

    fn write<'a>(&mut self, text: &'a str, each: &mut impl FnMut(Piece<'a>)) {
        if self.after_block {
            self.write_break(each);
        }
        (self.wrote, self.after_block) = (true, false);
        self.citations.add_text(text);
        each(Piece::Text(Cow::Borrowed(text)));
    }

    /// Content on lines of its own.
    fn write_block<'a>(&mut self, block: String, each: &mut impl FnMut(Piece<'a>)) {
        if self.wrote {
            self.write_break(each);
        }
        (self.wrote, self.after_block) = (true, true);
        self.citations.add_other(&block);
        each(Piece::Text(Cow::Owned(block)));
    }

    fn write_break<'a>(&mut self, each: &mut impl FnMut(Piece<'a>)) {
        self.citations.add_other("\n\n");
        each(Piece::Text(Cow::Borrowed("\n\n")));
    }

    /// How the answer ended; calls decide, whatever Gemini's own reason says.
    pub fn end(&self, meta: &ChatMeta) -> End {
        let end = |reason| End { reason, text: None, refusal: None };
        if let Some(reason) = &self.block {
            return End {
                refusal: Some(format!("Gemini blocked the prompt: {reason}")),
                ..end("content_filter")
            };
        }
        if self.calls > 0 {
            return end(if meta.are_functions { "function_call" } else { "tool_calls" });
        }
        let Some(finish) = &self.finish else {
            return end("stop");
        };
        match finish.kind {
            FinishKind::Length => end("length"),
            FinishKind::Filter if self.wrote => end("content_filter"),
            FinishKind::Malformed if !self.wrote => End { text: finish.message.clone(), ..end("stop") },
            FinishKind::Filter | FinishKind::Unclear if !self.wrote => {
                let reason = finish.message.as_deref().unwrap_or(&finish.name);
                End { refusal: Some(format!("Gemini gave no answer: {reason}")), ..end("content_filter") }
            }
            FinishKind::Stop | FinishKind::Filter | FinishKind::Malformed | FinishKind::Unclear => {
                end("stop")
            }
        }
    }
}

fn is_sound(blob: &Blob<'_>) -> bool {
    blob.mime_type.as_deref().is_some_and(|mime_type| mime_type.starts_with("audio/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(json: &str) -> End {
        let response = serde_json::from_str(json).unwrap();
        let mut answer = Answer::new(0);
        let meta = ChatMeta::test();
        answer.read(&response, &meta, &mut |_| {});
        answer.end(&meta)
    }

    fn ended(reason: &str, parts: &str) -> &'static str {
        end_of(&format!(r#"{{"candidates":[{{"content":{{"parts":{parts}}},"finishReason":"{reason}"}}]}}"#))
            .reason
    }

    #[test]
    fn every_finish_reason_has_its_counterpart() {
        let text = r#"[{"text":"a"}]"#;
        let call = r#"[{"functionCall":{"name":"f"}}]"#;

        assert_eq!(ended("STOP", text), "stop");
        assert_eq!(ended("STOP", call), "tool_calls");
        assert_eq!(ended("MAX_TOKENS", text), "length");
        assert_eq!(ended("MAX_TOKENS", "[]"), "length");
        assert_eq!(ended("SAFETY", text), "content_filter");
        assert_eq!(ended("LANGUAGE", text), "stop");
        assert_eq!(ended("LANGUAGE", "[]"), "content_filter");
        assert_eq!(ended("MALFORMED_FUNCTION_CALL", "[]"), "stop");
        assert_eq!(ended("NEVER_HEARD_OF", text), "stop");
    }

    #[test]
    fn a_blocked_prompt_is_a_refusal_with_its_reason() {
        let end = end_of(r#"{"promptFeedback":{"blockReason":"SAFETY","blockReasonMessage":"too hot"}}"#);

        assert_eq!(end.reason, "content_filter");
        assert_eq!(end.refusal.as_deref(), Some("Gemini blocked the prompt: SAFETY (too hot)"));
    }

    #[test]
    fn pictures_and_code_stand_on_lines_of_their_own() {
        let json = r#"{"candidates":[{"content":{"parts":[
            {"text":"Look:"}, {"inlineData":{"mimeType":"image/png","data":"AA=="}}, {"text":"Nice."},
            {"executableCode":{"language":"PYTHON","code":"1+1\n"}}, {"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"2\n"}}
        ]}}]}"#;
        let response = serde_json::from_str(json).unwrap();
        let (meta, mut text) = (ChatMeta::test(), String::new());

        Answer::new(0).read(&response, &meta, &mut |piece| {
            if let Piece::Text(more) = piece {
                text.push_str(&more);
            }
        });

        assert_eq!(
            text,
            "Look:\n\n![image](data:image/png;base64,AA==)\n\nNice.\n\n```python\n1+1\n```\n\n```\n2\n```"
        );
    }
}
