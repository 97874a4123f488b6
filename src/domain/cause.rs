//! Which error messages say the same: what differs from one to the next, such as numbers and ids, is taken out.

/// Longer messages are cut; what they are about stands at the beginning.
const LONGEST: usize = 200;
/// Words of letters and digits from this length on are ids.
const ID_LENGTH: usize = 16;

/// The message with `#` for every number and id: `Please retry in #s.`
pub fn normalised(message: &str) -> String {
    let mut text = String::with_capacity(message.len().min(LONGEST));
    let mut rest = message.trim();
    while let Some(first) = rest.chars().next().filter(|_| text.len() < LONGEST) {
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        let end = rest.find(|character| is_word(character) != is_word(first)).unwrap_or(rest.len());
        let (piece, behind) = rest.split_at(end);
        rest = behind;
        if !is_word(first) {
            push_between(&mut text, piece);
        } else if piece.len() >= ID_LENGTH && piece.contains(|character: char| character.is_ascii_digit()) {
            push_number(&mut text);
        } else {
            push_word(&mut text, piece);
        }
    }
    text.chars().take(LONGEST).collect()
}

/// All white space is the same.
fn push_between(text: &mut String, piece: &str) {
    for character in piece.chars() {
        match character {
            space if space.is_whitespace() && text.ends_with(' ') => {}
            space if space.is_whitespace() => text.push(' '),
            other => text.push(other),
        }
    }
}

fn push_word(text: &mut String, word: &str) {
    for character in word.chars() {
        if character.is_ascii_digit() {
            push_number(text);
        } else {
            text.push(character);
        }
    }
}

/// Digits in a row are one number, with what stands between them in versions, times and fractions.
fn push_number(text: &mut String) {
    if let Some(end) = ["#", "#.", "#,", "#:", "#-"].into_iter().find(|end| text.ends_with(end)) {
        text.truncate(text.len() - end.len());
    }
    text.push('#');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_that_differ_in_numbers_say_the_same() {
        let one = normalised("Quota exceeded, limit: 10, model: gemini-2.5-flash\nPlease retry in 18.472s.");
        let two = normalised("Quota exceeded, limit: 250, model: gemini-3-flash\n  Please retry in 1s.");

        assert_eq!(one, "Quota exceeded, limit: #, model: gemini-#-flash Please retry in #s.");
        assert_eq!(one, two);
    }

    #[test]
    fn ids_and_times_are_one_mark() {
        assert_eq!(
            normalised("file abc123def456ghi789 at 2026-11-28 04:15:00 is gone"),
            "file # at # # is gone"
        );
        assert_eq!(normalised("no answer within 120 s"), "no answer within # s");
        assert_eq!(normalised("a_long_word_without_any_digit"), "a_long_word_without_any_digit");
    }

    proptest! {
        #[test]
        fn any_text_has_a_short_form_that_is_its_own(text in "\\PC{0,400}") {
            let once = normalised(&text);
            prop_assert!(once.chars().count() <= LONGEST);
            prop_assert!(!once.contains(|character: char| character.is_ascii_digit()));
        }
    }
}
