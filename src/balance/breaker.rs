//! The health of one key: its circuit breaker, and the cooldown of each model that it may not use for now.
//!
//! The breaker is *closed* (`Active`), *open* (`Cooling`, or `Invalid` until somebody acts) or *half-open*, when one
//! probe decides. A used-up quota concerns one model and leaves the key usable for the rest.

use std::{collections::HashMap, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::quota;
use crate::domain::{
    model::ModelName,
    outcome::{BillingFault, EgressFault, KeyFault, Outcome, QuotaWindow},
    time::Now,
};

mod snapshot;

pub use snapshot::{CooldownSnapshot, HealthSnapshot, StateSnapshot};

/// How long a key stays out that is restricted to other addresses than ours. Nothing but an operator changes that,
/// so it is looked at again now and then only.
const EGRESS_COOLDOWN: Duration = Duration::from_secs(10 * 60);

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

/// Why a key may not use one model for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelReason {
    QuotaMinute,
    QuotaDay,
    QuotaUnknown,
    /// Not in the tier of this key's project, or closed to it.
    Unavailable,
}

#[derive(Debug, Clone, Copy)]
struct ModelHealth {
    /// While this lies ahead, the key is not used for the model.
    until: Instant,
    reason: ModelReason,
    /// Unexplained refusals in a row; the backoff doubles with each.
    unexplained: u32,
    cooling: bool,
}

/// The pure core of a key's actor.
#[derive(Debug)]
pub struct KeyHealth {
    max_failures: u32,
    state: KeyState,
    consecutive_failures: u32,
    /// Trips in a row; the cooldown doubles with each.
    trips: u32,
    models: HashMap<ModelName, ModelHealth>,
}

impl KeyHealth {
    /// A key of which nothing bad is known. `max_failures` in a row trip it; 0 counts as 1.
    pub fn new(max_failures: u32) -> Self {
        Self {
            max_failures: max_failures.max(1),
            state: KeyState::Active,
            consecutive_failures: 0,
            trips: 0,
            models: HashMap::new(),
        }
    }

    pub fn state(&self) -> KeyState {
        self.state
    }

