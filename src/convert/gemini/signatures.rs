//! Thought signatures: what Gemini 3 wants to see again, and what to say when it is lost.
//!
//! Signatures are opaque and travel with their part. Text parts may come back without theirs; calls of the current turn not.
//! Clients have no place for that of a text, so it is remembered by the text itself.

use std::{borrow::Cow, fmt::Write as _};

use sha2::{Digest, Sha256};

use super::{
    Part,
    request::{Content, Role},
};

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

/// Something of the model's that it signed, for whoever remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Of a call, as the client knows it; of a text, what stands for its words.
    pub id: String,
    /// Gemini's name of the function; empty for a text.
    pub function: String,
    /// Of a text with its place, as [`TextSignature::read`] takes it.
    pub signature: String,
}

impl Signed {
    /// The call of a part that has a signature.
    pub fn call(id: &str, function: &str, signature: Option<&str>) -> Option<Self> {
        let signature = signature.filter(|signature| !signature.is_empty())?;
        Some(Self { id: id.to_owned(), function: function.to_owned(), signature: signature.to_owned() })
    }
}

/// The signature of a text, and where the part begins that has it: parts are neither joined nor divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextSignature {
    /// Byte of the whole text; its length, where an empty part came behind it.
    at: usize,
    signature: String,
}

impl TextSignature {
    pub fn read(remembered: &str) -> Option<Self> {
        let (at, signature) = remembered.split_once(':')?;
        Some(Self { at: at.parse().ok()?, signature: signature.to_owned() })
    }

    /// The parts that the text came in; one without a signature, if it is another text.
    pub fn parts<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Part<'a>> {
        let (before, signed) = match text.split_at_checked(self.at) {
            Some((before, rest)) => (before, Some(rest)),
            None => (text, None),
        };
        let before = (!before.is_empty()).then(|| Part::text(before));
        let signed = signed.map(|rest| Part {
            thought_signature: Some(Cow::Borrowed(self.signature.as_str())),
            ..Part::text(rest)
        });
        before.into_iter().chain(signed)
    }
}

/// Follows the text of an answer, to tell what of it was signed.
#[derive(Debug, Default)]
pub struct SignedText {
    /// Of the text so far; `None` when nobody wants to know.
    hash: Option<Sha256>,
    length: usize,
    signed: Option<TextSignature>,
    /// The client sees something between the text.
    is_mixed: bool,
}

impl SignedText {
    pub fn new(is_wanted: bool) -> Self {
        Self { hash: is_wanted.then(Sha256::new), ..Self::default() }
    }

    /// Takes the next text part, which may be empty.
    pub fn add(&mut self, text: &str, signature: Option<&str>) {
        let Some(hash) = &mut self.hash else { return };
        if let Some(signature) = signature.filter(|signature| !signature.is_empty()) {
            self.signed = Some(TextSignature { at: self.length, signature: signature.to_owned() });
        }
        hash.update(text);
        self.length += text.len();
    }

    /// Something else came between, so the client's text is another one.
    pub fn mix(&mut self) {
        self.is_mixed = true;
    }

    /// What there is to remember, once the text has ended.
    pub fn finish(&mut self) -> Option<Signed> {
        let hash = self.hash.take().filter(|_| !self.is_mixed && self.length > 0)?;
        let TextSignature { at, signature } = self.signed.take()?;
        let signature = format!("{at}:{signature}");
        Some(Signed { id: id_of(hash), function: String::new(), signature })
    }
}

/// What stands for a text in the place of an id.
pub fn text_id(text: &str) -> String {
    id_of(Sha256::new().chain_update(text))
}

fn id_of(hash: Sha256) -> String {
    let mut id = "text_".to_owned();
    for byte in &hash.finalize()[..16] {
        write!(id, "{byte:02x}").expect("a text takes every write");
    }
    id
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
    fn a_text_comes_back_in_the_parts_that_it_was_signed_in() {
        let signed = |parts: &[(&str, Option<&str>)]| {
            let mut text = SignedText::new(true);
            parts.iter().for_each(|(piece, signature)| text.add(piece, *signature));
            text.finish()
        };
        let whole = "Grüße";
        for (parts, sent) in [
            (vec![(whole, Some("s"))], json!([{"text": whole, "thoughtSignature": "s"}])),
            (
                vec![("Grü", None), ("ße", Some("s"))],
                json!([{"text": "Grü"}, {"text": "ße", "thoughtSignature": "s"}]),
            ),
            (
                vec![("Grü", None), ("ße", None), ("", Some("s"))],
                json!([{"text": whole}, {"text": "", "thoughtSignature": "s"}]),
            ),
        ] {
            let signed = signed(&parts).unwrap();
            assert_eq!((signed.id, signed.function), (text_id(whole), String::new()));
            let signature = TextSignature::read(&signed.signature).unwrap();
            let parts: Vec<_> = signature.parts(whole).collect();
            assert_eq!(serde_json::to_value(parts).unwrap(), sent);
        }
        assert_eq!(signed(&[("a", None)]), None);
        assert_eq!(signed(&[("", Some("s"))]), None);
    }

    #[test]
    fn a_text_that_the_client_sees_otherwise_is_not_remembered() {
        let (mut mixed, mut unwanted) = (SignedText::new(true), SignedText::new(false));
        mixed.add("a", Some("s"));
        mixed.mix();
        unwanted.add("a", Some("s"));

        assert_eq!((mixed.finish(), unwanted.finish()), (None, None));
        let elsewhere = TextSignature::read("5:s").unwrap();
        assert_eq!(elsewhere.parts("ab").filter(|part| part.thought_signature.is_some()).count(), 0);
    }
}
