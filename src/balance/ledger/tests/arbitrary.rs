//! Whatever happens in whatever order, no window takes more than its limit.

use proptest::prelude::*;

use super::*;

const MINUTE: u64 = 7;
const TOKENS: u64 = 1000;
const DAY: u64 = 40;

#[derive(Debug, Clone)]
enum Step {
    Wait {
        ms: u64,
    },
    Reserve {
        tokens: u64,
    },
    /// Of one that is out, counted from the oldest; the share of the estimate that it really was, in percent.
    Settle {
        which: usize,
        percent: u64,
    },
    Refund {
        which: usize,
    },
    /// Sends one request, and Google closes a window for a reason that is not counted here.
    Close {
        day: bool,
        secs: u64,
    },
    /// The process ends and starts again.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..15_000_u64).prop_map(|ms| Step::Wait { ms }),
        1 => (0..40_000_000_u64).prop_map(|ms| Step::Wait { ms }),
        12 => (1..500_u64).prop_map(|tokens| Step::Reserve { tokens }),
        4 => (0..8_usize, 0..=100_u64).prop_map(|(which, percent)| Step::Settle { which, percent }),
        1 => (0..8_usize).prop_map(|which| Step::Refund { which }),
        1 => (any::<bool>(), 0..100_000_u64).prop_map(|(day, secs)| Step::Close { day, secs }),
        1 => Just(Step::Restart),
    ]
}

/// A request that was let through, as an onlooker writes it down.
#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Now,
    tokens: u64,
    reservation: Reservation,
    /// One that Google refused for a quota counts for the minute and not for the day.
    served: bool,
}

/// Requests and tokens of the minute before `now`, and requests of its day, by a plain count.
fn count(sent: &[Sent], now: Now) -> (u64, u64, u64) {
    let recent = sent.iter().filter(|sent| now.instant - sent.at.instant < secs(60));
    let (requests, tokens) = recent.fold((0, 0), |(n, sum), sent| (n + 1, sum + sent.tokens));
    let midnight = quota::next_pacific_midnight(now.utc);
    let today = sent
        .iter()
        .filter(|sent| sent.served && quota::next_pacific_midnight(sent.at.utc) == midnight)
        .count();
    (requests, tokens, today as u64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_window_ever_takes_more_than_its_limit(
        steps in proptest::collection::vec(step(), 1..250),
        offset_ms in 0..1000_u64,
    ) {
        let begin = at("2026-10-31T06:00:00Z");
        let mut ledger = by_hand(Some(MINUTE), Some(TOKENS), Some(DAY), begin);
        let (mut now, model) = (begin.after(Duration::from_millis(offset_ms)), flash());
        let (mut sent, mut out) = (Vec::<Sent>::new(), Vec::<usize>::new());

        for step in steps {
            match step {
                Step::Wait { ms } => now = now.after(Duration::from_millis(ms)),
                Step::Reserve { tokens } => {
                    let before = ledger.usage(now);
                    match ledger.reserve(&model, tokens, now) {
                        Ok(reservation) => {
                            out.push(sent.len());
                            sent.push(Sent { at: now, tokens, reservation, served: true });
                            let (requests, tokens, today) = count(&sent, now);
                            prop_assert!(requests <= MINUTE && tokens <= TOKENS && today <= DAY);
                        }
                        Err(spent) => {
                            // None of the windows was touched, and the time is exact.
                            if let Some(before) = before.first() {
                                prop_assert_eq!(before, &ledger.usage(now)[0]);
                            }
                            let wait = spent.until - now.instant;
                            let just_before = now.after(wait - Duration::from_micros(2));
                            prop_assert!(ledger.reserve(&model, tokens, just_before).is_err());
                            now = now.after(wait);
                            let reserved = ledger.reserve(&model, tokens, now);
                            prop_assert!(reserved.is_ok(), "{:?} after {:?}", reserved, wait);
                            out.push(sent.len());
                            sent.push(Sent { at: now, tokens, reservation: reserved.unwrap(), served: true });
                        }
                    }
                }
                Step::Settle { which, percent } if which < out.len() => {
                    let settled = &mut sent[out.remove(which)];
                    settled.tokens = settled.tokens * percent / 100;
                    ledger.settle(&model, settled.reservation, Some(settled.tokens), now);
                }
                Step::Refund { which } if which < out.len() => {
                    let index = out.remove(which);
                    ledger.refund(&model, sent.remove(index).reservation, now);
                    out.iter_mut().filter(|at| **at > index).for_each(|at| *at -= 1);
                }
                Step::Close { day, secs: asked } => {
                    if let Ok(reservation) = ledger.reserve(&model, 1, now) {
                        sent.push(Sent { at: now, tokens: 1, reservation, served: false });
                        let window = if day { QuotaWindow::Day } else { QuotaWindow::Minute };
                        let closed = refused(window, QuotaMetric::Images, None);
                        let closed = QuotaExceeded { retry_after: Some(secs(asked)), ..closed };
                        prop_assert!(ledger.exceeded(&model, &closed, now).is_some());
                    }
                }
                Step::Restart => {
                    let json = serde_json::to_string(&ledger.snapshot(now)).unwrap();
                    let table = limits(Some(MINUTE), Some(TOKENS), Some(DAY), LimitSource::Hand);
                    ledger = Ledger::restore(table, &serde_json::from_str(&json).unwrap(), now);
                    out.clear();
                }
                Step::Settle { .. } | Step::Refund { .. } => {}
            }
        }
    }
}
