//! Days and months as a calendar counts them, in any time zone.
//!
//! Their ends are computed in local time, so a day has 23 to 25 hours where clocks change. Whatever the clock on the
//! wall does, what was counted in a period is never lost and never counted anew.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::terms::{Metric, Zone};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Period {
    Day,
    Month,
}

/// The beginning and the end of the period that a moment lies in, all in Unix milliseconds.
pub(super) fn bounds(period: Period, zone: Zone, now_ms: i64) -> (i64, i64) {
    /// The year 3000, well within what calendars reckon with.
    const FARTHEST: i64 = 32_503_680_000_000;
    let now_ms = now_ms.clamp(0, FARTHEST);
    let now = DateTime::from_timestamp_millis(now_ms).unwrap_or(DateTime::<Utc>::UNIX_EPOCH);
    let mut today = now.with_timezone(&zone.0).date_naive();
    let tomorrow = |today: NaiveDate| today.checked_add_days(Days::new(1));
    // Clocks that go back shortly after midnight show the day before once more; it is over nevertheless.
    while let Some(begun) = tomorrow(today).filter(|next| midnight(*next, zone) <= now) {
        today = begun;
    }
    let (first, next) = match period {
        Period::Day => (Some(today), tomorrow(today)),
        Period::Month => {
            let first = today.with_day(1);
            (first, first.and_then(|first| first.checked_add_months(Months::new(1))))
        }
    };
    let begin = |date: Option<NaiveDate>| date.map(|date| midnight(date, zone).timestamp_millis());
    let start = begin(first).unwrap_or(now_ms).min(now_ms);
    (start, begin(next).unwrap_or(now_ms).max(now_ms + 1))
}

/// The first moment of a date. Where clocks jump over midnight it is later, and some islands have jumped over whole days.
fn midnight(date: NaiveDate, zone: Zone) -> DateTime<Utc> {
    const STEP: TimeDelta = TimeDelta::minutes(15);
    const LONGEST_JUMP: i32 = 25 * 4;
    let local = date.and_time(NaiveTime::MIN);
    let found =
        (0..LONGEST_JUMP).find_map(|step| zone.0.from_local_datetime(&(local + STEP * step)).earliest());
    found.map_or_else(|| local.and_utc(), |found| found.to_utc())
}

/// How much was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Used {
    pub requests: u64,
    pub tokens: u64,
    pub images: u64,
}

impl Used {
    pub fn of(self, metric: Metric) -> u64 {
        match metric {
            Metric::Requests => self.requests,
            Metric::Tokens => self.tokens,
            Metric::Images => self.images,
        }
    }

    pub(super) fn plus(self, more: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(more.requests),
            tokens: self.tokens.saturating_add(more.tokens),
            images: self.images.saturating_add(more.images),
        }
    }

    pub(super) fn minus(self, less: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(less.requests),
            tokens: self.tokens.saturating_sub(less.tokens),
            images: self.images.saturating_sub(less.images),
        }
    }

    pub(super) fn at_most(self, most: Self) -> Self {
        Self {
            requests: self.requests.min(most.requests),
            tokens: self.tokens.min(most.tokens),
            images: self.images.min(most.images),
        }
    }

    pub(super) fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// What was used in the latest period that was seen, and in the one before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    period: Period,
    zone: Zone,
    starts_ms: i64,
    ends_ms: i64,
    used: Used,
    /// Counts again if the clock turns out to have been ahead.
    before: Used,
}

impl Count {
    pub fn new(period: Period, zone: Zone, now_ms: i64) -> Self {
        let (starts_ms, ends_ms) = bounds(period, zone, now_ms);
        Self { period, zone, starts_ms, ends_ms, used: Used::default(), before: Used::default() }
    }

