//! Puts the messages of a client into the order that Gemini accepts.
//!
//! Gemini wants one system instruction, turns that alternate and begin with the user, one content with exactly one response
//! per function call, in the order of the calls, and nothing behind those responses. Clients send less tidy histories, so here
//! neighbours of one role are merged, results sorted, missing results filled in, and late ones told as text. System texts go to
//! the system instruction wherever they stand, which keeps their authority and the cached prefix of the rest.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
};

use serde_json::{json, value::RawValue};

use super::{
    markdown,
    request::{Content, FunctionCall, FunctionResponse, Part, Role},
    signatures::{self, TextSignature},
};
use crate::convert::traits::ModelTraits;

/// A function call that the model made earlier.
#[derive(Debug)]
pub struct PastCall<'a> {
    /// As the client knows it; may be empty.
    pub id: &'a str,
    pub name: Cow<'a, str>,
    pub args: Cow<'a, RawValue>,
    pub signature: Option<&'a str>,
}

/// What a function answered.
#[derive(Debug)]
pub struct PastResult<'a> {
    pub id: &'a str,
    /// A JSON object.
    pub response: Cow<'a, RawValue>,
    pub media: Vec<Part<'a>>,
    /// Index of the client's message, to name it in an error.
    pub message: usize,
}

/// A result whose call the history does not hold.
#[derive(Debug, PartialEq, Eq)]
pub struct Orphan {
    pub message: usize,
    pub id: String,
}

/// The system instruction, if any, and at least one content.
pub type Turns<'a> = (Option<Content<'a>>, Vec<Content<'a>>);

/// A conversation as it is being read, message by message.
#[derive(Debug, Default)]
pub struct Conversation<'a> {
    system: Vec<Part<'a>>,
    turns: Vec<Turn<'a>>,
}

/// What one side said before the other spoke again; calls are the model's, results the user's.
#[derive(Debug)]
struct Turn<'a> {
    role: Role,
    parts: Vec<Part<'a>>,
    calls: Vec<CallName<'a>>,
    results: Vec<PastResult<'a>>,
}

#[derive(Debug, Clone)]
struct CallName<'a> {
    id: &'a str,
    name: Cow<'a, str>,
}

impl<'a> Conversation<'a> {
    /// An empty text says nothing, and some of Google's services refuse it.
    pub fn system(&mut self, text: impl Into<Cow<'a, str>>) {
        let text = text.into();
        if !text.is_empty() {
            self.system.push(Part::text(text));
        }
    }

    pub fn user(&mut self, part: Part<'a>) {
        self.turn(Role::User).parts.push(part);
    }

    pub fn result(&mut self, result: PastResult<'a>) {
        self.turn(Role::User).results.push(result);
    }

    pub fn model(&mut self, part: Part<'a>) {
        self.turn(Role::Model).parts.push(part);
    }

    /// What the model said, with the pictures in it that it drew, which are left for the user to show.
    pub fn said(&mut self, text: &'a str, signature: Option<&'a TextSignature>, drawn: &mut Vec<Part<'a>>) {
        let (said, pictures) = markdown::without_pictures(text);
        match signature.filter(|_| pictures.is_empty()) {
            Some(signature) => signature.parts(text).for_each(|part| self.model(part)),
            None => said.into_iter().for_each(|part| self.model(part)),
        }
        drawn.extend(pictures);
    }

    pub fn call(&mut self, call: PastCall<'a>) {
        let PastCall { id, name, args, signature } = call;
        let turn = self.turn(Role::Model);
        turn.calls.push(CallName { id, name: name.clone() });
        let call = FunctionCall { name, args, id: Some(Cow::Borrowed(id)) };
        turn.parts.push(Part::call(call, signature.map(Cow::Borrowed)));
    }

    /// The last turn if it is of this role, else a new one.
    fn turn(&mut self, role: Role) -> &mut Turn<'a> {
        if self.turns.last().is_none_or(|turn| turn.role != role) {
            self.turns.push(Turn { role, parts: Vec::new(), calls: Vec::new(), results: Vec::new() });
        }
        self.turns.last_mut().expect("a turn was just added if there was none")
    }

    /// The turns in an order that the model accepts; fails on a result whose call was never made.
    pub fn finish(mut self, traits: &ModelTraits) -> Result<Turns<'a>, Orphan> {
        let mut contents = pair_calls(self.turns, traits)?;
        if contents.is_empty() {
            let alone = self.system.pop().unwrap_or_else(|| Part::text(" "));
            contents.push(user(vec![alone]));
        }
        if contents[0].role == Some(Role::Model) {
            contents.insert(0, user(vec![Part::text(" ")]));
        }
        if !traits.prefill && contents.last().is_some_and(|last| last.role == Some(Role::Model)) {
            contents.push(user(vec![Part::text("Continue.")]));
        }
        if traits.signatures {
            signatures::sign_current_turn(&mut contents);
        }
        if !traits.system_instruction {
            contents[0].parts.splice(0..0, self.system.drain(..));
        }
        let system = (!self.system.is_empty()).then_some(Content { role: None, parts: self.system });
        Ok((system, contents))
    }
}

