//! What the holder of a client token may still use, and when there will be more.
//!
//! Before a request is sent it is counted in the minute, the day and the month, with an estimate of its tokens;
//! afterwards the estimate is corrected by what Google counted. So the limits hold however many requests run at the same
//! moment, but for what one answer turns out longer than was thought.
//!
//! Where several nodes serve, each counts what the others tell beside its own (`shared`), so it decides by itself.
//!
//! All workers share one allowance for a token, hence the lock; it is held for some ten nanoseconds. The minute slides
//! and is told by the clock that never jumps, days and months by the one on the wall. Limits are arguments: what was
//! counted stays when they change.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::ledger::{
    day::WallClock,
    guess::Guesses,
    minute::{Minute, TickClock},
};
use crate::domain::{
    node::NodeId,
    terms::{LimitName, Metric, RateLimits, Terms, Window, Zone},
    time::Now,
};

mod calendar;
mod shared;
#[cfg(test)]
mod tests;

pub use calendar::Used;
use calendar::{Count, Period, StoredCount};
use shared::{Difference, Restored, Shared};
pub use shared::{Heard, Share};

/// Told to a client that has too many requests under way, one of which may end at any moment, and to one whose limit is
/// reached if other nodes have let in what they may have.
const SOON: Duration = Duration::from_secs(1);

/// Requests of a minute that are taken in at once; more than any gateway serves.
const MOST_STORED: u64 = 10_000_000;

/// What is used of one token, shared by all workers.
#[derive(Debug)]
pub struct Allowance {
    counts: Mutex<Counts>,
    in_flight: AtomicU32,
    /// Of other nodes.
    in_flight_elsewhere: AtomicU32,
}

/// What a request is going to use, as far as can be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Need {
    /// Estimated size of the prompt; it is corrected by what earlier estimates turned out to be.
    pub tokens: u64,
    pub images: u64,
}

/// A request's place in the counts, to be settled or refunded once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    tick: u32,
    day_starts_ms: i64,
    month_starts_ms: i64,
    guess: u32,
    tokens: u32,
    images: u64,
}

/// What a request used besides being one.
#[derive(Debug, Clone, Copy)]
struct Spent {
    tokens: u32,
    images: u64,
}

impl Spent {
    fn beyond(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            images: self.images.saturating_sub(other.images),
        }
    }

    fn as_used(self) -> Used {
        Used { requests: 0, tokens: self.tokens.into(), images: self.images }
    }
}

/// Why a request has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    pub limit: Bound,
    /// How much it allows.
    pub most: u64,
    /// If nothing else is sent until then, the request fits.
    pub retry_after: Duration,
}

/// What bounds a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    Rate(LimitName),
    Concurrency,
}

/// How far a limit is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitUse {
    pub name: LimitName,
    pub limit: u64,
    pub used: u64,
    /// Until nothing of what is counted now counts any more.
    pub resets_in: Duration,
}

impl LimitUse {
    pub fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

#[derive(Debug)]
struct Counts {
    ticks: TickClock,
    wall: WallClock,
    minute: Minute,
    day: Count,
    month: Count,
    guesses: Guesses,
    /// Since it was stored last.
    has_changed: bool,
    /// While there may be other nodes.
    shared: Option<Box<Shared>>,
}

impl Allowance {
    /// Nothing is used yet.
    pub fn new(now: Now) -> Self {
        let (zone, now_ms) = (Zone::default(), now.unix_ms());
        let counts = Counts {
            ticks: TickClock::new(now.instant),
            wall: WallClock::new(now),
            minute: Minute::default(),
            day: Count::new(Period::Day, zone, now_ms),
            month: Count::new(Period::Month, zone, now_ms),
            guesses: Guesses::default(),
            has_changed: false,
            shared: None,
        };
        Self { counts: counts.into(), in_flight: 0.into(), in_flight_elsewhere: 0.into() }
    }

