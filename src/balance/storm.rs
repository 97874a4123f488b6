//! Storms: keys of many projects fail alike within seconds, so what they share is at fault, which is the address that
//! they leave by.
//!
//! Google refuses an address as a whole with answers that name no quota and no reason, or does not let it connect.
//! Whoever blames keys for that loses the whole pool at once. So the address pauses, and keys stay as they were; after
//! the pause one request probes. Every further storm within a while pauses longer.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use crate::domain::{
    key::KeyId,
    outcome::{Outcome, QuotaWindow, ServerFault},
};

#[cfg(test)]
mod tests;

/// Failures count together that lie no further apart.
const WINDOW: Duration = Duration::from_secs(5);
/// Fewer parties than that fail together by chance.
const FEWEST: usize = 5;
/// So many that fail alike without one success between are never chance, however large the pool.
const MOST: usize = 50;
/// Between the two, a storm takes this share of the parties that are in use, in percent.
const SHARE: usize = 30;

const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// After so long without a storm the next one begins with the first pause again.
const CALM_AFTER: Duration = Duration::from_secs(300);
/// A probe that has not told anything for so long does not hold up the next one.
const PROBE_PATIENCE: Duration = Duration::from_secs(15);
/// Told to requests that come while a probe is out.
const PROBE_TAKES: Duration = Duration::from_secs(1);

/// Whom a failure speaks for: keys of one project fail together, a key without a known project speaks for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Party {
    /// By whatever tells projects apart.
    Project(usize),
    Key(KeyId),
}

/// How an attempt failed, where that could be the address's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// 429 that names no quota.
    BareLimit,
    /// 403 without a reason that concerns the key.
    Forbidden,
    /// No connection, or a broken one.
    Unreachable,
}

impl Sign {
    /// None for a failure that has another cause, and for none.
    pub fn of(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Quota(exceeded)
                if exceeded.window == QuotaWindow::Unknown && exceeded.retry_after.is_none() =>
            {
                Some(Self::BareLimit)
            }
            Outcome::KeySuspect => Some(Self::Forbidden),
            Outcome::ServerFault(ServerFault::Unreachable) => Some(Self::Unreachable),
            Outcome::Success
            | Outcome::Abandoned
            | Outcome::KeyInvalid(_)
            | Outcome::Outlier
            | Outcome::Quota(_)
            | Outcome::ModelUnavailable
            | Outcome::Billing(_)
            | Outcome::Egress(_)
            | Outcome::NotOwner
            | Outcome::GatewayFault
            | Outcome::ServerFault(_)
            | Outcome::Empty
            | Outcome::ClientFault => None,
        }
    }
}

/// May a request leave by this address?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Open,
    /// Yes, and what comes of it decides whether the pause is over.
    Probe,
    /// Not before then.
    PausedUntil(Instant),
}

/// Whose an outcome is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The key's, as ever.
    OfKey,
    /// The storm's; the key must not hear of it but as of [`EgressFault::Storm`](crate::domain::outcome::EgressFault).
    OfStorm,
    /// The storm's, which this outcome makes plain.
    Begins(Storm),
}

/// A storm that has just been recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storm {
    pub sign: Sign,
    /// What these keys were blamed for since then is to be forgiven.
    pub since: Instant,
    pub keys: Vec<KeyId>,
    pub until: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    Calm,
    Paused { until: Instant },
    Probing { since: Instant },
}

#[derive(Debug)]
struct Failure {
    at: Instant,
    key: KeyId,
    party: Party,
    sign: Sign,
}

/// Watches one address.
#[derive(Debug)]
pub struct StormDetector {
    weather: Weather,
    /// How the last storm showed.
    sign: Sign,
    /// Failures of the last seconds with no success between, oldest first.
    failures: VecDeque<Failure>,
    /// The next pause.
    pause: Duration,
    ended_at: Option<Instant>,
}

impl Default for StormDetector {
    fn default() -> Self {
        Self {
            weather: Weather::Calm,
            sign: Sign::BareLimit,
            failures: VecDeque::new(),
            pause: FIRST_PAUSE,
            ended_at: None,
        }
    }
}

