//! A key's health as it is stored and shown, and the way back from there.

use serde::{Deserialize, Serialize};

use super::{CoolingReason, KeyHealth, KeyState, ModelHealth, ModelReason};
use crate::domain::{model::ModelName, outcome::KeyFault, time::Now};

/// A key's health as it is stored and shown; all times in Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthSnapshot {
    #[serde(flatten)]
    pub state: StateSnapshot,
    #[serde(default)]
    pub consecutive_failures: u32,
    #[serde(default)]
    pub trips: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cooldowns: Vec<CooldownSnapshot>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StateSnapshot {
    Active,
    Cooling { until_ms: i64, reason: CoolingReason },
    HalfOpen,
    Invalid { reason: KeyFault },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CooldownSnapshot {
    pub model: ModelName,
    pub until_ms: i64,
    pub reason: ModelReason,
    #[serde(default)]
    pub unexplained: u32,
}

impl KeyHealth {
    pub fn snapshot(&self, now: Now) -> HealthSnapshot {
        let state = match self.state {
            KeyState::Active => StateSnapshot::Active,
            KeyState::HalfOpen => StateSnapshot::HalfOpen,
            KeyState::Invalid { reason } => StateSnapshot::Invalid { reason },
            KeyState::Cooling { until, reason } => {
                StateSnapshot::Cooling { until_ms: now.unix_ms_at(until), reason }
            }
        };
        let cooldown = |(model, health): (&ModelName, &ModelHealth)| CooldownSnapshot {
            model: model.clone(),
            until_ms: now.unix_ms_at(health.until),
            reason: health.reason,
            unexplained: health.unexplained,
        };
        let mut cooldowns: Vec<_> =
            self.models.iter().filter(|(_, health)| health.cooling).map(cooldown).collect();
        cooldowns.sort_by(|a, b| a.model.cmp(&b.model));
        HealthSnapshot {
            state,
            consecutive_failures: self.consecutive_failures,
            trips: self.trips,
            cooldowns,
        }
    }

    /// The health that a snapshot tells of. What ran out meanwhile is over at the next [`expire`](Self::expire).
    pub fn restore(snapshot: &HealthSnapshot, max_failures: u32, now: Now) -> Self {
        let state = match snapshot.state {
            StateSnapshot::Active => KeyState::Active,
            StateSnapshot::HalfOpen => KeyState::HalfOpen,
            StateSnapshot::Invalid { reason } => KeyState::Invalid { reason },
            StateSnapshot::Cooling { until_ms, reason } => {
                KeyState::Cooling { until: now.instant_at(until_ms), reason }
            }
        };
        let models = snapshot.cooldowns.iter().map(|stored| {
            let until = now.instant_at(stored.until_ms);
            let (reason, unexplained) = (stored.reason, stored.unexplained);
            (stored.model.clone(), ModelHealth { until, reason, unexplained, cooling: true })
        });
        Self {
            state,
            consecutive_failures: snapshot.consecutive_failures,
            trips: snapshot.trips,
            models: models.collect(),
            ..Self::new(max_failures)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outcome::{Outcome, QuotaExceeded, QuotaMetric, QuotaWindow};

    const MAX_FAILURES: u32 = 3;

    fn model(name: &str) -> ModelName {
        ModelName::parse(name).unwrap()
    }

    fn quota(window: QuotaWindow) -> Outcome {
        Outcome::Quota(QuotaExceeded {
            window,
            metric: QuotaMetric::Requests,
            retry_after: None,
            limit: None,
        })
    }

    #[test]
    fn a_snapshot_brings_everything_back() {
        let now = Now::read();
        let mut health = KeyHealth::new(MAX_FAILURES);
        for _ in 0..MAX_FAILURES {
            health.record(&model("flash"), &Outcome::KeySuspect, now, 0.5);
        }
        health.record(&model("flash"), &quota(QuotaWindow::Minute), now, 0.5);
        health.record(&model("pro"), &quota(QuotaWindow::Unknown), now, 0.5);
        let snapshot = health.snapshot(now);

        let text = serde_json::to_string(&snapshot).unwrap();
        let read: HealthSnapshot = serde_json::from_str(&text).unwrap();
        let restored = KeyHealth::restore(&read, MAX_FAILURES, now);

        assert_eq!(restored.snapshot(now), snapshot);
        assert!(matches!(snapshot.state, StateSnapshot::Cooling { .. }));
        assert_eq!(snapshot.cooldowns.len(), 2);
    }
}
