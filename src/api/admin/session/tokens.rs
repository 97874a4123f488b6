//! The admin token while the gateway runs.

use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use crate::secrets::TokenSet;

/// What opens the admin API at this moment. A lock and no actor, as with the sessions.
#[derive(Debug)]
pub struct AdminTokens {
    set: RwLock<TokenSet>,
    changes: AtomicU64,
}

impl AdminTokens {
    pub fn new(tokens: TokenSet) -> Self {
        Self { set: RwLock::new(tokens), changes: AtomicU64::new(0) }
    }

    pub fn contains(&self, token: &str) -> bool {
        self.set.read().unwrap_or_else(PoisonError::into_inner).contains(token)
    }

    pub fn replace(&self, tokens: TokenSet) {
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = tokens;
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// How often they were changed: a stream that was opened before a change ends with it.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }
}
