//! Which key a request would rather have, told by its body.
//!
//! Turns of one conversation go to the same key, since thought signatures may not be accepted elsewhere; so do requests
//! that begin with the same long text, since Gemini caches prefixes for each project by itself. A short question that
//! stands alone has no preference, and spreads.

use std::hash::{DefaultHasher, Hash, Hasher};

use memchr::memmem;
use serde_json::value::RawValue;

use super::{
    call::{AnswerKind, Call},
    dispatch::UpstreamError,
    ownership::owner,
};
use crate::{
    actors::registrar::Registry,
    balance::affinity::Preference,
    domain::{client::TokenId, resource::ResourceName},
};

/// The pages of a list come from one key.
const LIST_OF_MODELS: u64 = 0;
/// A beginning of this many bytes is worth caching: about the 1,024 tokens from which Gemini caches by itself.
const LONG_PREFIX: usize = 4 * 1024;
/// What tells a conversation in progress, or one that will have more turns: an agent's.
const CONVERSATION_MARKS: [&[u8]; 4] =
    [br#""thoughtSignature""#, br#""thought_signature""#, br#""model""#, br#""tools""#];
const INSTRUCTION_NAMES: [&[u8]; 2] = [br#""systemInstruction""#, br#""system_instruction""#];

/// Which key it has to be or had better be.
#[derive(Debug, Clone, Default)]
pub struct Bond {
    pub preference: Option<Preference>,
    /// What the owner is needed for.
    pub resource: Option<ResourceName>,
}

/// The owner of what the call names, or else the key that served its like; files that a client sends together go to one
/// key. Fails when what it names is another client's, or two keys'.
pub fn preference(call: &Call, client: &TokenId, registry: &Registry) -> Result<Bond, UpstreamError> {
    if let Some((resource, key)) = owner(call, client, registry)? {
        return Ok(Bond { preference: Some(Preference::Owner(key)), resource: Some(resource) });
    }
    let preference = if call.target.starts_with("/upload/") {
        Some(Preference::Together(registry.together(client)))
    } else if call.model.is_none() && call.target.starts_with("/v1beta/models?") {
        Some(Preference::Together(LIST_OF_MODELS))
    } else {
        likeness(call, client)
    };
    Ok(Bond { preference, resource: None })
}

/// Requests of different clients never prefer a key together, so that no client learns what another one asks.
fn likeness(call: &Call, client: &TokenId) -> Option<Preference> {
    if call.answer != AnswerKind::Generation {
        return None;
    }
    let is_conversation = CONVERSATION_MARKS.iter().any(|mark| memmem::find(&call.body, mark).is_some());
    let instruction = INSTRUCTION_NAMES.iter().find_map(|name| value_of(&call.body, name));
    let long_instruction = instruction.filter(|text| text.len() >= LONG_PREFIX);
    let beginning = match long_instruction {
        Some(instruction) => instruction,
        None => {
            let first = first_content(&call.body)?;
            (first.len() >= LONG_PREFIX || is_conversation).then_some(first)?
        }
    };
    let mut hasher = DefaultHasher::new();
    (client, &call.model).hash(&mut hasher);
    beginning.as_bytes()[..beginning.len().min(LONG_PREFIX)].hash(&mut hasher);
    let hash = hasher.finish();
    Some(if is_conversation { Preference::Conversation(hash) } else { Preference::Prefix(hash) })
}

/// The first turn of a conversation: the one that stays the same while it grows.
fn first_content(body: &[u8]) -> Option<&str> {
    let list = behind_name(body, br#""contents""#)?.trim_ascii_start();
    first_value(list.strip_prefix(b"[").unwrap_or(list))
}

fn value_of<'a>(body: &'a [u8], name: &[u8]) -> Option<&'a str> {
    first_value(behind_name(body, name)?)
}

/// What follows a member's name and colon. A name in a text is no match, since its quotes are escaped there.
fn behind_name<'a>(body: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let at = memmem::find(body, name)? + name.len();
    body[at..].trim_ascii_start().strip_prefix(b":")
}

/// The JSON value that the bytes begin with; what follows is not looked at.
fn first_value(bytes: &[u8]) -> Option<&str> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>();
    values.next()?.ok().map(RawValue::get)
}

#[cfg(test)]
mod tests {
    use actix_web::http::Method;
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::{domain::model::ModelName, upstream::call::Credential};

    fn preferred_by(client: &str, body: &Value) -> Option<Preference> {
        let call = Call {
            method: Method::POST,
            target: String::new(),
            model: ModelName::parse("gemini-2.5-flash").unwrap(),
            headers: Vec::new(),
            body: Bytes::from(body.to_string()),
            credential: Credential::ApiKeyHeader,
            answer: AnswerKind::Generation,
        };
        likeness(&call, &TokenId::new(client))
    }

    fn user(text: &str) -> Value {
        json!({"role": "user", "parts": [{"text": text}]})
    }

    fn model(text: &str) -> Value {
        json!({"role": "model", "parts": [{"text": text, "thoughtSignature": "c2ln"}]})
    }

    #[test]
    fn turns_of_a_conversation_prefer_the_same_key_and_other_conversations_another() {
        let turn = |contents: Vec<Value>| preferred_by("anna", &json!({"contents": contents}));
        let second = turn(vec![user("Why?"), model("Because."), user("Really?")]);

        assert!(matches!(second, Some(Preference::Conversation(_))), "{second:?}");
        assert_eq!(
            second,
            turn(vec![user("Why?"), model("Because."), user("Really?"), model("Yes."), user("Oh.")])
        );
        assert_ne!(second, turn(vec![user("How?"), model("Because."), user("Really?")]));
    }

    #[test]
    fn the_first_turn_of_an_agent_goes_where_the_next_ones_will() {
        let tools = json!([{"functionDeclarations": [{"name": "f"}]}]);
        let first = preferred_by("anna", &json!({"contents": [user("Do it")], "tools": tools}));
        let later = preferred_by(
            "anna",
            &json!({"contents": [user("Do it"), model("f"), user("done")], "tools": tools}),
        );

        assert!(first.is_some());
        assert_eq!(first, later);
    }

    #[test]
    fn a_long_beginning_is_worth_keeping_together_and_a_short_question_is_not() {
        let long = "The rules of this house are as follows. ".repeat(200);
        let instructed = |question: &str| {
            let body =
                json!({"systemInstruction": {"parts": [{"text": long}]}, "contents": [user(question)]});
            preferred_by("anna", &body)
        };

        assert!(matches!(instructed("May I smoke?"), Some(Preference::Prefix(_))));
        assert_eq!(instructed("May I smoke?"), instructed("May I sing?"));
        assert_eq!(preferred_by("anna", &json!({"contents": [user("May I smoke?")]})), None);
    }

    #[test]
    fn clients_have_nothing_in_common() {
        let body = json!({"contents": [user("Why?"), model("Because."), user("Really?")]});
        assert_ne!(preferred_by("anna", &body), preferred_by("bert", &body));
    }

    #[test]
    fn bodies_that_are_odd_or_broken_have_no_preference() {
        for body in
            [json!({}), json!({"contents": []}), json!({"contents": "Hi"}), json!([1]), json!("contents")]
        {
            assert_eq!(preferred_by("anna", &body), None, "{body}");
        }
        let text = json!({"contents": [user("say \"contents\": [{\"tools\"")]});
        assert_eq!(preferred_by("anna", &text), None);
    }
}
