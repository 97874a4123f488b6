//! The health of one key: its circuit breaker, and the cooldown of each model that it may not use for now.
//!
//! The breaker is *closed* (`Active`), *open* (`Cooling`, or `Invalid` until somebody acts) or *half-open*, when one
//! probe decides. A key that comes back is warmed up: it gets its share of traffic little by little. A used-up quota
//! concerns one model and leaves the key usable for the rest.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use self::{disabled::Disabled, failures::Failures, models::ModelCooldowns};
use super::quota;
use crate::domain::{
    model::ModelName,
    outcome::{BillingFault, EgressFault, KeyFault, Outcome, QuotaWindow},
    time::Now,
};

mod disabled;
mod failures;
mod history;
mod models;
mod routing;
mod snapshot;
#[cfg(test)]
mod tests;

pub use history::{Cause, history};
pub use routing::{Availability, ModelCooldown, ModelReason, Routing, WARM_UP};
pub use snapshot::{CooldownSnapshot, HealthSnapshot, ProjectFault, StateSnapshot};

/// How long a key stays out that is restricted to other addresses than ours. Nothing but an operator changes that,
/// so it is looked at again now and then only.
pub(super) const EGRESS_COOLDOWN: Duration = Duration::from_secs(10 * 60);

/// May the key be used at all?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    Active,
    Cooling {
        until: Instant,
        reason: CoolingReason,
    },
    /// The next attempt decides.
    HalfOpen,
    /// Of no use until an operator acts or a re-check finds it well.
    Invalid {
        reason: KeyFault,
    },
}

/// Why a whole key is cooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoolingReason {
    /// `MAX_FAILURES` in a row.
    Failures,
    PrepayDepleted,
    SpendCap,
    /// Restricted to other addresses, referrers or apps.
    Egress,
}

impl From<BillingFault> for CoolingReason {
    fn from(fault: BillingFault) -> Self {
        match fault {
            BillingFault::PrepayDepleted => Self::PrepayDepleted,
            BillingFault::SpendCap => Self::SpendCap,
        }
    }
}

/// The pure core of a key's actor.
#[derive(Debug)]
pub struct KeyHealth {
    max_failures: u32,
    state: KeyState,
    failures: Failures,
    /// Trips since the key was last warm; the cooldown doubles with each.
    trips: u32,
    /// When failures last tripped it.
    tripped_at: Option<Instant>,
    /// While this lies ahead, the key is being warmed up.
    warm_at: Option<Instant>,
    models: ModelCooldowns,
    /// Taken out of use by hand, whatever its state is.
    disabled: Option<Disabled>,
}

impl KeyHealth {
    /// A key of which nothing bad is known. `max_failures` in a row trip it; 0 counts as 1.
    pub fn new(max_failures: u32) -> Self {
        Self {
            max_failures: max_failures.max(1),
            state: KeyState::Active,
            failures: Failures::default(),
            trips: 0,
            tripped_at: None,
            warm_at: None,
            models: ModelCooldowns::default(),
            disabled: None,
        }
    }

    /// From its next failure on; what has tripped it stays.
    pub fn allow_failures(&mut self, max_failures: u32) {
        self.max_failures = max_failures.max(1);
    }

    pub fn state(&self) -> KeyState {
        self.state
    }

