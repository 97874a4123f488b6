//! How long a key rests: until its quota window ends, its bill is paid, or its luck has changed.
//!
//! Windows of a day end at midnight in America/Los_Angeles, across both changes of the clock. Times are arguments,
//! random numbers too, so every rule here is a function of what it is told.
//!
//! Source, where no other is named: the rate-limit page of the Gemini API documentation, and recorded answers.

use std::time::Duration;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, TimeDelta, TimeZone, Utc};
use chrono_tz::America::Los_Angeles;

use crate::domain::outcome::{BillingFault, QuotaExceeded, QuotaWindow};

/// Rest of a key for a model that it may not use. Tiers and model lists change rarely, and asking in vain costs a
/// request.
pub const MODEL_UNAVAILABLE_COOLDOWN: Duration = Duration::from_secs(24 * 60 * 60);

/// Shortest rest, so that no answer of Google's can make us hammer it.
const MIN_COOLDOWN: Duration = Duration::from_secs(1);

/// Longest rest after a spent minute; a longer `retryDelay` would contradict the window.
const MAX_MINUTE_COOLDOWN: Duration = Duration::from_secs(5 * 60);

/// Our clock and Google's differ a little, so a window is given this much time to have ended there too.
const CLOCK_MARGIN: Duration = Duration::from_secs(1);

/// For a spent day the free tier writes meaningless delays below a minute, the paid tier the time that really
/// remains, seen as hours. Between the two bounds a delay is believed.
const MIN_CREDIBLE_DAY_DELAY: Duration = Duration::from_secs(10 * 60);
const MAX_CREDIBLE_DAY_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Rest of a project without credit: someone may top it up at any time, and a probe an hour costs nothing.
const PREPAY_COOLDOWN: Duration = Duration::from_secs(60 * 60);

/// The steps of [`backoff`] before the random share is added: with it they reach from 10 s to 12 s, and to one hour.
const BACKOFF_FIRST_SECS: u64 = 10;
const BACKOFF_LAST_SECS: u64 = 50 * 60;
const BACKOFF_JITTER: f64 = 0.2;

/// How long a model is out of use on a key whose quota is spent; `None` when Google did not say which window it was
/// (then the caller's own counters or [`backoff`] decide).
///
/// A minute: as long as Google asks, from one second to five minutes, else until the next full minute. A day: until
/// midnight Pacific, or as long as Google asks where that is credible.
pub fn quota_cooldown(quota: &QuotaExceeded, now: DateTime<Utc>) -> Option<Duration> {
    match quota.window {
        QuotaWindow::Unknown => None,
        QuotaWindow::Minute => Some(match quota.retry_after {
            Some(asked) => asked.clamp(MIN_COOLDOWN, MAX_MINUTE_COOLDOWN),
            None => until(next_minute(now), now),
        }),
        QuotaWindow::Day => Some(match quota.retry_after {
            Some(asked) if (MIN_CREDIBLE_DAY_DELAY..=MAX_CREDIBLE_DAY_DELAY).contains(&asked) => asked,
            _ => until(next_pacific_midnight(now), now),
        }),
    }
}

/// How long every key of a project rests that has not paid. A spending cap is lifted on the first of the next month,
/// at midnight Pacific.
pub fn billing_cooldown(fault: BillingFault, now: DateTime<Utc>) -> Duration {
    match fault {
        BillingFault::PrepayDepleted => PREPAY_COOLDOWN,
        BillingFault::SpendCap => until(next_pacific_month(now), now),
    }
}

/// Rest after the `step`-th failure in a row that nothing explains, counted from 0: 10 s, doubled each time, up to an
/// hour.
///
/// `jitter` is a random number from 0 to 1; it adds up to a fifth, so that keys which failed together do not come
/// back together.
pub fn backoff(step: u32, jitter: f64) -> Duration {
    let doubled = BACKOFF_FIRST_SECS.saturating_mul(1_u64.checked_shl(step).unwrap_or(u64::MAX));
    let jitter = if jitter.is_nan() { 0.0 } else { jitter.clamp(0.0, 1.0) };
    Duration::from_secs(doubled.min(BACKOFF_LAST_SECS)).mul_f64(1.0 + BACKOFF_JITTER * jitter)
}

