//! Plausible token counts: four characters a token, a fixed price for each medium.

use serde::Serialize;

use super::request::{Content, GenerateRequest, Media};

/// Tokens of one picture or page.
const MEDIA_TOKENS: u64 = 258;

/// Tokens of one kind of content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModalityCount {
    pub modality: &'static str,
    pub token_count: u64,
}

/// Counts of a whole answer, before they are spread over its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens by modality, text first.
    pub details: Vec<ModalityCount>,
    /// Without thoughts.
    pub candidates: u64,
    pub thoughts: u64,
}

impl Usage {
    /// Counts turns, system instruction and declarations of functions.
    pub fn of_prompt(request: &GenerateRequest) -> Self {
        let mut usage = Self::of_contents(&request.contents);
        let system = request.system_instruction.as_ref().map_or(0, |content| of_text(&content.text()));
        let functions: u64 = request.declarations().map(|function| 20 + of_text(&function.name)).sum();
        usage.add("TEXT", system + functions);
        usage
    }

    pub fn of_contents(contents: &[Content]) -> Self {
        let mut usage = Self::default();
        usage.add("TEXT", 1);
        for part in contents.iter().flat_map(|content| &content.parts) {
            if let Some(text) = &part.text {
                usage.add("TEXT", of_text(text));
            }
            if let Some(result) = &part.function_response {
                usage.add("TEXT", 8 + of_text(&result.name));
            }
            for medium in part.inline_data.iter().chain(&part.file_data) {
                usage.add(modality(medium), MEDIA_TOKENS);
            }
        }
        usage
    }

    pub fn prompt(&self) -> u64 {
        self.details.iter().map(|count| count.token_count).sum()
    }

    fn add(&mut self, modality: &'static str, tokens: u64) {
        match self.details.iter_mut().find(|count| count.modality == modality) {
            Some(count) => count.token_count += tokens,
            None => self.details.push(ModalityCount { modality, token_count: tokens }),
        }
    }
}

fn modality(medium: &Media) -> &'static str {
    match medium.mime_type.split('/').next() {
        Some("image") => "IMAGE",
        Some("audio") => "AUDIO",
        Some("video") => "VIDEO",
        Some("text") => "TEXT",
        _ => "DOCUMENT",
    }
}

/// How many media a turn brings.
pub fn media_parts(content: &Content) -> usize {
    content.parts.iter().filter(|part| part.inline_data.is_some() || part.file_data.is_some()).count()
}

/// Tokens of a text.
pub fn of_text(text: &str) -> u64 {
    text.len().div_ceil(4) as u64
}

/// The beginning of `text` that has at most so many tokens.
pub fn cut(text: &str, tokens: u64) -> String {
    let bytes = usize::try_from(tokens.saturating_mul(4)).unwrap_or(usize::MAX);
    text[..text.floor_char_boundary(bytes)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::{super::request::parse, *};

    #[test]
    fn an_image_counts_as_image_and_text_as_text() {
        let request: GenerateRequest = parse(
            br#"{"contents": [{"parts": [{"text": "12345678"}, {"inlineData": {"mimeType": "image/png", "data": ""}}]}]}"#,
        )
        .unwrap();

        let usage = Usage::of_prompt(&request);

        assert_eq!(usage.details[0], ModalityCount { modality: "TEXT", token_count: 3 });
        assert_eq!(usage.details[1], ModalityCount { modality: "IMAGE", token_count: 258 });
        assert_eq!(usage.prompt(), 261);
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("äöüß", 1), "äö");
        assert_eq!(cut("abcdef€", 2), "abcdef");
        assert_eq!(cut("abc", u64::MAX), "abc");
    }
}
