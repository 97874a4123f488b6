//! Days of every length, and clocks that jump.

use chrono::{DateTime, Utc};

use super::*;

const DAY: u64 = 10;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The same moment on a wall clock that is off.
fn off(now: Now, seconds: i64) -> Now {
    Now { utc: now.utc + chrono::TimeDelta::seconds(seconds), ..now }
}

fn daily(now: Now) -> Ledger {
    by_hand(None, None, Some(DAY), now)
}

#[test]
fn a_day_ends_at_midnight_in_los_angeles_and_not_a_microsecond_before() {
    for (now, midnight) in [
        ("2026-01-15T09:00:00Z", "2026-01-16T08:00:00Z"),
        // Clocks go forward: 23 hours. Clocks go back: 25 hours.
        ("2026-03-08T08:00:00Z", "2026-03-09T07:00:00Z"),
        ("2026-11-01T07:00:00Z", "2026-11-02T08:00:00Z"),
        ("2026-11-01T08:59:59.5Z", "2026-11-02T08:00:00Z"),
        // Year's end, and the second before a leap second that was once inserted.
        ("2026-12-31T20:00:00Z", "2027-01-01T08:00:00Z"),
        ("2016-12-31T23:59:59Z", "2017-01-01T08:00:00Z"),
    ] {
        let now = at(now);
        let ledger = daily(now);
        assert_eq!(fill(&ledger, now), DAY as usize);

        let spent = ledger.reserve(&flash(), 1, now).unwrap_err();

        let wait = spent.until - now.instant;
        assert_eq!(now.utc + wait, utc(midnight), "{}", now.utc);
        assert_eq!(quota_of(spent), (QuotaWindow::Day, QuotaMetric::Requests));
        assert!(ledger.reserve(&flash(), 1, now.after(wait - Duration::from_micros(1))).is_err());
        assert_eq!(fill(&ledger, now.after(wait)), DAY as usize);
    }
}

#[test]
fn a_leap_second_is_a_second_like_others() {
    let before = at("2016-12-31T23:59:58Z");
    let leap = Now {
        utc: DateTime::from_timestamp(1_483_228_799, 1_500_000_000).unwrap(),
        instant: before.instant + secs(2),
    };
    let ledger = daily(before);

    assert!(ledger.reserve(&flash(), 1, before).is_ok());
    assert_eq!(fill(&ledger, leap), DAY as usize - 1);
    assert_eq!(fill(&ledger, before.after(secs(5))), 0);
}

#[test]
fn a_clock_that_jumps_ahead_for_a_second_begins_no_day() {
    let now = noon();
    let ledger = daily(now);
    fill(&ledger, now);

    for seconds in [86_400, 40 * 86_400, -86_400, i64::from(u32::MAX)] {
        assert_eq!(fill(&ledger, off(now.after(secs(1)), seconds)), 0, "{seconds}");
        assert_eq!(fill(&ledger, now.after(secs(2))), 0, "{seconds}");
    }
    assert_eq!(fill(&ledger, now.after(secs(12 * 3600))), DAY as usize);
}

#[test]
fn a_clock_that_is_put_right_is_believed_after_a_minute() {
    let now = noon();
    let ledger = daily(now);
    fill(&ledger, now);

    assert_eq!(fill(&ledger, off(now.after(secs(1)), 86_400)), 0);
    assert_eq!(fill(&ledger, off(now.after(secs(60)), 86_400)), 0);
    assert_eq!(fill(&ledger, off(now.after(secs(61)), 86_400)), DAY as usize);
}

#[test]
fn a_clock_that_goes_back_over_midnight_neither_reopens_a_day_nor_loses_one() {
    let now = at("2026-11-24T07:50:00Z");
    let ledger = daily(now);
    for _ in 0..6 {
        ledger.reserve(&flash(), 1, now).unwrap();
    }
    let next_day = now.after(secs(20 * 60));
    for _ in 0..3 {
        ledger.reserve(&flash(), 1, next_day).unwrap();
    }

    // An hour back, for good as it seems: both days count in one, and nothing is open twice.
    let (mut back, hour) = (next_day, 3600);
    for second in 1..=70 {
        back = off(next_day.after(secs(second)), -hour);
        ledger.headroom(&flash(), back);
    }
    assert_eq!(fill(&ledger, back), 1);
    let spent = ledger.reserve(&flash(), 1, back).unwrap_err();
    assert_eq!(back.utc + (spent.until - back.instant), utc("2026-11-24T08:00:00Z"));

    // And forward again: what was sent in the new day, before and after, is not forgotten.
    let mut forth = next_day;
    for second in 80..=150 {
        forth = next_day.after(secs(second));
        ledger.headroom(&flash(), forth);
    }
    assert_eq!(fill(&ledger, forth), DAY as usize - 4);
}

#[test]
fn minutes_do_not_look_at_the_wall_clock() {
    let now = noon();
    let ledger = by_hand(Some(5), None, None, now);
    fill(&ledger, now);

    for seconds in [-3600, 3600, 86_400 * 365] {
        assert_eq!(fill(&ledger, off(now.after(secs(30)), seconds)), 0);
    }
    assert_eq!(fill(&ledger, off(now.after(secs(61)), -3600)), 5);
}

#[test]
fn clocks_at_the_end_of_time_are_survived() {
    let now = Now::read();
    for utc in [DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC, DateTime::UNIX_EPOCH] {
        let odd = Now { utc, ..now };
        let ledger = daily(odd);
        fill(&ledger, odd);
        let _ = ledger.reserve(&flash(), 1, odd.after(secs(90)));
        Ledger::restore(Arc::default(), &ledger.snapshot(odd), now);
    }
}
