//! How much may be asked of Google beyond one attempt a request: a share of the live traffic.
//!
//! When Google fails for everyone, each retry is one more call to a service that cannot bear those it has. A budget
//! keeps retries to a fraction of the requests that came in of late, however many clients ask at once.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// Parts that the span is counted in; the oldest one drops out as a whole.
const SLOTS: usize = 10;

/// Shared by the workers, without a lock. What two of them ask for at the same moment may be refused to both, but never
/// is more granted than the share.
#[derive(Debug)]
pub struct Budget {
    percent: u64,
    floor: u64,
    slot: Duration,
    origin: Instant,
    traffic: Window,
    spent: Window,
}

impl Budget {
    /// `percent` of the requests within `span`, and `floor` of them in each span even without any traffic.
    pub fn new(percent: u32, floor: u32, span: Duration, origin: Instant) -> Self {
        Self {
            percent: percent.into(),
            floor: floor.into(),
            slot: span / SLOTS as u32,
            origin,
            traffic: Window::default(),
            spent: Window::default(),
        }
    }

    /// A request came in.
    pub fn note_request(&self, now: Instant) {
        self.traffic.add(self.tick(now));
    }

    /// Takes one extra call out of the budget; false when it is spent.
    pub fn try_spend(&self, now: Instant) -> bool {
        let tick = self.tick(now);
        self.spent.add(tick);
        let allowed = self.floor + self.traffic.sum(tick) * self.percent / 100;
        let fits = self.spent.sum(tick) <= allowed;
        if !fits {
            self.spent.take_back(tick);
        }
        fits
    }

    /// What was taken at that moment was not needed.
    pub fn give_back(&self, taken_at: Instant) {
        self.spent.take_back(self.tick(taken_at));
    }

    fn tick(&self, now: Instant) -> u32 {
        let ticks = now.saturating_duration_since(self.origin).as_nanos() / self.slot.as_nanos().max(1);
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }
}

/// Counts of the last ticks. A slot holds its tick in the upper half and the count in the lower.
#[derive(Debug, Default)]
struct Window([AtomicU64; SLOTS]);

impl Window {
    fn slot(&self, tick: u32) -> &AtomicU64 {
        &self.0[tick as usize % SLOTS]
    }

    fn add(&self, tick: u32) {
        let fresh = u64::from(tick) << 32 | 1;
        let _ = self.slot(tick).fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
            Some(if tick_of(held) < tick || held == 0 { fresh } else { held + 1 })
        });
    }

    /// Nothing happens when the slot has begun anew meanwhile.
    fn take_back(&self, tick: u32) {
        let _ = self.slot(tick).fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
            (tick_of(held) == tick && count_of(held) > 0).then(|| held - 1)
        });
    }

    fn sum(&self, tick: u32) -> u64 {
        let oldest = tick.saturating_sub(SLOTS as u32 - 1);
        let held = self.0.iter().map(|slot| slot.load(Ordering::Acquire));
        held.filter(|held| tick_of(*held) >= oldest).map(count_of).sum()
    }
}

fn tick_of(held: u64) -> u32 {
    (held >> 32) as u32
}

fn count_of(held: u64) -> u64 {
    held & u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPAN: Duration = Duration::from_secs(10);

    fn granted(budget: &Budget, asked: usize, now: Instant) -> usize {
        (0..asked).filter(|_| budget.try_spend(now)).count()
    }

    #[test]
    fn a_share_of_the_traffic_may_be_spent_and_no_more() {
        let now = Instant::now();
        let budget = Budget::new(20, 0, SPAN, now);
        (0..100).for_each(|_| budget.note_request(now));

        assert_eq!(granted(&budget, 100, now), 20);
    }

    #[test]
    fn a_quiet_gateway_has_its_floor() {
        let now = Instant::now();
        let budget = Budget::new(20, 3, SPAN, now);

        assert_eq!(granted(&budget, 10, now), 3);
        assert_eq!(granted(&budget, 10, now + SPAN), 3, "the span has gone by");
    }

    #[test]
    fn traffic_of_long_ago_pays_for_nothing() {
        let start = Instant::now();
        let budget = Budget::new(50, 0, SPAN, start);
        (0..10).for_each(|_| budget.note_request(start));

        assert_eq!(granted(&budget, 3, start + SPAN - Duration::from_millis(1)), 3);
        assert_eq!(granted(&budget, 3, start + SPAN), 0);
    }

    #[test]
    fn what_was_not_needed_is_there_again() {
        let now = Instant::now();
        let budget = Budget::new(0, 1, SPAN, now);
        assert!(budget.try_spend(now) && !budget.try_spend(now));

        budget.give_back(now);

        assert!(budget.try_spend(now));
    }

    #[test]
    fn what_is_given_back_too_late_is_not_counted_twice() {
        let start = Instant::now();
        let budget = Budget::new(0, 1, SPAN, start);
        assert!(budget.try_spend(start));
        let later = start + SPAN;
        assert!(budget.try_spend(later));

        budget.give_back(start);

        assert!(!budget.try_spend(later));
    }

    #[test]
    fn many_threads_together_get_no_more_than_the_share() {
        let now = Instant::now();
        let budget = Budget::new(10, 5, SPAN, now);
        (0..1_000).for_each(|_| budget.note_request(now));

        let all: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| granted(&budget, 1_000, now))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });

        assert_eq!(all, 105);
    }

    proptest! {
        #[test]
        fn no_span_ever_sees_more_than_its_share(steps in prop::collection::vec((0u64..3_000, any::<bool>()), 1..300)) {
            let mut now = Instant::now();
            let budget = Budget::new(30, 2, SPAN, now);
            let (mut requests, mut grants) = (Vec::new(), Vec::new());
            for (ms, is_request) in steps {
                now += Duration::from_millis(ms);
                if is_request {
                    budget.note_request(now);
                    requests.push(now);
                } else if budget.try_spend(now) {
                    grants.push(now);
                    let within = |times: &[Instant], span| times.iter().filter(|at| now - **at < span).count();
                    // Whole slots drop out, so the last nine tenths of a span are always counted.
                    let most = 2 + within(&requests, SPAN) * 30 / 100;
                    prop_assert!(within(&grants, SPAN - SPAN / 10) <= most);
                }
            }
        }
    }
}
