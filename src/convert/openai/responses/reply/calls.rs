//! Calls of the client's own tools.

use super::{Open, Reply};
use crate::convert::{
    gemini::{call_ids, response::FunctionCall, signatures::Signed},
    openai::{
        responses::{
            response::ResponseMeta,
            seal,
            stream::Event,
            types::{Item, Status},
        },
        tool_call::{compact, free_text},
    },
};

impl Reply {
    /// A call comes whole. Its signature travels in the reasoning item before it.
    pub(super) fn call(
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
        self.signed.extend(Signed::call(&call_id, function, signature));
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
}
