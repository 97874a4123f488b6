//! Averages that forget, small enough to be shared between threads without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// A number that rises when something is recorded and falls back to its resting value as time goes by.
///
/// Threads read and write it without waiting. Of two writes at the same moment one may be lost, which an estimate can
/// bear.
#[derive(Debug)]
pub struct Decaying {
    /// The value as an `f32` above, the milliseconds since `origin` below.
    packed: AtomicU64,
    origin: Instant,
    /// What it falls back to.
    rest: f32,
    /// After this long a third of the distance to the rest is left (1/e).
    decay: Duration,
}

impl Decaying {
    pub fn new(rest: f32, decay: Duration) -> Self {
        Self { packed: AtomicU64::new(pack(rest, 0)), origin: Instant::now(), rest, decay }
    }

    pub fn read(&self, now: Instant) -> f32 {
        let (value, at_ms) = unpack(self.packed.load(Ordering::Relaxed));
        if value.to_bits() == self.rest.to_bits() {
            return value;
        }
        let age = Duration::from_millis(u64::from(self.since_origin(now).saturating_sub(at_ms)));
        self.rest + (value - self.rest) * (-age.div_duration_f32(self.decay)).exp()
    }

    /// Counts one more.
    pub fn add(&self, amount: f32, now: Instant) {
        self.write(self.read(now) + amount, now);
    }

    /// Takes in a sample. A peak counts at once and in full, whatever is lower as a tenth: a key that has become slow
    /// is avoided after one bad answer, and trusted again after many good ones or some time.
    ///
    /// Source of the rule: peak EWMA, as Finagle's load balancer introduced it.
    pub fn observe(&self, sample: f32, now: Instant) {
        let known = self.read(now);
        if !sample.is_finite() {
            return;
        }
        self.write(if sample > known { sample } else { known + (sample - known) * 0.1 }, now);
    }

    fn write(&self, value: f32, now: Instant) {
        self.packed.store(pack(value, self.since_origin(now)), Ordering::Relaxed);
    }

    /// Wraps after 49 days, which at worst ages a value too much or too little once.
    fn since_origin(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.origin).as_millis() as u32
    }
}

fn pack(value: f32, at_ms: u32) -> u64 {
    u64::from(value.to_bits()) << 32 | u64::from(at_ms)
}

fn unpack(packed: u64) -> (f32, u32) {
    (f32::from_bits((packed >> 32) as u32), packed as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: Duration = Duration::from_secs(10);

    #[test]
    fn what_was_recorded_fades() {
        let (faults, now) = (Decaying::new(0.0, DECAY), Instant::now());
        faults.add(1.0, now);
        faults.add(1.0, now);

        let (fresh, later) = (faults.read(now), faults.read(now + DECAY * 3));

        assert!((fresh - 2.0).abs() < 0.01, "{fresh}");
        assert!((0.05..0.15).contains(&later), "{later}");
    }

    #[test]
    fn a_peak_counts_at_once_and_a_good_answer_only_a_little() {
        let (slowness, now) = (Decaying::new(1.0, DECAY), Instant::now());

        slowness.observe(8.0, now);
        assert!((slowness.read(now) - 8.0).abs() < 0.01);
        slowness.observe(1.0, now);
        assert!((slowness.read(now) - 7.3).abs() < 0.01);
        slowness.observe(f32::NAN, now);
        assert!(slowness.read(now + DECAY * 100) < 1.001, "an unused key is trusted again");
    }

    #[test]
    fn a_clock_from_before_its_birth_does_no_harm() {
        let early = Instant::now();
        let faults = Decaying::new(0.0, DECAY);
        faults.add(1.0, early);
        assert!(faults.read(early) > 0.9);
    }
}
