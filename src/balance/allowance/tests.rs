use std::time::Duration;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn noon() -> Now {
    Now { instant: Instant::now(), utc: "2026-05-05T19:00:00Z".parse::<DateTime<Utc>>().unwrap() }
}

fn limits(change: impl FnOnce(&mut RateLimits)) -> Terms {
    let mut terms = Terms::default();
    change(&mut terms.rate_limits);
    terms
}

fn tokens(tokens: u64) -> Need {
    Need { tokens, images: 0 }
}

fn used(allowance: &Allowance, terms: &Terms, now: Now) -> Vec<u64> {
    let usage = allowance.usage(&terms.rate_limits, terms.time_zone, now);
    usage.iter().map(|limit| limit.used).collect()
}

#[test]
fn the_minute_slides_and_the_wait_is_exact() {
    let (now, terms) = (noon(), limits(|limits| limits.requests_per_minute = Some(2)));
    let allowance = Allowance::new(now);
    allowance.reserve(&terms, Need::default(), now).unwrap();
    allowance.reserve(&terms, Need::default(), now.after(secs(20))).unwrap();

    let refused = allowance.reserve(&terms, Need::default(), now.after(secs(30))).unwrap_err();

    assert_eq!((refused.limit, refused.most), (Bound::Rate(LimitName::RequestsPerMinute), 2));
    let wait = refused.retry_after;
    assert!((secs(30)..=secs(31)).contains(&wait), "{wait:?}");
    allowance.reserve(&terms, Need::default(), now.after(secs(30) + wait)).unwrap();
}

#[test]
fn a_day_ends_at_midnight_of_its_zone() {
    let mut terms = limits(|limits| limits.requests_per_day = Some(1));
    terms.time_zone = Zone::try_from("Europe/Berlin".to_owned()).unwrap();
    let now = noon();
    let allowance = Allowance::new(now);
    allowance.reserve(&terms, Need::default(), now).unwrap();

    let refused = allowance.reserve(&terms, Need::default(), now.after(secs(60))).unwrap_err();

    // 21:01 in Berlin.
    assert_eq!(refused.retry_after, secs(3 * 3600 - 60));
    allowance.reserve(&terms, Need::default(), now.after(secs(3 * 3600))).unwrap();
}

#[test]
fn the_limit_that_blocks_longest_is_told() {
    let terms = limits(|limits| {
        (limits.requests_per_minute, limits.requests_per_month) = (Some(1), Some(1));
    });
    let now = noon();
    let allowance = Allowance::new(now);
    allowance.reserve(&terms, Need::default(), now).unwrap();

    let refused = allowance.reserve(&terms, Need::default(), now).unwrap_err();

    assert_eq!(refused.limit, Bound::Rate(LimitName::RequestsPerMonth));
}

#[test]
fn estimates_are_corrected_by_what_was_counted() {
    let terms = limits(|limits| {
        (limits.tokens_per_minute, limits.tokens_per_day) = (Some(1000), Some(5000));
    });
    let now = noon();
    let allowance = Allowance::new(now);
    let too_much = allowance.reserve(&terms, tokens(400), now).unwrap();
    allowance.settle(too_much, Some(100), 0, now);
    assert_eq!(used(&allowance, &terms, now), [100, 100]);

    let too_little = allowance.reserve(&terms, tokens(300), now).unwrap();
    allowance.settle(too_little, Some(800), 0, now.after(secs(5)));

    assert_eq!(used(&allowance, &terms, now.after(secs(5))), [900, 900]);
    let unknown = allowance.reserve(&terms, tokens(50), now.after(secs(6))).unwrap();
    let before = used(&allowance, &terms, now.after(secs(6)));
    allowance.settle(unknown, None, 0, now.after(secs(6)));
    assert_eq!(used(&allowance, &terms, now.after(secs(6))), before, "the estimate stays");
}

#[test]
fn what_an_answer_takes_after_its_minute_counts_when_it_is_known() {
    let terms = limits(|limits| limits.tokens_per_minute = Some(1000));
    let now = noon();
    let allowance = Allowance::new(now);
    let long = allowance.reserve(&terms, tokens(10), now).unwrap();

    allowance.settle(long, Some(5000), 0, now.after(secs(90)));

    assert_eq!(used(&allowance, &terms, now.after(secs(91))), [4990]);
    assert!(allowance.reserve(&terms, tokens(10), now.after(secs(91))).is_err());
}

#[test]
fn a_request_larger_than_the_whole_limit_has_to_come_alone() {
    let terms = limits(|limits| limits.tokens_per_day = Some(100));
    let now = noon();
    let (allowance, used) = (Allowance::new(now), Allowance::new(now));
    used.reserve(&terms, tokens(1), now).unwrap();

    assert!(allowance.reserve(&terms, tokens(500), now).is_ok());
    assert!(used.reserve(&terms, tokens(500), now).is_err());
}

