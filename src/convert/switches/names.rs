//! Names of models that ask for more than a model: `gemini-2.5-flash-search`, aliases, and the lists that show them.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{
    body::{Changes, Thinks},
    rules::ModelRule,
};
use crate::convert::traits::{Level, ModelTraits, Thinking, fits};

/// The settings. Lists of models may hold patterns, in which `*` stands for anything.
#[derive(Debug, Clone, Default)]
pub struct Switches {
    /// A client's name → the one that is meant, with whatever suffixes.
    pub aliases: Vec<(String, String)>,
    /// Models that may have `-search` behind their name.
    pub search_models: Vec<String>,
    /// Models that may have `-image` behind their name.
    pub image_models: Vec<String>,
    /// Models that are listed with `-non-thinking`, which all may have.
    pub thinking_models: Vec<String>,
    /// Called with `-chat` behind its name, it draws.
    pub create_image_model: Option<String>,
    /// Tokens for thinking, for requests that do not say how much; -1 leaves it to the model.
    pub thinking_budgets: HashMap<String, i64>,
    pub show_thoughts: bool,
    /// Searches end with a list of what they found.
    pub show_search_links: bool,
    pub code_execution: bool,
    /// Models that read the addresses in a prompt.
    pub url_context_models: Vec<String>,
    pub rules: Vec<ModelRule>,
}

/// What a client's name of a model comes to.
#[derive(Debug, Default, PartialEq)]
pub struct Wanted {
    /// Google's name, without `models/`.
    pub model: String,
    /// What the request is to say besides.
    pub changes: Changes,
    /// The answer ends with links.
    pub links: bool,
    /// Headers to set, to set where there are none, and to remove.
    pub headers: super::Edits<String>,
}

/// What may stand behind a name, each once.
#[derive(Debug, Default, Clone, Copy)]
struct Suffixes {
    search: bool,
    image: bool,
    non_thinking: bool,
    /// Behind the model that draws.
    chat: bool,
}

impl Switches {
    /// Reads a client's name; `is_real` knows the models that Google itself has, whose names are never taken apart.
    pub fn resolve(&self, name: &str, is_real: impl Fn(&str) -> bool) -> Wanted {
        let name = self.alias(short(name)).map_or(short(name), short);
        let (model, suffixes) = self.take_apart(name, &is_real);
        let pictures = suffixes.chat || suffixes.image || model.ends_with("-image-generation");
        let rules: Vec<_> = self.rules.iter().filter(|rule| rule.is_for(model)).collect();
        Wanted {
            model: model.to_owned(),
            links: suffixes.search && self.show_search_links,
            headers: super::Edits::together(rules.iter().map(|rule| &rule.headers)),
            changes: self.changes(model, suffixes, pictures, &rules),
        }
    }

    fn changes(&self, model: &str, suffixes: Suffixes, pictures: bool, rules: &[&ModelRule]) -> Changes {
        let asks_by_setting =
            self.code_execution || !self.url_context_models.is_empty() || !self.thinking_budgets.is_empty();
        let asks_by_name = suffixes.search || suffixes.non_thinking || pictures;
        // The usual request asks for nothing, and is not to pay for what it might.
        if !asks_by_setting && !asks_by_name && rules.is_empty() {
            return Changes::default();
        }
        let traits = ModelTraits::of(model);
        let has_tools = traits.built_in_tools && !pictures;
        Changes {
            search: suffixes.search,
            code_execution: self.code_execution
                && has_tools
                && !suffixes.search
                && !model.contains("-thinking"),
            url_context: has_tools && any_fits(&self.url_context_models, model),
            beside_functions: traits.functions_with_search,
            pictures,
            thinks: self.thinks(model, &traits, suffixes),
            edits: super::Edits::together(rules.iter().map(|rule| &rule.body)),
        }
    }

    fn alias(&self, name: &str) -> Option<&str> {
        let exact = self.aliases.iter().find(|(alias, _)| alias == name);
        let found =
            exact.or_else(|| self.aliases.iter().find(|(alias, _)| alias.contains('*') && fits(alias, name)));
        found.map(|(_, meant)| meant.as_str())
    }

