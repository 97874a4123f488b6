//! What names of models ask for, what requests to some models always say, and how streams are made to look.

use std::time::Duration;

use serde_json::Value;

use super::{reader::Reader, upstream::is_settable_header};
use crate::domain::model::ModelName;

/// Models by name or pattern, and what is asked of Gemini for them.
#[derive(Debug, Clone, PartialEq)]
pub struct Switches {
    /// A client's name → the one that is meant.
    pub aliases: Vec<(String, String)>,
    /// As they stand in the configuration; looked at, but not understood here.
    pub rules: Vec<Value>,
    pub search_models: Vec<String>,
    pub image_models: Vec<String>,
    pub thinking_models: Vec<String>,
    pub create_image_model: Option<ModelName>,
    /// Tokens; -1 leaves it to the model.
    pub thinking_budgets: Vec<(String, i64)>,
    pub show_search_links: bool,
    pub code_execution: bool,
    /// Empty when it is switched off.
    pub url_context_models: Vec<String>,
    pub url_normalization: bool,
}

/// How streams are made to look.
#[derive(Debug, Clone, PartialEq)]
pub struct Streams {
    /// Answers are fetched whole, with signs of life so often meanwhile.
    pub fake: Option<Duration>,
    pub optimizer: Option<Optimizer>,
}

/// Lengths are characters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Optimizer {
    pub min_delay: Duration,
    pub max_delay: Duration,
    pub short: usize,
    pub long: usize,
    pub chunk: usize,
    pub max_lag: Duration,
}

impl Switches {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let models = |reader: &mut Reader, name| models(reader, name);
        let url_context_models = models(reader, "URL_CONTEXT_MODELS");
        let url_context = reader.flag("URL_CONTEXT_ENABLED");
        Self {
            aliases: reader.map("MODEL_ALIASES"),
            rules: rules(reader),
            search_models: models(reader, "SEARCH_MODELS"),
            image_models: models(reader, "IMAGE_MODELS"),
            thinking_models: models(reader, "THINKING_MODELS"),
            create_image_model: create_image_model(reader),
            thinking_budgets: thinking_budgets(reader),
            show_search_links: reader.flag("SHOW_SEARCH_LINK"),
            code_execution: reader.flag("TOOLS_CODE_EXECUTION_ENABLED"),
            url_context_models: if url_context { url_context_models } else { Vec::new() },
            url_normalization: reader.flag("URL_NORMALIZATION_ENABLED"),
        }
    }
}

impl Streams {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let is_fake = reader.flag("FAKE_STREAM_ENABLED");
        let heartbeat = reader.seconds("FAKE_STREAM_EMPTY_DATA_INTERVAL_SECONDS");
        let is_optimized = reader.flag("STREAM_OPTIMIZER_ENABLED");
        let min_delay = reader.seconds("STREAM_MIN_DELAY");
        let optimizer = Optimizer {
            min_delay,
            max_delay: reader.seconds("STREAM_MAX_DELAY").max(min_delay),
            short: reader.number("STREAM_SHORT_TEXT_THRESHOLD"),
            long: reader.number("STREAM_LONG_TEXT_THRESHOLD"),
            chunk: reader.number("STREAM_CHUNK_SIZE"),
            max_lag: reader.seconds("STREAM_MAX_LAG_SECONDS"),
        };
        Self { fake: is_fake.then_some(heartbeat), optimizer: is_optimized.then_some(optimizer) }
    }
}

fn models(reader: &mut Reader, name: &'static str) -> Vec<String> {
    let names = reader.list(name);
    names.iter().map(|name| name.strip_prefix("models/").unwrap_or(name).to_owned()).collect()
}