impl StormDetector {
    /// Whether nothing is going on, so that successes need not be recorded and requests need not ask.
    pub fn is_quiet(&self) -> bool {
        self.weather == Weather::Calm && self.failures.is_empty()
    }

    /// How the storm shows that is on, or was last.
    pub fn sign(&self) -> Sign {
        self.sign
    }

    /// Until when nothing leaves; the next look may find a probe free.
    pub fn paused_until(&self, now: Instant) -> Option<Instant> {
        match self.weather {
            Weather::Paused { until } if now < until => Some(until),
            Weather::Probing { since } if now < since + PROBE_PATIENCE => Some(now + PROBE_TAKES),
            Weather::Calm | Weather::Paused { .. } | Weather::Probing { .. } => None,
        }
    }

    /// Asked for each attempt, once it has a key: a probe that is admitted and not made holds up the others for a
    /// while.
    pub fn admit(&mut self, now: Instant) -> Admission {
        if self.weather == Weather::Calm {
            return Admission::Open;
        }
        match self.paused_until(now) {
            Some(until) => Admission::PausedUntil(until),
            None => {
                self.weather = Weather::Probing { since: now };
                Admission::Probe
            }
        }
    }

    /// Takes in what an attempt came to. `in_use` is the number of parties that have a usable key.
    pub fn record(
        &mut self,
        key: KeyId,
        party: Party,
        outcome: &Outcome,
        in_use: usize,
        now: Instant,
    ) -> Reading {
        match (self.weather, Sign::of(outcome)) {
            (Weather::Calm, None) => {
                if *outcome == Outcome::Success {
                    self.failures.clear();
                }
                Reading::OfKey
            }
            (Weather::Calm, Some(sign)) => self.notice(Failure { at: now, key, party, sign }, in_use),
            // Sent before the pause.
            (Weather::Paused { .. }, Some(_)) => Reading::OfStorm,
            (Weather::Paused { .. }, None) => Reading::OfKey,
            (Weather::Probing { .. }, Some(sign)) => {
                self.sign = sign;
                self.pause_from(now);
                Reading::OfStorm
            }
            (Weather::Probing { .. }, None) => {
                if shows_passage(outcome) {
                    (self.weather, self.ended_at) = (Weather::Calm, Some(now));
                } else {
                    self.weather = Weather::Paused { until: now };
                }
                Reading::OfKey
            }
        }
    }

    fn notice(&mut self, failure: Failure, in_use: usize) -> Reading {
        let (now, sign) = (failure.at, failure.sign);
        self.failures.push_back(failure);
        while self.failures.front().is_some_and(|first| first.at + WINDOW < now) {
            self.failures.pop_front();
        }
        let alike = || self.failures.iter().filter(|failure| failure.sign == sign);
        let parties: HashSet<_> = alike().map(|failure| failure.party).collect();
        if parties.len() < (in_use * SHARE / 100).clamp(FEWEST, MOST) {
            return Reading::OfKey;
        }
        let since = alike().map(|failure| failure.at).min().unwrap_or(now);
        let keys: HashSet<_> = alike().map(|failure| failure.key).collect();
        if self.ended_at.is_none_or(|ended| ended + CALM_AFTER < now) {
            self.pause = FIRST_PAUSE;
        }
        self.sign = sign;
        let until = self.pause_from(now);
        Reading::Begins(Storm { sign, since, keys: keys.into_iter().collect(), until })
    }

    /// Pauses, and lets the next pause be longer.
    fn pause_from(&mut self, now: Instant) -> Instant {
        let until = now + self.pause;
        self.weather = Weather::Paused { until };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.failures.clear();
        until
    }
}

/// Whether Google answered in a way that it does not to an address that it refuses. A refusal of the request itself is
/// no such answer, as it may come before anything else is looked at.
fn shows_passage(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Success
            | Outcome::Empty
            | Outcome::Quota(_)
            | Outcome::ModelUnavailable
            | Outcome::Billing(_)
            | Outcome::KeyInvalid(_)
    )
}