    /// The model behind the suffixes. A suffix that the model may not have is part of a name that Google shall judge.
    fn take_apart<'n>(&self, name: &'n str, is_real: &impl Fn(&str) -> bool) -> (&'n str, Suffixes) {
        let (mut model, mut found) = (name, Suffixes::default());
        loop {
            // The name of the model that draws may itself end like a suffix.
            if found.chat && self.create_image_model.as_deref() == Some(model) {
                break;
            }
            let suffixes = [
                ("-search", &mut found.search),
                ("-image", &mut found.image),
                ("-non-thinking", &mut found.non_thinking),
                ("-chat", &mut found.chat),
            ];
            let mut suffixes = suffixes.into_iter();
            let suffix = suffixes.find_map(|(suffix, flag)| Some((model.strip_suffix(suffix)?, flag)));
            match suffix {
                // Most names have none, so what is real is asked for last.
                Some((rest, flag)) if !rest.is_empty() && !*flag && !is_real(model) => {
                    (model, *flag) = (rest, true)
                }
                Some(_) | None => break,
            }
        }
        let may_search = !found.search || any_fits(&self.search_models, model);
        let may_draw = !found.image || any_fits(&self.image_models, model);
        let may_chat = !found.chat || self.create_image_model.as_deref() == Some(model);
        if may_search && may_draw && may_chat { (model, found) } else { (name, Suffixes::default()) }
    }

    fn thinks(&self, model: &str, traits: &ModelTraits, suffixes: Suffixes) -> Option<Thinks> {
        if suffixes.non_thinking {
            return match traits.thinking {
                Thinking::None => None,
                Thinking::Budget { can_disable: true, .. } => {
                    Some(Thinks::Tokens { budget: 0, shown: false })
                }
                Thinking::Budget { min, .. } => Some(Thinks::Tokens { budget: min.into(), shown: false }),
                Thinking::Levels(levels) => levels.first().copied().map(Thinks::Level),
            };
        }
        let budget = *self.thinking_budgets.get(model)?;
        let shown = self.show_thoughts && budget != 0;
        traits.thinks().then_some(Thinks::Tokens { budget, shown })
    }

    /// Google's models with those that only exist here: each behind the one that it is made of, aliases last.
    pub fn with_derived(&self, models: &[Value]) -> Vec<Value> {
        let name_of = |model: &Value| model["name"].as_str().map(|name| short(name).to_owned());
        let real: Vec<String> = models.iter().filter_map(name_of).collect();
        let is_new = |name: &String| !real.contains(name);
        let mut all = Vec::with_capacity(models.len() + 8);
        for model in models {
            all.push(model.clone());
            let Some(name) = name_of(model) else { continue };
            let families = [
                ("-search", &self.search_models),
                ("-image", &self.image_models),
                ("-non-thinking", &self.thinking_models),
            ];
            let suffixes =
                families.iter().filter(|(_, models)| any_fits(models, &name)).map(|(suffix, _)| suffix);
            let derived = suffixes.map(|suffix| format!("{name}{suffix}")).filter(is_new);
            all.extend(derived.map(|name| renamed(model, &name)));
        }
        let draws = self.create_image_model.iter().map(|model| (format!("{model}-chat"), model.as_str()));
        let aliases = self.aliases.iter().filter(|(alias, _)| !alias.contains('*'));
        let aliases = aliases.map(|(alias, meant)| (alias.clone(), meant.as_str()));
        for (name, of) in draws.chain(aliases).filter(|(name, _)| is_new(name)) {
            let (base, _) = self.take_apart(short(of), &|name| real.iter().any(|real| real == name));
            let model = models.iter().find(|model| name_of(model).as_deref() == Some(base));
            all.push(
                model
                    .map_or_else(|| json!({"name": format!("models/{name}")}), |model| renamed(model, &name)),
            );
        }
        all
    }
}

/// Routers of several vendors write `google/` in front of Gemini's names.
fn short(name: &str) -> &str {
    let name = name.strip_prefix("google/").unwrap_or(name);
    name.strip_prefix("models/").unwrap_or(name)
}

fn any_fits(patterns: &[String], model: &str) -> bool {
    patterns.iter().any(|pattern| fits(pattern, model))
}

fn renamed(model: &Value, name: &str) -> Value {
    let mut model = model.clone();
    model["name"] = format!("models/{name}").into();
    if model.get("displayName").is_some() {
        model["displayName"] = name.into();
    }
    model
}

