//! What a key has done: counted by its actor, read by whoever shows it, without asking the actor.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

/// Since the process started; it outlives the key's actor.
#[derive(Debug, Default)]
pub struct Tally {
    attempts: AtomicU64,
    failures: AtomicU64,
    /// Unix milliseconds; 0 for never.
    last_used_ms: AtomicI64,
    last_failure: Mutex<Option<&'static str>>,
}

impl Tally {
    pub fn attempted(&self, now_ms: i64) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        self.last_used_ms.store(now_ms, Ordering::Relaxed);
    }

    /// An attempt failed through the key itself, its quotas or its project; `outcome` is its name.
    pub fn failed(&self, outcome: &'static str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    pub fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub fn last_used_ms(&self) -> Option<i64> {
        Some(self.last_used_ms.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    pub fn last_failure(&self) -> Option<&'static str> {
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
