//! One answer of Gemini's being read, event by event, into the steps that blocks are built of.

use std::borrow::Cow;

use serde_json::json;

use super::{
    citations::Citations,
    response::MessageMeta,
    signature::mark,
    types::{Citation, StopDetails, TokenCounts, ToolUse},
};
use crate::convert::gemini::{
    call_ids,
    finish::{Ending, Verdict},
    markdown,
    response::{Candidate, GenerateContentResponse, Part},
    signatures::{Signed, SignedText},
    stops::Stops,
    turns::to_raw,
};

/// What happens next to the content. One block is open at a time.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// A block begins.
    Start(Kind),
    /// More of the open block.
    Text(Cow<'a, str>),
    Thinking(&'a str),
    Signature(String),
    Citation(Citation),
    /// The open block ends.
    Stop,
    /// A whole block.
    Call(ToolUse<'a>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Thinking,
}

/// How an answer ended.
#[derive(Debug)]
pub(super) struct End {
    pub reason: &'static str,
    pub stop_sequence: Option<String>,
    pub details: Option<StopDetails>,
}

/// The state of one answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    open: Option<Kind>,
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
    pub usage: TokenCounts,
}

impl Answer {
    pub fn new(meta: &MessageMeta) -> Self {
        let (stops, text) = (Stops::new(&meta.own_stops), SignedText::new(meta.is_signed));
        Self { stops, text, ..Self::default() }
    }

    /// Takes the counts of an event; the last ones count.
    pub fn count(&mut self, response: &GenerateContentResponse<'_>) {
        if let Some(counts) = &response.usage_metadata
            && counts.prompt_token_count + counts.total_token_count > 0
        {
            self.usage = TokenCounts::of(counts);
        }
    }

    /// Hands over what an event says; a unary answer is one event.
    pub fn read<'a>(
        &mut self,
        response: &'a GenerateContentResponse<'a>,
        meta: &'a MessageMeta,
        each: &mut impl FnMut(Step<'a>),
    ) {
        self.count(response);
        if let Some(candidate) = response.candidates.first().filter(|_| !meta.is_mute) {
            self.read_candidate(candidate, meta, each);
        }
        self.ending.read(response);
    }

    fn read_candidate<'a>(
        &mut self,
        candidate: &'a Candidate<'a>,
        meta: &'a MessageMeta,
        each: &mut impl FnMut(Step<'a>),
    ) {
        for part in &candidate.content.parts {
            self.read_part(part, meta, each);
        }
        if let Some(grounding) = &candidate.grounding_metadata
            && self.open == Some(Kind::Text)
        {
            self.citations.read(grounding).into_iter().for_each(|citation| each(Step::Citation(citation)));
        }
    }

    fn read_part<'a>(&mut self, part: &'a Part<'a>, meta: &'a MessageMeta, each: &mut impl FnMut(Step<'a>)) {
        if self.stops.hit().is_some() {
            return;
        }
        if let Some(text) = part.text.as_deref().filter(|_| !part.thought) {
            self.text.add(text, part.thought_signature.as_deref());
        }
        if let Some(text) = part.text.as_deref().filter(|text| !text.is_empty()) {
            if !part.thought {
                self.write(text, meta, each);
            } else if meta.show_thoughts {
                self.switch_to(Kind::Thinking, meta, each);
                each(Step::Thinking(text));
            }
        }
        if let Some(image) = part.inline_data.as_ref().and_then(markdown::picture) {
            self.write_block(image, meta, each);
        }
        if let Some(code) = &part.executable_code {
            let language = code.language.as_deref().unwrap_or_default().to_ascii_lowercase();
            let code = code.code.as_deref().unwrap_or_default();
            self.write_block(markdown::fenced(&language, code), meta, each);
        }
        if let Some(output) = part.code_execution_result.as_ref().and_then(|result| result.output.as_deref())
        {
            self.write_block(markdown::fenced("", output), meta, each);
        }
        self.call(part, meta, each);
    }

    fn write<'a>(&mut self, text: &'a str, meta: &MessageMeta, each: &mut impl FnMut(Step<'a>)) {
        if self.after_block {
            self.say(Cow::Borrowed("\n\n"), meta, each);
        }
        self.after_block = false;
        if self.stops.is_idle() {
            return self.say(Cow::Borrowed(text), meta, each);
        }
        let sure = self.stops.push(text);
        if self.stops.hit().is_some() {
            self.text.mix();
        }
        self.say(Cow::Owned(sure), meta, each);
    }

    /// Content on lines of its own.
    fn write_block<'a>(&mut self, block: String, meta: &MessageMeta, each: &mut impl FnMut(Step<'a>)) {
        self.let_out(meta, each);
        self.text.mix();
        if self.wrote {
            self.say(Cow::Borrowed("\n\n"), meta, each);
        }
        self.say(Cow::Owned(block), meta, each);
        self.after_block = true;
    }

    /// Text that was held back, since other content follows it.
    fn let_out<'a>(&mut self, meta: &MessageMeta, each: &mut impl FnMut(Step<'a>)) {
        let held = self.stops.flush();
        self.say(Cow::Owned(held), meta, each);
    }

    fn say<'a>(&mut self, text: Cow<'a, str>, meta: &MessageMeta, each: &mut impl FnMut(Step<'a>)) {
        if !text.is_empty() {
            self.wrote = true;
            self.switch_to(Kind::Text, meta, each);
            each(Step::Text(text));
        }
    }

    fn switch_to<'a>(&mut self, kind: Kind, meta: &MessageMeta, each: &mut impl FnMut(Step<'a>)) {
        if self.open == Some(kind) {
            return;
        }
        self.close("", meta, each);
        self.open = Some(kind);
        each(Step::Start(kind));
    }

    /// Ends the open block; thoughts end with a signature, also with one that says nothing.
    fn close<'a>(&mut self, signature: &str, meta: &MessageMeta, each: &mut impl FnMut(Step<'a>)) {
        match self.open.take() {
            None => return,
            Some(Kind::Thinking) => each(Step::Signature(mark(&meta.gemini_model, signature))),
            Some(Kind::Text) => {}
        }
        each(Step::Stop);
    }

    /// A call, behind a thinking block that carries its signature.
    fn call<'a>(&mut self, part: &'a Part<'a>, meta: &'a MessageMeta, each: &mut impl FnMut(Step<'a>)) {
        let Some(call) = &part.function_call else { return };
        let Some(name) = call.name.as_deref().filter(|name| !name.is_empty()) else { return };
        if self.calls > 0 && !meta.parallel_tool_use {
            return;
        }
        self.let_out(meta, each);
        let signature = part.thought_signature.as_deref().unwrap_or_default();
        if !signature.is_empty() {
            self.switch_to(Kind::Thinking, meta, each);
        }
        self.close(signature, meta, each);
        let own_id = call.id.as_deref().filter(|id| call_ids::fits(id));
        let mint = || Cow::Owned(call_ids::mint("toolu_", &meta.id, 0, self.calls));
        let id = own_id.map_or_else(mint, Cow::Borrowed);
        self.signed.extend(Signed::call(&id, name, Some(signature)));
        let input = call.args.filter(|args| args.get().starts_with('{'));
        let input = input.map_or_else(|| to_raw(&json!({})), Cow::Borrowed);
        each(Step::Call(ToolUse { id, name: meta.names.to_client(name), input }));
        self.calls += 1;
    }

    /// Ends the content; more events must not follow.
    pub fn finish<'a>(&mut self, meta: &MessageMeta, each: &mut impl FnMut(Step<'a>)) -> End {
        self.let_out(meta, each);
        self.signed.extend(self.text.finish());
        let ending = std::mem::take(&mut self.ending);
        let verdict = ending.verdict(self.calls > 0, self.wrote);
        if let Verdict::Failed(Some(words)) = verdict
            && !meta.is_mute
        {
            self.say(Cow::Owned(words.to_owned()), meta, each);
        }
        self.close("", meta, each);
        self.end(verdict, meta)
    }

    fn end(&self, verdict: Verdict<'_>, meta: &MessageMeta) -> End {
        let end = |reason| End { reason, stop_sequence: None, details: None };
        // Calls from before the text that was stopped are still to be made.
        if let Some(stop) = self.stops.hit().filter(|_| self.calls == 0) {
            return End { stop_sequence: Some(stop.to_owned()), ..end("stop_sequence") };
        }
        match verdict {
            Verdict::Whole | Verdict::Failed(_) if meta.is_mute => end("max_tokens"),
            Verdict::Whole | Verdict::Failed(_) => end("end_turn"),
            Verdict::Calls => end("tool_use"),
            Verdict::Length => end("max_tokens"),
            Verdict::Filtered(explanation) | Verdict::Refused(explanation) => {
                let details = StopDetails { kind: "refusal", category: (), explanation };
                End { details: Some(details), ..end("refusal") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::testing;

    fn end_of(json: &str) -> End {
        let response = serde_json::from_str(json).unwrap();
        let meta = MessageMeta::test();
        let mut answer = Answer::new(&meta);
        answer.read(&response, &meta, &mut |_| {});
        answer.finish(&meta, &mut |_| {})
    }

    #[test]
    fn every_ending_has_its_word() {
        let words = testing::endings().map(|answer| end_of(&answer).reason);

        assert_eq!(
            words,
            [
                "end_turn",
                "tool_use",
                "max_tokens",
                "max_tokens",
                "refusal",
                "refusal",
                "end_turn",
                "end_turn"
            ]
        );
    }

    #[test]
    fn calls_before_a_stop_of_the_gateways_are_still_to_be_made() {
        let end_of = |parts: &str| {
            let json =
                format!(r#"{{"candidates":[{{"content":{{"parts":[{parts}]}},"finishReason":"STOP"}}]}}"#);
            let response = serde_json::from_str(&json).unwrap();
            let meta = MessageMeta { own_stops: vec!["END".to_owned()], ..MessageMeta::test() };
            let mut answer = Answer::new(&meta);
            answer.read(&response, &meta, &mut |_| {});
            answer.finish(&meta, &mut |_| {})
        };

        let call = r#"{"functionCall":{"name":"f","args":{}}}"#;
        let called = end_of(&format!(r#"{call},{{"text":"so END of it"}}"#));
        let stopped = end_of(r#"{"text":"so END of it"}"#);

        assert_eq!((called.reason, called.stop_sequence), ("tool_use", None));
        assert_eq!((stopped.reason, stopped.stop_sequence.as_deref()), ("stop_sequence", Some("END")));
    }

    #[test]
    fn a_blocked_prompt_is_a_refusal_with_its_reason() {
        let end = end_of(r#"{"promptFeedback":{"blockReason":"SAFETY","blockReasonMessage":"too hot"}}"#);

        assert_eq!(end.reason, "refusal");
        assert_eq!(end.details.unwrap().explanation, "Gemini blocked the prompt: SAFETY (too hot)");
    }
}