    /// Takes in what an attempt said. True when there is something to tell: of routing, or of failures in a row.
    ///
    /// `jitter` lies in 0..1 and spreads the ends of backoffs.
    pub fn record(&mut self, model: &ModelName, outcome: &Outcome, now: Now, jitter: f64) -> bool {
        match outcome {
            Outcome::Success => self.succeed(model, now.instant),
            Outcome::KeyInvalid(reason) => self.set(KeyState::Invalid { reason: *reason }),
            Outcome::KeySuspect | Outcome::Outlier => self.fail(now.instant, jitter),
            Outcome::Quota(exceeded) => {
                let backoff = || quota::backoff(self.models.unexplained(model, now.instant), jitter);
                let span = quota::quota_cooldown(exceeded, now.utc).unwrap_or_else(backoff);
                self.cool_model(model, span, exceeded.window.into(), now.instant)
            }
            Outcome::ModelUnavailable => {
                let span = quota::MODEL_UNAVAILABLE_COOLDOWN;
                self.cool_model(model, span, ModelReason::Unavailable, now.instant)
            }
            Outcome::Billing(fault) => self.run_dry(*fault, now),
            Outcome::Egress(EgressFault::Restricted) => {
                let until = now.instant + EGRESS_COOLDOWN;
                self.set(KeyState::Cooling { until, reason: CoolingReason::Egress })
            }
            // Nothing was learnt of the key: the probe, if this was one, is free again.
            Outcome::Abandoned
            | Outcome::Egress(EgressFault::Location | EgressFault::Storm)
            | Outcome::NotOwner
            | Outcome::GatewayFault
            | Outcome::ServerFault(_)
            | Outcome::Empty
            | Outcome::ClientFault => self.state == KeyState::HalfOpen,
        }
    }

    /// A free probe found the key well: an invalid or cooling key gets the chance of one real attempt.
    pub fn found_well(&mut self) -> bool {
        match self.state {
            KeyState::Invalid { .. } | KeyState::Cooling { .. } => self.set(KeyState::HalfOpen),
            KeyState::Active | KeyState::HalfOpen => false,
        }
    }

    /// Google accepts the key, which somebody has asked about just now: it is used again, little by little. A free probe
    /// knows nothing of money, so a key without any gets the chance of one real attempt.
    pub fn verified(&mut self, now: Instant) -> bool {
        match self.state {
            KeyState::Active => self.failures.clear(),
            KeyState::Cooling { reason: CoolingReason::PrepayDepleted | CoolingReason::SpendCap, .. } => {
                self.found_well()
            }
            KeyState::Invalid { .. } | KeyState::Cooling { .. } | KeyState::HalfOpen => {
                self.failures.clear();
                self.warm_up(now)
            }
        }
    }

    /// A free probe was refused by Google for the key's own sake.
    pub fn found_invalid(&mut self, reason: KeyFault) -> bool {
        self.set(KeyState::Invalid { reason })
    }

    /// Another key of the same project fell by a fault of the whole project. Without money this one cools as well;
    /// otherwise its next attempt decides.
    pub fn sibling_fell(&mut self, fault: ProjectFault, now: Now) -> bool {
        match (fault, self.state) {
            (ProjectFault::Billing(fault), KeyState::Cooling { reason, .. }) if reason == fault.into() => {
                false
            }
            (ProjectFault::Billing(fault), _) => self.run_dry(fault, now),
            (ProjectFault::Key(_), KeyState::Active) => self.set(KeyState::HalfOpen),
            (ProjectFault::Key(_), _) => false,
        }
    }

    /// Takes back what was held against the key from that instant on and turned out to be a storm: unexplained
    /// refusals and failures, and the trip that they made. True when there was something.
    pub fn forgive_since(&mut self, since: Instant) -> bool {
        let mut changed = self.failures.forgive_since(since) | self.models.forgive_since(since);
        let is_tripped = matches!(self.state, KeyState::Cooling { reason: CoolingReason::Failures, .. });
        if is_tripped && self.tripped_at.is_some_and(|at| at >= since) {
            self.trips = self.trips.saturating_sub(1);
            // One that had tripped before the storm was being probed.
            self.state = if self.trips == 0 { KeyState::Active } else { KeyState::HalfOpen };
            changed = true;
        }
        changed
    }

