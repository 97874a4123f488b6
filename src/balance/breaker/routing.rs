//! What a balancer has to know of a key: whether it may be used, for which models not, and how much of its share.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::domain::model::ModelName;

/// How long a key that was out of use takes until it gets its whole share again.
pub const WARM_UP: Duration = Duration::from_secs(60);
/// The share that it begins with: enough to show soon whether it bears traffic.
const FIRST_SHARE: f32 = 0.1;

/// Where a balancer may send requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routing {
    pub availability: Availability,
    /// When a key that has recovered has its whole share of traffic again; none for one that has it already.
    pub warm_at: Option<Instant>,
    /// Models that the key must not be used for yet.
    pub cooldowns: Vec<ModelCooldown>,
}

impl Routing {
    /// Most keys are well, and share one.
    pub fn shared(self) -> Arc<Self> {
        static WELL: LazyLock<Arc<Routing>> = LazyLock::new(|| {
            Routing { availability: Availability::Ready, warm_at: None, cooldowns: Vec::new() }.into()
        });
        if self == **WELL { WELL.clone() } else { self.into() }
    }

    pub fn cooldown(&self, model: &ModelName) -> Option<&ModelCooldown> {
        self.cooldowns.iter().find(|cooldown| cooldown.model == *model)
    }

    /// The share of its traffic that the key should get, from 0.1 just after it has recovered, in a straight line to
    /// 1 after [`WARM_UP`].
    pub fn warmth(&self, now: Instant) -> f32 {
        let left = self.warm_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let cold = (left.as_secs_f32() / WARM_UP.as_secs_f32()).min(1.0);
        1.0 - (1.0 - FIRST_SHARE) * cold
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    Ready,
    /// For one probe at a time.
    HalfOpen,
    CoolingUntil(Instant),
    /// Nobody knows until when.
    Out,
}

/// A model that a key must not be used for before an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCooldown {
    pub model: ModelName,
    pub until: Instant,
    pub reason: ModelReason,
}

/// Why a key may not use one model for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelReason {
    QuotaMinute,
    QuotaDay,
    QuotaUnknown,
    /// Not in the tier of this key's project, or closed to it.
    Unavailable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_has_recovered_gets_its_share_back_little_by_little() {
        let now = Instant::now();
        let routing = Routing {
            availability: Availability::Ready,
            warm_at: Some(now + WARM_UP),
            cooldowns: Vec::new(),
        };

        let shares = [0, 20, 40, 60, 1000].map(|second| routing.warmth(now + Duration::from_secs(second)));

        for (share, expected) in shares.into_iter().zip([0.1, 0.4, 0.7, 1.0, 1.0]) {
            assert!((share - expected).abs() < 1e-3, "{shares:?}");
        }
        let well = Routing { warm_at: None, ..routing };
        assert!((well.warmth(now) - 1.0).abs() < f32::EPSILON);
    }
}
