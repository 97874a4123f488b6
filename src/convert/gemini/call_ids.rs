//! Ids of function calls, as clients know them: Gemini's own where it gave one that clients can carry, else one of ours.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Longest id of a call that clients and their servers take, in bytes.
const MAX_ID_BYTES: usize = 40;

/// Whether an id of Gemini's can be the client's own: letters, digits, `_` and `-`, at most 40 bytes.
pub fn fits(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(plain)
}

/// The prefix and 24 letters or digits: a hash of the answer's id and the place in it, as unique as that id.
pub fn mint(prefix: &str, answer: &str, choice: usize, index: usize) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut id = String::from(prefix);
    for half in 0..2_u8 {
        let mut hasher = DefaultHasher::new();
        (half, answer, choice, index).hash(&mut hasher);
        let mut rest = hasher.finish();
        for _ in 0..12 {
            id.push(char::from(DIGITS[(rest % 62) as usize]));
            rest /= 62;
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minted_ids_differ_by_answer_choice_and_place() {
        let ids = [
            mint("call_", "a", 0, 0),
            mint("call_", "a", 0, 1),
            mint("call_", "a", 1, 0),
            mint("call_", "b", 0, 0),
        ];

        for (index, id) in ids.iter().enumerate() {
            assert!(fits(id) && id.len() == 29 && id.starts_with("call_"), "{id}");
            assert!(!ids[..index].contains(id));
        }
        assert_eq!(ids[0], mint("call_", "a", 0, 0));
    }

    #[test]
    fn an_id_that_clients_could_not_carry_is_replaced() {
        assert!(fits("call_54402") && !fits("") && !fits("a b") && !fits(&"x".repeat(41)));
    }
}