    /// Ends what has run out. True when the key may now be used differently than before.
    pub fn expire(&mut self, now: Instant) -> bool {
        let mut changed = match self.state {
            KeyState::Cooling { until, .. } if until <= now => self.set(KeyState::HalfOpen),
            _ => false,
        };
        if self.warm_at.is_some_and(|at| at <= now) {
            (self.warm_at, self.trips) = (None, 0);
            changed = true;
        }
        if self.disabled.is_some_and(|disabled| disabled.has_ended(now)) {
            self.disabled = None;
            changed = true;
        }
        changed | self.failures.expire(now) | self.models.expire(now)
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub fn next_expiry(&self) -> Option<Instant> {
        let cooling = match self.state {
            KeyState::Cooling { until, .. } => Some(until),
            KeyState::Active | KeyState::HalfOpen | KeyState::Invalid { .. } => None,
        };
        let models = self.models.cooling().map(|(_, health)| health.until);
        let enabled = self.disabled.and_then(Disabled::until);
        models.chain(cooling).chain(self.warm_at).chain(self.failures.next_expiry()).chain(enabled).min()
    }

    /// What a balancer has to know.
    pub fn routing(&self) -> Routing {
        let availability = match self.state {
            _ if self.disabled.is_some() => Availability::Out,
            KeyState::Active => Availability::Ready,
            KeyState::HalfOpen => Availability::HalfOpen,
            KeyState::Cooling { until, .. } => Availability::CoolingUntil(until),
            KeyState::Invalid { .. } => Availability::Out,
        };
        Routing { availability, warm_at: self.warm_at, cooldowns: self.models.routing() }
    }

    fn succeed(&mut self, model: &ModelName, now: Instant) -> bool {
        let had_failed = self.failures.clear();
        self.models.succeed(model);
        self.come_back(now) || had_failed
    }

    fn fail(&mut self, now: Instant, jitter: f64) -> bool {
        self.failures.add(now, self.max_failures);
        let is_open = matches!(self.state, KeyState::Cooling { .. } | KeyState::Invalid { .. });
        let probe_failed = self.state == KeyState::HalfOpen;
        if !is_open && (self.failures.len() >= self.max_failures || probe_failed) {
            let until = now + quota::backoff(self.trips, jitter);
            self.trips += 1;
            self.tripped_at = Some(now);
            self.set(KeyState::Cooling { until, reason: CoolingReason::Failures });
        }
        true
    }

    /// Google named a quota or a model, so it accepted the key itself: that ends a row of failures.
    fn cool_model(&mut self, model: &ModelName, span: Duration, reason: ModelReason, now: Instant) -> bool {
        self.failures.clear();
        self.models.cool(model, span, reason, now);
        self.come_back(now);
        true
    }

    fn run_dry(&mut self, fault: BillingFault, now: Now) -> bool {
        let until = now.instant + quota::billing_cooldown(fault, now.utc);
        self.set(KeyState::Cooling { until, reason: fault.into() })
    }

    /// A probe was accepted. The trips are not forgotten before the key is warm, so that one which bears no traffic
    /// stays out longer each time.
    fn come_back(&mut self, now: Instant) -> bool {
        if self.state != KeyState::HalfOpen {
            return false;
        }
        self.warm_up(now)
    }

    fn warm_up(&mut self, now: Instant) -> bool {
        self.warm_at = Some(now + WARM_UP);
        self.set(KeyState::Active)
    }

    /// A key that is known to be invalid stays so, whatever late answers say.
    fn set(&mut self, state: KeyState) -> bool {
        let keeps = matches!((self.state, state), (KeyState::Invalid { .. }, KeyState::Cooling { .. }));
        let changed = !keeps && self.state != state;
        if changed {
            self.state = state;
        }
        if state != KeyState::Active {
            self.warm_at = None;
        }
        changed
    }
}

impl From<QuotaWindow> for ModelReason {
    fn from(window: QuotaWindow) -> Self {
        match window {
            QuotaWindow::Minute => Self::QuotaMinute,
            QuotaWindow::Day => Self::QuotaDay,
            QuotaWindow::Unknown => Self::QuotaUnknown,
        }
    }
}
