//! One answer of Gemini's being read, event by event, into the items of an output.
//!
//! One item is open at a time; what is of another kind closes it. Every change is told as the event that a stream's client
//! would see, so that the output, put together from the events, is the one that is kept here.

mod calls;
mod hosted;
mod told;

use std::mem::take;

use super::{
    ids,
    response::ResponseMeta,
    stream::Event,
    types::{Content, IncompleteDetails, Item, Source, Status, Usage},
};
use crate::convert::{
    gemini::{
        finish::{FinishKind, block_reason},
        response::{Candidate, GenerateContentResponse, Part},
    },
    openai::{citations::Citations, logprobs, usage},
};

/// A call whose signature somebody may have to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// As the client knows it.
    pub id: String,
    /// Gemini's name of the function.
    pub function: String,
    pub signature: String,
}

/// The kind of the last item, while more of it may come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Open {
    #[default]
    Nothing,
    Reasoning,
    Message,
    Code,
}

#[derive(Debug, Default)]
pub(super) struct Reply {
    pub items: Vec<Item>,
    open: Open,
    calls: usize,
    /// Some visible content came.
    wrote: bool,
    /// Of the message that is open.
    citations: Citations,
    queries: Vec<String>,
    sources: Vec<Source>,
    finish: Option<(FinishKind, String)>,
    block: Option<String>,
    pub signed: Vec<Signed>,
    pub usage: Usage,
    pub service_tier: Option<&'static str>,
}

impl Reply {
    /// Reads one event; a whole answer is one.
    pub fn read(
        &mut self,
        response: &GenerateContentResponse<'_>,
        meta: &ResponseMeta,
        each: &mut impl FnMut(Event<'_>),
    ) {
        if let Some(counts) = &response.usage_metadata
            && counts.prompt_token_count + counts.total_token_count > 0
        {
            self.usage = usage::of(counts).into();
            self.service_tier = usage::service_tier(counts);
        }
        if let Some(reason) = response.prompt_feedback.as_ref().and_then(block_reason) {
            self.block = Some(reason);
        }
        if let Some(candidate) = response.candidates.first() {
            self.read_candidate(candidate, meta, each);
        }
    }

    fn read_candidate(
        &mut self,
        candidate: &Candidate<'_>,
        meta: &ResponseMeta,
        each: &mut impl FnMut(Event<'_>),
    ) {
        for part in &candidate.content.parts {
            self.read_part(part, meta, each);
        }
        if let (Some(result), Some(alternatives)) = (&candidate.logprobs_result, meta.log_probabilities)
            && self.open == Open::Message
            && let Some(Item::Message { content, .. }) = self.items.last_mut()
            && let Some(Content::OutputText { logprobs, .. }) = content.first_mut()
        {
            logprobs.extend(logprobs::read(result, alternatives).content);
        }
        if let Some(grounding) = &candidate.grounding_metadata {
            self.read_grounding(grounding, each);
        }
        if let Some(name) =
            candidate.finish_reason.as_deref().filter(|name| *name != "FINISH_REASON_UNSPECIFIED")
        {
            let words = candidate.finish_message.as_deref().unwrap_or(name);
            self.finish = Some((FinishKind::of(name), words.to_owned()));
        }
    }

    fn read_part(&mut self, part: &Part<'_>, meta: &ResponseMeta, each: &mut impl FnMut(Event<'_>)) {
        if let Some(text) = part.text.as_deref().filter(|text| !text.is_empty()) {
            if !part.thought {
                self.write(text, meta, each);
            } else if meta.show_thoughts {
                self.think(text, meta, each);
            }
        }
        if let Some(blob) = &part.inline_data {
            self.draw(blob, meta, each);
        }
        if let Some(code) = &part.executable_code {
            self.run(code.code.as_deref().unwrap_or_default(), meta, each);
        }
        if let Some(result) = &part.code_execution_result {
            self.log(result.output.as_deref().unwrap_or_default(), each);
        }
        let is_wanted = self.calls == 0 || meta.parallel_tool_calls;
        if let Some(call) = part.function_call.as_ref().filter(|_| is_wanted) {
            let signature = part.thought_signature.as_deref().filter(|signature| !signature.is_empty());
            self.call(call, signature, meta, each);
        }
    }

    /// Ends the item that is open.
    fn close(&mut self, status: Status, each: &mut impl FnMut(Event<'_>)) {
        match take(&mut self.open) {
            Open::Nothing => {}
            Open::Reasoning => self.close_reasoning(each),
            Open::Message => self.close_message(status, each),
            Open::Code => self.close_code(each),
        }
    }

    /// Ends the answer and says how it ended.
    pub fn end(
        &mut self,
        meta: &ResponseMeta,
        each: &mut impl FnMut(Event<'_>),
    ) -> (Status, Option<IncompleteDetails>) {
        let incomplete = self.incomplete();
        let status = if incomplete.is_some() { Status::Incomplete } else { Status::Completed };
        self.close(status, each);
        if let Some(words) = self.words_instead() {
            match words {
                Instead::Text(text) => {
                    self.write(&text, meta, each);
                    self.close(status, each);
                }
                Instead::Refusal(refusal) => self.refuse(refusal, status, meta, each),
            }
        }
        if !self.queries.is_empty() {
            self.tell_search(meta, each);
        }
        (status, incomplete)
    }

    /// Why the answer is not whole; calls decide, whatever Gemini's own reason says.
    fn incomplete(&self) -> Option<IncompleteDetails> {
        let details = |reason| Some(IncompleteDetails { reason });
        if self.block.is_some() {
            return details("content_filter");
        }
        match self.finish.as_ref().map(|(kind, _)| *kind) {
            _ if self.calls > 0 => None,
            Some(FinishKind::Length) => details("max_output_tokens"),
            Some(FinishKind::Filter) => details("content_filter"),
            Some(FinishKind::Unclear) if !self.wrote => details("content_filter"),
            Some(FinishKind::Stop | FinishKind::Malformed | FinishKind::Unclear) | None => None,
        }
    }

    /// What takes the place of an answer that did not come.
    fn words_instead(&self) -> Option<Instead> {
        if let Some(reason) = &self.block {
            return Some(Instead::Refusal(format!("Gemini blocked the prompt: {reason}")));
        }
        if self.calls > 0 || self.wrote {
            return None;
        }
        let (kind, words) = self.finish.as_ref()?;
        match kind {
            FinishKind::Filter | FinishKind::Unclear => {
                Some(Instead::Refusal(format!("Gemini gave no answer: {words}")))
            }
            FinishKind::Malformed => Some(Instead::Text(words.clone())),
            FinishKind::Stop | FinishKind::Length => None,
        }
    }

    fn next_id(&self, prefix: &str, meta: &ResponseMeta) -> String {
        ids::of_output(prefix, &meta.id, self.items.len())
    }

    fn add(&mut self, item: Item, each: &mut impl FnMut(Event<'_>)) {
        let output_index = self.items.len();
        self.items.push(item);
        let item = self.items.last();
        each(Event { name: "response.output_item.added", output_index, item, ..Event::default() });
    }

    fn done(&self, each: &mut impl FnMut(Event<'_>)) {
        let (output_index, item) = (self.items.len() - 1, self.items.last());
        each(Event { name: "response.output_item.done", output_index, item, ..Event::default() });
    }

    /// Says how far the last item is.
    fn tell(&self, name: &'static str, each: &mut impl FnMut(Event<'_>)) {
        let item_id = self.items.last().map_or("", Item::id);
        each(Event { name, item_id, output_index: self.items.len() - 1, ..Event::default() });
    }
}

enum Instead {
    Text(String),
    Refusal(String),
}
