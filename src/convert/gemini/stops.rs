//! Texts that end an answer. Gemini takes five of them; for the others the answer is looked through on its way out.

/// Stop sequences that Gemini takes.
const GEMINIS: usize = 5;

/// The stop sequences of one request, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopSequences(Vec<String>);

impl StopSequences {
    pub fn add(&mut self, text: String) {
        if !self.0.contains(&text) {
            self.0.push(text);
        }
    }

    /// Those that Gemini looks for.
    pub fn geminis(&self) -> &[String] {
        &self.0[..self.0.len().min(GEMINIS)]
    }

    /// Those that are left to the gateway.
    pub fn own(&self) -> &[String] {
        &self.0[self.0.len().min(GEMINIS)..]
    }
}

/// A text on its way out, of which the end is held back while it could be the beginning of a stop sequence.
#[derive(Debug, Default)]
pub struct Stops {
    sequences: Vec<String>,
    held: String,
    hit: Option<usize>,
}

impl Stops {
    pub fn new(sequences: &[String]) -> Self {
        Self { sequences: sequences.to_vec(), ..Self::default() }
    }

    /// Without sequences there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.sequences.is_empty()
    }

    /// The sequence that was found; nothing is let out after it.
    pub fn hit(&self) -> Option<&str> {
        self.hit.map(|index| self.sequences[index].as_str())
    }

    /// Adds to the text, and gives out what can be no part of a sequence any more.
    pub fn push(&mut self, text: &str) -> String {
        if self.hit.is_some() {
            return String::new();
        }
        self.held.push_str(text);
        let place = |(index, stop): (usize, &String)| {
            let at = self.held.find(stop)?;
            Some((at + stop.len(), at, index))
        };
        // The first that is complete ends the text, as it would have ended the model's writing.
        let end = match self.sequences.iter().enumerate().filter_map(place).min() {
            Some((_, at, index)) => {
                self.hit = Some(index);
                at
            }
            None => self.held.len() - self.longest_beginning(),
        };
        let rest = self.held.split_off(end);
        let out = std::mem::replace(&mut self.held, rest);
        if self.hit.is_some() {
            self.held.clear();
        }
        out
    }

    /// What was held back, once it is known that no text follows.
    pub fn flush(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Length of the longest end of the text that a sequence begins with, in bytes.
    fn longest_beginning(&self) -> usize {
        let longest = self.sequences.iter().map(String::len).max().unwrap_or_default();
        let from = self.held.len().saturating_sub(longest.saturating_sub(1));
        let is_beginning = |at: &usize| {
            let end = &self.held.as_bytes()[*at..];
            self.held.is_char_boundary(*at)
                && self.sequences.iter().any(|stop| stop.as_bytes().starts_with(end))
        };
        (from..self.held.len()).find(is_beginning).map_or(0, |at| self.held.len() - at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn through<'t>(
        sequences: &[&str],
        pieces: impl IntoIterator<Item = &'t str>,
    ) -> (String, Option<String>) {
        let sequences: Vec<String> = sequences.iter().map(|stop| (*stop).to_owned()).collect();
        let mut stops = Stops::new(&sequences);
        let mut out: String = pieces.into_iter().map(|piece| stops.push(piece)).collect();
        out += &stops.flush();
        (out, stops.hit().map(str::to_owned))
    }

    #[test]
    fn a_sequence_is_found_across_pieces_and_the_first_one_counts() {
        assert_eq!(through(&["END", "!"], ["one EN", "D two!"]), ("one ".into(), Some("END".into())));
        assert_eq!(through(&["ab", "b"], ["xab"]), ("x".into(), Some("ab".into())));
        assert_eq!(through(&["é!"], ["café", " é", "!x"]), ("café ".into(), Some("é!".into())));
    }

    #[test]
    fn what_only_began_like_a_sequence_is_let_out() {
        assert_eq!(through(&["END"], ["E", "N", "E", "N"]), ("ENEN".into(), None));
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same(text in "[abé]{0,24}", stops in prop::collection::vec("[abé]{1,3}", 1..4), at in 0_usize..24) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let middle = text.char_indices().map(|(at, _)| at).nth(at).unwrap_or(text.len());
            let (left, right) = text.split_at(middle);
            let first = stops.iter().filter_map(|stop| text.find(stop).map(|at| (at + stop.len(), at))).min();

            let (out, hit) = through(&stops, [left, right]);

            prop_assert_eq!(&out, &text[..first.map_or(text.len(), |(_, at)| at)]);
            prop_assert_eq!(hit.is_some(), first.is_some());
        }
    }
}
