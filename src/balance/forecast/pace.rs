//! How fast models are asked for: samples of the running minute, taken once a minute.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use serde::Serialize;

use super::Survey;
use crate::domain::model::ModelName;

/// Between samples: each tells of the minute before it, so that together they tell of all that was sent.
pub const SAMPLED_EVERY: Duration = Duration::from_secs(60);
/// What a rate looks back on, in minutes.
const SAMPLES: usize = 10;

/// What was sent for a model in a minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    pub requests: u64,
    /// Of prompts.
    pub tokens: u64,
}

/// What is sent for a model in a minute, on average over the last ten or as many as there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Rate {
    pub requests_per_minute: f64,
    pub tokens_per_minute: f64,
}

/// The samples, oldest first.
#[derive(Debug, Default)]
pub struct Pace(VecDeque<HashMap<ModelName, Used>>);

impl Pace {
    /// To be called once every [`SAMPLED_EVERY`].
    pub fn sample(&mut self, survey: &Survey) {
        if self.0.len() == SAMPLES {
            self.0.pop_front();
        }
        let busy = survey.used().filter(|(_, used)| used.requests > 0);
        self.0.push_back(busy.map(|(model, used)| (model.clone(), used)).collect());
    }

    /// The present rate of a model, of which this was sent in the running minute.
    pub fn rate(&self, model: &ModelName, current: Used) -> Rate {
        let past = self.0.iter().map(|sample| sample.get(model).copied().unwrap_or_default());
        let (mut requests, mut tokens) = (current.requests, current.tokens);
        for used in past {
            requests += used.requests;
            tokens += used.tokens;
        }
        let minutes = (self.0.len() + 1) as f64;
        Rate { requests_per_minute: requests as f64 / minutes, tokens_per_minute: tokens as f64 / minutes }
    }
}