fn user(parts: Vec<Part<'_>>) -> Content<'_> {
    Content { role: Some(Role::User), parts }
}

/// Every call followed by its response, in the order of the calls.
fn pair_calls<'a>(turns: Vec<Turn<'a>>, traits: &ModelTraits) -> Result<Vec<Content<'a>>, Orphan> {
    let mut contents = Vec::with_capacity(turns.len() + 2);
    let mut made = HashMap::new();
    let mut open = Vec::new();
    for Turn { role, mut parts, calls, results } in turns {
        match role {
            Role::Model => {
                if !traits.signatures || calls.iter().any(|call| call.id.is_empty()) {
                    parts
                        .iter_mut()
                        .filter_map(|part| part.function_call.as_mut())
                        .for_each(|call| call.id = None);
                }
                made.extend(calls.iter().map(|call| (call.id, call.name.clone())));
                open = calls;
            }
            Role::User => parts = answer(std::mem::take(&mut open), results, parts, &made, traits)?,
        }
        contents.push(Content { role: Some(role), parts });
    }
    if !open.is_empty() {
        contents.push(user(answer(open, Vec::new(), Vec::new(), &made, traits)?));
    }
    Ok(contents)
}

/// One user content: what the user said, then one response for each call.
///
/// Responses come last, because text or media behind them is refused by many models; before them every model accepts it.
fn answer<'a>(
    calls: Vec<CallName<'a>>,
    results: Vec<PastResult<'a>>,
    mut parts: Vec<Part<'a>>,
    made: &HashMap<&'a str, Cow<'a, str>>,
    traits: &ModelTraits,
) -> Result<Vec<Part<'a>>, Orphan> {
    let mut by_id: HashMap<&str, VecDeque<PastResult>> = HashMap::new();
    for result in results {
        by_id.entry(result.id).or_default().push_back(result);
    }
    let with_ids = traits.signatures && calls.iter().all(|call| !call.id.is_empty());
    let mut responses = Vec::with_capacity(calls.len());
    for call in calls {
        let result = by_id.get_mut(call.id).and_then(VecDeque::pop_front);
        let (response, media) = result.map_or_else(no_result, |result| (result.response, result.media));
        let id = with_ids.then_some(Cow::Borrowed(call.id));
        let (inside, beside) = if traits.signatures { (media, Vec::new()) } else { (Vec::new(), media) };
        parts.extend(beside);
        responses.push(Part::response(FunctionResponse { name: call.name, response, id, parts: inside }));
    }
    let mut late: Vec<_> = by_id.into_values().flatten().collect();
    late.sort_by_key(|result| result.message);
    for result in late {
        let orphan = || Orphan { message: result.message, id: result.id.to_owned() };
        let name = made.get(result.id).ok_or_else(orphan)?;
        parts.push(Part::text(format!("Late result of the function {name}: {}", result.response.get())));
        parts.extend(result.media);
    }
    parts.extend(responses);
    Ok(parts)
}

/// Stands for the result of a call that was interrupted.
fn no_result<'a>() -> (Cow<'a, RawValue>, Vec<Part<'a>>) {
    (to_raw(&json!({"error": "no result"})), Vec::new())
}

/// What a function said, as Gemini takes it: a JSON object goes as it is; anything else is a text and becomes `{"result": text}`.
pub fn object_or_result(text: &str) -> Cow<'_, RawValue> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) if raw.get().starts_with('{') => Cow::Borrowed(raw),
        Ok(_) | Err(_) => to_raw(&json!({ "result": text })),
    }
}

