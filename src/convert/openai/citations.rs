//! Sources of an answer: Gemini counts bytes of its own text, OpenAI characters of the whole content.

use super::types::{Annotation, UrlCitation};
use crate::convert::gemini::response::{GroundingMetadata, Segment};

/// The text that citations refer to, and what else was put between it.
#[derive(Debug, Default)]
pub(super) struct Citations {
    /// Gemini's own text so far.
    text: String,
    /// Characters of other content (pictures, code) that stand before that byte of the text.
    inserted: Vec<(usize, usize)>,
    known: Vec<Annotation>,
}

impl Citations {
    pub fn add_text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub fn add_other(&mut self, content: &str) {
        self.inserted.push((self.text.len(), content.chars().count()));
    }

    /// The citations of one event that no earlier event had.
    pub fn read(&mut self, grounding: &GroundingMetadata<'_>) -> Vec<Annotation> {
        let before = self.known.len();
        for (segment, url, title) in grounding.cited() {
            let Some((start_index, end_index)) = segment.and_then(|segment| self.stretch(segment)) else {
                continue;
            };
            let (title, url) = (title.unwrap_or_default().to_owned(), url.to_owned());
            let url_citation = UrlCitation { start_index, end_index, title, url };
            let annotation = Annotation { kind: "url_citation", url_citation };
            if !self.known.contains(&annotation) {
                self.known.push(annotation);
            }
        }
        self.known[before..].to_vec()
    }

    /// Where a segment stands in the content, in characters.
    ///
    /// Offsets count from the start of the answer, or of a part when there are several; the segment's own text decides.
    fn stretch(&self, segment: &Segment<'_>) -> Option<(usize, usize)> {
        let Segment { start_index: start, end_index: end, text } = segment;
        let as_told = self.text.get(*start..*end);
        match text.as_deref() {
            None => as_told.map(|_| (self.chars(*start), self.chars(*end))),
            Some(quoted) if as_told == Some(quoted) => Some((self.chars(*start), self.chars(*end))),
            Some(quoted) => {
                let start = self.text.find(quoted)?;
                Some((self.chars(start), self.chars(start + quoted.len())))
            }
        }
    }

    /// A byte of the text as a character of the content; `byte` is a boundary.
    fn chars(&self, byte: usize) -> usize {
        let own = self.text.get(..byte).map_or(0, |text| text.chars().count());
        let inserted = self.inserted.iter().filter(|(at, _)| *at <= byte).map(|(_, chars)| chars);
        own + inserted.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(citations: &mut Citations, segment: &str) -> Vec<(usize, usize)> {
        let json = format!(
            r#"{{"groundingChunks": [{{"web": {{"uri": "https://a", "title": "A"}}}}, {{"maps": {{}}}}],
                "groundingSupports": [{{"segment": {segment}, "groundingChunkIndices": [0, 1, 7]}}]}}"#
        );
        let found = citations.read(&serde_json::from_str(&json).unwrap());
        found.iter().map(|one| (one.url_citation.start_index, one.url_citation.end_index)).collect()
    }

    #[test]
    fn bytes_become_characters() {
        let mut citations = Citations::default();
        citations.add_text("Grüße aus Köln.");

        assert_eq!(
            read(&mut citations, r#"{"startIndex": 12, "endIndex": 18, "text": "Köln."}"#),
            [(10, 15)]
        );
        assert_eq!(
            read(&mut citations, r#"{"startIndex": 12, "endIndex": 18, "text": "Köln."}"#),
            [],
            "told already"
        );
    }

    #[test]
    fn a_segment_is_found_by_its_text_when_its_offsets_are_of_another_part() {
        let mut citations = Citations::default();
        citations.add_text("One. ");
        citations.add_other("![image]()");
        citations.add_text("Two.");

        assert_eq!(read(&mut citations, r#"{"endIndex": 4, "text": "Two."}"#), [(15, 19)]);
        assert_eq!(read(&mut citations, r#"{"startIndex": 9, "endIndex": 2}"#), []);
        assert_eq!(read(&mut citations, r#"{"endIndex": 9999, "text": "never said"}"#), []);
    }
}