    /// Takes in what an attempt said. True when there is something to tell: of routing, or of failures in a row.
    ///
    /// `jitter` lies in 0..1 and spreads the ends of backoffs.
    pub fn record(&mut self, model: &ModelName, outcome: &Outcome, now: Now, jitter: f64) -> bool {
        match outcome {
            Outcome::Success => self.succeed(model),
            Outcome::KeyInvalid(reason) => self.set(KeyState::Invalid { reason: *reason }),
            Outcome::KeySuspect | Outcome::Outlier => self.fail(now, jitter),
            Outcome::Quota(exceeded) => {
                let unexplained = self.models.get(model).map_or(0, |health| health.unexplained);
                let (reason, span) = match exceeded.window {
                    QuotaWindow::Minute => {
                        (ModelReason::QuotaMinute, quota::quota_cooldown(exceeded, now.utc))
                    }
                    QuotaWindow::Day => (ModelReason::QuotaDay, quota::quota_cooldown(exceeded, now.utc)),
                    QuotaWindow::Unknown => {
                        (ModelReason::QuotaUnknown, quota::quota_cooldown(exceeded, now.utc))
                    }
                };
                let span = span.unwrap_or_else(|| quota::backoff(unexplained, jitter));
                self.cool_model(model, now.instant + span, reason)
            }
            Outcome::ModelUnavailable => self.cool_model(
                model,
                now.instant + quota::MODEL_UNAVAILABLE_COOLDOWN,
                ModelReason::Unavailable,
            ),
            Outcome::Billing(fault) => {
                let reason = match fault {
                    BillingFault::PrepayDepleted => CoolingReason::PrepayDepleted,
                    BillingFault::SpendCap => CoolingReason::SpendCap,
                };
                let until = now.instant + quota::billing_cooldown(*fault, now.utc);
                self.set(KeyState::Cooling { until, reason })
            }
            Outcome::Egress(EgressFault::Restricted) => {
                let until = now.instant + EGRESS_COOLDOWN;
                self.set(KeyState::Cooling { until, reason: CoolingReason::Egress })
            }
            // Nothing was learnt of the key: the probe, if this was one, is free again.
            Outcome::Abandoned
            | Outcome::Egress(EgressFault::Location)
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

    /// A free probe was refused by Google for the key's own sake.
    pub fn found_invalid(&mut self, reason: KeyFault) -> bool {
        self.set(KeyState::Invalid { reason })
    }

    /// Is there anything that a re-check could clear up?
    pub fn is_suspect(&self) -> bool {
        self.consecutive_failures > 0 || self.state != KeyState::Active
    }

    /// Ends what has run out. True when the key may now be used differently than before.
    pub fn expire(&mut self, now: Instant) -> bool {
        let mut changed = match self.state {
            KeyState::Cooling { until, .. } if until <= now => self.set(KeyState::HalfOpen),
            _ => false,
        };
        for health in self.models.values_mut().filter(|health| health.cooling && health.until <= now) {
            health.cooling = false;
            changed = true;
        }
        self.models.retain(|_, health| health.cooling || health.unexplained > 0);
        changed
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub fn next_expiry(&self) -> Option<Instant> {
        let key = match self.state {
            KeyState::Cooling { until, .. } => Some(until),
            KeyState::Active | KeyState::HalfOpen | KeyState::Invalid { .. } => None,
        };
        let models = self.models.values().filter(|health| health.cooling).map(|health| health.until);
        models.chain(key).min()
    }

    /// What a balancer has to know.
    pub fn routing(&self) -> Routing {
        let availability = match self.state {
            KeyState::Active => Availability::Ready,
            KeyState::HalfOpen => Availability::HalfOpen,
            KeyState::Cooling { until, .. } => Availability::CoolingUntil(until),
            KeyState::Invalid { .. } => Availability::Out,
        };
        let cooldowns = self.models.iter().filter(|(_, health)| health.cooling).map(|(model, health)| {
            ModelCooldown { model: model.clone(), until: health.until, reason: health.reason }
        });
        Routing { availability, cooldowns: cooldowns.collect() }
    }

    fn succeed(&mut self, model: &ModelName) -> bool {
        let had_failed = std::mem::take(&mut self.consecutive_failures) > 0;
        if let Some(health) = self.models.get_mut(model) {
            health.unexplained = 0;
        }
        if self.state != KeyState::HalfOpen {
            return had_failed;
        }
        self.trips = 0;
        self.set(KeyState::Active)
    }

    fn fail(&mut self, now: Now, jitter: f64) -> bool {
        self.consecutive_failures += 1;
        let is_open = matches!(self.state, KeyState::Cooling { .. } | KeyState::Invalid { .. });
        let probe_failed = self.state == KeyState::HalfOpen;
        if !is_open && (self.consecutive_failures >= self.max_failures || probe_failed) {
            let until = now.instant + quota::backoff(self.trips, jitter);
            self.trips += 1;
            self.set(KeyState::Cooling { until, reason: CoolingReason::Failures });
        }
        true
    }

    /// Google named a quota or a model, so it accepted the key itself: that ends a row of failures.
    fn cool_model(&mut self, model: &ModelName, until: Instant, reason: ModelReason) -> bool {
        self.consecutive_failures = 0;
        let entry = self.models.entry(model.clone()).or_insert(ModelHealth {
            until,
            reason,
            unexplained: 0,
            cooling: false,
        });
        if reason == ModelReason::QuotaUnknown && !entry.cooling {
            entry.unexplained += 1;
        }
        // Of two answers that crossed, the one that asks for more time holds.
        if !entry.cooling || until > entry.until {
            (entry.until, entry.reason) = (until, reason);
        }
        entry.cooling = true;
        if self.state == KeyState::HalfOpen {
            self.trips = 0;
            self.state = KeyState::Active;
        }
        true
    }

    /// A key that is known to be invalid or unpaid stays so, whatever late answers say.
    fn set(&mut self, state: KeyState) -> bool {
        let keeps = matches!((self.state, state), (KeyState::Invalid { .. }, KeyState::Cooling { .. }));
        let changed = !keeps && self.state != state;
        if changed {
            self.state = state;
        }
        changed
    }
}

/// Where a balancer may send requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routing {
    pub availability: Availability,
    /// Models that the key must not be used for yet.
    pub cooldowns: Vec<ModelCooldown>,
}

/// A model that a key must not be used for before an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCooldown {
    pub model: ModelName,
    pub until: Instant,
    pub reason: ModelReason,
}

impl Routing {
    pub fn cooldown(&self, model: &ModelName) -> Option<&ModelCooldown> {
        self.cooldowns.iter().find(|cooldown| cooldown.model == *model)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outcome::{QuotaExceeded, QuotaMetric};

    const MAX_FAILURES: u32 = 3;

    fn secs(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn model(name: &str) -> ModelName {
        ModelName::parse(name).unwrap()
    }

    fn rate_limited(retry_after: Duration) -> Outcome {
        Outcome::Quota(QuotaExceeded {
            window: QuotaWindow::Minute,
            metric: QuotaMetric::Requests,
            retry_after: Some(retry_after),
            limit: Some(10),
        })
    }

    const UNEXPLAINED: Outcome = Outcome::Quota(QuotaExceeded {
        window: QuotaWindow::Unknown,
        metric: QuotaMetric::Unknown,
        retry_after: None,
        limit: None,
    });

    fn tripped(now: Now) -> KeyHealth {
        let mut health = KeyHealth::new(MAX_FAILURES);
        for _ in 0..MAX_FAILURES {
            health.record(&model("m"), &Outcome::KeySuspect, now, 0.5);
        }
        health
    }

    fn half_open(now: Now) -> KeyHealth {
        let mut health = tripped(now);
        assert!(health.expire(health.next_expiry().unwrap()));
        assert_eq!(health.state(), KeyState::HalfOpen);
        health
    }

    #[test]
    fn a_rate_limit_cools_one_model_for_as_long_as_google_asks() {
        let (mut health, now) = (KeyHealth::new(MAX_FAILURES), Now::read());

        assert!(health.record(&model("flash"), &rate_limited(secs(30)), now, 0.5));

        let routing = health.routing();
        assert_eq!(routing.availability, Availability::Ready);
        let expected = ModelCooldown {
            model: model("flash"),
            until: now.instant + secs(30),
            reason: ModelReason::QuotaMinute,
        };
        assert_eq!(routing.cooldowns, [expected]);
        assert!(!health.expire(now.instant + secs(29)));
        assert!(health.expire(now.instant + secs(30)));
        assert_eq!(health.routing().cooldowns, []);
    }

    #[test]
    fn of_two_rate_limits_that_cross_the_longer_holds() {
        let (mut health, now) = (KeyHealth::new(MAX_FAILURES), Now::read());
        health.record(&model("flash"), &rate_limited(secs(40)), now, 0.5);
        health.record(&model("flash"), &rate_limited(secs(10)), now, 0.5);

        assert_eq!(health.next_expiry(), Some(now.instant + secs(40)));
    }

    #[test]
    fn unexplained_refusals_back_off_longer_each_time_until_one_succeeds() {
        let (mut health, mut now) = (KeyHealth::new(MAX_FAILURES), Now::read());
        let mut spans = Vec::new();
        for _ in 0..3 {
            health.record(&model("flash"), &UNEXPLAINED, now, 0.5);
            let until = health.next_expiry().unwrap();
            spans.push(until - now.instant);
            now = now.after(until - now.instant);
            health.expire(now.instant);
        }
        assert!(spans.is_sorted_by(|a, b| a < b), "{spans:?}");

        health.record(&model("flash"), &Outcome::Success, now, 0.5);
        health.record(&model("flash"), &UNEXPLAINED, now, 0.5);
        assert_eq!(health.next_expiry(), Some(now.instant + spans[0]));
    }

    #[test]
    fn an_invalid_key_is_out_at_once_and_stays_out() {
        let (mut health, now) = (KeyHealth::new(MAX_FAILURES), Now::read());

        assert!(health.record(&model("m"), &Outcome::KeyInvalid(KeyFault::Leaked), now, 0.5));
        health.record(&model("m"), &Outcome::Success, now, 0.5);
        health.record(&model("m"), &Outcome::Billing(BillingFault::SpendCap), now, 0.5);
        health.expire(now.instant + secs(1 << 20));

        assert_eq!(health.state(), KeyState::Invalid { reason: KeyFault::Leaked });
        assert_eq!(health.routing().availability, Availability::Out);
    }

    #[test]
    fn failures_in_a_row_trip_the_breaker_and_a_success_between_does_not_let_them_add_up() {
        let (mut health, now) = (KeyHealth::new(MAX_FAILURES), Now::read());
        for outcome in [Outcome::KeySuspect, Outcome::KeySuspect, Outcome::Success, Outcome::KeySuspect] {
            health.record(&model("m"), &outcome, now, 0.5);
            assert_eq!(health.state(), KeyState::Active);
        }
        health.record(&model("m"), &Outcome::KeySuspect, now, 0.5);
        health.record(&model("m"), &Outcome::KeySuspect, now, 0.5);

        assert!(matches!(health.state(), KeyState::Cooling { reason: CoolingReason::Failures, .. }));
    }

    #[test]
    fn one_probe_decides_whether_a_half_open_key_is_well() {
        let now = Now::read();

        let mut recovering = half_open(now);
        assert!(recovering.record(&model("m"), &Outcome::Success, now, 0.5));
        assert_eq!(recovering.state(), KeyState::Active);

        let mut failing = half_open(now);
        assert!(failing.record(&model("m"), &Outcome::KeySuspect, now, 0.5));
        let first = tripped(now).next_expiry().unwrap();
        assert!(failing.next_expiry().unwrap() > first, "the second cooldown is longer");
    }

    #[test]
    fn a_probe_that_tells_nothing_leaves_the_key_half_open_for_the_next() {
        let now = Now::read();
        for outcome in [Outcome::Abandoned, Outcome::ClientFault, Outcome::Empty] {
            let mut health = half_open(now);
            assert!(health.record(&model("m"), &outcome, now, 0.5), "announced again: {outcome:?}");
            assert_eq!(health.state(), KeyState::HalfOpen);
        }
    }

    #[test]
    fn what_others_did_wrong_never_changes_a_key() {
        let (mut health, now) = (KeyHealth::new(1), Now::read());
        use crate::domain::outcome::ServerFault as Fault;
        for outcome in [
            Outcome::ClientFault,
            Outcome::NotOwner,
            Outcome::GatewayFault,
            Outcome::Empty,
            Outcome::Abandoned,
            Outcome::Egress(EgressFault::Location),
            Outcome::ServerFault(Fault::Overloaded),
            Outcome::ServerFault(Fault::Failed),
            Outcome::ServerFault(Fault::Unreachable),
            Outcome::ServerFault(Fault::TimedOut),
        ] {
            assert!(!health.record(&model("m"), &outcome, now, 0.5), "{outcome:?}");
            assert!(!health.is_suspect());
        }
    }

    #[test]
    fn a_re_check_gives_an_invalid_key_one_attempt() {
        let (mut health, now) = (KeyHealth::new(MAX_FAILURES), Now::read());
        health.record(&model("m"), &Outcome::KeyInvalid(KeyFault::NotFound), now, 0.5);

        assert!(health.found_well());
        assert_eq!(health.state(), KeyState::HalfOpen);
        assert!(!KeyHealth::new(MAX_FAILURES).found_well());
    }
}