    /// Counts one request, in all windows or in none.
    ///
    /// One that alone exceeds a limit of tokens is let through where nothing of that limit is used: it would never fit
    /// otherwise, and estimates may be too high.
    pub fn reserve(&self, terms: &Terms, need: Need, now: Now) -> Result<Reservation, Exceeded> {
        let running =
            self.in_flight.fetch_add(1, Ordering::AcqRel) + self.in_flight_elsewhere.load(Ordering::Acquire);
        if let Some(most) = terms.max_concurrent.filter(|most| running >= *most) {
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
            return Err(Exceeded { limit: Bound::Concurrency, most: most.into(), retry_after: SOON });
        }
        let reserved = self.lock().reserve(terms, need, running, now);
        reserved.inspect_err(|_| {
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
        })
    }

    /// The request has ended. `tokens` were read and written, or Google did not say; `images` were made.
    pub fn settle(&self, reservation: Reservation, tokens: Option<u64>, images: u64, now: Now) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        let tokens = tokens.map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX));
        let spent = Spent { tokens: tokens.unwrap_or(reservation.tokens), images };
        let mut counts = self.lock();
        if let Some(tokens) = tokens.filter(|tokens| *tokens > 0) {
            counts.guesses.learn(reservation.guess, tokens);
        }
        counts.settle(reservation, spent, now);
    }

    /// The request was never sent, so it does not count.
    pub fn refund(&self, reservation: Reservation, now: Now) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.lock().refund(reservation, now);
    }

    /// Requests that are under way, on all nodes.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire) + self.in_flight_elsewhere.load(Ordering::Acquire)
    }

    /// From now on what other nodes tell counts too. What was restored is theirs as well, as far as they tell of it.
    /// `alive` is how many others there are at any moment.
    pub fn share_with_others(&self, alive: Arc<AtomicU32>, zone: Zone, now: Now) {
        self.lock().share_with_others(alive, zone, now);
    }

    /// What other nodes have to know; `None` while nothing was used here.
    pub fn share(&self, zone: Zone, now: Now) -> Option<Share> {
        let mut counts = self.lock();
        let now_ms = counts.advance(zone, now);
        // Read under the lock, so that the newest share has the newest number.
        let in_flight = self.in_flight.load(Ordering::Acquire);
        let shared = counts.shared.as_deref_mut()?;
        (in_flight > 0 || shared.has_used()).then(|| shared.share(in_flight, now.instant, now_ms))
    }

    /// What this node has told itself came back, so all nodes know it.
    pub fn hear_own(&self, version: u64) {
        if let Some(shared) = self.lock().shared.as_deref_mut() {
            shared.hear_own(version);
        }
    }

    /// Another node has told what it has used.
    pub fn hear(&self, node: &NodeId, share: &Share, zone: Zone, now: Now) {
        self.take_in(&mut self.lock(), node, share, Heard::Now, zone, now);
    }

    /// All that nodes have written down of themselves, also those that are gone. Those that are not `alive` have no
    /// request under way.
    pub fn hear_stored(
        &self,
        shares: &[(NodeId, Share)],
        alive: impl Fn(&NodeId) -> bool,
        zone: Zone,
        now: Now,
    ) {
        let mut counts = self.lock();
        for (node, share) in shares {
            let mut share = *share;
            if !alive(node) {
                share.in_flight = 0;
            }
            self.take_in(&mut counts, node, &share, Heard::Stored, zone, now);
        }
        if let Some(shared) = counts.shared.as_deref_mut() {
            shared.has_heard_all();
        }
    }

    fn take_in(&self, counts: &mut Counts, node: &NodeId, share: &Share, heard: Heard, zone: Zone, now: Now) {
        let Some(before) = counts.hear(node, share, heard, zone, now) else { return };
        if share.in_flight >= before {
            self.in_flight_elsewhere.fetch_add(share.in_flight - before, Ordering::AcqRel);
        } else {
            self.in_flight_elsewhere.fetch_sub(before - share.in_flight, Ordering::AcqRel);
        }
    }

    /// Another node has ended, and with it its requests. What it used stays used.
    pub fn forget_in_flight(&self, node: &NodeId) {
        let mut counts = self.lock();
        let ended = counts.shared.as_deref_mut().map_or(0, |shared| shared.forget_in_flight(node));
        self.in_flight_elsewhere.fetch_sub(ended, Ordering::AcqRel);
    }

    /// How far each of the limits is used.
    pub fn usage(&self, limits: &RateLimits, zone: Zone, now: Now) -> Vec<LimitUse> {
        let mut counts = self.lock();
        let now_ms = counts.advance(zone, now);
        LimitName::ALL
            .into_iter()
            .filter_map(|name| Some((name, limits.of(name)?)))
            .map(|(name, limit)| {
                let (used, resets_in) = (counts.used(name, now_ms), counts.resets_in(name, now, now_ms));
                LimitUse { name, limit, used, resets_in }
            })
            .collect()
    }

    /// What is worth keeping, if anything has been counted since this was asked last.
    pub fn take_change(&self, now: Now) -> Option<AllowanceSnapshot> {
        let mut counts = self.lock();
        std::mem::take(&mut counts.has_changed).then(|| counts.snapshot(now))
    }

    /// It could not be kept, so it is asked for once more.
    pub fn keep_change(&self) {
        self.lock().has_changed = true;
    }

    /// An allowance as it was stored; what is over is left out.
    pub fn restore(stored: &AllowanceSnapshot, zone: Zone, now: Now) -> Self {
        let allowance = Self::new(now);
        allowance.lock().restore(stored, zone, now);
        allowance
    }

    /// Counts are never left half written, so those whose writer panicked are still good.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// The believed time on the wall, in Unix milliseconds.
    fn advance(&mut self, zone: Zone, now: Now) -> i64 {
        let now_ms = self.wall.read(now).div_euclid(1000);
        let tick = self.ticks.tick(now.instant);
        self.minute.advance(tick);
        self.day.advance(zone, now_ms);
        self.month.advance(zone, now_ms);
        if let Some(shared) = self.shared.as_deref_mut() {
            shared.advance(tick, zone, now_ms);
        }
        now_ms
    }

    fn reserve(
        &mut self,
        terms: &Terms,
        need: Need,
        running: u32,
        now: Now,
    ) -> Result<Reservation, Exceeded> {
        let now_ms = self.advance(terms.time_zone, now);
        let wanted = Used { requests: 1, tokens: need.tokens, images: need.images };
        let unheard = self.unheard(now);
        if let Some(most) =
            terms.max_concurrent.filter(|most| u64::from(running) + unheard.requests >= u64::from(*most))
        {
            return Err(Exceeded { limit: Bound::Concurrency, most: most.into(), retry_after: SOON });
        }
        if let Some(exceeded) = self.exceeded(&terms.rate_limits, wanted, unheard, now, now_ms) {
            return Err(exceeded);
        }
        self.has_changed = true;
        let guess = u32::try_from(need.tokens).unwrap_or(u32::MAX);
        // While it runs it counts as what it may well become; alone, it has not to be refused for that.
        let tokens = self.guesses.allow_for(guess);
        let reserved = Used { tokens: tokens.into(), ..wanted };
        let tick = self.minute.add(self.ticks.tick(now.instant), 1, tokens);
        self.day.add(reserved);
        self.month.add(reserved);
        if let Some(shared) = self.shared.as_deref_mut() {
            shared.admit(tick, reserved, now.instant);
        }
        let (day_starts_ms, month_starts_ms) = (self.day.starts_ms(), self.month.starts_ms());
        Ok(Reservation { tick, day_starts_ms, month_starts_ms, guess, tokens, images: need.images })
    }

    /// Of all limits that leave no room the one that does so for longest.
    fn exceeded(
        &self,
        limits: &RateLimits,
        wanted: Used,
        unheard: Used,
        now: Now,
        now_ms: i64,
    ) -> Option<Exceeded> {
        let blocked = LimitName::ALL.into_iter().filter_map(|name| {
            let most = limits.of(name)?;
            // Whatever is larger than the whole has to come alone.
            let room = most.saturating_sub(wanted.of(name.metric()));
            let may_be_used = self.used(name, now_ms).saturating_add(unheard.of(name.metric()));
            let retry_after = self
                .blocked_for(name, room, now, now_ms)
                .or_else(|| (unheard.requests > 0 && may_be_used > room).then_some(SOON))?;
            Some(Exceeded { limit: Bound::Rate(name), most, retry_after })
        });
        blocked.max_by_key(|exceeded| exceeded.retry_after)
    }

    /// What other nodes may have let in that is not heard of yet.
    fn unheard(&self, now: Now) -> Used {
        let in_minute = self.minute.requests();
        self.shared.as_deref().map_or_else(Used::default, |shared| shared.unheard(in_minute, now.instant))
    }

    /// How long until no more than `room` is used, if that is not so now.
    fn blocked_for(&self, name: LimitName, room: u64, now: Now, now_ms: i64) -> Option<Duration> {
        if name.window() != Window::Minute {
            return (self.used(name, now_ms) > room).then(|| self.resets_in(name, now, now_ms));
        }
        let tick = match name.metric() {
            Metric::Requests => self.minute.blocking_tick(room, u64::MAX),
            Metric::Tokens | Metric::Images => self.minute.blocking_tick(u64::MAX, room),
        };
        tick.map(|tick| self.ticks.expiry(tick).saturating_duration_since(now.instant))
    }

    fn used(&self, name: LimitName, now_ms: i64) -> u64 {
        match (name.window(), name.metric()) {
            (Window::Minute, Metric::Requests) => self.minute.requests(),
            (Window::Minute, _) => self.minute.tokens(),
            (Window::Day, metric) => self.day.all(now_ms).of(metric),
            (Window::Month, metric) => self.month.all(now_ms).of(metric),
        }
    }

    fn resets_in(&self, name: LimitName, now: Now, now_ms: i64) -> Duration {
        let until = |end_ms: i64| Duration::from_millis(u64::try_from(end_ms - now_ms).unwrap_or(0));
        match name.window() {
            Window::Minute if self.minute.requests() == 0 && self.minute.tokens() == 0 => Duration::ZERO,
            Window::Minute => self.ticks.expiry(self.minute.newest()).saturating_duration_since(now.instant),
            Window::Day => until(self.day.ends_ms()),
            Window::Month => until(self.month.ends_ms()),
        }
    }

    /// What was too much is given back where it was counted; what was too little counts from now on.
    fn settle(&mut self, reservation: Reservation, spent: Spent, now: Now) {
        self.has_changed = true;
        let reserved = Spent { tokens: reservation.tokens, images: reservation.images };
        let (less, more) = (reserved.beyond(spent), spent.beyond(reserved));
        self.minute.settle(reservation.tick, less.tokens, 0);
        if more.tokens > 0 {
            self.minute.add(self.ticks.tick(now.instant), 0, more.tokens);
        }
        self.day.take_back(reservation.day_starts_ms, less.as_used());
        self.month.take_back(reservation.month_starts_ms, less.as_used());
        self.day.add(more.as_used());
        self.month.add(more.as_used());
        if let Some(shared) = self.shared.as_deref_mut() {
            let Reservation { tick, day_starts_ms, month_starts_ms, .. } = reservation;
            let at = self.ticks.tick(now.instant);
            shared.take_back(at, tick, day_starts_ms, month_starts_ms, less.as_used());
            if !more.as_used().is_nothing() {
                shared.add(at, more.as_used());
            }
        }
    }

    fn refund(&mut self, reservation: Reservation, now: Now) {
        self.has_changed = true;
        self.minute.advance(self.ticks.tick(now.instant));
        let Reservation { tick, tokens, images, .. } = reservation;
        self.minute.refund(tick, tokens);
        let used = Used { requests: 1, tokens: tokens.into(), images };
        self.day.take_back(reservation.day_starts_ms, used);
        self.month.take_back(reservation.month_starts_ms, used);
        if let Some(shared) = self.shared.as_deref_mut() {
            let Reservation { day_starts_ms, month_starts_ms, .. } = reservation;
            let at = self.ticks.tick(now.instant);
            shared.take_back(at, tick, day_starts_ms, month_starts_ms, used);
        }
    }

    fn share_with_others(&mut self, alive: Arc<AtomicU32>, zone: Zone, now: Now) {
        let now_ms = self.advance(zone, now);
        let restored = Restored {
            minute: Used { requests: self.minute.requests(), tokens: self.minute.tokens(), images: 0 },
            day: self.day.all(now_ms),
            month: self.month.all(now_ms),
        };
        self.shared = Some(Shared::new(restored, alive, zone, now_ms).into());
    }

    /// Counts what a node has told. Answers how many requests it was known to have under way, if this is news.
    fn hear(&mut self, node: &NodeId, share: &Share, heard: Heard, zone: Zone, now: Now) -> Option<u32> {
        let now_ms = self.advance(zone, now);
        let news = self.shared.as_deref_mut()?.hear(node, share, heard, now_ms)?;
        let tick = self.ticks.tick_before(now.instant, news.age_ms);
        self.add_to_minute(tick, news.minute.more);
        self.minute.take_back(news.minute.less.requests, news.minute.less.tokens);
        for (count, Difference { more, less }) in [(&mut self.day, news.day), (&mut self.month, news.month)] {
            count.add(more);
            count.take_back(count.starts_ms(), less);
        }
        Some(news.in_flight_before)
    }

    fn add_to_minute(&mut self, tick: u32, more: Used) {
        if more.tokens > 0 {
            self.minute.add(tick, 0, u32::try_from(more.tokens).unwrap_or(u32::MAX));
        }
        let mut left = more.requests.min(MOST_STORED);
        while left > 0 {
            let part = u16::try_from(left).unwrap_or(u16::MAX);
            self.minute.add(tick, part, 0);
            left -= u64::from(part);
        }
    }

    fn snapshot(&mut self, now: Now) -> AllowanceSnapshot {
        self.minute.advance(self.ticks.tick(now.instant));
        let minute = (self.minute.requests() > 0 || self.minute.tokens() > 0).then(|| StoredMinute {
            ends_at_ms: now.unix_ms_at(self.ticks.expiry(self.minute.newest())),
            requests: self.minute.requests(),
            tokens: self.minute.tokens(),
        });
        AllowanceSnapshot { minute, day: self.day.stored(), month: self.month.stored() }
    }

    fn restore(&mut self, stored: &AllowanceSnapshot, zone: Zone, now: Now) {
        self.advance(zone, now);
        let minute = stored.minute.filter(|minute| minute.ends_at_ms > now.unix_ms());
        if let Some(StoredMinute { ends_at_ms, requests, tokens }) = minute {
            // Where the clock was put back meanwhile, the lump is as young as can be.
            let age_ms = 60_000 - ends_at_ms.saturating_sub(now.unix_ms()).clamp(0, 60_000);
            let tick = self.ticks.tick_before(now.instant, age_ms.unsigned_abs());
            self.add_to_minute(tick, Used { requests, tokens, images: 0 });
        }
        if let Some(day) = stored.day {
            self.day.restore(day);
        }
        if let Some(month) = stored.month {
            self.month.restore(month);
        }
        self.advance(zone, now);
    }
}

/// An allowance as it is written down; what several nodes used could be added up from such.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AllowanceSnapshot {
    #[serde(skip_serializing_if = "Option::is_none")]
    minute: Option<StoredMinute>,
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<StoredCount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    month: Option<StoredCount>,
}

/// The last minute as one lump, as young as its youngest part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct StoredMinute {
    ends_at_ms: i64,
    requests: u64,
    tokens: u64,
}
