//! What the model says: thoughts, texts, refusals, and where they come from.

use super::{Open, Reply};
use crate::convert::{
    gemini::response::GroundingMetadata,
    openai::{
        citations::Citations,
        responses::{
            response::ResponseMeta,
            stream::Event,
            types::{Annotation, Content, Item, Reasoning, Source, Status, Summary},
        },
    },
};

impl Reply {
    pub(super) fn think(&mut self, text: &str, meta: &ResponseMeta, each: &mut impl FnMut(Event<'_>)) {
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

    pub(super) fn add_reasoning(&mut self, meta: &ResponseMeta, each: &mut impl FnMut(Event<'_>)) {
        let id = self.next_id("rs_", meta);
        self.add(Item::Reasoning(Reasoning { id, ..Reasoning::default() }), each);
    }

    pub(super) fn write(&mut self, text: &str, meta: &ResponseMeta, each: &mut impl FnMut(Event<'_>)) {
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
    pub(super) fn add_message(
        &mut self,
        part: Content,
        meta: &ResponseMeta,
        each: &mut impl FnMut(Event<'_>),
    ) {
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

    pub(super) fn refuse(
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

    pub(super) fn close_reasoning(&mut self, each: &mut impl FnMut(Event<'_>)) {
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

    pub(super) fn close_message(&mut self, ended: Status, each: &mut impl FnMut(Event<'_>)) {
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

    pub(super) fn read_grounding(
        &mut self,
        grounding: &GroundingMetadata<'_>,
        each: &mut impl FnMut(Event<'_>),
    ) {
        // Google tells an empty one now and then (recorded).
        for query in grounding.web_search_queries.iter().filter(|query| !query.is_empty()) {
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
}
