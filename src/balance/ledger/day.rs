//! What was sent today in Los Angeles, where Google's days end at midnight.
//!
//! Days need the clock on the wall, and that clock may jump. A jump is believed only once it has lasted; and whatever
//! the clock does, a day's count is never lost and never begun twice.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::{balance::quota, domain::time::Now};

/// Differences up to this are drift, and followed at once.
const DRIFT_MICROS: i64 = 2_000_000;
/// How long the wall clock must have stayed where it jumped to. A clock that is put right stays right; one that is
/// changed by mistake is often changed back.
const BELIEVED_AFTER: Duration = Duration::from_secs(60);

/// The wall clock without its jumps: the steady clock, shifted.
#[derive(Debug, Clone, Copy)]
pub(in crate::balance) struct WallClock {
    base: Instant,
    /// Unix microseconds at `base`.
    base_micros: i64,
    /// Where the wall clock has jumped to, as another `base_micros`, and when that was first seen.
    jump: Option<(i64, Instant)>,
}

impl WallClock {
    pub(in crate::balance) fn new(now: Now) -> Self {
        Self { base: now.instant, base_micros: now.utc.timestamp_micros(), jump: None }
    }

    /// Unix microseconds, as far as they are believed.
    pub(in crate::balance) fn read(&mut self, now: Now) -> i64 {
        let elapsed = micros(now.instant.saturating_duration_since(self.base));
        let told = now.utc.timestamp_micros().saturating_sub(elapsed);
        if is_drift(told, self.base_micros) {
            (self.base_micros, self.jump) = (told, None);
        } else {
            match self.jump {
                Some((jumped, since)) if is_drift(told, jumped) => {
                    if now.instant.saturating_duration_since(since) >= BELIEVED_AFTER {
                        (self.base_micros, self.jump) = (told, None);
                    }
                }
                _ => self.jump = Some((told, now.instant)),
            }
        }
        self.base_micros.saturating_add(elapsed)
    }
}

fn is_drift(one: i64, other: i64) -> bool {
    one.abs_diff(other) <= DRIFT_MICROS.unsigned_abs()
}

fn micros(span: Duration) -> i64 {
    // Not `as_micros`, whose 128 bits cost more than all the rest.
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX).saturating_mul(1_000_000)
        + i64::from(span.subsec_micros())
}

/// The requests of the latest day that was seen, and of the one before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Day {
    /// Midnight at its beginning and its end, in Unix microseconds.
    starts: i64,
    ends: i64,
    /// How many days were begun; a reservation says in which it was made.
    serial: u32,
    requests: u32,
    /// Those of the day before: they count again if the clock turns out to have been ahead.
    before: u32,
}

impl Day {
    pub(super) fn new(wall: i64) -> Self {
        let (starts, ends) = bounds(wall);
        Self { starts, ends, serial: 0, requests: 0, before: 0 }
    }

    /// Begins a new day if there is one.
    pub(super) fn advance(&mut self, wall: i64) {
        if wall >= self.ends {
            let (starts, ends) = bounds(wall);
            let serial = self.serial.wrapping_add(1);
            *self = Self { starts, ends, serial, requests: 0, before: self.requests };
        }
    }

    /// What counts at this moment. A day that has been gone back to holds what was sent in both.
    pub(super) fn used(&self, wall: i64) -> u64 {
        let before = if wall < self.starts { self.before } else { 0 };
        u64::from(self.requests) + u64::from(before)
    }

    pub(super) fn serial(&self) -> u32 {
        self.serial
    }

    pub(super) fn add(&mut self) {
        self.requests = self.requests.saturating_add(1);
    }

    /// Takes one request back that was made in that day.
    pub(super) fn refund(&mut self, serial: u32) {
        if serial == self.serial {
            self.requests = self.requests.saturating_sub(1);
        }
    }

    /// How long until no more than `requests` count, if that is not so now.
    pub(super) fn blocked_for(&self, wall: i64, requests: u64) -> Option<Duration> {
        if self.used(wall) <= requests {
            return None;
        }
        let end = if u64::from(self.requests) > requests { self.ends } else { self.starts };
        Some(self.until(wall, end))
    }

    /// How long until the count that holds now begins anew.
    pub(super) fn ends_in(&self, wall: i64) -> Duration {
        self.until(wall, self.ends)
    }

    fn until(&self, wall: i64, end: i64) -> Duration {
        Duration::from_micros(u64::try_from(end.saturating_sub(wall)).unwrap_or(0))
    }

    /// Both counts, and the Unix milliseconds at which the day began.
    pub(super) fn stored(&self) -> (u32, u32, i64) {
        (self.requests, self.before, self.starts / 1000)
    }

    /// A day as it was stored, of use if it is today, or if it lies ahead because the clock was put back.
    pub(super) fn restored(requests: u32, before: u32, starts_ms: i64, wall: i64) -> Self {
        const AHEAD_MICROS: i64 = 49 * 60 * 60 * 1_000_000;
        let today = Self::new(wall);
        let starts = starts_ms.saturating_mul(1000);
        if starts == today.starts {
            Self { requests, before, ..today }
        } else if starts > today.starts && starts - today.starts <= AHEAD_MICROS {
            Self { requests: requests.saturating_add(before), ..today }
        } else {
            today
        }
    }
}

/// Midnight before and after a moment. Days have 23 to 25 hours, so both are found by asking for the next one.
fn bounds(wall: i64) -> (i64, i64) {
    const FARTHEST: i64 = 32_503_680_000_000_000; // the year 3000, well within what calendars reckon with
    let now = DateTime::from_timestamp_micros(wall.clamp(0, FARTHEST)).unwrap_or(DateTime::<Utc>::UNIX_EPOCH);
    let end = quota::next_pacific_midnight(now);
    let mut start = quota::next_pacific_midnight(now - TimeDelta::hours(26));
    while quota::next_pacific_midnight(start) < end {
        start = quota::next_pacific_midnight(start);
    }
    (start.timestamp_micros(), end.timestamp_micros().max(wall.saturating_add(1)))
}
