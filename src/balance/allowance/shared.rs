//! What several nodes know of each other's use of one token.
//!
//! A node tells its [`Share`] in absolute figures: one that comes late, twice or not at all is made good by the next.
//! Whoever hears it adds the difference to what it counts itself, so a decision needs one count and no question.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

#[cfg(test)]
mod tests;
mod unheard;

use self::unheard::Unheard;
use super::calendar::{Count, Period, Used};
use crate::{
    balance::ledger::minute::Minute,
    domain::{node::NodeId, terms::Zone},
};

/// What one node has used of a token, and only it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Grows with each share that a node tells of the token.
    pub version: u64,
    pub told_at_ms: i64,
    /// Requests under way.
    pub in_flight: u32,
    /// Since the node began, less what was corrected while it still counted for the minute.
    ever: Used,
    /// Of the last minute.
    minute: Used,
    day: PeriodUse,
    month: PeriodUse,
}

impl Share {
    /// Whether nothing of it counts any more, however late its month began.
    pub fn is_over(&self, now_ms: i64) -> bool {
        const LONGEST_MONTH_MS: i64 = 33 * 24 * 60 * 60 * 1000;
        now_ms - self.month.starts_ms > LONGEST_MONTH_MS
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PeriodUse {
    starts_ms: i64,
    used: Used,
}

/// How a share was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Just told.
    Now,
    /// Read where it was written down, so that what a node has stored of itself may be part of it.
    Stored,
}

/// Use that comes on top, and use that is taken back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub more: Used,
    pub less: Used,
}

impl Difference {
    fn between(before: Used, after: Used) -> Self {
        Self { more: after.minus(before), less: before.minus(after) }
    }

    /// What this covers was counted already.
    fn covered_by(self, covering: &mut Used) -> Self {
        let beyond = self.more.minus(*covering);
        *covering = covering.minus(self.more);
        Self { more: beyond, ..self }
    }
}

/// What a share changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct News {
    pub minute: Difference,
    /// How long ago the use of the minute was at least.
    pub age_ms: u64,
    pub day: Difference,
    pub month: Difference,
    pub in_flight_before: u32,
}

/// This node's own part, and what was heard of others.
#[derive(Debug)]
pub(super) struct Shared {
    version: u64,
    ever: Used,
    minute: Minute,
    day: Count,
    month: Count,
    others: HashMap<NodeId, Share>,
    /// Other nodes that are there, which whoever hears of them keeps up to date.
    alive: Arc<AtomicU32>,
    unheard: Unheard,
    /// What was stored by an earlier run and may be told by others once more.
    restored: Restored,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Restored {
    pub minute: Used,
    pub day: Used,
    pub month: Used,
}

impl Shared {
    pub fn new(restored: Restored, alive: Arc<AtomicU32>, zone: Zone, now_ms: i64) -> Self {
        Self {
            version: 0,
            ever: Used::default(),
            minute: Minute::default(),
            day: Count::new(Period::Day, zone, now_ms),
            month: Count::new(Period::Month, zone, now_ms),
            others: HashMap::new(),
            alive,
            unheard: Unheard::default(),
            restored,
        }
    }

    /// Where a change of zone shifts a period, the shares of others are of the shifted one too.
    pub fn advance(&mut self, tick: u32, zone: Zone, now_ms: i64) {
        self.minute.advance(tick);
        for (count, of) in [
            (&mut self.day, (|share| &mut share.day) as fn(&mut Share) -> &mut PeriodUse),
            (&mut self.month, |share| &mut share.month),
        ] {
            let (before, is_shifted) = (count.starts_ms(), count.is_shifted_by(zone, now_ms));
            count.advance(zone, now_ms);
            if is_shifted {
                let of_before = self.others.values_mut().map(of).filter(|part| part.starts_ms == before);
                of_before.for_each(|part| part.starts_ms = count.starts_ms());
            }
        }
    }

    pub fn add(&mut self, tick: u32, more: Used) {
        self.minute.add(tick, u16::try_from(more.requests).unwrap_or(u16::MAX), narrow(more.tokens));
        self.ever = self.ever.plus(more);
        self.day.add(more);
        self.month.add(more);
    }

    /// A request was let in.
    pub fn admit(&mut self, tick: u32, used: Used, now: Instant) {
        self.add(tick, used);
        self.unheard.add(used, now);
    }

