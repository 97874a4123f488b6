//! Finds API keys in any text: lists, JSON, CSV, `.env` files, chat messages, lines of `API_KEYS`.

use std::collections::HashSet;

use super::{
    key::ApiKey,
    placement::{KeyPlacement, PlacedKey},
};

/// What a text holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Each once, in their order.
    pub keys: Vec<PlacedKey>,
    /// How often a key came again.
    pub repeated: usize,
    /// What begins like a key and is none, or has words behind it that cannot be read; masked.
    pub odd: Vec<Odd>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Odd {
    pub masked: String,
    pub reason: String,
}

/// Google's keys begin so.
const PREFIXES: [&str; 2] = ["AIza", "AQ."];
/// Keys of Google's have 39 bytes or more; what is shorter was cut or masked.
const SHORTEST: usize = 30;
const LONGEST: usize = 512;
/// Oddities that are told; a text of noise must not make a long answer.
const ODD_TOLD: usize = 100;

/// Looks for everything that begins like a key of Google's. Words of the form `name=value` behind a key, as in
/// `API_KEYS`, place it. Takes time in proportion to the text.
pub fn find_keys(text: &str) -> Found {
    let mut found = Found::default();
    let mut seen = HashSet::new();
    for line in text.lines() {
        let starts = starts(line);
        for (index, &(start, end)) in starts.iter().enumerate() {
            let word = &line[start..end];
            let next = starts.get(index + 1).map_or(line.len(), |(next, _)| *next);
            let placement = placement_behind(&line[end..next]);
            match read(word, placement) {
                Ok(placed) if seen.insert(placed.key.clone()) => found.keys.push(placed),
                Ok(_) => found.repeated += 1,
                Err(odd) if found.odd.len() < ODD_TOLD => found.odd.push(odd),
                Err(_) => {}
            }
        }
    }
    found
}

/// Where words begin that could be keys, and where they end.
fn starts(line: &str) -> Vec<(usize, usize)> {
    let bytes = line.as_bytes();
    let mut starts = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = bytes[at..].iter().take_while(|byte| is_of_key(**byte)).count();
        // Only ASCII was counted, so this is no cut through a character.
        let word = &line[at..at + length];
        if PREFIXES.iter().any(|prefix| word.starts_with(prefix)) {
            // A sentence's stop is none of the key's.
            starts.push((at, at + word.trim_end_matches('.').len()));
        }
        at += length;
        at += bytes[at..].iter().take_while(|byte| !is_of_key(**byte)).count();
    }
    starts
}

fn is_of_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

/// `None` where nothing behind the key looks like a placement.
fn placement_behind(text: &str) -> Option<Result<KeyPlacement, String>> {
    const NAMES: [&str; 5] = ["project=", "tier=", "weight=", "models=", "not-models="];
    let ends = |c: char| c.is_whitespace() || "\"',;]}".contains(c);
    let words: Vec<&str> =
        text.split(ends).filter(|word| NAMES.iter().any(|name| word.starts_with(name))).collect();
    (!words.is_empty()).then(|| KeyPlacement::parse(&words.join(" ")).map_err(|problem| problem.to_string()))
}

fn read(word: &str, placement: Option<Result<KeyPlacement, String>>) -> Result<PlacedKey, Odd> {
    let odd = |reason: &str| Odd { masked: masked(word), reason: reason.to_owned() };
    if word.len() < SHORTEST {
        return Err(odd("is too short for a key; it may have been cut or masked"));
    }
    if word.len() > LONGEST {
        return Err(odd("is too long for a key"));
    }
    let key = ApiKey::parse(word).map_err(|problem| odd(&problem.to_string()))?;
    let placement = placement.transpose().map_err(|problem| odd(&problem))?.unwrap_or_default();
    Ok(PlacedKey { key, placement })
}

fn masked(word: &str) -> String {
    let start: String = word.chars().take(4).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: &str = "AIzaSyA-1234567890abcdefghijklmnopqrst0";
    const TWO: &str = "AQ.Ab8RN6JzQ_0123456789abcdefghijklmnop-q";

    fn found(text: &str) -> Vec<String> {
        find_keys(text).keys.iter().map(|placed| placed.key.expose().to_owned()).collect()
    }

    #[test]
    fn keys_are_found_in_every_usual_text() {
        for text in [
            format!("{ONE}\n{TWO}"),
            format!("{ONE},{TWO}"),
            format!("[\"{ONE}\", \"{TWO}\"]"),
            format!("API_KEYS='[\"{ONE}\",\"{TWO}\"]'\r\nPORT=8000"),
            format!("id;key;note\r\n1;{ONE};mine\r\n2;\"{TWO}\";yours"),
            format!("GEMINI_API_KEY={ONE} # old\nexport OTHER=\"{TWO}\""),
            format!("my first key is {ONE}. The other: ({TWO})."),
            format!("https://x.example/v1?key={ONE}&alt=sse {TWO}"),
        ] {
            assert_eq!(found(&text), [ONE, TWO], "{text}");
        }
    }

    #[test]
    fn words_behind_a_key_place_it() {
        let found = find_keys(&format!("{ONE} project=alpha tier=free weight=3\n\"{TWO} project=beta\","));

        let projects: Vec<_> =
            found.keys.iter().map(|key| key.placement.project.clone().unwrap().to_string()).collect();
        assert_eq!(projects, ["alpha", "beta"]);
        assert_eq!(found.keys[0].placement.weight, 3);
        let wrong = find_keys(&format!("{ONE} tier=gold"));
        assert!(wrong.keys.is_empty() && wrong.odd[0].reason.contains("tier=gold"), "{wrong:?}");
    }

    #[test]
    fn what_comes_again_is_counted_and_what_is_odd_told_without_its_text() {
        let found = find_keys(&format!("{ONE} {ONE} AIzaSyA…wxyz xAIza{} ", &ONE[4..]));

        assert_eq!((found.keys.len(), found.repeated), (1, 1));
        assert_eq!(found.odd.len(), 1, "{:?}", found.odd);
        assert_eq!(found.odd[0].masked, "AIza…");
    }

    proptest! {
        #[test]
        fn a_key_survives_whatever_stands_around_it(before in "[^A-Za-z0-9._-]{0,20}", after in "[ ,;\"')\\]}\\n]{1,10}") {
            prop_assert_eq!(found(&format!("{before}{ONE}{after}{TWO}{after}")), [ONE, TWO]);
        }

        #[test]
        fn no_text_breaks_it(text in "\\PC{0,300}") {
            for key in find_keys(&text).keys {
                prop_assert!(text.contains(key.key.expose()));
            }
        }
    }
}
