//! Averages that forget, small enough to be shared between threads without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// A number that rises when something is recorded and falls back to its resting value as time goes by.
///
/// Threads read and write it without waiting. Of two writes at the same moment one may be lost, which an estimate can
/// bear. Pools have two for every key, so what they have in common is told anew each time.
#[derive(Debug)]
pub struct Decaying {
    /// The value as an `f32` above, the milliseconds since the origin below.
    packed: AtomicU64,
}

/// How a [`Decaying`] falls, and the instant that its times count from; the same at every call.
#[derive(Debug, Clone, Copy)]
pub struct Decay {
    pub origin: Instant,
    /// What it falls back to.
    pub rest: f32,
    /// After this long a third of the distance to the rest is left (1/e).
    pub span: Duration,
}

impl Decay {
    /// Wraps after 49 days, which at worst ages a value too much or too little once.
    fn since_origin(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.origin).as_millis() as u32
    }
}

impl Decaying {
    pub fn new(rest: f32) -> Self {
        Self { packed: AtomicU64::new(pack(rest, 0)) }
    }

    pub fn read(&self, decay: &Decay, now: Instant) -> f32 {
        let (value, at_ms) = unpack(self.packed.load(Ordering::Relaxed));
        if value.to_bits() == decay.rest.to_bits() {
            return value;
        }
        let age = Duration::from_millis(u64::from(decay.since_origin(now).saturating_sub(at_ms)));
        decay.rest + (value - decay.rest) * (-age.div_duration_f32(decay.span)).exp()
    }

    /// Counts one more.
    pub fn add(&self, amount: f32, decay: &Decay, now: Instant) {
        self.write(self.read(decay, now) + amount, decay, now);
    }

    /// Takes in a sample. A peak counts at once and in full, whatever is lower as a tenth: a key that has become slow
    /// is avoided after one bad answer, and trusted again after many good ones or some time.
    ///
    /// Source of the rule: peak EWMA, as Finagle's load balancer introduced it.
    pub fn observe(&self, sample: f32, decay: &Decay, now: Instant) {
        let known = self.read(decay, now);
        if !sample.is_finite() {
            return;
        }
        self.write(if sample > known { sample } else { known + (sample - known) * 0.1 }, decay, now);
    }

    fn write(&self, value: f32, decay: &Decay, now: Instant) {
        self.packed.store(pack(value, decay.since_origin(now)), Ordering::Relaxed);
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

    fn decay(rest: f32) -> Decay {
        Decay { origin: Instant::now(), rest, span: DECAY }
    }

    #[test]
    fn what_was_recorded_fades() {
        let (faults, decay) = (Decaying::new(0.0), decay(0.0));
        let now = decay.origin;
        faults.add(1.0, &decay, now);
        faults.add(1.0, &decay, now);

        let (fresh, later) = (faults.read(&decay, now), faults.read(&decay, now + DECAY * 3));

        assert!((fresh - 2.0).abs() < 0.01, "{fresh}");
        assert!((0.05..0.15).contains(&later), "{later}");
    }

    #[test]
    fn a_peak_counts_at_once_and_a_good_answer_only_a_little() {
        let (slowness, decay) = (Decaying::new(1.0), decay(1.0));
        let now = decay.origin;

        slowness.observe(8.0, &decay, now);
        assert!((slowness.read(&decay, now) - 8.0).abs() < 0.01);
        slowness.observe(1.0, &decay, now);
        assert!((slowness.read(&decay, now) - 7.3).abs() < 0.01);
        slowness.observe(f32::NAN, &decay, now);
        assert!(slowness.read(&decay, now + DECAY * 100) < 1.001, "an unused key is trusted again");
    }

    #[test]
    fn a_clock_from_before_its_birth_does_no_harm() {
        let early = Instant::now();
        let (faults, decay) = (Decaying::new(0.0), decay(0.0));
        faults.add(1.0, &decay, early);
        assert!(faults.read(&decay, early) > 0.9);
    }
}
