//! What is counted of a key outside of its actor: how many leases are out, who probes it, and how it has fared lately.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    ewma::{Decay, Decaying},
    tally::Tally,
};
use crate::domain::outcome::Outcome;

/// After this long without an answer a key's slowness is two thirds forgotten.
const SLOWNESS_DECAY: Duration = Duration::from_secs(30);
/// After this long two thirds of a fault are forgotten.
const FAULT_DECAY: Duration = Duration::from_secs(60);

const AS_USUAL: f32 = 1.0;
const NO_FAULT: f32 = 0.0;

/// The balancer reserves here, the key's actor alone writes the verdict.
///
/// What choices look at fills one cache line, with the counts of its `Arc`.
#[derive(Debug)]
#[repr(C)]
pub struct Gauge {
    in_flight: AtomicU32,
    probing: AtomicBool,
    since: Instant,
    /// Time to first byte as a multiple of what is usual for the model asked for, so that a key is not taken for slow
    /// because it was asked for slow models. 1 is as usual.
    slowness: Decaying,
    faults: Decaying,
    /// Looked at by nobody who chooses a key, and so the last of it.
    pub tally: Tally,
}

impl Default for Gauge {
    fn default() -> Self {
        Self::counting(Tally::default())
    }
}

impl Gauge {
    /// Of a key that has done so much already.
    pub fn counting(tally: Tally) -> Self {
        Self {
            tally,
            in_flight: AtomicU32::new(0),
            probing: AtomicBool::new(false),
            since: Instant::now(),
            slowness: Decaying::new(AS_USUAL),
            faults: Decaying::new(NO_FAULT),
        }
    }

    /// Leases of this key that are not settled yet.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub fn leave(&self) {
        let before = self.in_flight.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a lease was given back twice");
    }

    /// Claims the one probe of a half-open key; false when another request has it.
    pub fn claim_probe(&self) -> bool {
        self.probing.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Lets the next probe be claimed.
    pub fn release_probe(&self) {
        self.probing.store(false, Ordering::Release);
    }

    /// Remembers how an attempt went. `slowness` is its time to first byte as a multiple of the model's usual one.
    pub fn learn(&self, outcome: &Outcome, slowness: Option<f32>, now: Instant) {
        match outcome {
            Outcome::Success => {
                if let Some(slowness) = slowness {
                    self.slowness.observe(slowness, &self.slowness_decay(), now);
                }
            }
            Outcome::KeySuspect | Outcome::Outlier | Outcome::ServerFault(_) | Outcome::Empty => {
                self.faults.add(1.0, &self.fault_decay(), now);
            }
            _ => {}
        }
    }

    pub fn slowness(&self, now: Instant) -> f32 {
        self.slowness.read(&self.slowness_decay(), now)
    }

    /// Faults lately, each counting less the longer ago it was.
    pub fn faults(&self, now: Instant) -> f32 {
        self.faults.read(&self.fault_decay(), now)
    }

    fn slowness_decay(&self) -> Decay {
        Decay { origin: self.since, rest: AS_USUAL, span: SLOWNESS_DECAY }
    }

    fn fault_decay(&self) -> Decay {
        Decay { origin: self.since, rest: NO_FAULT, span: FAULT_DECAY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_choices_look_at_fits_a_cache_line_with_the_counts_of_those_who_share_it() {
        let looked_at = std::mem::offset_of!(Gauge, tally);
        assert!(2 * size_of::<usize>() + looked_at <= 64, "{looked_at}");
    }

    #[test]
    fn only_one_of_many_threads_gets_the_probe() {
        let gauge = Gauge::default();

        let winners: usize = std::thread::scope(|scope| {
            let claims: Vec<_> = (0..8).map(|_| scope.spawn(|| gauge.claim_probe())).collect();
            claims.into_iter().map(|claim| usize::from(claim.join().unwrap())).sum()
        });

        assert_eq!(winners, 1);
        gauge.release_probe();
        assert!(gauge.claim_probe());
    }

    #[test]
    fn what_is_not_the_keys_doing_leaves_no_mark() {
        let (gauge, now) = (Gauge::default(), Instant::now());
        for outcome in [Outcome::ClientFault, Outcome::Abandoned, Outcome::NotOwner, Outcome::GatewayFault] {
            gauge.learn(&outcome, Some(9.0), now);
        }
        assert_eq!((gauge.slowness(now), gauge.faults(now)), (1.0, 0.0));
    }
}
