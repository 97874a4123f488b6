//! A key's health as it is stored and shown, and the way back from there.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::{
    CoolingReason, Disabled, KeyHealth, KeyState, ModelReason, failures::Failures, models::ModelHealth,
};
use crate::domain::{
    key::DisabledUntil,
    key_event::{StateName, word},
    model::ModelName,
    outcome::{BillingFault, KeyFault},
    time::Now,
};

/// A key's health as it is stored and shown; all times in Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthSnapshot {
    #[serde(flatten)]
    pub state: StateSnapshot,
    #[serde(default)]
    pub consecutive_failures: u32,
    #[serde(default)]
    pub trips: u32,
    /// When a key that has recovered has its whole share of traffic again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_at_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cooldowns: Vec<CooldownSnapshot>,
    /// It is taken out of use by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<DisabledUntil>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StateSnapshot {
    Active,
    Cooling { until_ms: i64, reason: CoolingReason },
    HalfOpen,
    Invalid { reason: KeyFault },
}

/// What concerns every key of a project as soon as one of them shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProjectFault {
    /// No key of the project has money.
    Billing(BillingFault),
    /// The project is suspended, deleted or without the API, so that its other keys are likely to go as well.
    Key(KeyFault),
}

impl StateSnapshot {
    /// Why it is so, and until when.
    pub(super) fn reason(&self) -> (Option<String>, Option<i64>) {
        match self {
            Self::Active | Self::HalfOpen => (None, None),
            Self::Cooling { until_ms, reason } => (word(reason), Some(*until_ms)),
            Self::Invalid { reason } => (word(reason), None),
        }
    }

    /// The fault of the key's project that this state tells of.
    pub fn project_fault(&self) -> Option<ProjectFault> {
        match self {
            Self::Invalid { reason: fault @ (KeyFault::Suspended | KeyFault::ServiceDisabled) } => {
                Some(ProjectFault::Key(*fault))
            }
            Self::Cooling { reason: CoolingReason::PrepayDepleted, .. } => {
                Some(ProjectFault::Billing(BillingFault::PrepayDepleted))
            }
            Self::Cooling { reason: CoolingReason::SpendCap, .. } => {
                Some(ProjectFault::Billing(BillingFault::SpendCap))
            }
            Self::Active | Self::Cooling { .. } | Self::HalfOpen | Self::Invalid { .. } => None,
        }
    }
}

impl HealthSnapshot {
    /// Most keys are well, and share one.
    pub fn shared(self) -> Arc<Self> {
        static WELL: LazyLock<Arc<HealthSnapshot>> = LazyLock::new(|| {
            HealthSnapshot {
                state: StateSnapshot::Active,
                consecutive_failures: 0,
                trips: 0,
                warm_at_ms: None,
                cooldowns: Vec::new(),
                disabled: None,
            }
            .into()
        });
        if self == **WELL { WELL.clone() } else { self.into() }
    }

    pub fn name(&self) -> StateName {
        match self.state {
            _ if self.disabled.is_some() => StateName::Disabled,
            StateSnapshot::Active => StateName::Active,
            StateSnapshot::Cooling { .. } => StateName::Cooling,
            StateSnapshot::HalfOpen => StateName::HalfOpen,
            StateSnapshot::Invalid { .. } => StateName::Invalid,
        }
    }

    /// Why the key is not active, and until when.
    pub fn reason(&self) -> (Option<String>, Option<i64>) {
        match &self.disabled {
            Some(disabled) => (Some("by_hand".to_owned()), disabled.until_ms),
            None => self.state.reason(),
        }
    }

    /// Is there anything that a re-check could clear up?
    pub fn is_suspect(&self) -> bool {
        self.disabled.is_none() && (self.consecutive_failures > 0 || self.state != StateSnapshot::Active)
    }
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
        let mut cooldowns: Vec<_> = self.models.cooling().map(cooldown).collect();
        cooldowns.sort_by(|a, b| a.model.cmp(&b.model));
        HealthSnapshot {
            state,
            consecutive_failures: self.failures.len(),
            trips: self.trips,
            warm_at_ms: self.warm_at.map(|at| now.unix_ms_at(at)),
            cooldowns,
            disabled: self
                .disabled
                .map(|disabled| DisabledUntil { until_ms: disabled.until().map(|at| now.unix_ms_at(at)) }),
        }
    }

    /// The health that a snapshot tells of. What ran out meanwhile is over at the next [`expire`](Self::expire);
    /// failures count as if they had just happened.
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
            (stored.model.clone(), ModelHealth { until, reason, unexplained, since: Some(now.instant) })
        });
        Self {
            state,
            failures: Failures::restore(snapshot.consecutive_failures.min(max_failures), now.instant),
            trips: snapshot.trips,
            warm_at: snapshot.warm_at_ms.map(|at| now.instant_at(at)),
            models: models.collect(),
            disabled: snapshot
                .disabled
                .map(|stored| Disabled::new(stored.until_ms.map(|until_ms| now.instant_chosen(until_ms)))),
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
