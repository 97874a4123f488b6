//! Signatures of thinking blocks: where Gemini's thought signatures travel.
//!
//! A signature belongs to the function call that follows the block. It is marked as ours and with the model that made it,
//! since Gemini refuses signatures of other models and other makers; those are left behind. A block without one has the
//! mark alone, as some clients drop blocks whose signature is empty.

const MARK: &str = "gemini:";

/// What the client sees and sends back; `signature` is Gemini's, or empty. Neither it nor a model's name has a colon.
pub fn mark(model: &str, signature: &str) -> String {
    format!("{MARK}{model}:{signature}")
}

/// Gemini's signature, if this model made it.
pub fn unmark<'s>(text: &'s str, model: &str) -> Option<&'s str> {
    let (made_by, signature) = text.strip_prefix(MARK)?.split_once(':')?;
    (made_by == model && !signature.is_empty()).then_some(signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_model_that_signed_gets_its_signature_back() {
        let marked = mark("gemini-3.5-flash", "c2ln/+==");

        assert_eq!(unmark(&marked, "gemini-3.5-flash"), Some("c2ln/+=="));
        assert_eq!(unmark(&marked, "gemini-3.6-flash"), None);
        assert_eq!(unmark(&mark("m", ""), "m"), None);
        for others in ["EqQBCgIYAhIM", "", "gemini:", "gemini:m"] {
            assert_eq!(unmark(others, "m"), None, "{others}");
        }
    }
}
