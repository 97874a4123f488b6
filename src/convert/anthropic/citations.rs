//! Sources of an answer that came from a search.

use super::types::Citation;
use crate::convert::gemini::response::GroundingMetadata;

/// The citations that were told already.
#[derive(Debug, Default)]
pub(super) struct Citations {
    known: Vec<Citation>,
}

impl Citations {
    /// The citations of one event that no earlier event had.
    pub fn read(&mut self, grounding: &GroundingMetadata<'_>) -> Vec<Citation> {
        let before = self.known.len();
        for (segment, url, title) in grounding.cited() {
            let cited = segment.and_then(|segment| segment.text.as_deref()).unwrap_or_default();
            let citation = Citation {
                kind: "web_search_result_location",
                cited_text: cited.to_owned(),
                url: url.to_owned(),
                title: title.map(str::to_owned),
                encrypted_index: "",
            };
            if !self.known.contains(&citation) {
                self.known.push(citation);
            }
        }
        self.known[before..].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_of_a_stretch_is_told_once() {
        let json = r#"{"groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}, {"maps": {}}, {"web": {"uri": "https://b"}}],
            "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 4, "text": "Rain"}, "groundingChunkIndices": [0, 1, 2, 7]}]}"#;
        let mut citations = Citations::default();

        let told = citations.read(&serde_json::from_str(json).unwrap());

        assert_eq!(
            told.iter().map(|citation| citation.url.as_str()).collect::<Vec<_>>(),
            ["https://a", "https://b"]
        );
        assert!(told.iter().all(|citation| citation.cited_text == "Rain"));
        assert!(citations.read(&serde_json::from_str(json).unwrap()).is_empty());
    }
}
