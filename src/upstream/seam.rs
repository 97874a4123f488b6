//! Where the rest of a text begins within an answer that repeats the end of what was there.

/// How much of a text's end is to be repeated, in bytes: enough to be found nowhere else.
const ANCHOR: usize = 80;
/// An answer that repeats something else than it was asked to is believed from so many bytes on; less may be chance.
const LEAST_OVERLAP: usize = 12;
/// An answer that repeats more than this is taken for new.
const MOST_OVERLAP: usize = 16 * 1024;

/// The last words of a text, beginning with a whole word where the language has them.
pub fn anchor(said: &str) -> &str {
    let end = &said[said.ceil_char_boundary(said.len().saturating_sub(ANCHOR))..];
    match end.find(char::is_whitespace) {
        Some(space) if end.len() < said.len() && space < ANCHOR / 2 => end[space..].trim_start(),
        _ => end,
    }
}

/// The place in `head`, the beginning of an answer, where it goes on from `said`. `None` while more of it is needed to
/// know, which it never is of a whole answer.
///
/// An answer that begins with the anchor, as it was asked to, goes on behind it, whatever else might match. Otherwise the
/// longest end of `said` that it begins with is a repetition. White space around the anchor is not relied on: models
/// drop it in front and write it anew behind.
pub fn seam(said: &str, head: &str, is_whole: bool) -> Option<usize> {
    let words = anchor(said).trim();
    let begun = head.trim_start();
    if let Some(rest) = begun.strip_prefix(words) {
        let space = &said[said.trim_end().len()..];
        let is_open = rest.len() < space.len() && rest.trim_start().is_empty();
        return (is_whole || !is_open).then(|| head.len() - rest.len() + overlap(space, rest));
    }
    let is_open = words.starts_with(begun) || last(said).contains(head);
    if is_open && !is_whole {
        return None;
    }
    Some(Some(overlap(last(said), head)).filter(|repeated| *repeated >= LEAST_OVERLAP).unwrap_or(0))
}

/// Bytes of the longest end of `said` that `next` begins with.
fn overlap(said: &str, next: &str) -> usize {
    let most = said.len().min(next.len());
    let whole_chars = (1..=most).rev().filter(|length| next.is_char_boundary(*length));
    whole_chars.into_iter().find(|length| said.ends_with(&next[..*length])).unwrap_or(0)
}

fn last(said: &str) -> &str {
    &said[said.ceil_char_boundary(said.len().saturating_sub(MOST_OVERLAP))..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAID: &str =
        "The fox ran through the wood, and behind the third tree it met a hare that was quicker than";

    /// What is new of an answer that comes in those pieces.
    fn joined(said: &str, pieces: &[&str]) -> String {
        let mut head = String::new();
        for (at, piece) in pieces.iter().enumerate() {
            head.push_str(piece);
            if let Some(begin) = seam(said, &head, false) {
                return head[begin..].to_owned() + &pieces[at + 1..].concat();
            }
        }
        head.split_off(seam(said, &head, true).unwrap())
    }

    #[test]
    fn the_anchor_is_made_of_whole_words() {
        assert_eq!(anchor("short"), "short");
        assert!(SAID.ends_with(anchor(SAID)) && anchor(SAID).starts_with("through"), "{}", anchor(SAID));
        let chinese = "狐".repeat(100);
        assert_eq!(anchor(&chinese), "狐".repeat(26));
    }

    #[test]
    fn an_answer_that_repeats_what_it_was_asked_to_goes_on_behind_it() {
        let repeated = format!("{} it.", anchor(SAID));

        assert_eq!(joined(SAID, &[&repeated]), " it.");
        assert_eq!(joined(SAID, &["through", &repeated["through".len()..]]), " it.");
    }

    #[test]
    fn an_answer_that_repeats_more_or_less_than_it_was_asked_to_is_joined_too() {
        assert_eq!(joined(SAID, &[&format!("{SAID} it.")]), " it.");
        assert_eq!(joined(SAID, &["was quicker", " than", " it."]), " it.");
        assert_eq!(joined(SAID, &["The fox", " ran", &SAID[11..], " it."]), " it.");
    }

    #[test]
    fn an_answer_that_repeats_nothing_is_new() {
        assert_eq!(joined(SAID, &[" it."]), " it.");
        assert_eq!(joined(SAID, &["the hare won."]), "the hare won.");
    }

    #[test]
    fn a_word_goes_on_in_the_middle() {
        assert_eq!(joined("Hel", &["Hello"]), "lo");
        assert_eq!(joined("Hel", &["lo"]), "lo");
    }

    #[test]
    fn white_space_at_the_seam_is_there_once() {
        assert_eq!(joined("A list:\n\n", &["A list:\n\n- one"]), "- one");
        assert_eq!(joined("A list:\n", &["A list:\n", "\n- one"]), "\n- one");
        assert_eq!(joined("A list:\n\n", &["A list:", "\n", "- one"]), "- one");
        assert_eq!(joined("if x:\n", &["if x:\n    y"]), "    y");
        assert_eq!(joined("\nA list:", &["A list: one"]), " one");
    }

    #[test]
    fn lines_that_are_alike_are_not_taken_for_each_other() {
        let said = "- a\n".repeat(50);

        assert_eq!(joined(&said, &[&format!("{}- a\n- b", anchor(&said))]), "- a\n- b");
    }

    #[test]
    fn a_whole_answer_is_always_joined() {
        for head in ["", "T", "The fox", " "] {
            assert!(seam(SAID, head, true).is_some(), "{head}");
        }
    }

    #[test]
    fn megabytes_of_one_letter_take_no_time() {
        let said = "a".repeat(4 << 20);
        let head = "a".repeat(20_000);
        let begun = std::time::Instant::now();

        seam(&said, &format!("b{head}"), false).unwrap();
        seam(&said, &head, true).unwrap();

        assert!(begun.elapsed().as_secs() < 2);
    }

    proptest! {
        #[test]
        fn no_letter_is_lost_or_doubled_when_the_last_words_are_repeated(
            text in "[ab狐 \n]{1,300}", cut in 0usize..300, pieces in prop::collection::vec(1usize..40, 0..30)
        ) {
            let cut = text.floor_char_boundary(cut.min(text.len()));
            let said = &text[..cut];
            prop_assume!(!said.trim().is_empty());
            let answer = &text[text.len() - (text.len() - cut) - anchor(said).trim_start().len()..];
            let mut rest = answer;
            let mut cuts = Vec::new();
            for length in pieces {
                let (piece, after) = rest.split_at(rest.floor_char_boundary(length));
                cuts.push(piece);
                rest = after;
            }
            cuts.push(rest);

            prop_assert_eq!(said.to_owned() + &joined(said, &cuts), text);
        }

        #[test]
        fn no_text_is_fatal(said in "\\PC*", head in "\\PC*", is_whole: bool) {
            if let Some(begin) = seam(&said, &head, is_whole) {
                prop_assert!(head.is_char_boundary(begin));
            }
        }
    }
}
