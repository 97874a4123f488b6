//! An address that requests leave by, shared by the balancers of every worker.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::time::Instant;

use super::storm::{Admission, Party, Reading, Sign, StormDetector};
use crate::domain::{key::KeyId, outcome::Outcome};

/// The weather of one address.
///
/// While nothing is wrong, a request costs one look at an atomic, and no lock.
#[derive(Debug, Default)]
pub struct Egress {
    detector: Mutex<StormDetector>,
    /// There are failures or a pause to think of.
    is_watching: AtomicBool,
    storms: AtomicU64,
}

impl Egress {
    /// May an attempt leave now? To be asked once there is a key for it.
    pub fn admit(&self, now: Instant) -> Admission {
        if !self.is_watching.load(Ordering::Acquire) {
            return Admission::Open;
        }
        self.detector().admit(now)
    }

    /// Until when nothing leaves, if that is so now, and how the storm shows.
    pub fn pause(&self, now: Instant) -> Option<(Instant, Sign)> {
        if !self.is_watching.load(Ordering::Acquire) {
            return None;
        }
        let detector = self.detector();
        Some((detector.paused_until(now)?, detector.sign()))
    }

    /// Storms since the process started.
    pub fn storms(&self) -> u64 {
        self.storms.load(Ordering::Relaxed)
    }

    /// Takes in what an attempt came to, and says whose that is. `in_use` is the number of parties that have a usable
    /// key.
    pub fn record(
        &self,
        key: KeyId,
        party: Party,
        outcome: &Outcome,
        in_use: usize,
        now: Instant,
    ) -> Reading {
        if Sign::of(outcome).is_none() && !self.is_watching.load(Ordering::Acquire) {
            return Reading::OfKey;
        }
        let mut detector = self.detector();
        let reading = detector.record(key, party, outcome, in_use, now);
        self.is_watching.store(!detector.is_quiet(), Ordering::Release);
        if matches!(reading, Reading::Begins(_)) {
            self.storms.fetch_add(1, Ordering::Relaxed);
        }
        reading
    }

    /// A thread that panicked with the lock leaves a detector that is still sound: every step of it is.
    fn detector(&self) -> MutexGuard<'_, StormDetector> {
        self.detector.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_one_of_many_workers_sees_a_storm_begin_and_only_one_probes() {
        let (egress, now) = (Egress::default(), Instant::now());
        let fail = |key: i64| {
            let reading = egress.record(KeyId(key), Party::Key(KeyId(key)), &Outcome::KeySuspect, 40, now);
            matches!(reading, Reading::Begins(_))
        };
        let begun: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..40).map(|key| scope.spawn(move || fail(key))).collect();
            workers.into_iter().map(|worker| usize::from(worker.join().unwrap())).sum()
        });
        assert_eq!((begun, egress.storms()), (1, 1));

        let later = now + Duration::from_secs(5);
        let admissions: Vec<_> = (0..8).map(|_| egress.admit(later)).collect();
        assert_eq!(admissions.iter().filter(|admission| **admission == Admission::Probe).count(), 1);
    }

    #[test]
    fn failures_that_came_to_nothing_are_over_with_the_next_success() {
        let (egress, now) = (Egress::default(), Instant::now());
        let party = Party::Key(KeyId(1));

        egress.record(KeyId(1), party, &Outcome::KeySuspect, 40, now);
        assert!(egress.is_watching.load(Ordering::Acquire));
        egress.record(KeyId(1), party, &Outcome::Success, 40, now);

        assert!(!egress.is_watching.load(Ordering::Acquire));
        assert_eq!(egress.admit(now), Admission::Open);
    }
}