/// The next midnight in America/Los_Angeles: when the requests of a day are counted anew. Always later than `now`.
pub fn next_pacific_midnight(now: DateTime<Utc>) -> DateTime<Utc> {
    let tomorrow = pacific_date(now).checked_add_days(Days::new(1));
    tomorrow.map_or(now + TimeDelta::days(1), pacific_midnight)
}

/// The next full minute. Always later than `now`.
pub fn next_minute(now: DateTime<Utc>) -> DateTime<Utc> {
    let seconds = now.timestamp().div_euclid(60) * 60 + 60;
    DateTime::from_timestamp(seconds, 0).unwrap_or(now + TimeDelta::minutes(1))
}

/// Midnight Pacific before the first day of the next month.
fn next_pacific_month(now: DateTime<Utc>) -> DateTime<Utc> {
    let first = pacific_date(now).with_day(1).and_then(|first| first.checked_add_months(Months::new(1)));
    first.map_or(now + TimeDelta::days(31), pacific_midnight)
}

fn pacific_date(now: DateTime<Utc>) -> NaiveDate {
    now.with_timezone(&Los_Angeles).date_naive()
}

/// The beginning of a day in Los Angeles, whose clocks change at two in the morning and never at midnight.
fn pacific_midnight(day: NaiveDate) -> DateTime<Utc> {
    let midnight = day.and_time(chrono::NaiveTime::MIN);
    let earliest = Los_Angeles.from_local_datetime(&midnight).earliest();
    earliest.map_or_else(|| midnight.and_utc() + TimeDelta::hours(8), |local| local.with_timezone(&Utc))
}

