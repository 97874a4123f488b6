//! What Gemini does by itself: pictures, code that runs, searches.

use std::mem::take;

use super::{Open, Reply};
use crate::convert::{
    gemini::response::{Blob, Text},
    openai::responses::{
        response::ResponseMeta,
        stream::Event,
        types::{Item, Logs, Search, Status},
    },
};

impl Reply {
    /// A picture comes whole; other media have no place in a response.
    pub(super) fn draw(&mut self, blob: &Blob<'_>, meta: &ResponseMeta, each: &mut impl FnMut(Event<'_>)) {
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

    pub(super) fn run(&mut self, code: &str, meta: &ResponseMeta, each: &mut impl FnMut(Event<'_>)) {
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
    pub(super) fn log(&mut self, logs: &str, each: &mut impl FnMut(Event<'_>)) {
        if self.open != Open::Code {
            return;
        }
        if let Some(Item::CodeInterpreterCall { outputs, .. }) = self.items.last_mut() {
            *outputs = Some(vec![Logs { logs: logs.to_owned() }]);
        }
        self.close_code(each);
        self.open = Open::Nothing;
    }

    pub(super) fn close_code(&mut self, each: &mut impl FnMut(Event<'_>)) {
        self.tell("response.code_interpreter_call.completed", each);
        if let Some(Item::CodeInterpreterCall { status, .. }) = self.items.last_mut() {
            *status = Status::Completed;
        }
        self.done(each);
    }

    /// Gemini tells what it searched for when it is done, so this item comes last.
    pub(super) fn tell_search(&mut self, meta: &ResponseMeta, each: &mut impl FnMut(Event<'_>)) {
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
}
