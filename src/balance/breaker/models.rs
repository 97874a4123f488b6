//! The models that a key may not use for now, and for how long.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::routing::{ModelCooldown, ModelReason};
use crate::domain::model::ModelName;

#[derive(Debug, Clone, Copy)]
pub(super) struct ModelHealth {
    /// While this lies ahead, the key is not used for the model.
    pub until: Instant,
    pub reason: ModelReason,
    /// Unexplained refusals in a row; the backoff doubles with each.
    pub unexplained: u32,
    /// When the cooldown began; none while it does not cool.
    pub since: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct ModelCooldowns(HashMap<ModelName, ModelHealth>);

impl ModelCooldowns {
    /// Lets a model cool. Of two answers that crossed, the one that asks for more time holds.
    pub fn cool(&mut self, model: &ModelName, span: Duration, reason: ModelReason, now: Instant) {
        let until = now + span;
        let fresh = ModelHealth { until, reason, unexplained: 0, since: None };
        let entry = self.0.entry(model.clone()).or_insert(fresh);
        if reason == ModelReason::QuotaUnknown && entry.since.is_none() {
            entry.unexplained += 1;
        }
        if entry.since.is_none() || until > entry.until {
            (entry.until, entry.reason) = (until, reason);
        }
        entry.since.get_or_insert(now);
    }

    /// Unexplained refusals of that model in a row.
    pub fn unexplained(&self, model: &ModelName) -> u32 {
        self.0.get(model).map_or(0, |health| health.unexplained)
    }

    /// The model was served.
    pub fn succeed(&mut self, model: &ModelName) {
        if let Some(health) = self.0.get_mut(model) {
            health.unexplained = 0;
        }
    }

    /// Ends what has run out; true when something has.
    pub fn expire(&mut self, now: Instant) -> bool {
        let mut changed = false;
        for health in self.0.values_mut().filter(|health| health.since.is_some() && health.until <= now) {
            health.since = None;
            changed = true;
        }
        self.drop_forgotten();
        changed
    }

    /// Ends cooldowns that began since then and that nothing explained; true when there was one.
    pub fn forgive_since(&mut self, since: Instant) -> bool {
        let mut changed = false;
        for health in self.0.values_mut() {
            let is_forgiven = health.reason == ModelReason::QuotaUnknown
                && health.since.is_some_and(|began| began >= since);
            if is_forgiven {
                (health.since, health.unexplained) = (None, health.unexplained.saturating_sub(1));
                changed = true;
            }
        }
        self.drop_forgotten();
        changed
    }

    fn drop_forgotten(&mut self) {
        self.0.retain(|_, health| health.since.is_some() || health.unexplained > 0);
    }

    /// Those that cool.
    pub fn cooling(&self) -> impl Iterator<Item = (&ModelName, &ModelHealth)> {
        self.0.iter().filter(|(_, health)| health.since.is_some())
    }

    pub fn routing(&self) -> Vec<ModelCooldown> {
        let cooldown = |(model, health): (&ModelName, &ModelHealth)| ModelCooldown {
            model: model.clone(),
            until: health.until,
            reason: health.reason,
        };
        self.cooling().map(cooldown).collect()
    }
}

impl FromIterator<(ModelName, ModelHealth)> for ModelCooldowns {
    fn from_iter<I: IntoIterator<Item = (ModelName, ModelHealth)>>(models: I) -> Self {
        Self(models.into_iter().collect())
    }
}