fn until(end: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (end - now).to_std().unwrap_or_default() + CLOCK_MARGIN
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::outcome::QuotaMetric;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn at(time: &str) -> DateTime<Utc> {
        time.parse().unwrap()
    }

    fn spent(window: QuotaWindow, retry_after: Option<Duration>) -> QuotaExceeded {
        QuotaExceeded { window, metric: QuotaMetric::Requests, retry_after, limit: None }
    }

    #[test]
    fn a_day_ends_at_midnight_in_los_angeles_whatever_the_clocks_do() {
        for (now, midnight) in [
            // Winter, eight hours behind; the last second of a day and its first.
            ("2026-01-15T07:59:59Z", "2026-01-15T08:00:00Z"),
            ("2026-01-15T08:00:00Z", "2026-01-16T08:00:00Z"),
            // Clocks go forward on 2026-03-08 at 10:00 UTC: that day has 23 hours.
            ("2026-03-07T20:00:00Z", "2026-03-08T08:00:00Z"),
            ("2026-03-08T08:00:00Z", "2026-03-09T07:00:00Z"),
            ("2026-03-08T12:00:00Z", "2026-03-09T07:00:00Z"),
            ("2026-03-09T07:00:00Z", "2026-03-10T07:00:00Z"),
            // Clocks go back on 2026-11-01 at 09:00 UTC: that day has 25 hours.
            ("2026-10-31T20:00:00Z", "2026-11-01T07:00:00Z"),
            ("2026-11-01T07:00:00Z", "2026-11-02T08:00:00Z"),
            ("2026-11-01T08:30:00Z", "2026-11-02T08:00:00Z"),
            ("2026-11-01T09:30:00Z", "2026-11-02T08:00:00Z"),
            ("2026-11-02T08:00:00Z", "2026-11-03T08:00:00Z"),
            // Year's end, and a leap day.
            ("2026-12-31T23:59:59Z", "2027-01-01T08:00:00Z"),
            ("2027-01-01T07:00:00Z", "2027-01-01T08:00:00Z"),
            ("2028-02-28T12:00:00Z", "2028-02-29T08:00:00Z"),
            ("2028-02-29T12:00:00Z", "2028-03-01T08:00:00Z"),
        ] {
            assert_eq!(next_pacific_midnight(at(now)), at(midnight), "{now}");
        }
    }

    #[test]
    fn a_spent_minute_rests_as_long_as_asked_within_reason() {
        let now = at("2026-11-23T12:00:20.500Z");
        for (asked, rest) in [
            (Some(secs(34)), secs(34)),
            (Some(Duration::ZERO), secs(1)),
            (Some(secs(6776)), secs(300)),
            (None, Duration::from_millis(40_500)),
        ] {
            assert_eq!(quota_cooldown(&spent(QuotaWindow::Minute, asked), now), Some(rest), "{asked:?}");
        }
    }

    #[test]
    fn a_spent_day_rests_until_midnight_unless_the_delay_is_credible() {
        let now = at("2026-11-23T07:00:00Z");
        for (asked, rest) in [
            (None, secs(3601)),
            (Some(secs(41)), secs(3601)),
            (Some(secs(599)), secs(3601)),
            (Some(secs(600)), secs(600)),
            (Some(secs(6776)), secs(6776)),
            (Some(secs(86_400)), secs(86_400)),
            (Some(secs(86_401)), secs(3601)),
        ] {
            assert_eq!(quota_cooldown(&spent(QuotaWindow::Day, asked), now), Some(rest), "{asked:?}");
        }
    }

    #[test]
    fn an_unknown_window_is_left_to_the_caller() {
        assert_eq!(quota_cooldown(&spent(QuotaWindow::Unknown, None), Utc::now()), None);
    }

    #[test]
    fn a_spending_cap_rests_until_the_next_month_in_los_angeles() {
        for (now, rest) in [
            ("2026-11-30T08:00:00Z", 24 * 3600),
            ("2026-12-01T07:00:00Z", 3600),
            ("2026-12-31T08:00:00Z", 24 * 3600),
            // March has an hour less than 31 days, as the clocks go forward; November one more than 30.
            ("2026-03-01T08:00:00Z", 31 * 24 * 3600 - 3600),
            ("2026-11-01T07:00:00Z", 30 * 24 * 3600 + 3600),
        ] {
            assert_eq!(billing_cooldown(BillingFault::SpendCap, at(now)), secs(rest + 1), "{now}");
        }
        assert_eq!(billing_cooldown(BillingFault::PrepayDepleted, at("2026-11-30T08:00:00Z")), secs(3600));
    }

    #[test]
    fn backoff_doubles_from_ten_seconds_to_an_hour() {
        let rests = [0, 1, 2, 8, 9, 63, 64, u32::MAX].map(|step| backoff(step, 0.0).as_secs());

        assert_eq!(rests, [10, 20, 40, 2560, 3000, 3000, 3000, 3000]);
        assert_eq!((backoff(0, 1.0), backoff(20, 1.0)), (secs(12), secs(3600)));
        assert_eq!((backoff(0, f64::NAN), backoff(0, 7.0), backoff(0, -7.0)), (secs(10), secs(12), secs(10)));
    }

    proptest! {
        #[test]
        fn no_rest_is_nothing_or_longer_than_a_month(
            seconds in 0i64..10_000_000_000,
            nanos in 0u32..1_000_000_000,
            asked in proptest::option::of(0u64..100_000_000),
        ) {
            let now = DateTime::from_timestamp(seconds, nanos).unwrap();
            let asked = asked.map(Duration::from_secs);
            let rests = [
                quota_cooldown(&spent(QuotaWindow::Minute, asked), now).unwrap(),
                quota_cooldown(&spent(QuotaWindow::Day, asked), now).unwrap(),
                billing_cooldown(BillingFault::SpendCap, now),
                billing_cooldown(BillingFault::PrepayDepleted, now),
            ];
            for rest in rests {
                prop_assert!(rest >= secs(1) && rest <= secs(32 * 86_400), "{rest:?}");
            }
        }

        #[test]
        fn windows_end_later_than_now_and_in_order(seconds in 0i64..10_000_000_000) {
            let now = DateTime::from_timestamp(seconds, 0).unwrap();

            prop_assert!(now < next_minute(now));
            prop_assert!(next_minute(now) <= next_pacific_midnight(now));
            prop_assert!(next_pacific_midnight(now) - now <= TimeDelta::hours(25));
        }

        #[test]
        fn a_later_step_never_rests_less(step in 0u32..100, jitter in 0.0..=1.0) {
            prop_assert!(backoff(step, jitter) <= backoff(step + 1, jitter));
            prop_assert!(backoff(step, 1.0) >= secs(10) && backoff(step, jitter) <= secs(3600));
        }
    }
}
