//! What all balancers must agree on to the unit: how many leases of a key are out, and who probes it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Shared by the balancers of every worker; they reserve here, the key's actor alone writes the verdict.
#[derive(Debug, Default)]
pub struct Gauge {
    in_flight: AtomicU32,
    probing: AtomicBool,
}

impl Gauge {
    /// Leases of this key that are not settled yet, over all workers.
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

    /// Claims the one probe of a half-open key; false when another worker has it.
    pub fn claim_probe(&self) -> bool {
        self.probing.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Lets the next probe be claimed.
    pub fn release_probe(&self) {
        self.probing.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
