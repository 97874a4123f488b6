//! Storms: keys of many projects fail alike within seconds, so what they share is at fault, which is the address that
//! they leave by.
//!
//! Google refuses an address as a whole with answers that name no quota and no reason, or does not let it connect.
//! Whoever blames keys for that loses the whole pool at once. So the address pauses, and keys stay as they were; after
//! the pause one request probes. Every further storm within a while pauses longer.
//!
//! A limit that is one model's alone pauses that model: [`Scope`]. An attempt speaks for the time at which it was sent, so
//! what was sent before a pause neither ends nor prolongs it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
    time::Duration,
};

use tokio::time::Instant;

use crate::domain::{
    key::KeyId,
    model::ModelName,
    outcome::{Outcome, QuotaWindow, ServerFault},
};

#[cfg(test)]
mod tests;

/// Failures count together that lie no further apart.
const WINDOW: Duration = Duration::from_secs(5);
/// Fewer parties than that fail together by chance.
pub const FEWEST: usize = 5;
/// So many that fail alike without one success between are never chance, however large the pool.
const MOST: usize = 50;
/// Between the two, a storm takes this share of the parties that are in use, in percent.
const SHARE: usize = 30;
/// Failures that are remembered; a busy gateway has more of them within the window.
const REMEMBERED: usize = 1024;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sign {
    /// 429 that names no quota.
    BareLimit,
    /// 403 without a reason that concerns the key.
    Forbidden,
    /// No connection, or a broken one.
    Unreachable,
}

impl Sign {
    const KINDS: usize = 3;

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

/// What a detector watches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// The address. A limit without a name concerns it only where more than one model is refused.
    #[default]
    Address,
    /// One model through it, as far as limits go.
    Model,
}

/// An attempt that came to something.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    pub key: KeyId,
    pub party: Party,
    pub model: &'a ModelName,
    /// It speaks for the weather of then.
    pub leased_at: Instant,
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
    leased_at: Instant,
    key: KeyId,
    party: Party,
    model: ModelName,
    sign: Sign,
}

/// Failures of the last seconds with no success between, oldest first, and how many different ones fail alike.
#[derive(Debug, Default)]
struct Failures {
    list: VecDeque<Failure>,
    parties: Counts<(Sign, Party)>,
    models: Counts<(Sign, ModelName)>,
}

impl Failures {
    fn push(&mut self, failure: Failure) {
        while self.list.len() >= REMEMBERED {
            self.pop();
        }
        self.parties.add((failure.sign, failure.party), failure.sign);
        self.models.add((failure.sign, failure.model.clone()), failure.sign);
        self.list.push_back(failure);
    }

    fn pop(&mut self) {
        if let Some(failure) = self.list.pop_front() {
            self.uncount(&failure);
        }
    }

    fn uncount(&mut self, failure: &Failure) {
        self.parties.take(&(failure.sign, failure.party), failure.sign);
        self.models.take(&(failure.sign, failure.model.clone()), failure.sign);
    }

    fn expire(&mut self, now: Instant) {
        while self.list.front().is_some_and(|first| first.at + WINDOW < now) {
            self.pop();
        }
    }

    /// Something that was sent then came through, so what was sent before proves nothing.
    fn forget_sent_by(&mut self, leased_at: Instant) {
        let list = std::mem::take(&mut self.list);
        for failure in list {
            if failure.leased_at > leased_at {
                self.list.push_back(failure);
            } else {
                self.uncount(&failure);
            }
        }
    }

    fn alike(&self, sign: Sign) -> impl Iterator<Item = &Failure> {
        self.list.iter().filter(move |failure| failure.sign == sign)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// How often each thing occurs, and how many different ones there are of each sign.
#[derive(Debug)]
struct Counts<K> {
    times: HashMap<K, u32>,
    kinds: [usize; Sign::KINDS],
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self { times: HashMap::new(), kinds: [0; Sign::KINDS] }
    }
}

impl<K: Hash + Eq> Counts<K> {
    fn add(&mut self, key: K, sign: Sign) {
        let times = self.times.entry(key).or_default();
        *times += 1;
        self.kinds[sign as usize] += usize::from(*times == 1);
    }

    fn take(&mut self, key: &K, sign: Sign) {
        if let Some(times) = self.times.get_mut(key) {
            *times -= 1;
            if *times == 0 {
                self.times.remove(key);
                self.kinds[sign as usize] -= 1;
            }
        }
    }

    /// How many different ones.
    fn of(&self, sign: Sign) -> usize {
        self.kinds[sign as usize]
    }
}

/// Watches one address, or one model through it.
#[derive(Debug)]
pub struct StormDetector {
    scope: Scope,
    weather: Weather,
    /// How the last storm showed.
    sign: Sign,
    failures: Failures,
    /// The next pause.
    pause: Duration,
    ended_at: Option<Instant>,
}

impl Default for StormDetector {
    fn default() -> Self {
        Self::new(Scope::Address)
    }
}

impl StormDetector {
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            weather: Weather::Calm,
            sign: Sign::BareLimit,
            failures: Failures::default(),
            pause: FIRST_PAUSE,
            ended_at: None,
        }
    }

    /// Whether nothing is going on, so that successes need not be recorded and requests need not ask.
    pub fn is_quiet(&self) -> bool {
        self.weather == Weather::Calm && self.failures.list.is_empty()
    }

    /// Whether it holds nothing that the next storm depends on.
    pub fn is_idle(&self, now: Instant) -> bool {
        self.is_quiet() && self.ended_at.is_none_or(|ended| ended + CALM_AFTER < now)
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
        attempt: &Attempt<'_>,
        outcome: &Outcome,
        in_use: usize,
        now: Instant,
    ) -> Reading {
        let sign = self.sign_of(outcome);
        match (self.weather, sign) {
            (Weather::Calm, None) => {
                if *outcome == Outcome::Success && !self.failures.list.is_empty() {
                    self.failures.forget_sent_by(attempt.leased_at);
                }
                Reading::OfKey
            }
            // It met the storm that is over.
            (Weather::Calm, Some(_)) if self.ended_at.is_some_and(|ended| attempt.leased_at < ended) => {
                Reading::OfStorm
            }
            (Weather::Calm, Some(sign)) => self.notice(attempt, sign, in_use, now),
            // Sent before the pause.
            (Weather::Paused { .. }, Some(_)) => Reading::OfStorm,
            (Weather::Paused { .. }, None) => Reading::OfKey,
            // Sent before the probe.
            (Weather::Probing { since }, sign) if attempt.leased_at < since => {
                if sign.is_some() {
                    Reading::OfStorm
                } else {
                    Reading::OfKey
                }
            }
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

    fn sign_of(&self, outcome: &Outcome) -> Option<Sign> {
        Sign::of(outcome).filter(|sign| self.scope == Scope::Address || *sign == Sign::BareLimit)
    }

    fn notice(&mut self, attempt: &Attempt<'_>, sign: Sign, in_use: usize, now: Instant) -> Reading {
        let &Attempt { key, party, model, leased_at } = attempt;
        self.failures.push(Failure { at: now, leased_at, key, party, model: model.clone(), sign });
        self.failures.expire(now);
        let is_of_one_model =
            self.scope == Scope::Address && sign == Sign::BareLimit && self.failures.models.of(sign) < 2;
        if is_of_one_model || self.failures.parties.of(sign) < (in_use * SHARE / 100).clamp(FEWEST, MOST) {
            return Reading::OfKey;
        }
        let since = self.failures.alike(sign).map(|failure| failure.at).min().unwrap_or(now);
        let keys: HashSet<_> = self.failures.alike(sign).map(|failure| failure.key).collect();
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
