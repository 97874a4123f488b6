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
    finish::{Ending, Verdict},
    response::{Blob, Candidate, GenerateContentResponse, Part},
    signatures::{Signed, SignedText},
    stops::Stops,
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

/// How an answer ended.
#[derive(Debug)]
pub(super) struct End {
    /// OpenAI's `finish_reason`.
    pub reason: &'static str,
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
    stops: Stops,
    citations: Citations,
    ending: Ending,
    text: SignedText,
    /// What has a signature, for whoever remembers it.
    pub signed: Vec<Signed>,
    pub usage: ChatUsage,
    pub service_tier: Option<&'static str>,
}

impl Answer {
    pub fn new(choice: usize, meta: &ChatMeta) -> Self {
        let (stops, text) = (Stops::new(&meta.own_stops), SignedText::new(meta.is_signed));
        Self { choice, stops, text, ..Self::default() }
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
        if let Some(candidate) = response.candidates.first() {
            self.read_candidate(candidate, meta, each);
        }
        self.ending.read(response);
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
            if candidate.finish_reason.is_some() {
                self.let_out(each);
            }
            let found = self.citations.read(grounding);
            if !found.is_empty() {
                each(Piece::Citations(found));
            }
        }
    }

    fn read_part<'a>(&mut self, part: &'a Part<'a>, meta: &'a ChatMeta, each: &mut impl FnMut(Piece<'a>)) {
        if self.stops.hit().is_some() {
            return;
        }
        if let Some(text) = part.text.as_deref() {
            self.read_text(text, part, meta, each);
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
        if let Some((function, call)) =
            tool_call::read(part, meta, self.choice, self.calls).filter(|_| wanted)
        {
            self.let_out(each);
            self.calls += 1;
            self.signed.extend(Signed::call(&call.id, function, part.thought_signature.as_deref()));
            each(Piece::Call(call));
        }
    }

    fn read_text<'a>(
        &mut self,
        text: &'a str,
        part: &'a Part<'a>,
        meta: &ChatMeta,
        each: &mut impl FnMut(Piece<'a>),
    ) {
        if part.thought {
            if meta.show_thoughts && !text.is_empty() {
                each(Piece::Thought(text));
            }
            return;
        }
        self.text.add(text, part.thought_signature.as_deref());
        if !text.is_empty() {
            self.write(text, each);
        }
    }

    fn write<'a>(&mut self, text: &'a str, each: &mut impl FnMut(Piece<'a>)) {
        if self.after_block {
            self.write_break(each);
        }
        self.after_block = false;
        if self.stops.is_idle() {
            return self.say(Cow::Borrowed(text), each);
        }
        let sure = self.stops.push(text);
        if self.stops.hit().is_some() {
            self.text.mix();
        }
        self.say(Cow::Owned(sure), each);
    }

    /// Text that was held back, since other content follows it.
    fn let_out<'a>(&mut self, each: &mut impl FnMut(Piece<'a>)) {
        let held = self.stops.flush();
        self.say(Cow::Owned(held), each);
    }

    fn say<'a>(&mut self, text: Cow<'a, str>, each: &mut impl FnMut(Piece<'a>)) {
        if !text.is_empty() {
            self.wrote = true;
            self.citations.add_text(&text);
            each(Piece::Text(text));
        }
    }

    /// Content on lines of its own.
    fn write_block<'a>(&mut self, block: String, each: &mut impl FnMut(Piece<'a>)) {
        self.let_out(each);
        self.text.mix();
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

    /// Ends the content; more events must not follow.
    pub fn finish<'a>(&mut self, meta: &ChatMeta, each: &mut impl FnMut(Piece<'a>)) -> End {
        self.let_out(each);
        self.signed.extend(self.text.finish());
        let end = |reason| End { reason, refusal: None };
        if self.stops.hit().is_some() && self.calls == 0 {
            return end("stop");
        }
        match self.ending.verdict(self.calls > 0, self.wrote) {
            Verdict::Calls if meta.are_functions => end("function_call"),
            Verdict::Calls => end("tool_calls"),
            Verdict::Whole => end("stop"),
            Verdict::Length => end("length"),
            Verdict::Filtered(_) => end("content_filter"),
            Verdict::Refused(refusal) => End { refusal: Some(refusal), ..end("content_filter") },
            Verdict::Failed(words) => {
                each(Piece::Text(Cow::Owned(words.unwrap_or_default().to_owned())));
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
    use crate::convert::testing;

    fn end_of(json: &str) -> End {
        let response = serde_json::from_str(json).unwrap();
        let meta = ChatMeta::test();
        let mut answer = Answer::new(0, &meta);
        answer.read(&response, &meta, &mut |_| {});
        answer.finish(&meta, &mut |_| {})
    }

    #[test]
    fn every_ending_has_its_word() {
        let words = testing::endings().map(|answer| end_of(&answer).reason);

        assert_eq!(
            words,
            ["stop", "tool_calls", "length", "length", "content_filter", "content_filter", "stop", "stop"]
        );
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

        Answer::new(0, &meta).read(&response, &meta, &mut |piece| {
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
