//! Limits that are learnt, felt for, and put right.

use super::*;
use crate::domain::quota::LimitSource::{Hand, Learnt, Observed, Preset};

const RPM: (QuotaWindow, QuotaMetric) = (QuotaWindow::Minute, QuotaMetric::Requests);

fn minute_limit(ledger: &Ledger, now: Now) -> Option<(u64, LimitSource)> {
    limit_of(ledger, RPM.0, RPM.1, now).map(|limit| (limit.value, limit.source))
}

/// Google with a fixed minute and a limit that it may name. Demand is two requests a second for that many minutes.
///
/// Answers how many Google refused and how many it served in a minute, both over the second half of the time.
fn demand(ledger: &Ledger, mut now: Now, minutes: u64, limit: u64, names_it: bool) -> (u64, u64, Now) {
    let (mut this_minute, mut served, mut refusals) = (0, 0, 0);
    for half_second in 0..minutes * 120 {
        if half_second % 120 == 0 {
            this_minute = 0;
        }
        if half_second == minutes * 60 {
            (served, refusals) = (0, 0);
        }
        if ledger.reserve(&flash(), 10, now).is_ok() {
            if this_minute < limit {
                (this_minute, served) = (this_minute + 1, served + 1);
            } else {
                refusals += 1;
                let told = names_it.then_some(limit);
                ledger.exceeded(&flash(), &refused(RPM.0, RPM.1, told), now);
            }
        }
        now = now.after(Duration::from_millis(500));
    }
    (refusals, (served + minutes / 4) / (minutes / 2), now)
}

#[test]
fn an_unknown_limit_is_learnt_from_one_refusal() {
    let now = noon();
    let ledger = unknown(now);

    let (refusals, served, now) = demand(&ledger, now, 60, 12, true);

    assert_eq!(minute_limit(&ledger, now), Some((12, Learnt)));
    assert_eq!((refusals, served), (0, 12));
}

#[test]
fn without_a_figure_what_went_well_is_the_limit_and_is_tested_ever_less_often() {
    let now = noon();
    let ledger = unknown(now);

    let (_, _, now) = demand(&ledger, now, 2, 12, false);
    let (value, source) = minute_limit(&ledger, now).unwrap();
    assert!(source == Observed && value <= 12, "{value} {source:?}");
    let (refusals, served, now) = demand(&ledger, now, 600, 12, false);

    let (value, _) = minute_limit(&ledger, now).unwrap();
    assert!((11..=13).contains(&value), "{value}");
    assert!(refusals <= 2 && served == 12, "{refusals} {served}");
}

#[test]
fn all_refusals_of_a_burst_together_tell_what_went_well() {
    let now = noon();
    let ledger = Ledger::new(limits(Some(50), None, None, Preset), now);
    for _ in 0..30 {
        ledger.reserve(&flash(), 10, now).unwrap();
    }
    for _ in 0..25 {
        ledger.exceeded(&flash(), &refused(RPM.0, RPM.1, None), now);
    }

    assert_eq!(minute_limit(&ledger, now), Some((5, Observed)));
    let day = ledger.usage(now)[0].windows[2];
    assert_eq!(day.used, 5, "a limit that refuses takes nothing of the day");
}

#[test]
fn a_preset_that_is_too_low_gives_way_until_google_names_the_limit() {
    let now = noon();
    let ledger = Ledger::new(limits(Some(5), None, None, Preset), now);

    let (_, _, now) = demand(&ledger, now, 40, 30, true);

    assert_eq!(minute_limit(&ledger, now), Some((30, Learnt)));
}

#[test]
fn an_assumption_about_a_day_is_put_to_the_test_soon_at_the_cost_of_one_request() {
    let now = noon();
    let ledger = Ledger::new(limits(None, None, Some(20), Preset), now);
    assert_eq!(fill(&ledger, now), 20);

    let spent = ledger.reserve(&flash(), 10, now).unwrap_err();
    assert_eq!(spent.until, now.instant + secs(10));
    let now = now.after(secs(10));
    assert_eq!(fill(&ledger, now), 1);

    // Google agrees: the next step is larger. Then it names the limit, and the day is over.
    let now = now.after(secs(10));
    assert_eq!(fill(&ledger, now), 2);
    ledger.exceeded(&flash(), &refused(QuotaWindow::Day, QuotaMetric::Requests, Some(22)), now);
    assert_eq!(fill(&ledger, now.after(secs(3600))), 0);
    assert_eq!(fill(&ledger, now.after(secs(24 * 3600))), 22);
}