impl From<Level> for &'static str {
    fn from(level: Level) -> Self {
        match level {
            Level::Minimal => "MINIMAL",
            Level::Low => "LOW",
            Level::Medium => "MEDIUM",
            Level::High => "HIGH",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: [&str; 4] =
        ["gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.5-flash-image", "gemini-3.8-flash"];

    fn switches() -> Switches {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Switches {
            aliases: vec![
                ("gpt-4o".into(), "gemini-2.5-pro-search".into()),
                ("claude-*".into(), "gemini-3.8-flash".into()),
            ],
            search_models: texts(&["gemini-2.5-*"]),
            image_models: texts(&["gemini-2.5-flash"]),
            thinking_models: texts(&["gemini-2.5-pro"]),
            create_image_model: Some("gemini-2.5-flash-image".into()),
            thinking_budgets: [("gemini-2.5-flash".to_owned(), -1)].into(),
            show_thoughts: true,
            show_search_links: true,
            ..Switches::default()
        }
    }

    fn resolve(name: &str) -> Wanted {
        switches().resolve(name, |name| REAL.contains(&name))
    }

    #[test]
    fn suffixes_combine_in_any_order() {
        for name in ["gemini-2.5-pro-search-non-thinking", "models/gemini-2.5-pro-non-thinking-search"] {
            let wanted = resolve(name);

            assert_eq!(wanted.model, "gemini-2.5-pro", "{name}");
            assert!(wanted.changes.search && wanted.links);
            assert_eq!(wanted.changes.thinks, Some(Thinks::Tokens { budget: 128, shown: false }));
        }
    }

    #[test]
    fn a_real_model_is_never_taken_apart() {
        let wanted = resolve("gemini-2.5-flash-image");
        assert_eq!((wanted.model.as_str(), wanted.changes.pictures), ("gemini-2.5-flash-image", false));

        let nobody_knows = switches().resolve("gemini-2.5-flash-image", |_| false);
        assert_eq!((nobody_knows.model.as_str(), nobody_knows.changes.pictures), ("gemini-2.5-flash", true));
    }

    #[test]
    fn a_suffix_that_a_model_may_not_have_stays() {
        for name in ["gemini-3.8-flash-search", "gemini-2.5-pro-image", "-search"] {
            assert_eq!(resolve(name).model, name);
        }
        assert_eq!(
            resolve("gemini-2.5-flash").changes.thinks,
            Some(Thinks::Tokens { budget: -1, shown: true })
        );
        assert_eq!(resolve("gemini-3.8-flash-non-thinking").changes.thinks, Some(Thinks::Level(Level::Low)));
    }

    #[test]
    fn a_model_that_draws_is_called_by_chat_and_by_generation() {
        let chat = resolve("gemini-2.5-flash-image-chat");
        let generation = resolve("gemini-2.0-flash-preview-image-generation");

        assert_eq!((chat.model.as_str(), chat.changes.pictures), ("gemini-2.5-flash-image", true));
        assert_eq!(generation.model, "gemini-2.0-flash-preview-image-generation");
        assert!(generation.changes.pictures);
    }

    #[test]
    fn chat_combines_with_the_other_suffixes_and_belongs_to_the_model_that_draws() {
        for name in ["gemini-2.5-flash-image-chat-search", "gemini-2.5-flash-image-search-chat"] {
            for is_known in [true, false] {
                let wanted = switches().resolve(name, |name| is_known && REAL.contains(&name));

                assert_eq!(wanted.model, "gemini-2.5-flash-image", "{name}");
                assert!(wanted.changes.pictures && wanted.changes.search && wanted.links, "{name}");
            }
        }
        for name in ["gemini-2.5-pro-chat", "gemini-2.5-pro-search-chat", "deepseek-chat"] {
            assert_eq!(resolve(name).model, name);
        }
    }

    #[test]
    fn aliases_may_have_suffixes_and_patterns() {
        let alias = resolve("gpt-4o");

        assert_eq!((alias.model.as_str(), alias.changes.search), ("gemini-2.5-pro", true));
        assert_eq!(resolve("claude-opus-5").model, "gemini-3.8-flash");
        assert_eq!(resolve("google/gemini-2.5-pro").model, "gemini-2.5-pro");
    }

    #[test]
    fn lists_show_what_can_be_asked_for() {
        let models: Vec<Value> =
            REAL.iter().map(|name| json!({"name": format!("models/{name}"), "displayName": "x"})).collect();

        let all = switches().with_derived(&models);

        let names: Vec<_> =
            all.iter().filter_map(|model| model["name"].as_str()?.strip_prefix("models/")).collect();
        assert_eq!(
            names,
            [
                "gemini-2.5-flash",
                "gemini-2.5-flash-search",
                "gemini-2.5-pro",
                "gemini-2.5-pro-search",
                "gemini-2.5-pro-non-thinking",
                "gemini-2.5-flash-image",
                "gemini-2.5-flash-image-search",
                "gemini-3.8-flash",
                "gemini-2.5-flash-image-chat",
                "gpt-4o",
            ]
        );
        assert_eq!(all[9]["displayName"], "gpt-4o");
    }
}
