//! The memory of thought signatures that all workers share: the next turn of a conversation may meet any of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::{
    convert::gemini::{
        memory::{CallKey, SignatureMemory},
        signatures::Signed,
    },
    domain::{client::TokenId, model::ModelName},
};

/// Ten thousand signatures, or more.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Held for a look-up or an entry and never across a wait.
#[derive(Clone)]
pub struct Signatures(Arc<Mutex<SignatureMemory>>);

/// One client's conversations with one model.
#[derive(Clone)]
pub struct Remembered {
    signatures: Signatures,
    owner: TokenId,
    model: ModelName,
}

impl Default for Signatures {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(SignatureMemory::new(MAX_BYTES))))
    }
}

impl Signatures {
    pub fn of(&self, owner: TokenId, model: ModelName) -> Remembered {
        Remembered { signatures: self.clone(), owner, model }
    }

    fn memory(&self) -> MutexGuard<'_, SignatureMemory> {
        // Whatever a panic left behind is only a cache.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    pub fn remember(&self, signed: &[Signed]) {
        // Most answers have none, and need no lock.
        if signed.is_empty() {
            return;
        }
        let (mut memory, now) = (self.signatures.memory(), Instant::now());
        for Signed { id, function, signature } in signed {
            memory.remember(self.key(id, function), signature, now);
        }
    }

    pub fn recall(&self, id: &str, function: &str) -> Option<String> {
        let memory = self.signatures.memory();
        memory.recall(self.key(id, function), Instant::now()).map(str::to_owned)
    }

    fn key<'a>(&'a self, id: &'a str, function: &'a str) -> CallKey<'a> {
        CallKey { owner: self.owner.as_str(), model: self.model.as_str(), function, id }
    }
}
