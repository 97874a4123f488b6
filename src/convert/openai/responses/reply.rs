//! One answer of Gemini's being read, event by event, into the items of an output.
//!
//! One item is open at a time; what is of another kind closes it. Every change is told as the event that a stream's client
//! would see, so that the output, put together from the events, is the one that is kept here.

use std::mem::take;

use super::{
    ids,
    response::ResponseMeta,
    seal,
    stream::Event,
    types::{
        Annotation, Content, IncompleteDetails, Item, Logs, Reasoning, Search, Source, Status, Summary, Usage,
    },
};
use crate::convert::{
    gemini::{
        call_ids,
        finish::{FinishKind, block_reason},
        response::{Blob, Candidate, FunctionCall, GenerateContentResponse, GroundingMetadata, Part, Text},
    },
    openai::{
        citations::Citations,
        logprobs,
        tool_call::{compact, free_text},
        usage,
    },
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

    fn think(&mut self, text: &str, meta: &ResponseMeta, each: &mut impl FnMut(Event<'_>)) {
        if self.open != Open::Reasoning {
            self.close(Status::Completed, each);
            self.add_reasoning(meta, each);
            self.open = Open::Reasoning;
        }
        let output_index = self.items.len() - 1;
        let Some(Item::Reasoning(Reasoning { id, summary, .. })) = self.items.last_mut() else { return };
        if summary.is_empty() {
            summary.push(Summary { text: String::new() });
            let event = Event { item_id: id, output_index, summary_index: Some(0), ..Event::default() };
            let empty = Some(&summary[0]);
            each(Event { name: "response.reasoning_summary_part.added", summary: empty, ..event });
        }
        summary[0].text.push_str(text);
        each(Event {
            name: "response.reasoning_summary_text.delta",
            item_id: id,
            output_index,
            summary_index: Some(0),
            delta: Some(text),
            ..Event::default()
        });
    }

    fn add_reasoning(&mut self, meta: &ResponseMeta, each: &mut impl FnMut(Event<'_>)) {
        let id = self.next_id("rs_", meta);
        self.add(Item::Reasoning(Reasoning { id, ..Reasoning::default() }), each);
    }

    fn write(&mut self, text: &str, meta: &ResponseMeta, each: &mut impl FnMut(Event<'_>)) {
        if self.open != Open::Message {
            self.close(Status::Completed, each);
            self.citations = Citations::default();
            let empty =
                Content::OutputText { text: String::new(), annotations: Vec::new(), logprobs: Vec::new() };
            self.add_message(empty, meta, each);
            self.open = Open::Message;
        }
        self.wrote = true;
        self.citations.add_text(text);
        let output_index = self.items.len() - 1;
        let Some(Item::Message { id, content, .. }) = self.items.last_mut() else { return };
        if let Some(Content::OutputText { text: whole, .. }) = content.first_mut() {
            whole.push_str(text);
        }
        each(Event {
            name: "response.output_text.delta",
            item_id: id,
            output_index,
            content_index: Some(0),
            delta: Some(text),
            logprobs: Some(&[]),
            ..Event::default()
        });
    }

    /// A message with its one part, which is empty so far.
    fn add_message(&mut self, part: Content, meta: &ResponseMeta, each: &mut impl FnMut(Event<'_>)) {
        let id = self.next_id("msg_", meta);
        let status = Status::InProgress;
        self.add(Item::Message { id, status, role: "assistant", content: Vec::new() }, each);
        let output_index = self.items.len() - 1;
        let Some(Item::Message { id, content, .. }) = self.items.last_mut() else { return };
        each(Event {
            name: "response.content_part.added",
            item_id: id,
            output_index,
            content_index: Some(0),
            part: Some(&part),
            ..Event::default()
        });
        content.push(part);
    }

    fn read_grounding(&mut self, grounding: &GroundingMetadata<'_>, each: &mut impl FnMut(Event<'_>)) {
        for query in &grounding.web_search_queries {
            if !self.queries.iter().any(|known| **known == **query) {
                self.queries.push(query.to_string());
            }
        }
        let uris = grounding.grounding_chunks.iter().filter_map(|chunk| chunk.web.as_ref()?.uri.as_deref());
        for url in uris {
            if !self.sources.iter().any(|known| known.url == url) {
                self.sources.push(Source { url: url.to_owned() });
            }
        }
        if self.open != Open::Message {
            return;
        }
        let found = self.citations.read(grounding);
        let output_index = self.items.len() - 1;
        let Some(Item::Message { id, content, .. }) = self.items.last_mut() else { return };
        let Some(Content::OutputText { annotations, .. }) = content.first_mut() else { return };
        for found in found {
            let found = found.url_citation;
            let (start_index, end_index) = (found.start_index, found.end_index);
            let annotation = Annotation { start_index, end_index, url: found.url, title: found.title };
            each(Event {
                name: "response.output_text.annotation.added",
                item_id: id,
                output_index,
                content_index: Some(0),
                annotation_index: Some(annotations.len()),
                annotation: Some(&annotation),
                ..Event::default()
            });
            annotations.push(annotation);
        }
    }

    /// A call comes whole. Its signature travels in the reasoning item before it.
    fn call(
        &mut self,
        call: &FunctionCall<'_>,
        signature: Option<&str>,
        meta: &ResponseMeta,
        each: &mut impl FnMut(Event<'_>),
    ) {
        let Some(function) = call.name.as_deref().filter(|name| !name.is_empty()) else { return };
        if signature.is_some() && self.open != Open::Reasoning {
            self.close(Status::Completed, each);
            self.add_reasoning(meta, each);
            self.open = Open::Reasoning;
        }
        if let (Some(signature), Some(Item::Reasoning(reasoning))) = (signature, self.items.last_mut()) {
            let sealed = seal::seal(&meta.gemini_model, signature);
            reasoning.encrypted_content = meta.include_encrypted.then(|| sealed.clone());
            reasoning.sealed = Some(sealed);
        }
        self.close(Status::Completed, each);
        let own_id = call.id.as_deref().filter(|id| call_ids::fits(id));
        let call_id = own_id.map_or_else(|| call_ids::mint("call_", &meta.id, 0, self.calls), str::to_owned);
        if let Some(signature) = signature {
            let (id, function) = (call_id.clone(), function.to_owned());
            self.signed.push(Signed { id, function, signature: signature.to_owned() });
        }
        self.calls += 1;
        let args = call.args.map_or("{}", |args| args.get());
        let (name, status) = (meta.names.to_client(function).to_owned(), Status::InProgress);
        if meta.names.is_free_text(function) {
            let id = self.next_id("ctc_", meta);
            self.add(Item::CustomToolCall { id, call_id, name, input: String::new(), status }, each);
            self.fill_call(free_text(args), each);
        } else {
            let id = self.next_id("fc_", meta);
            self.add(Item::FunctionCall { id, call_id, name, arguments: String::new(), status }, each);
            self.fill_call(compact(args).into_owned(), each);
        }
    }

    /// The text of a call that was just added.
    fn fill_call(&mut self, text: String, each: &mut impl FnMut(Event<'_>)) {
        let output_index = self.items.len() - 1;
        match self.items.last_mut() {
            Some(Item::FunctionCall { id, name, arguments, status, .. }) => {
                let event = || Event { item_id: id, output_index, ..Event::default() };
                each(Event { name: "response.function_call_arguments.delta", delta: Some(&text), ..event() });
                each(Event {
                    name: "response.function_call_arguments.done",
                    function: Some(name),
                    arguments: Some(&text),
                    ..event()
                });
                (*arguments, *status) = (text, Status::Completed);
            }
            Some(Item::CustomToolCall { id, input, status, .. }) => {
                let event = || Event { item_id: id, output_index, ..Event::default() };
                each(Event { name: "response.custom_tool_call_input.delta", delta: Some(&text), ..event() });
                each(Event { name: "response.custom_tool_call_input.done", input: Some(&text), ..event() });
                (*input, *status) = (text, Status::Completed);
            }
            _ => {}
        }
        self.done(each);
    }

    /// A picture comes whole; other media have no place in a response.
    fn draw(&mut self, blob: &Blob<'_>, meta: &ResponseMeta, each: &mut impl FnMut(Event<'_>)) {
        let Some(format) = blob.mime_type.as_deref().and_then(|kind| kind.strip_prefix("image/")) else {
            return;
        };
        self.close(Status::Completed, each);
        self.wrote = true;
        let (id, status) = (self.next_id("ig_", meta), Status::InProgress);
        self.add(
            Item::ImageGenerationCall { id, status, result: None, output_format: format.to_owned() },
            each,
        );
        self.tell("response.image_generation_call.in_progress", each);
        self.tell("response.image_generation_call.generating", each);
        self.tell("response.image_generation_call.completed", each);
        if let Some(Item::ImageGenerationCall { status, result, .. }) = self.items.last_mut() {
            let Text(data) = &blob.data;
            (*status, *result) = (Status::Completed, Some(data.clone().into_owned()));
        }
        self.done(each);
    }

    fn run(&mut self, code: &str, meta: &ResponseMeta, each: &mut impl FnMut(Event<'_>)) {
        self.close(Status::Completed, each);
        self.wrote = true;
        let (id, status) = (self.next_id("ci_", meta), Status::InProgress);
        let item = Item::CodeInterpreterCall {
            id,
            status,
            container_id: "gemini",
            code: String::new(),
            outputs: None,
        };
        self.add(item, each);
        self.tell("response.code_interpreter_call.in_progress", each);
        let output_index = self.items.len() - 1;
        if let Some(Item::CodeInterpreterCall { id, code: written, .. }) = self.items.last_mut() {
            let event = || Event { item_id: id, output_index, ..Event::default() };
            each(Event { name: "response.code_interpreter_call_code.delta", delta: Some(code), ..event() });
            each(Event { name: "response.code_interpreter_call_code.done", code: Some(code), ..event() });
            written.push_str(code);
        }
        self.tell("response.code_interpreter_call.interpreting", each);
        self.open = Open::Code;
    }

    /// What the code wrote; one that nobody ran is not told of.
    fn log(&mut self, logs: &str, each: &mut impl FnMut(Event<'_>)) {
        if self.open != Open::Code {
            return;
        }
        if let Some(Item::CodeInterpreterCall { outputs, .. }) = self.items.last_mut() {
            *outputs = Some(vec![Logs { logs: logs.to_owned() }]);
        }
        self.close_code(each);
        self.open = Open::Nothing;
    }

    fn close_code(&mut self, each: &mut impl FnMut(Event<'_>)) {
        self.tell("response.code_interpreter_call.completed", each);
        if let Some(Item::CodeInterpreterCall { status, .. }) = self.items.last_mut() {
            *status = Status::Completed;
        }
        self.done(each);
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

    fn close_reasoning(&mut self, each: &mut impl FnMut(Event<'_>)) {
        let output_index = self.items.len() - 1;
        if let Some(Item::Reasoning(Reasoning { id, summary, .. })) = self.items.last()
            && let Some(part) = summary.first()
        {
            let event = || Event { item_id: id, output_index, summary_index: Some(0), ..Event::default() };
            let text = Some(part.text.as_str());
            each(Event { name: "response.reasoning_summary_text.done", text, ..event() });
            each(Event { name: "response.reasoning_summary_part.done", summary: Some(part), ..event() });
        }
        self.done(each);
    }

    fn close_message(&mut self, ended: Status, each: &mut impl FnMut(Event<'_>)) {
        let output_index = self.items.len() - 1;
        if let Some(Item::Message { id, status, content, .. }) = self.items.last_mut() {
            *status = ended;
            let event = || Event { item_id: id, output_index, content_index: Some(0), ..Event::default() };
            match content.first() {
                Some(Content::OutputText { text, logprobs, .. }) => each(Event {
                    name: "response.output_text.done",
                    text: Some(text),
                    logprobs: Some(logprobs),
                    ..event()
                }),
                Some(Content::Refusal { refusal }) => {
                    each(Event { name: "response.refusal.done", refusal: Some(refusal), ..event() });
                }
                None => {}
            }
            each(Event { name: "response.content_part.done", part: content.first(), ..event() });
        }
        self.done(each);
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

    fn refuse(
        &mut self,
        words: String,
        status: Status,
        meta: &ResponseMeta,
        each: &mut impl FnMut(Event<'_>),
    ) {
        self.add_message(Content::Refusal { refusal: String::new() }, meta, each);
        let output_index = self.items.len() - 1;
        if let Some(Item::Message { id, content, .. }) = self.items.last_mut() {
            each(Event {
                name: "response.refusal.delta",
                item_id: id,
                output_index,
                content_index: Some(0),
                delta: Some(&words),
                ..Event::default()
            });
            *content = vec![Content::Refusal { refusal: words }];
        }
        self.close_message(status, each);
    }

    /// Gemini tells what it searched for when it is done, so this item comes last.
    fn tell_search(&mut self, meta: &ResponseMeta, each: &mut impl FnMut(Event<'_>)) {
        let (queries, sources) = (take(&mut self.queries), take(&mut self.sources));
        let query = queries.first().cloned().unwrap_or_default();
        let (id, status) = (self.next_id("ws_", meta), Status::InProgress);
        self.add(Item::WebSearchCall { id, status, action: Search { query, queries, sources } }, each);
        self.tell("response.web_search_call.in_progress", each);
        self.tell("response.web_search_call.searching", each);
        self.tell("response.web_search_call.completed", each);
        if let Some(Item::WebSearchCall { status, .. }) = self.items.last_mut() {
            *status = Status::Completed;
        }
        self.done(each);
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
