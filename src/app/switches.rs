//! The settings of names, rules and streams in the words of those who follow them.

use crate::{
    config::{self, Config},
    convert::switches::{Smoothing, Switches},
};

pub fn switches(config: &Config) -> Switches {
    let config::Switches { aliases, rules, search_models, image_models, thinking_models, .. } =
        config.switches.clone();
    Switches {
        aliases,
        // The configuration has looked at them.
        rules: rules.into_iter().filter_map(|rule| serde_json::from_value(rule).ok()).collect(),
        search_models,
        image_models,
        thinking_models,
        create_image_model: config.switches.create_image_model.as_ref().map(ToString::to_string),
        thinking_budgets: config.switches.thinking_budgets.iter().cloned().collect(),
        show_thoughts: config.gemini.show_thinking_process,
        show_search_links: config.switches.show_search_links,
        code_execution: config.switches.code_execution,
        url_context_models: config.switches.url_context_models.clone(),
    }
}

pub fn smoothing(streams: &config::Streams) -> Option<Smoothing> {
    let config::Optimizer { min_delay, max_delay, short, long, chunk, max_lag } = streams.optimizer?;
    Some(Smoothing { min_delay, max_delay, short, long, chunk, max_lag })
}
