//! The models that a key may not use for now, and for how long.

use std::time::Duration;

use tokio::time::Instant;

use super::routing::{ModelCooldown, ModelReason};
use crate::domain::model::ModelName;

/// Refusals that nothing explained count no more so long after the last of them was over.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60 * 60);

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

impl ModelHealth {
    fn is_forgotten(&self, now: Instant) -> bool {
        self.since.is_none() && now >= self.until + FORGOTTEN_AFTER
    }
}

/// Few, so they are searched from the front; most keys have none.
#[derive(Debug, Default)]
pub(super) struct ModelCooldowns(Vec<(ModelName, ModelHealth)>);

impl ModelCooldowns {
    /// Lets a model cool. Of two answers that crossed, the one that asks for more time holds.
    pub fn cool(&mut self, model: &ModelName, span: Duration, reason: ModelReason, now: Instant) {
        let until = now + span;
        let fresh = ModelHealth { until, reason, unexplained: 0, since: None };
        let at = self.0.iter().position(|(known, _)| known == model).unwrap_or_else(|| {
            self.0.push((model.clone(), fresh));
            self.0.len() - 1
        });
        let entry = &mut self.0[at].1;
        if entry.is_forgotten(now) {
            entry.unexplained = 0;
        }
        if reason == ModelReason::QuotaUnknown && entry.since.is_none() {
            entry.unexplained += 1;
        }
        if entry.since.is_none() || until > entry.until {
            (entry.until, entry.reason) = (until, reason);
        }
        entry.since.get_or_insert(now);
    }

    /// Unexplained refusals of that model in a row.
    pub fn unexplained(&self, model: &ModelName, now: Instant) -> u32 {
        self.find(model).filter(|health| !health.is_forgotten(now)).map_or(0, |health| health.unexplained)
    }

    /// The model was served.
    pub fn succeed(&mut self, model: &ModelName) {
        if let Some((_, health)) = self.0.iter_mut().find(|(known, _)| known == model) {
            health.unexplained = 0;
        }
    }

    fn find(&self, model: &ModelName) -> Option<&ModelHealth> {
        self.0.iter().find(|(known, _)| known == model).map(|(_, health)| health)
    }

    /// Ends what has run out; true when something has.
    pub fn expire(&mut self, now: Instant) -> bool {
        let mut changed = false;
        let models = self.0.iter_mut().map(|(_, health)| health);
        for health in models.filter(|health| health.since.is_some() && health.until <= now) {
            health.since = None;
            changed = true;
        }
        self.drop_forgotten(now);
        changed
    }

    /// Ends cooldowns that began since then and that nothing explained; true when there was one.
    pub fn forgive_since(&mut self, since: Instant) -> bool {
        let mut changed = false;
        for (_, health) in &mut self.0 {
            let is_forgiven = health.reason == ModelReason::QuotaUnknown
                && health.since.is_some_and(|began| began >= since);
            if is_forgiven {
                (health.since, health.unexplained) = (None, health.unexplained.saturating_sub(1));
                changed = true;
            }
        }
        self.drop_forgotten(since);
        changed
    }

    fn drop_forgotten(&mut self, now: Instant) {
        let is_worth_keeping = |health: &ModelHealth| health.unexplained > 0 && !health.is_forgotten(now);
        self.0.retain(|(_, health)| health.since.is_some() || is_worth_keeping(health));
    }

    /// Those that cool.
    pub fn cooling(&self) -> impl Iterator<Item = (&ModelName, &ModelHealth)> {
        self.0.iter().map(|(model, health)| (model, health)).filter(|(_, health)| health.since.is_some())
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
