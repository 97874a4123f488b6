//! What is asked of Gemini when the client leaves it open, and what is shown of its answers.

use serde::{Deserialize, Serialize};

use super::reader::Reader;
use crate::domain::{forwarding::Forwarding, model::ModelName};

/// Defaults for requests and answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Gemini {
    /// For requests that bring none.
    pub safety_settings: Vec<SafetySetting>,
    /// Hidden and refused.
    pub filtered_models: Vec<ModelName>,
    /// Who does what is asked of `/openai/v1`.
    pub openai_passthrough: Forwarding,
    /// Whether OpenAI clients see thoughts.
    pub show_thinking_process: bool,
    /// Whether clients neither see nor use the files of others, nor what else they have made.
    pub isolates_clients: bool,
}

/// One entry of `safetySettings`; Google decides which words are valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SafetySetting {
    pub category: String,
    pub threshold: String,
}

pub(super) const PASSTHROUGH: [(&str, Forwarding); 3] =
    [("auto", Forwarding::Auto), ("forward", Forwarding::Always), ("convert", Forwarding::Never)];

impl Gemini {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            openai_passthrough: reader.choice("OPENAI_PASSTHROUGH", &PASSTHROUGH),
            safety_settings: safety_settings(reader),
            filtered_models: filtered_models(reader),
            show_thinking_process: reader.flag("SHOW_THINKING_PROCESS"),
            isolates_clients: reader.flag("FILES_USER_ISOLATION_ENABLED"),
        }
    }
}

fn safety_settings(reader: &mut Reader) -> Vec<SafetySetting> {
    const NAME: &str = "SAFETY_SETTINGS";
    let Some(value) = reader.json(NAME) else { return Vec::new() };
    serde_json::from_value(value).unwrap_or_else(|_| {
        reader.report(NAME, "is not a list of maps with category and threshold");
        Vec::new()
    })
}

fn filtered_models(reader: &mut Reader) -> Vec<ModelName> {
    const NAME: &str = "FILTERED_MODELS";
    let names = reader.list(NAME);
    let models: Option<Vec<_>> = names.iter().map(|name| ModelName::parse(name)).collect();
    models.unwrap_or_else(|| {
        reader.report(NAME, "holds something that is not the name of a model");
        Vec::new()
    })
}