    /// Begins a new period if there is one. Another zone shifts the present one; so does a clock that was put back by
    /// more than a period, and neither gives anything back.
    pub fn advance(&mut self, zone: Zone, now_ms: i64) {
        let length = self.ends_ms - self.starts_ms;
        if now_ms >= self.ends_ms {
            *self = Self { before: self.used, ..Self::new(self.period, zone, now_ms) };
        } else if zone != self.zone || now_ms < self.starts_ms - length {
            *self = Self { used: self.all(now_ms), ..Self::new(self.period, zone, now_ms) };
        }
    }

    /// Whether another zone moves the present period, which does not end by that.
    pub fn is_shifted_by(&self, zone: Zone, now_ms: i64) -> bool {
        zone != self.zone && now_ms < self.ends_ms
    }

    /// What counts at this moment. A period that has been gone back to holds what was used in both.
    pub fn all(&self, now_ms: i64) -> Used {
        if now_ms < self.starts_ms { self.used.plus(self.before) } else { self.used }
    }

    /// Names the period.
    pub fn starts_ms(&self) -> i64 {
        self.starts_ms
    }

    pub fn ends_ms(&self) -> i64 {
        self.ends_ms
    }

    pub fn add(&mut self, more: Used) {
        self.used = self.used.plus(more);
    }

    /// Takes back what was counted in that period, if it is still the present one.
    pub fn take_back(&mut self, starts_ms: i64, less: Used) {
        if starts_ms == self.starts_ms {
            self.used = self.used.minus(less);
        }
    }

    /// `None` when there is nothing to keep.
    pub fn stored(&self) -> Option<StoredCount> {
        let Self { starts_ms, used, before, .. } = *self;
        (!used.is_nothing() || !before.is_nothing()).then_some(StoredCount { starts_ms, used, before })
    }

    /// Takes in what was stored, if it is of this period, or lies ahead because the clock was put back.
    pub fn restore(&mut self, stored: StoredCount) {
        let ahead = stored.starts_ms.saturating_sub(self.starts_ms);
        let length = self.ends_ms - self.starts_ms;
        if ahead == 0 {
            (self.used, self.before) = (stored.used, stored.before);
        } else if (1..=2 * length).contains(&ahead) {
            self.used = stored.used.plus(stored.before);
        }
    }
}

/// A count as it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCount {
    starts_ms: i64,
    used: Used,
    #[serde(default, skip_serializing_if = "is_nothing")]
    before: Used,
}

fn is_nothing(used: &Used) -> bool {
    used.is_nothing()
}

#[cfg(test)]
mod tests {
    use chrono_tz::TZ_VARIANTS;
    use proptest::prelude::*;

    use super::*;

    fn zone(name: &str) -> Zone {
        Zone::try_from(name.to_owned()).unwrap()
    }

    fn at(time: &str) -> i64 {
        time.parse::<DateTime<Utc>>().unwrap().timestamp_millis()
    }

