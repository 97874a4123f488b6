//! Does it pay to prefer a key? Measured for each model against requests that went wherever it suited.

use std::{ops::AddAssign, time::Duration};

use foldhash::HashMap;
use serde::Serialize;
use tokio::time::Instant;

use crate::domain::{model::ModelName, usage::Usage};

/// One request in so many goes where the policy says, so that there is something to compare with.
const CONTROL_EVERY: u32 = 16;
/// Prompt tokens that both groups need before anything is concluded: some twenty long prompts.
const ENOUGH_TOKENS: f64 = 40_000.0;
/// The preference has to save at least this share of the prompt.
const LEAST_GAIN: f64 = 0.02;
/// How long a model goes without preferences that did not pay, until they are tried again.
const RECONSIDER_AFTER: Duration = Duration::from_secs(60 * 60);
/// Beyond this the past counts half.
const MEMORY_TOKENS: f64 = 4_000_000.0;
/// Models that are measured; beyond it all start anew.
const MODELS: usize = 200;

/// Prompt tokens and how many of them Google had cached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Hits {
    pub prompt: f64,
    pub cached: f64,
}

impl Hits {
    /// The share of prompt tokens that came from the cache, 0 to 1.
    pub fn rate(self) -> f64 {
        if self.prompt > 0.0 { self.cached / self.prompt } else { 0.0 }
    }

    fn add(&mut self, usage: &Usage) {
        self.prompt += usage.prompt_token_count as f64;
        self.cached += usage.cached_content_token_count.min(usage.prompt_token_count) as f64;
        if self.prompt > MEMORY_TOKENS {
            (self.prompt, self.cached) = (self.prompt / 2.0, self.cached / 2.0);
        }
    }
}

impl AddAssign for Hits {
    fn add_assign(&mut self, other: Self) {
        self.prompt += other.prompt;
        self.cached += other.cached;
    }
}

/// What preferring a key brings for one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelBenefit {
    pub model: ModelName,
    /// Of requests that followed their preference, and of those that did not for comparison.
    pub preferring: Hits,
    pub control: Hits,
    /// Of turns of conversations, which stay with their key in any case.
    pub conversations: Hits,
    /// It does not pay, and is not followed for now.
    pub is_off: bool,
}

/// Whether a request that has a preference is to follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Preferring,
    /// Goes where the policy says, for comparison.
    Control,
    /// The preference does not pay for this model.
    Off,
    /// A conversation, which follows its preference whether it pays or not.
    Conversation,
}

impl Group {
    /// Is the preference to be followed?
    pub fn follows(self) -> bool {
        match self {
            Self::Preferring | Self::Conversation => true,
            Self::Control | Self::Off => false,
        }
    }
}

#[derive(Debug, Default)]
struct Model {
    requests: u32,
    preferring: Hits,
    control: Hits,
    conversations: Hits,
    off_until: Option<Instant>,
}

/// What preferences bring, model by model.
#[derive(Debug, Default)]
pub struct CacheBenefit(HashMap<ModelName, Model>);

impl CacheBenefit {
    /// What the next request that has a preference is to do.
    pub fn assign(&mut self, model: &ModelName, now: Instant) -> Group {
        let model = self.of(model);
        if model.off_until.is_some_and(|until| now < until) {
            return Group::Off;
        }
        if model.off_until.take().is_some() {
            (model.preferring, model.control) = (Hits::default(), Hits::default());
        }
        model.requests = model.requests.wrapping_add(1);
        if model.requests.is_multiple_of(CONTROL_EVERY) { Group::Control } else { Group::Preferring }
    }

    /// Takes in what an answer cost.
    pub fn record(&mut self, model: &ModelName, group: Group, usage: &Usage, now: Instant) {
        let model = self.of(model);
        match group {
            Group::Preferring => model.preferring.add(usage),
            Group::Control => model.control.add(usage),
            Group::Conversation => return model.conversations.add(usage),
            Group::Off => return,
        }
        let is_known = model.preferring.prompt.min(model.control.prompt) >= ENOUGH_TOKENS;
        if is_known && model.preferring.rate() < model.control.rate() + LEAST_GAIN {
            model.off_until = Some(now + RECONSIDER_AFTER);
        }
    }

    /// What is measured, model by model.
    pub fn report(&self, now: Instant) -> Vec<ModelBenefit> {
        let of = |(name, model): (&ModelName, &Model)| ModelBenefit {
            model: name.clone(),
            preferring: model.preferring,
            control: model.control,
            conversations: model.conversations,
            is_off: model.off_until.is_some_and(|until| now < until),
        };
        self.0.iter().map(of).collect()
    }

    fn of(&mut self, model: &ModelName) -> &mut Model {
        if self.0.len() >= MODELS && !self.0.contains_key(model) {
            self.0.clear();
        }
        self.0.entry(model.clone()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ModelName {
        ModelName::parse("gemini-2.5-pro").unwrap()
    }

    fn usage(prompt: u64, cached: u64) -> Usage {
        Usage { prompt_token_count: prompt, cached_content_token_count: cached, ..Usage::default() }
    }

    /// Runs requests whose prompts are cached to these shares in the two groups.
    fn run(benefit: &mut CacheBenefit, preferring: u64, control: u64, now: Instant) -> Vec<Group> {
        let mut groups = Vec::new();
        for _ in 0..1_000 {
            let group = benefit.assign(&model(), now);
            let percent = if group == Group::Preferring { preferring } else { control };
            benefit.record(&model(), group, &usage(2_000, 20 * percent), now);
            groups.push(group);
        }
        groups
    }

    #[test]
    fn a_preference_that_pays_stays() {
        let (mut benefit, now) = (CacheBenefit::default(), Instant::now());

        let groups = run(&mut benefit, 60, 10, now);

        assert!(!groups.contains(&Group::Off));
        let ModelBenefit { preferring, control, is_off, .. } = benefit.report(now).remove(0);
        assert!(!is_off);
        assert!((preferring.rate() - 0.6).abs() < 0.001 && (control.rate() - 0.1).abs() < 0.001);
    }

    #[test]
    fn a_preference_that_does_not_pay_is_dropped_for_an_hour_and_tried_again() {
        let (mut benefit, now) = (CacheBenefit::default(), Instant::now());

        assert_eq!(run(&mut benefit, 30, 30, now).last(), Some(&Group::Off));
        assert_eq!(benefit.assign(&model(), now + RECONSIDER_AFTER / 2), Group::Off);
        assert_eq!(benefit.assign(&model(), now + RECONSIDER_AFTER), Group::Preferring);
    }

    #[test]
    fn conversations_are_shown_and_decide_nothing() {
        let (mut benefit, now) = (CacheBenefit::default(), Instant::now());
        for _ in 0..100 {
            benefit.record(&model(), Group::Conversation, &usage(4_000, 3_000), now);
        }

        let report = benefit.report(now).remove(0);
        assert!((report.conversations.rate() - 0.75).abs() < 0.001);
        assert_eq!((report.preferring, report.control), (Hits::default(), Hits::default()));
        assert!(Group::Conversation.follows() && !Group::Off.follows() && !Group::Control.follows());
    }

    #[test]
    fn a_few_answers_prove_nothing() {
        let (mut benefit, now) = (CacheBenefit::default(), Instant::now());
        for group in [Group::Preferring, Group::Control] {
            benefit.record(&model(), group, &usage(5_000, 0), now);
        }
        assert_ne!(benefit.assign(&model(), now), Group::Off);
    }
}
