//! Thought signatures: what Gemini 3 wants to see again, and what to say when it is lost.
//!
//! Signatures are opaque and travel with their part. Text parts may come back without theirs; calls of the current turn not.

use std::borrow::Cow;

use super::request::{Content, Role};

/// Stands for a signature that nobody kept: base64 of a text that Gemini 3 accepts from other models' histories (recorded).
pub const SIGNATURE_PLACEHOLDER: &str = "Y29udGV4dF9lbmdpbmVlcmluZ19pc190aGVfd2F5X3RvX2dv";

/// Gives the first call of each step of the current turn a signature, where the client lost it.
///
/// Gemini 3 checks those since the last content that is the user's own, and no others. Source: thought signature rules.
pub(super) fn sign_current_turn(contents: &mut [Content<'_>]) {
    let own_words = |content: &Content| {
        content.role == Some(Role::User) && content.parts.iter().all(|part| part.function_response.is_none())
    };
    let start = contents.iter().rposition(own_words).unwrap_or(0);
    for content in contents.iter_mut().skip(start).filter(|content| content.role == Some(Role::Model)) {
        let first = content.parts.iter_mut().find(|part| part.function_call.is_some());
        if let Some(part) = first {
            part.thought_signature.get_or_insert(Cow::Borrowed(SIGNATURE_PLACEHOLDER));
        }
    }
}

/// Replaces every signature by the placeholder, for the one repetition after Google called one corrupted.
///
/// That happens to conversations that moved to another key, model or service. Source: reports, as the API does not tell.
pub fn forget_signatures(contents: &mut [Content<'_>]) {
    for part in contents.iter_mut().flat_map(|content| &mut content.parts) {
        if part.thought_signature.is_some() {
            part.thought_signature = Some(Cow::Borrowed(SIGNATURE_PLACEHOLDER));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::convert::{
        gemini::{
            request::Part,
            turns::{Conversation, PastCall, PastResult, to_raw},
        },
        traits::ModelTraits,
    };

    const GEMINI_3: &str = "gemini-3.8-flash";

    fn call<'a>(id: &'a str, name: &'a str) -> PastCall<'a> {
        PastCall { id, name: name.into(), args: to_raw(&json!({})), signature: None }
    }

    fn result(id: &str) -> PastResult<'_> {
        PastResult { id, response: to_raw(&json!({})), media: Vec::new(), message: 0 }
    }

    #[test]
    fn only_the_first_call_of_each_step_of_the_current_turn_is_signed() {
        let mut conversation = Conversation::default();
        conversation.user(Part::text("old"));
        conversation.call(call("o", "f"));
        conversation.result(result("o"));
        conversation.model(Part::text("done"));
        conversation.user(Part::text("new"));
        for id in ["a", "b"] {
            conversation.call(call(id, "f"));
            conversation.call(call(id, "g"));
            conversation.result(result(id));
            conversation.result(result(id));
        }

        let (_, contents) = conversation.finish(&ModelTraits::of(GEMINI_3)).unwrap();
        let contents: Value = serde_json::to_value(contents).unwrap();

        assert!(contents[1]["parts"][0].get("thoughtSignature").is_none());
        for step in [5, 7] {
            assert_eq!(contents[step]["parts"][0]["thoughtSignature"], SIGNATURE_PLACEHOLDER);
            assert!(contents[step]["parts"][1].get("thoughtSignature").is_none());
        }
    }

    #[test]
    fn signatures_that_google_refused_are_replaced() {
        let mut conversation = Conversation::default();
        conversation.user(Part::text("go"));
        conversation.call(PastCall { signature: Some("b3RoZXI="), ..call("a", "f") });
        let (_, mut contents) = conversation.finish(&ModelTraits::of(GEMINI_3)).unwrap();
        assert_eq!(contents[1].parts[0].thought_signature.as_deref(), Some("b3RoZXI="));

        forget_signatures(&mut contents);

        assert_eq!(contents[1].parts[0].thought_signature.as_deref(), Some(SIGNATURE_PLACEHOLDER));
        assert!(contents[0].parts[0].thought_signature.is_none());
    }
}