#[test]
fn a_refund_leaves_no_trace() {
    let terms = limits(|limits| {
        limits.requests_per_minute = Some(1);
        (limits.images_per_day, limits.tokens_per_month) = (Some(2), Some(90));
    });
    let now = noon();
    let allowance = Allowance::new(now);
    let reserved = allowance.reserve(&terms, Need { tokens: 7, images: 2 }, now).unwrap();
    assert_eq!(used(&allowance, &terms, now), [1, 2, 7]);

    allowance.refund(reserved, now);

    assert_eq!((used(&allowance, &terms, now), allowance.in_flight()), (vec![0, 0, 0], 0));
}

#[test]
fn no_more_run_at_once_than_are_allowed() {
    let terms = Terms { max_concurrent: Some(2), ..Terms::default() };
    let now = noon();
    let allowance = Allowance::new(now);
    let first = allowance.reserve(&terms, Need::default(), now).unwrap();
    allowance.reserve(&terms, Need::default(), now).unwrap();

    let refused = allowance.reserve(&terms, Need::default(), now).unwrap_err();

    assert_eq!((refused.limit, refused.most), (Bound::Concurrency, 2));
    allowance.settle(first, None, 0, now);
    assert!(allowance.reserve(&terms, Need::default(), now).is_ok());
}

#[test]
fn a_restart_forgets_nothing_that_still_counts() {
    let terms = limits(|limits| {
        (limits.requests_per_minute, limits.tokens_per_day) = (Some(100_000), Some(1000));
        limits.images_per_month = Some(10);
    });
    let now = noon();
    let allowance = Allowance::new(now);
    assert_eq!(allowance.take_change(now), None);
    for _ in 0..3 {
        allowance.reserve(&terms, Need { tokens: 10, images: 1 }, now).unwrap();
    }
    let stored = serde_json::to_string(&allowance.take_change(now).unwrap()).unwrap();
    assert_eq!(allowance.take_change(now), None, "it is told once");
    let snapshot: AllowanceSnapshot = serde_json::from_str(&stored).unwrap();

    let restored = |later: u64| {
        let now = now.after(secs(later));
        used(&Allowance::restore(&snapshot, terms.time_zone, now), &terms, now)
    };

    assert_eq!(restored(30), [3, 30, 3]);
    assert_eq!(restored(62), [0, 30, 3]);
    assert_eq!(restored(24 * 3600), [0, 0, 3]);
    assert_eq!(restored(32 * 24 * 3600), [0, 0, 0]);
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Send { tokens: u64, spent: Option<u64> },
    Refund { tokens: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0u64..40_000).prop_map(Step::Wait),
        (0u64..60, prop::option::of(0u64..60)).prop_map(|(tokens, spent)| Step::Send { tokens, spent }),
        (0u64..60).prop_map(|tokens| Step::Refund { tokens }),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    /// However it is asked: what was let through stays within the limits, whoever waits as told gets through, and what
    /// is counted is what was sent.
    #[test]
    fn limits_hold_and_waits_are_exact(steps in steps()) {
        let terms = limits(|limits| {
            (limits.requests_per_minute, limits.requests_per_day) = (Some(5), Some(40));
        });
        let began = noon();
        let allowance = Allowance::new(began);
        let (mut elapsed_ms, mut sent_ms) = (0, Vec::new());
        for step in steps {
            let now = began.after(Duration::from_millis(elapsed_ms));
            let need = match step {
                Step::Wait(ms) => { elapsed_ms += ms; continue }
                Step::Send { tokens, .. } | Step::Refund { tokens } => Need { tokens, images: 0 },
            };
            match (allowance.reserve(&terms, need, now), step) {
                (Ok(reserved), Step::Send { spent, .. }) => {
                    sent_ms.push(elapsed_ms);
                    allowance.settle(reserved, spent, 0, now);
                }
                (Ok(reserved), _) => allowance.refund(reserved, now),
                (Err(refused), _) => {
                    let later = now.after(refused.retry_after);
                    let reserved = allowance.reserve(&terms, need, later);
                    prop_assert!(reserved.is_ok(), "{refused:?} {reserved:?}");
                    allowance.refund(reserved.unwrap(), later);
                    elapsed_ms += u64::try_from(refused.retry_after.as_millis()).unwrap();
                }
            }
            let last_minute = sent_ms.iter().filter(|sent| elapsed_ms - **sent < 60_000).count();
            prop_assert!(last_minute <= 5);
            prop_assert_eq!(allowance.in_flight(), 0);
        }
    }

    #[test]
    fn what_is_counted_is_what_was_spent(requests in prop::collection::vec((0u64..5000, 0u64..5000), 0..40)) {
        let terms = limits(|limits| {
            (limits.tokens_per_minute, limits.tokens_per_day) = (Some(u64::MAX), Some(u64::MAX));
        });
        let now = noon();
        let allowance = Allowance::new(now);
        let reserved: Vec<_> =
            requests.iter().map(|(guess, _)| allowance.reserve(&terms, tokens(*guess), now).unwrap()).collect();
        for (reserved, (_, spent)) in reserved.into_iter().zip(&requests) {
            allowance.settle(reserved, Some(*spent), 0, now);
        }

        let total: u64 = requests.iter().map(|(_, spent)| spent).sum();
        prop_assert_eq!(used(&allowance, &terms, now), [total, total]);
    }
}
