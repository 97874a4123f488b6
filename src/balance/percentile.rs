//! How long a model has been taking of late: a histogram that forgets.

use std::time::Duration;

use tokio::time::Instant;

/// Four for each doubling, so that a percentile is right to a fifth; the last one takes what is longer than 9 minutes.
const BUCKETS: usize = 64;
const PER_DOUBLING: f64 = 4.0;
/// The upper end of the first bucket.
const SHORTEST: Duration = Duration::from_millis(10);
/// After this time a sample weighs half.
const HALF_LIFE: Duration = Duration::from_secs(600);
/// Samples grow old in steps, not with every new one.
const STEP: Duration = Duration::from_secs(10);
/// Below this weight a percentile says nothing.
const LEAST_WEIGHT: f32 = 20.0;

/// Recent latencies of one kind; 264 bytes.
#[derive(Debug)]
pub struct Latencies {
    weights: [f32; BUCKETS],
    aged_at: Instant,
}

impl Latencies {
    pub fn new(now: Instant) -> Self {
        Self { weights: [0.0; BUCKETS], aged_at: now }
    }

    pub fn record(&mut self, latency: Duration, now: Instant) {
        self.age(now);
        self.weights[bucket(latency)] += 1.0;
    }

    /// What 95 of 100 stay within, rounded up; `None` while too few are known.
    pub fn p95(&self) -> Option<Duration> {
        let whole: f32 = self.weights.iter().sum();
        if whole < LEAST_WEIGHT {
            return None;
        }
        let mut longer = 0.0;
        let last = self.weights.iter().rposition(|weight| {
            longer += weight;
            longer > whole * 0.05
        })?;
        Some(upper_end(last))
    }

    fn age(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.aged_at);
        if passed >= STEP {
            let kept = 0.5f32.powf(passed.as_secs_f32() / HALF_LIFE.as_secs_f32());
            self.weights.iter_mut().for_each(|weight| *weight *= kept);
            self.aged_at = now;
        }
    }
}

fn bucket(latency: Duration) -> usize {
    let doublings = (latency.as_secs_f64() / SHORTEST.as_secs_f64()).log2();
    // A float that fits no number of buckets, below or above, is cut to what does.
    ((doublings * PER_DOUBLING).ceil().max(0.0) as usize).min(BUCKETS - 1)
}

fn upper_end(bucket: usize) -> Duration {
    SHORTEST.mul_f64((bucket as f64 / PER_DOUBLING).exp2())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn of(samples: impl IntoIterator<Item = Duration>, now: Instant) -> Latencies {
        let mut latencies = Latencies::new(now);
        samples.into_iter().for_each(|sample| latencies.record(sample, now));
        latencies
    }

    #[test]
    fn few_samples_say_nothing() {
        let now = Instant::now();

        assert_eq!(of([100 * MS; 19], now).p95(), None);
        assert!(of([100 * MS; 20], now).p95().is_some());
    }

    #[test]
    fn the_slowest_twentieth_is_beyond() {
        let now = Instant::now();
        let usual = of((0..96).map(|_| 200 * MS).chain((0..4).map(|_| 9_000 * MS)), now);
        let often_slow = of((0..90).map(|_| 200 * MS).chain((0..10).map(|_| 9_000 * MS)), now);

        let p95 = usual.p95().unwrap();
        assert!((200 * MS..250 * MS).contains(&p95), "{p95:?}");
        assert!(often_slow.p95().unwrap() >= 9_000 * MS);
    }

    #[test]
    fn what_was_long_ago_weighs_less() {
        let start = Instant::now();
        let mut latencies = of([5_000 * MS; 100], start);
        let later = start + 6 * HALF_LIFE;

        (0..100).for_each(|_| latencies.record(100 * MS, later));

        assert!(latencies.p95().unwrap() < 200 * MS);
    }

    #[test]
    fn absurd_latencies_are_counted_at_the_ends() {
        let now = Instant::now();

        assert_eq!(of([Duration::ZERO; 20], now).p95(), Some(SHORTEST));
        assert!(of([Duration::MAX; 20], now).p95().unwrap() > Duration::from_secs(500));
    }

    proptest! {
        #[test]
        fn the_percentile_is_right_to_a_fifth(samples in prop::collection::vec(10u64..500_000, 20..200)) {
            let now = Instant::now();
            let mut sorted = samples.clone();
            sorted.sort_unstable();
            let true_p95 = sorted[(sorted.len() * 95).div_ceil(100) - 1];

            let p95 = of(samples.iter().map(|ms| *ms as u32 * MS), now).p95().unwrap().as_secs_f64() * 1000.0;

            prop_assert!(p95 >= true_p95 as f64 * 0.999 && p95 <= true_p95 as f64 * 1.2, "{p95} for {true_p95}");
        }
    }
}
