//! The models that the simulation offers, and what tells them apart.

use serde::Serialize;
use serde_json::{Value, json};

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Image,
    Embedding,
}

/// One entry of the catalogue.
#[derive(Debug, PartialEq, Eq)]
pub struct Model {
    pub id: &'static str,
    pub title: &'static str,
    pub kind: Kind,
    /// Gemini 3 and later: function calls carry signatures that must come back, and one candidate is all there is.
    pub is_gemini_3: bool,
    /// Refuses a last turn of the model and the role `function`: 3.6 and later, and 3.5 Flash-Lite.
    pub is_strict_on_turns: bool,
    /// Accepts the thinking level `MINIMAL`.
    pub has_minimal_thinking: bool,
}

const TEXT: Model = Model {
    id: "",
    title: "",
    kind: Kind::Text,
    is_gemini_3: false,
    is_strict_on_turns: false,
    has_minimal_thinking: true,
};
const GEMINI_3: Model = Model { is_gemini_3: true, ..TEXT };

/// In the order of the list.
pub static MODELS: [Model; 9] = [
    Model { id: "gemini-2.5-flash", title: "Gemini 2.5 Flash", ..TEXT },
    Model { id: "gemini-2.5-flash-lite", title: "Gemini 2.5 Flash-Lite", ..TEXT },
    Model { id: "gemini-2.5-pro", title: "Gemini 2.5 Pro", ..TEXT },
    Model {
        id: "gemini-3.1-pro-preview",
        title: "Gemini 3.1 Pro Preview",
        has_minimal_thinking: false,
        ..GEMINI_3
    },
    Model { id: "gemini-3.5-flash", title: "Gemini 3.5 Flash", ..GEMINI_3 },
    Model { id: "gemini-3.6-flash", title: "Gemini 3.6 Flash", is_strict_on_turns: true, ..GEMINI_3 },
    Model { id: "gemini-3.1-flash-image", title: "Gemini 3.1 Flash Image", kind: Kind::Image, ..GEMINI_3 },
    Model { id: "gemini-embedding-001", title: "Gemini Embedding 001", kind: Kind::Embedding, ..TEXT },
    Model { id: "gemini-embedding-2", title: "Gemini Embedding 2", kind: Kind::Embedding, ..TEXT },
];

/// The model of that id, with or without `models/` in front.
pub fn find(id: &str) -> Option<&'static Model> {
    let id = id.strip_prefix("models/").unwrap_or(id);
    MODELS.iter().find(|model| model.id == id)
}

impl Model {
    /// Whether `generateContent`, `embedContent`, … exist for it.
    pub fn supports(&self, method: &str) -> bool {
        match self.kind {
            Kind::Embedding => matches!(method, "embedContent" | "batchEmbedContents" | "countTokens"),
            Kind::Text | Kind::Image => {
                matches!(method, "generateContent" | "streamGenerateContent" | "countTokens")
            }
        }
    }

    /// The resource as `models.get` shows it.
    pub fn to_json(&self) -> Value {
        let embeds = self.kind == Kind::Embedding;
        let methods: &[&str] = match self.kind {
            Kind::Embedding => &["embedContent", "countTextTokens", "countTokens"],
            Kind::Text | Kind::Image => &["generateContent", "countTokens", "createCachedContent"],
        };
        let mut model = json!({
            "name": format!("models/{}", self.id), "version": "001", "displayName": self.title,
            "description": format!("{}, simulated", self.title),
            "inputTokenLimit": if embeds { 2_048 } else { 1_048_576 },
            "outputTokenLimit": if embeds { 1 } else { 65_536 },
            "supportedGenerationMethods": methods,
        });
        if !embeds {
            let sampling =
                json!({"temperature": 1, "topP": 0.95, "topK": 64, "maxTemperature": 2, "thinking": true});
            if let (Some(model), Value::Object(sampling)) = (model.as_object_mut(), sampling) {
                model.extend(sampling);
            }
        }
        model
    }
}

/// One page of `models.list`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    pub models: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// The page behind `token`; a size of 0 means Google's 50. A token that is none of ours gives `None`.
pub fn page(size: usize, token: Option<&str>) -> Option<Page> {
    let start: usize = token.filter(|token| !token.is_empty()).map_or(Ok(0), str::parse).ok()?;
    let rest = MODELS.get(start..)?;
    let size = if size == 0 { 50 } else { size.min(1000) };
    let models = rest.iter().take(size).map(Model::to_json).collect();
    let next_page_token = (rest.len() > size).then(|| (start + size).to_string());
    Some(Page { models, next_page_token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let (mut names, mut token) = (Vec::new(), None::<String>);
        loop {
            let page = page(4, token.as_deref()).unwrap();
            names.extend(page.models.iter().map(|model| model["name"].to_string()));
            token = page.next_page_token;
            if token.is_none() {
                break;
            }
        }

        assert_eq!(names.len(), MODELS.len());
        assert!(page(4, Some("elsewhere")).is_none());
        assert!(page(4, Some("99")).is_none());
    }

    #[test]
    fn a_model_supports_what_its_kind_does() {
        let embedding = find("models/gemini-embedding-001").unwrap();

        assert!(embedding.supports("batchEmbedContents"));
        assert!(!embedding.supports("generateContent"));
    }
}
