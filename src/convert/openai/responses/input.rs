//! The input of a request as the messages of a chat.

use serde_json::{Value, json};

use super::{
    items::{self, Said},
    seal,
};
use crate::convert::{
    ConvertError,
    json::{At, Object, array, wrong_type},
    openai::message::{Message, UserPart},
};

/// More items than any conversation has; a bound on the work that one request can cause.
const MAX_ITEMS: usize = 20_000;

/// `input` as a list of items; a text is one message of the user's.
pub(super) fn list(value: Option<Value>, at: At<'_>) -> Result<Vec<Value>, ConvertError> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![json!({"role": "user", "content": text})]),
        Some(items @ Value::Array(_)) => {
            let items = array(items, &at)?;
            if items.len() > MAX_ITEMS {
                let (param, length) = (at.to_string(), items.len());
                return Err(ConvertError::ArrayTooLong { param, max: MAX_ITEMS, length });
            }
            Ok(items)
        }
        Some(other) => Err(wrong_type(&at, "a string or an array of objects", &other)),
    }
}

/// The ids that the items refer to.
pub fn references(items: &[Value]) -> impl Iterator<Item = &str> {
    items.iter().filter_map(reference)
}

/// The id of a reference. Its type may be left out, as messages have a role.
fn reference(item: &Value) -> Option<&str> {
    let is_reference = match item.get("type") {
        None | Some(Value::Null) => item.get("role").is_none() && item.get("content").is_none(),
        Some(kind) => kind == "item_reference",
    };
    item.get("id").filter(|_| is_reference)?.as_str()
}

/// Builds the messages; keeps a signature until the call comes that it belongs to.
pub(super) struct Reader<'m> {
    /// Gemini's name of the model, which alone knows its signatures.
    model: &'m str,
    signature: Option<String>,
    pub messages: Vec<Message>,
}

impl<'m> Reader<'m> {
    pub fn new(model: &'m str) -> Self {
        Self { model, signature: None, messages: Vec::new() }
    }

    /// Reads items; `find` knows those that others refer to.
    pub fn read(
        &mut self,
        items: Vec<Value>,
        at: At<'_>,
        find: impl Fn(&str) -> Option<Value>,
    ) -> Result<(), ConvertError> {
        for (index, item) in items.into_iter().enumerate() {
            let item = match reference(&item) {
                Some(id) => find(id).ok_or_else(|| ConvertError::ItemNotFound { id: id.to_owned() })?,
                None if item.get("type").is_some_and(|kind| kind == "item_reference") => {
                    let place = at.index(index);
                    Object::read(item, place)?.require_string("id").map(Value::from)?
                }
                None => item,
            };
            self.add(items::read(item, at.index(index))?);
        }
        Ok(())
    }

    fn add(&mut self, said: Said) {
        match said {
            Said::Sealed(sealed) => self.signature = seal::open(&sealed, self.model).map(str::to_owned),
            Said::Nothing => {}
            Said::Message(mut message) => {
                if let Message::Assistant { calls, .. } = &mut message
                    && let Some(call) = calls.first_mut()
                {
                    call.signature = self.signature.take();
                } else if matches!(message, Message::User(_) | Message::Tool { .. }) {
                    self.signature = None;
                }
                self.messages.push(message);
            }
        }
    }
}

/// An input without a word is a space, since Gemini must be asked something.
pub(super) fn or_a_space(messages: &mut Vec<Message>) {
    if messages.is_empty() {
        messages.push(Message::User(vec![UserPart::Text(String::new())]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signatures(items: Value) -> Vec<Option<String>> {
        let mut reader = Reader::new("gemini-3.8-flash");
        let items = list(Some(items), At::Root.key("input")).unwrap();
        reader.read(items, At::Root.key("input"), |_| None).unwrap();
        let calls = reader.messages.into_iter().filter_map(|message| match message {
            Message::Assistant { calls, .. } => Some(calls),
            _ => None,
        });
        calls.flatten().map(|call| call.signature).collect()
    }

    #[test]
    fn a_signature_belongs_to_the_first_call_behind_it() {
        let reasoning = |sealed: &str| json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed});
        let call = |id: &str| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"});
        let ours = seal::seal("gemini-3.8-flash", "c2ln");

        assert_eq!(
            signatures(json!([reasoning(&ours), call("a"), call("b")])),
            [Some("c2ln".to_owned()), None]
        );
        assert_eq!(
            signatures(json!([reasoning(&ours), {"role": "user", "content": "x"}, call("a")])),
            [None],
            "a question lies between"
        );
        assert_eq!(signatures(json!([reasoning("gAAAA"), call("a")])), [None], "it is another server's");
    }

    #[test]
    fn references_are_followed_or_refused() {
        let input = || vec![json!({"type": "item_reference", "id": "msg_1"}), json!({"id": "msg_2"})];
        assert_eq!(references(&input()).collect::<Vec<_>>(), ["msg_1", "msg_2"]);
        let found = json!({"type": "message", "role": "assistant", "content": "hello"});
        let mut reader = Reader::new("m");

        reader.read(input(), At::Root.key("input"), |_| Some(found.clone())).unwrap();

        assert_eq!(reader.messages.len(), 2);
        let error = reader.read(input(), At::Root.key("input"), |_| None).unwrap_err();
        assert_eq!(error, ConvertError::ItemNotFound { id: "msg_1".into() });
        let nameless = reader.read(vec![json!({"type": "item_reference"})], At::Root.key("input"), |_| None);
        assert_eq!(nameless.unwrap_err().param(), Some("input[0].id"));
    }
}
