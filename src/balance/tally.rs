//! What a key has done: counted by its actor, read by whoever shows or saves it, without asking the actor.

use std::{
    borrow::Cow,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use crate::domain::key::KeyFigures;

/// The word for the outcome that last went against a key.
type Word = Cow<'static, str>;

/// Since the key was added; it outlives the key's actor, and the process by what is saved of it.
#[derive(Debug, Default)]
pub struct Tally {
    attempts: AtomicU64,
    failures: AtomicU64,
    /// Unix milliseconds; 0 for never.
    last_used_ms: AtomicI64,
    last_failure: Mutex<Option<Word>>,
}

impl Tally {
    /// Goes on from what was saved.
    pub fn restore(saved: KeyFigures) -> Self {
        let KeyFigures { requests, failures, last_used_at_ms, last_error } = saved;
        Self {
            attempts: requests.into(),
            failures: failures.into(),
            last_used_ms: last_used_at_ms.unwrap_or_default().into(),
            last_failure: Mutex::new(last_error.map(Cow::Owned)),
        }
    }

    /// To be saved.
    pub fn figures(&self) -> KeyFigures {
        KeyFigures {
            requests: self.attempts(),
            failures: self.failures(),
            last_used_at_ms: self.last_used_ms(),
            last_error: self.last_failure().map(Cow::into_owned),
        }
    }

    pub fn attempted(&self, now_ms: i64) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        self.last_used_ms.store(now_ms, Ordering::Relaxed);
    }

    /// An attempt failed through the key itself, its quotas or its project; `outcome` is its name.
    pub fn failed(&self, outcome: &'static str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(Cow::Borrowed(outcome));
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

    pub fn last_failure(&self) -> Option<Word> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_goes_on_where_it_was_saved() {
        let saved = KeyFigures {
            requests: 7,
            failures: 2,
            last_used_at_ms: Some(50),
            last_error: Some("billing".into()),
        };
        let tally = Tally::restore(saved.clone());
        assert_eq!(tally.figures(), saved);

        tally.attempted(90);
        tally.failed("outlier");

        let after = KeyFigures {
            requests: 8,
            failures: 3,
            last_used_at_ms: Some(90),
            last_error: Some("outlier".into()),
        };
        assert_eq!(tally.figures(), after);
        assert_eq!(Tally::restore(KeyFigures::default()).figures(), Tally::default().figures());
    }
}