/// A value of ours as raw JSON.
pub fn to_raw<'a>(value: &impl serde::Serialize) -> Cow<'a, RawValue> {
    let raw = serde_json::value::to_raw_value(value);
    Cow::Owned(raw.expect("strings and maps with string keys always serialise"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn call<'a>(id: &'a str, name: &'a str) -> PastCall<'a> {
        PastCall { id, name: name.into(), args: to_raw(&json!({})), signature: None }
    }

    fn result<'a>(id: &'a str, text: &str, message: usize) -> PastResult<'a> {
        PastResult { id, response: to_raw(&json!({ "result": text })), media: Vec::new(), message }
    }

    fn contents(conversation: Conversation<'_>, model: &str) -> Value {
        let (_, contents) = conversation.finish(&ModelTraits::of(model)).unwrap();
        serde_json::to_value(contents).unwrap()
    }

    const GEMINI_2_5: &str = "gemini-2.5-flash";
    const GEMINI_3: &str = "gemini-3.8-flash";

    #[test]
    fn results_follow_the_order_of_their_calls_behind_the_users_words() {
        let mut conversation = Conversation::default();
        conversation.user(Part::text("go"));
        conversation.call(call("a", "f"));
        conversation.call(call("b", "g"));
        conversation.result(result("b", "second", 2));
        conversation.user(Part::text("hurry"));
        conversation.result(result("a", "first", 4));

        let contents = contents(conversation, GEMINI_2_5);

        assert_eq!(
            contents[2],
            json!({"role": "user", "parts": [
                {"text": "hurry"},
                {"functionResponse": {"name": "f", "response": {"result": "first"}}},
                {"functionResponse": {"name": "g", "response": {"result": "second"}}},
            ]})
        );
    }

    #[test]
    fn ids_go_to_gemini_3_in_call_and_response_alike() {
        let mut conversation = Conversation::default();
        conversation.user(Part::text("go"));
        conversation.call(call("a", "f"));
        conversation.result(result("a", "x", 2));

        let contents = contents(conversation, GEMINI_3);

        assert_eq!(contents[1]["parts"][0]["functionCall"]["id"], "a");
        assert_eq!(contents[2]["parts"][0]["functionResponse"]["id"], "a");
    }

    #[test]
    fn calls_that_were_never_answered_get_an_answer() {
        let mut conversation = Conversation::default();
        conversation.user(Part::text("go"));
        conversation.call(call("a", "f"));

        let contents = contents(conversation, GEMINI_2_5);

        assert_eq!(contents[2]["parts"][0]["functionResponse"]["response"], json!({"error": "no result"}));
    }

    #[test]
    fn a_second_result_for_one_call_is_told_as_text() {
        let mut conversation = Conversation::default();
        conversation.user(Part::text("go"));
        conversation.call(call("a", "f"));
        conversation.result(result("a", "x", 2));
        conversation.result(result("a", "y", 3));

        let contents = contents(conversation, GEMINI_2_5);

        assert_eq!(contents[2]["parts"][0]["text"], r#"Late result of the function f: {"result":"y"}"#);
        assert_eq!(contents[2]["parts"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_result_without_any_call_is_refused() {
        let mut conversation = Conversation::default();
        conversation.user(Part::text("go"));
        conversation.result(result("z", "x", 1));

        let orphan = conversation.finish(&ModelTraits::of(GEMINI_3)).unwrap_err();

        assert_eq!(orphan, Orphan { message: 1, id: "z".into() });
    }

    #[test]
    fn a_conversation_begins_and_where_needed_ends_with_the_user() {
        let history = || {
            let mut conversation = Conversation::default();
            conversation.model(Part::text("a"));
            conversation.model(Part::text("b"));
            conversation
        };

        let continued = contents(history(), "gemini-2.5-pro");
        let closed = contents(history(), GEMINI_3);

        assert_eq!(continued[0]["role"], "user");
        assert_eq!(continued[1]["parts"], json!([{"text": "a"}, {"text": "b"}]));
        assert_eq!(continued.as_array().unwrap().len(), 2);
        assert_eq!(closed[2], json!({"role": "user", "parts": [{"text": "Continue."}]}));
    }

    #[test]
    fn system_text_alone_becomes_the_question() {
        let mut conversation = Conversation::default();
        conversation.system("be brief");
        conversation.system("tell a joke");

        let (system, contents) = conversation.finish(&ModelTraits::of(GEMINI_3)).unwrap();

        assert_eq!(system.unwrap().parts.len(), 1);
        assert_eq!(contents[0].parts[0].text.as_deref(), Some("tell a joke"));
    }

    #[test]
    fn a_model_without_system_instruction_reads_it_first() {
        let mut conversation = Conversation::default();
        conversation.system("be brief");
        conversation.user(Part::text("hi"));

        let (system, contents) = conversation.finish(&ModelTraits::of("gemma-4-31b-it")).unwrap();

        assert!(system.is_none());
        assert_eq!(contents[0].parts[0].text.as_deref(), Some("be brief"));
    }
}