    #[test]
    fn days_end_at_local_midnight_whatever_the_clocks_do() {
        for (place, now, starts, ends) in [
            ("America/Los_Angeles", "2026-03-08T12:00:00Z", "2026-03-08T08:00:00Z", "2026-03-09T07:00:00Z"),
            ("America/Los_Angeles", "2026-11-01T09:30:00Z", "2026-11-01T07:00:00Z", "2026-11-02T08:00:00Z"),
            ("Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("Asia/Kathmandu", "2026-05-05T18:15:00Z", "2026-05-05T18:15:00Z", "2026-05-06T18:15:00Z"),
            // Clocks jump from midnight to one o'clock, so the day begins at one.
            ("Africa/Cairo", "2024-04-26T05:00:00Z", "2024-04-25T22:00:00Z", "2024-04-26T21:00:00Z"),
            // This island went without the 30th.
            ("Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"),
        ] {
            assert_eq!(bounds(Period::Day, zone(place), at(now)), (at(starts), at(ends)), "{place} {now}");
        }
    }

    #[test]
    fn months_end_with_their_last_local_day() {
        for (place, now, starts, ends) in [
            ("UTC", "2028-02-29T23:59:59Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            ("Asia/Tokyo", "2026-12-31T15:00:00Z", "2026-12-31T15:00:00Z", "2027-01-31T15:00:00Z"),
            ("America/Los_Angeles", "2026-03-31T23:00:00Z", "2026-03-01T08:00:00Z", "2026-04-01T07:00:00Z"),
        ] {
            assert_eq!(bounds(Period::Month, zone(place), at(now)), (at(starts), at(ends)), "{place} {now}");
        }
    }

    fn one() -> Used {
        Used { requests: 1, ..Used::default() }
    }

    #[test]
    fn a_clock_that_is_put_back_gives_nothing_back() {
        let (utc, noon) = (zone("UTC"), at("2026-05-05T12:00:00Z"));
        let mut count = Count::new(Period::Day, utc, noon);
        count.add(one());
        for now in ["2026-05-06T12:00:00Z", "2026-05-05T13:00:00Z", "2026-05-06T13:00:00Z"] {
            count.advance(utc, at(now));
            count.add(one());
        }

        assert_eq!(count.all(at("2026-05-06T13:00:00Z")).requests, 3);
        assert_eq!(count.all(at("2026-05-05T13:00:00Z")).requests, 4, "both days count as one");
    }

    #[test]
    fn a_clock_that_was_years_ahead_does_not_stop_the_days() {
        let (utc, noon) = (zone("UTC"), at("2026-05-05T12:00:00Z"));
        let mut count = Count::new(Period::Day, utc, at("2036-05-05T12:00:00Z"));
        count.add(one());
        count.advance(utc, noon);

        assert_eq!((count.all(noon).requests, count.ends_ms()), (1, at("2026-05-06T00:00:00Z")));
    }

    #[test]
    fn another_zone_shifts_the_day_and_keeps_the_count() {
        let noon = at("2026-05-05T12:00:00Z");
        let mut count = Count::new(Period::Day, zone("UTC"), noon);
        count.add(one());
        count.advance(zone("Asia/Tokyo"), noon);

        assert_eq!((count.all(noon).requests, count.ends_ms()), (1, at("2026-05-05T15:00:00Z")));
    }

    #[test]
    fn what_is_stored_comes_back_in_its_own_period_only() {
        let (utc, noon) = (zone("UTC"), at("2026-05-05T12:00:00Z"));
        let mut count = Count::new(Period::Day, utc, noon);
        assert_eq!(count.stored(), None);
        count.add(one());
        let stored = count.stored().unwrap();

        let restored = |now: &str| {
            let mut fresh = Count::new(Period::Day, utc, at(now));
            fresh.restore(stored);
            fresh.all(at(now)).requests
        };

        assert_eq!(restored("2026-05-05T23:59:59Z"), 1);
        assert_eq!(restored("2026-05-06T00:00:00Z"), 0, "a new day");
        assert_eq!(restored("2026-05-04T12:00:00Z"), 1, "the clock was put back");
    }

    proptest! {
        #[test]
        fn periods_hold_their_moment_and_follow_one_another(
            place in 0..TZ_VARIANTS.len(),
            now_ms in 0i64..4_000_000_000_000,
            is_month in any::<bool>(),
        ) {
            let (zone, period) = (Zone(TZ_VARIANTS[place]), if is_month { Period::Month } else { Period::Day });
            let (starts, ends) = bounds(period, zone, now_ms);
            let hours = (ends - starts) / 3_600_000;

            prop_assert!(starts <= now_ms && now_ms < ends);
            prop_assert!(if is_month { (26 * 24..=32 * 24).contains(&hours) } else { (1..=49).contains(&hours) }, "{hours}");
            prop_assert_eq!(bounds(period, zone, ends).0, ends, "no gap and no overlap");
            prop_assert_eq!(bounds(period, zone, ends - 1), (starts, ends));
        }
    }
}