    /// This node's own word has come back.
    pub fn hear_own(&mut self, version: u64) {
        self.unheard.hear(version);
    }

    /// What others may have let in that is not heard of yet, when so many requests of the last minute are known in all.
    pub fn unheard(&self, in_minute: u64, now: Instant) -> Used {
        let here = self.minute.requests();
        self.unheard.elsewhere(here, in_minute.saturating_sub(here), self.alive.load(Ordering::Relaxed), now)
    }

    /// Takes back what was counted in that tick and those periods. What the minute has forgotten by `now` is no part of
    /// it: the others have forgotten it as well.
    pub fn take_back(&mut self, now: u32, tick: u32, day_starts_ms: i64, month_starts_ms: i64, less: Used) {
        self.minute.advance(now);
        let before = self.in_minute();
        if less.requests > 0 {
            self.minute.refund(tick, narrow(less.tokens));
        } else {
            self.minute.settle(tick, narrow(less.tokens), 0);
        }
        self.ever = self.ever.minus(before.minus(self.in_minute()));
        self.day.take_back(day_starts_ms, less);
        self.month.take_back(month_starts_ms, less);
    }

    pub fn share(&mut self, in_flight: u32, now: Instant, now_ms: i64) -> Share {
        self.version += 1;
        self.unheard.tell(self.version, now);
        Share {
            version: self.version,
            told_at_ms: now_ms,
            in_flight,
            ever: self.ever,
            minute: self.in_minute(),
            day: PeriodUse::of(&self.day, now_ms),
            month: PeriodUse::of(&self.month, now_ms),
        }
    }

    pub fn has_used(&self) -> bool {
        self.version > 0 || !self.ever.is_nothing()
    }

    /// Takes in what a node has told. `None` when something newer of it is known.
    pub fn hear(&mut self, node: &NodeId, share: &Share, heard: Heard, now_ms: i64) -> Option<News> {
        const MINUTE_MS: u64 = 60_000;
        let known = self.others.entry(node.clone()).or_default();
        if share.version <= known.version {
            return None;
        }
        let age_ms = match heard {
            Heard::Now => 0,
            Heard::Stored => now_ms.saturating_sub(share.told_at_ms).max(0).unsigned_abs().min(MINUTE_MS),
        };
        let mut minute = Difference::between(known.ever, share.ever);
        let recent = if age_ms < MINUTE_MS { share.minute } else { Used::default() };
        // More has been used since the last word of it than what still counts.
        minute.more = minute.more.at_most(recent);
        let news = News {
            minute,
            age_ms,
            day: known.day.follow(share.day, &self.day),
            month: known.month.follow(share.month, &self.month),
            in_flight_before: known.in_flight,
        };
        (known.version, known.told_at_ms) = (share.version, share.told_at_ms);
        (known.in_flight, known.ever) = (share.in_flight, share.ever);
        Some(match heard {
            Heard::Now => news,
            Heard::Stored => News {
                minute: news.minute.covered_by(&mut self.restored.minute),
                day: news.day.covered_by(&mut self.restored.day),
                month: news.month.covered_by(&mut self.restored.month),
                ..news
            },
        })
    }

    /// All that was stored by nodes is known: what comes from now on is new.
    pub fn has_heard_all(&mut self) {
        self.restored = Restored::default();
    }

    /// A node has ended: of its requests none is under way. Answers how many seemed to be.
    pub fn forget_in_flight(&mut self, node: &NodeId) -> u32 {
        self.others.get_mut(node).map_or(0, |share| std::mem::take(&mut share.in_flight))
    }

    fn in_minute(&self) -> Used {
        Used { requests: self.minute.requests(), tokens: self.minute.tokens(), images: 0 }
    }
}

impl PeriodUse {
    fn of(count: &Count, now_ms: i64) -> Self {
        Self { starts_ms: count.starts_ms(), used: count.all(now_ms) }
    }

    /// What a newer word of the same node changes in the present period; one of another period waits for it.
    fn follow(&mut self, next: Self, present: &Count) -> Difference {
        if next.starts_ms != present.starts_ms() {
            return Difference::default();
        }
        let before = if self.starts_ms == next.starts_ms { self.used } else { Used::default() };
        *self = next;
        Difference::between(before, next.used)
    }
}

fn narrow(tokens: u64) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}