fn create_image_model(reader: &mut Reader) -> Option<ModelName> {
    const NAME: &str = "CREATE_IMAGE_MODEL";
    /// Takes the place of Imagen, which Google has closed in 2026-08.
    const SUCCESSOR: &str = "gemini-2.5-flash-image";
    let name = reader.optional_text(NAME).filter(|name| name != "none")?;
    if name.starts_with("imagen") {
        reader.notice(format!("CREATE_IMAGE_MODEL: Google has closed Imagen; {SUCCESSOR} is used"));
        return ModelName::parse(SUCCESSOR);
    }
    let model = ModelName::parse(&name);
    if model.is_none() {
        reader.report(NAME, "is not the name of a model");
    }
    model
}

/// The original saved them as `-1.0`.
fn thinking_budgets(reader: &mut Reader) -> Vec<(String, i64)> {
    const NAME: &str = "THINKING_BUDGET_MAP";
    let mut budgets = Vec::new();
    for (model, budget) in reader.map(NAME) {
        match budget.parse::<f64>() {
            Ok(tokens) if tokens.fract() == 0.0 && (-1.0..=1_000_000.0).contains(&tokens) => {
                budgets.push((model, tokens as i64));
            }
            _ => reader.report(NAME, format!("the budget of {model} is no number of tokens from -1 on")),
        }
    }
    budgets
}

fn rules(reader: &mut Reader) -> Vec<Value> {
    const NAME: &str = "MODEL_RULES";
    let Some(rules) = reader.json(NAME) else { return Vec::new() };
    let Value::Array(rules) = rules else {
        reader.report(NAME, "is not a list of rules");
        return Vec::new();
    };
    for (index, rule) in rules.iter().enumerate() {
        if let Some(problem) = wrong_in_rule(rule) {
            reader.report(NAME, format!("rule {}: {problem}", index + 1));
        }
    }
    rules
}

/// What is wrong with a rule: `{models: […], body: {set: {…}, default: {…}, remove: […]}, headers: the same}`.
fn wrong_in_rule(rule: &Value) -> Option<String> {
    let is_texts = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
    let Some(rule) = rule.as_object() else { return Some("is not a map".to_owned()) };
    if !rule.get("models").is_some_and(is_texts) {
        return Some("names no list of models".to_owned());
    }
    for (part, edits) in rule.iter().filter(|(part, _)| *part != "models") {
        let is_headers = part == "headers";
        if part != "body" && !is_headers {
            return Some(format!("{part} is none of models, body and headers"));
        }
        let Some(edits) = edits.as_object() else { return Some(format!("{part} is not a map")) };
        for (verb, values) in edits {
            let names: Vec<&str> = match (verb.as_str(), values) {
                ("set" | "default", Value::Object(values)) => {
                    if is_headers && !values.values().all(Value::is_string) {
                        return Some("a header is not a text".to_owned());
                    }
                    values.keys().map(String::as_str).collect()
                }
                ("remove", values) if is_texts(values) => {
                    values.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
                }
                _ => {
                    return Some(format!(
                        "{part}.{verb} is none of set and default, with a map, and remove, with a list"
                    ));
                }
            };
            if is_headers && !names.iter().all(|name| is_settable_header(name)) {
                return Some(
                    "names a header that no header can have, or that is the gateway's own".to_owned(),
                );
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_are_looked_at_before_they_are_used() {
        let good = json!({"models": ["*"], "body": {"set": {"a.b": 1}, "remove": ["c"]}, "headers": {"default": {"x-a": "b"}}});
        assert_eq!(wrong_in_rule(&good), None);
        for (rule, word) in [
            (json!([]), "map"),
            (json!({"body": {}}), "models"),
            (json!({"models": ["*"], "bodies": {}}), "bodies"),
            (json!({"models": ["*"], "body": {"sett": {}}}), "sett"),
            (json!({"models": ["*"], "headers": {"set": {"x-goog-api-key": "k"}}}), "own"),
            (json!({"models": ["*"], "headers": {"set": {"x": 1}}}), "text"),
        ] {
            assert!(wrong_in_rule(&rule).is_some_and(|problem| problem.contains(word)), "{rule}");
        }
    }
}
