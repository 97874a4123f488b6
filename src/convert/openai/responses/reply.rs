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
        finish::{Ending, Verdict},
        response::{Candidate, GenerateContentResponse, Part},
        signatures::{Signed, SignedText},
    },
    openai::{citations::Citations, logprobs, usage},
};

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
    ending: Ending,
    text: SignedText,
    /// What has a signature, for whoever remembers it.
    pub signed: Vec<Signed>,
    pub usage: Usage,
    pub service_tier: Option<&'static str>,
}

impl Reply {
    pub fn new(meta: &ResponseMeta) -> Self {
        Self { text: SignedText::new(meta.is_signed), ..Self::default() }
    }

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
        if let Some(candidate) = response.candidates.first() {
            self.read_candidate(candidate, meta, each);
        }
        self.ending.read(response);
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
    }

    fn read_part(&mut self, part: &Part<'_>, meta: &ResponseMeta, each: &mut impl FnMut(Event<'_>)) {
        if let Some(text) = part.text.as_deref().filter(|_| !part.thought) {
            self.text.add(text, part.thought_signature.as_deref());
        }
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
        self.signed.extend(self.text.finish());
        let ending = take(&mut self.ending);
        let verdict = ending.verdict(self.calls > 0, self.wrote);
        let reason = match &verdict {
            Verdict::Whole | Verdict::Calls | Verdict::Failed(_) => None,
            Verdict::Length => Some("max_output_tokens"),
            Verdict::Filtered(_) | Verdict::Refused(_) => Some("content_filter"),
        };
        let status = if reason.is_some() { Status::Incomplete } else { Status::Completed };
        self.close(status, each);
        match verdict {
            Verdict::Refused(refusal) => self.refuse(refusal, status, meta, each),
            Verdict::Failed(Some(words)) => {
                self.write(words, meta, each);
                self.close(status, each);
            }
            Verdict::Whole
            | Verdict::Calls
            | Verdict::Length
            | Verdict::Filtered(_)
            | Verdict::Failed(None) => {}
        }
        if !self.queries.is_empty() {
            self.tell_search(meta, each);
        }
        (status, reason.map(|reason| IncompleteDetails { reason }))
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
