//! What a ledger promises, as its users see it.

use std::time::Duration;

use super::*;
use crate::domain::quota::{LimitSource, ModelLimits, ModelPattern};

mod arbitrary;
mod clocks;
mod learning;
mod sharing;

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn flash() -> ModelName {
    ModelName::parse("gemini-3.8-flash").unwrap()
}

fn at(utc: &str) -> Now {
    Now { instant: Instant::now(), utc: utc.parse().unwrap() }
}

/// A quiet afternoon in Los Angeles.
fn noon() -> Now {
    at("2026-11-23T20:00:00Z")
}

fn limits(
    minute: Option<u64>,
    tokens: Option<u64>,
    day: Option<u64>,
    source: LimitSource,
) -> Arc<LimitTable> {
    let limit = |value: Option<u64>| value.map(|value| Limit { value, source });
    let limits = ModelLimits {
        requests_per_minute: limit(minute),
        tokens_per_minute: limit(tokens),
        requests_per_day: limit(day),
    };
    Arc::new(LimitTable::new([(ModelPattern::parse("*").unwrap(), limits)]))
}

fn by_hand(minute: Option<u64>, tokens: Option<u64>, day: Option<u64>, now: Now) -> Ledger {
    Ledger::new(limits(minute, tokens, day, LimitSource::Hand), now)
}

fn unknown(now: Now) -> Ledger {
    Ledger::new(Arc::default(), now)
}

fn refused(window: QuotaWindow, metric: QuotaMetric, limit: Option<u64>) -> QuotaExceeded {
    QuotaExceeded { window, metric, retry_after: None, limit }
}

/// Reserves as often as there is room at this moment, at most a thousand times.
fn fill(ledger: &Ledger, now: Now) -> usize {
    (0..1000).take_while(|_| ledger.reserve(&flash(), 10, now).is_ok()).count()
}

fn quota_of(spent: Spent) -> (QuotaWindow, QuotaMetric) {
    (spent.window, spent.metric)
}

fn limit_of(ledger: &Ledger, window: QuotaWindow, metric: QuotaMetric, now: Now) -> Option<Limit> {
    let usage = ledger.usage(now);
    let mut windows = usage[0].windows.iter();
    windows.find(|found| (found.window, found.metric) == (window, metric)).and_then(|found| found.limit)
}

#[test]
fn a_minute_takes_its_limit_and_has_room_again_when_the_first_of_it_is_a_minute_old() {
    let (now, model) = (noon(), flash());
    let ledger = by_hand(Some(5), None, None, now);

    assert_eq!(fill(&ledger, now), 5);
    let spent = ledger.reserve(&model, 10, now).unwrap_err();

    assert_eq!(quota_of(spent), (QuotaWindow::Minute, QuotaMetric::Requests));
    let wait = spent.until - now.instant;
    assert!(wait >= secs(60) && wait <= Duration::from_millis(60_500), "{wait:?}");
    assert!(ledger.reserve(&model, 10, now.after(wait - Duration::from_nanos(1))).is_err());
    assert_eq!(fill(&ledger, now.after(wait)), 5);
}

#[test]
fn tokens_are_corrected_by_what_google_counted() {
    let (now, model) = (noon(), flash());
    let ledger = by_hand(None, Some(1000), None, now);
    let first = ledger.reserve(&model, 900, now).unwrap();

    let spent = ledger.reserve(&model, 200, now).unwrap_err();
    assert_eq!(quota_of(spent), (QuotaWindow::Minute, QuotaMetric::Tokens));
    ledger.settle(&model, first, Some(300), now.after(secs(20)));

    assert!(ledger.reserve(&model, 650, now.after(secs(20))).is_ok());
    assert!(ledger.reserve(&model, 40, now.after(secs(20))).is_err());
}

#[test]
fn a_prompt_larger_than_the_limit_goes_alone() {
    let (now, model) = (noon(), flash());
    let ledger = by_hand(None, Some(1000), None, now);

    ledger.reserve(&model, 5000, now).unwrap();
    let spent = ledger.reserve(&model, u64::MAX, now).unwrap_err();

    assert!(ledger.reserve(&model, u64::MAX, now.after(spent.until - now.instant)).is_ok());
}

#[test]
fn a_refund_leaves_no_trace_and_a_failure_does() {
    let (now, model) = (noon(), flash());
    let ledger = by_hand(Some(1), None, Some(1), now);

    let unsent = ledger.reserve(&model, 10, now).unwrap();
    ledger.refund(&model, unsent, now.after(secs(1)));
    let failed = ledger.reserve(&model, 10, now.after(secs(2))).unwrap();
    ledger.settle(&model, failed, None, now.after(secs(3)));

    assert!(ledger.reserve(&model, 10, now.after(secs(3))).is_err());
}

#[test]
fn googles_figure_is_learnt_and_its_window_closed_for_everyone() {
    let (now, model) = (noon(), flash());
    let ledger = Ledger::new(limits(Some(15), None, None, LimitSource::Preset), now);
    ledger.reserve(&model, 10, now).unwrap();

    let mut exceeded = refused(QuotaWindow::Minute, QuotaMetric::Requests, Some(5));
    exceeded.retry_after = Some(secs(18));
    let until = ledger.exceeded(&model, &exceeded, now).unwrap();

    assert_eq!(until, now.instant + secs(18));
    assert_eq!(ledger.headroom(&model, now), 0.0);
    assert_eq!(ledger.reserve(&model, 10, now).unwrap_err().until, until);
    let learnt = Limit { value: 5, source: LimitSource::Learnt };
    assert_eq!(limit_of(&ledger, QuotaWindow::Minute, QuotaMetric::Requests, now), Some(learnt));
    assert_eq!(fill(&ledger, now.after(secs(120))), 5);
}

#[test]
fn a_restart_forgets_neither_the_minute_nor_the_day_nor_what_was_learnt() {
    let (now, model) = (noon(), flash());
    let ledger = unknown(now);
    for _ in 0..3 {
        ledger.reserve(&model, 100, now).unwrap();
    }
    ledger.exceeded(&model, &refused(QuotaWindow::Day, QuotaMetric::Tokens, None), now);
    ledger.exceeded(&model, &refused(QuotaWindow::Minute, QuotaMetric::Tokens, Some(250_000)), now);

    let json = serde_json::to_string(&ledger.snapshot(now)).unwrap();
    let later = now.after(secs(10));
    let restored = Ledger::restore(Arc::default(), &serde_json::from_str(&json).unwrap(), later);

    let (before, after) = (&ledger.usage(later)[0], &restored.usage(later)[0]);
    for (before, after) in before.windows.iter().zip(&after.windows) {
        assert_eq!((before.used, before.limit), (after.used, after.limit));
    }
    assert_eq!(restored.headroom(&model, later), 0.0);
    assert_eq!(
        restored.reserve(&model, 1, later).map_err(quota_of),
        Err((QuotaWindow::Day, QuotaMetric::Unknown))
    );
}