#[test]
fn a_limit_of_the_day_by_hand_holds_until_midnight() {
    let now = noon();
    let ledger = by_hand(None, None, Some(20), now);
    assert_eq!(fill(&ledger, now), 20);

    let spent = ledger.reserve(&flash(), 10, now).unwrap_err();
    assert_eq!(spent.until, now.instant + secs(12 * 3600));
}

#[test]
fn a_limit_by_hand_is_never_exceeded_and_a_lower_one_of_googles_counts() {
    let now = noon();
    let ledger = Ledger::new(limits(Some(10), None, None, Hand), now);

    let (_, served, now) = demand(&ledger, now, 60, 1000, true);
    assert_eq!((served, minute_limit(&ledger, now)), (10, Some((10, Hand))));
    let (_, served, now) = demand(&ledger, now, 10, 4, true);
    assert_eq!((served, minute_limit(&ledger, now)), (4, Some((4, Learnt))));
}

#[test]
fn a_learnt_limit_that_was_raised_since_is_found_out_after_a_day() {
    let now = noon();
    let ledger = unknown(now);
    ledger.reserve(&flash(), 1, now).unwrap();
    ledger.exceeded(&flash(), &refused(RPM.0, RPM.1, Some(5)), now);

    let (_, served, now) = demand(&ledger, now.after(secs(3600)), 60, 20, true);
    assert_eq!((served, minute_limit(&ledger, now)), (5, Some((5, Learnt))));
    let (_, served, now) = demand(&ledger, now.after(secs(24 * 3600)), 60, 20, true);
    assert_eq!((served, minute_limit(&ledger, now)), (20, Some((20, Learnt))));
}

#[test]
fn a_learnt_limit_is_not_doubted_for_one_strange_refusal_but_for_a_habit_of_them() {
    let mut now = noon();
    let ledger = unknown(now);
    ledger.reserve(&flash(), 1, now).unwrap();
    ledger.exceeded(&flash(), &refused(RPM.0, RPM.1, Some(50)), now);

    for expected in [(50, Learnt), (50, Learnt), (3, Observed)] {
        now = now.after(secs(600));
        for _ in 0..4 {
            ledger.reserve(&flash(), 1, now).unwrap();
        }
        ledger.exceeded(&flash(), &refused(RPM.0, RPM.1, None), now);
        assert_eq!(minute_limit(&ledger, now), Some(expected));
    }
}

#[test]
fn absurd_figures_and_delays_do_no_harm() {
    let now = noon();
    for (limit, expected) in [(0, 1), (1, 1), (u64::MAX, u64::MAX)] {
        for retry_after in [None, Some(Duration::ZERO), Some(secs(31_536_000)), Some(Duration::MAX)] {
            let ledger = unknown(now);
            ledger.reserve(&flash(), u64::MAX, now).unwrap();
            let exceeded = QuotaExceeded { retry_after, ..refused(RPM.0, RPM.1, Some(limit)) };

            let until = ledger.exceeded(&flash(), &exceeded, now).unwrap();

            assert!(until > now.instant && until <= now.instant + secs(300));
            assert_eq!(minute_limit(&ledger, now).map(|(value, _)| value), Some(expected));
            assert!(ledger.reserve(&flash(), 1, now.after(secs(400))).is_ok());
        }
    }
}

#[test]
fn quotas_that_nobody_knows_close_their_window_and_teach_nothing() {
    let now = noon();
    for metric in [QuotaMetric::Images, QuotaMetric::Unknown] {
        let ledger = unknown(now);
        ledger.reserve(&flash(), 1, now).unwrap();

        assert!(ledger.exceeded(&flash(), &refused(QuotaWindow::Minute, metric, Some(3)), now).is_some());
        assert_eq!(minute_limit(&ledger, now), None);
        assert_eq!(
            quota_of(ledger.reserve(&flash(), 1, now).unwrap_err()),
            (QuotaWindow::Minute, QuotaMetric::Unknown)
        );
    }
}

