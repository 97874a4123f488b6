//! `encrypted_content` of reasoning items: a thought signature of Gemini's on its way through a client.
//!
//! It is opaque to the client and only made sense of here. The model is told with it, since another one takes the signature
//! for a broken one.

/// Tells ours from those of OpenAI, which histories may hold that began elsewhere.
const MARK: &str = "gemini";

pub(super) fn seal(model: &str, signature: &str) -> String {
    format!("{MARK}:{model}:{signature}")
}

/// The signature, if it was made by that model.
pub(super) fn open<'a>(sealed: &'a str, model: &str) -> Option<&'a str> {
    let (mark, rest) = sealed.split_once(':')?;
    let (made_by, signature) = rest.split_once(':')?;
    (mark == MARK && made_by == model && !signature.is_empty()).then_some(signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_comes_back_to_the_model_that_made_it() {
        let sealed = seal("gemini-3.8-flash", "c2ln+/=");

        assert_eq!(open(&sealed, "gemini-3.8-flash"), Some("c2ln+/="));
        assert_eq!(open(&sealed, "gemini-3.1-pro-preview"), None);
        assert_eq!(open("gAAAAABqhb-0_27hL59", "gemini-3.8-flash"), None);
        assert_eq!(open("gemini::", ""), None);
    }
}
