//! The links that a search found, as a text at the end of the answer.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::convert::gemini::GenerateContentResponse;

/// Follows one answer, event by event; a whole answer is one event.
#[derive(Debug, Default)]
pub struct SearchLinks {
    /// Title and address, in the order in which they were found.
    found: Vec<(String, String)>,
    is_over: bool,
}

impl SearchLinks {
    /// The event with the links behind its text, if it is the one that ends the answer.
    pub fn event(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        let response: GenerateContentResponse<'_> = serde_json::from_slice(data).ok()?;
        let candidate = response.candidates.first()?;
        let chunks = candidate.grounding_metadata.iter().flat_map(|grounding| &grounding.grounding_chunks);
        for web in chunks.filter_map(|chunk| chunk.web.as_ref()) {
            let Some(address) = web.uri.as_deref() else { continue };
            if !self.found.iter().any(|(_, known)| known == address) {
                let title = web.title.as_deref().unwrap_or(address);
                self.found.push((title.to_owned(), address.to_owned()));
            }
        }
        self.is_over |= candidate.finish_reason.is_some();
        if !self.is_over || self.found.is_empty() {
            return None;
        }
        let mut text = "\n\n---\n\n**Sources**\n".to_owned();
        for (title, address) in self.found.drain(..) {
            let title = title.replace(['[', ']', '\n', '\r'], " ");
            write!(text, "\n- [{title}]({address})").expect("a text takes every write");
        }
        let mut event: Value = serde_json::from_slice(data).ok()?;
        let content = &mut event["candidates"][0]["content"];
        if !content.is_object() {
            *content = json!({"role": "model"});
        }
        match content["parts"].as_array_mut() {
            Some(parts) => parts.push(json!({ "text": text })),
            None => content["parts"] = json!([{ "text": text }]),
        }
        Some(event.to_string().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grounded(finish: bool) -> Value {
        let web = |title: &str, uri: &str| json!({"web": {"title": title, "uri": uri}});
        let mut candidate = json!({"content": {"parts": [{"text": "so"}]}, "groundingMetadata": {
            "groundingChunks": [web("A [x]", "https://a"), web("B", "https://b"), {"maps": {}}],
        }});
        if finish {
            candidate["finishReason"] = "STOP".into();
        }
        json!({"candidates": [candidate], "usageMetadata": {"totalTokenCount": 3}})
    }

    fn told(links: &mut SearchLinks, event: &Value) -> Option<Value> {
        links.event(event.to_string().as_bytes()).map(|event| serde_json::from_slice(&event).unwrap())
    }

    #[test]
    fn links_are_told_once_at_the_end() {
        let mut links = SearchLinks::default();

        assert_eq!(told(&mut links, &grounded(false)), None);
        let last = told(&mut links, &grounded(true)).unwrap();

        let text = "\n\n---\n\n**Sources**\n\n- [A  x ](https://a)\n- [B](https://b)";
        assert_eq!(last["candidates"][0]["content"]["parts"], json!([{"text": "so"}, {"text": text}]));
        assert_eq!(last["usageMetadata"]["totalTokenCount"], 3);
    }

    #[test]
    fn an_answer_without_links_or_without_content_is_no_problem() {
        let end = json!({"candidates": [{"finishReason": "STOP"}]});
        assert_eq!(told(&mut SearchLinks::default(), &end), None);

        let mut links = SearchLinks::default();
        told(&mut links, &grounded(false));
        let last = told(&mut links, &end).unwrap();
        assert_eq!(last["candidates"][0]["content"]["parts"].as_array().unwrap().len(), 1);
        assert_eq!(SearchLinks::default().event(b"oops"), None);
    }
}