#[test]
fn a_refusal_without_any_name_is_put_down_to_the_window_that_is_full() {
    let now = noon();
    let bare = refused(QuotaWindow::Unknown, QuotaMetric::Unknown, None);
    let midnight = at("2026-11-24T08:00:01Z").utc;

    let day = Ledger::new(limits(Some(100), None, Some(10), Preset), now);
    fill(&day, now);
    let until = day.exceeded(&flash(), &bare, now).unwrap();
    assert_eq!(now.utc + (until - now.instant), midnight);

    let minute = Ledger::new(limits(Some(10), None, Some(100), Preset), now);
    fill(&minute, now);
    assert!(minute.exceeded(&flash(), &bare, now).unwrap() <= now.instant + secs(61));

    let neither = Ledger::new(limits(Some(10), None, Some(100), Preset), now);
    neither.reserve(&flash(), 1, now).unwrap();
    assert_eq!(neither.exceeded(&flash(), &bare, now), None);
    assert!(neither.reserve(&flash(), 1, now).is_ok());
}

#[test]
fn stored_limits_that_make_no_sense_are_left_out() {
    let now = noon();
    for odd in [
        r#"{"value": 0, "source": "learnt", "firm_until_ms": 1}"#,
        r#"{"value": 3, "source": "hand", "firm_until_ms": 1}"#,
    ] {
        let json = format!(
            r#"{{"books": [{{"model": "gemini-3.8-flash", "minute_requests": {odd},
                "minute": {{"at_ms": -9223372036854775808, "requests": 18446744073709551615, "tokens": 1}},
                "day": {{"starts_ms": 9223372036854775807, "requests": 4294967295, "before": 4294967295}},
                "minute_closed_ms": 9223372036854775807, "day_closed_ms": -1}}],
                "paused": {{"until_ms": 9223372036854775807, "fault": "spend_cap"}}, "new": 1}}"#
        );
        let restored = Ledger::restore(Arc::default(), &serde_json::from_str(&json).unwrap(), now);

        assert_eq!(restored.headroom(&flash(), now), 1.0);
        assert_eq!(minute_limit(&restored, now), None);
        assert_eq!(restored.usage(now)[0].windows.map(|window| window.used), [0, 0, 0]);
    }
}

#[test]
fn a_project_that_may_do_more_by_now_is_not_held_to_what_was_learnt_before() {
    let day = (QuotaWindow::Day, QuotaMetric::Requests);
    let daily = |limit| limits(None, None, Some(limit), Preset);
    let now = noon();
    let ledger = Ledger::new(daily(50), now);
    ledger.reserve(&flash(), 10, now).unwrap();
    ledger.exceeded(&flash(), &refused(day.0, day.1, Some(20)), now);
    let known =
        |ledger: &Ledger| limit_of(ledger, day.0, day.1, now).map(|limit| (limit.value, limit.source));

    ledger.set_limits(&daily(50), now);
    assert_eq!(known(&ledger), Some((20, Learnt)), "nothing new was said");
    assert!(ledger.reserve(&flash(), 10, now).is_err(), "the day is over");

    ledger.set_limits(&daily(1000), now);
    assert_eq!(known(&ledger), Some((1000, Preset)));
    assert!(ledger.reserve(&flash(), 10, now).is_ok());
    ledger.exceeded(&flash(), &refused(day.0, day.1, Some(100)), now);
    ledger.set_limits(&daily(50), now);
    assert_eq!(known(&ledger), Some((100, Learnt)), "Google allows more than that");
}

#[test]
fn refusals_that_are_forgotten_hold_nothing_back() {
    let now = noon();
    let ledger = unknown(now);
    ledger.reserve(&flash(), 10, now).unwrap();
    ledger.exceeded(&flash(), &refused(QuotaWindow::Day, QuotaMetric::Requests, Some(1)), now);
    assert!(ledger.reserve(&flash(), 10, now).is_err());

    ledger.forget_refusals(now);

    assert!(ledger.reserve(&flash(), 10, now).is_ok());
    assert_eq!(limit_of(&ledger, QuotaWindow::Day, QuotaMetric::Requests, now), None);
}
