//! Going on with an answer that broke off: a model's turn that is no whole answer, and a user's turn whose second
//! paragraph quotes its last words.

use super::{
    answer::{WORDS_PER_EVENT, pieces},
    reply::{Reply, ReplyPart},
    request::GenerateRequest,
    tokens,
};

/// A request to go on.
pub struct Wish {
    /// What was asked for at first.
    pub request: GenerateRequest,
    said: String,
    words: String,
}

impl Wish {
    pub fn of(request: &GenerateRequest) -> Option<Self> {
        let [before @ .., said, wish] = &*request.contents else { return None };
        let (_, words) =
            wish.text().split_once("\n\n").map(|(wish, words)| (wish.to_owned(), words.to_owned()))?;
        let is_wish = said.is_model() && !wish.is_model() && !before.is_empty() && !words.is_empty();
        let said = said.text();
        (is_wish && said.trim_end().ends_with(&words)).then(|| Self {
            request: GenerateRequest { contents: before.to_vec(), ..request.clone() },
            said,
            words,
        })
    }

    /// Leaves of the whole answer what comes behind the quoted words, and the words themselves; false when the answer
    /// never began like that.
    pub fn shorten(&self, whole: &mut Reply) -> bool {
        let text = whole.text();
        let Some(begin) = self.said.rfind(&self.words).filter(|_| text.starts_with(&self.said)) else {
            return false;
        };
        let rest = &text[begin..];
        whole.usage.candidates = tokens::of_text(rest);
        whole.events.retain(|parts| parts.iter().all(|part| part.thought || part.text.is_none()));
        let pieces = pieces(rest, WORDS_PER_EVENT).into_iter();
        whole.events.extend(pieces.map(|piece| vec![ReplyPart::text(piece)]));
        true
    }
}
