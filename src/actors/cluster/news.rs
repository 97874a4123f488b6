//! What other nodes have to hear, until it is told.

use std::{
    collections::BTreeSet,
    mem::take,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{
    actors::tokens::Holder,
    cluster::{Change, ChangedKeys},
};

/// Filled by all workers, emptied by the cluster's actor. A token is in it once, however often it was used meanwhile.
#[derive(Debug, Default)]
pub struct News {
    untold: Mutex<Untold>,
    arrived: Notify,
    others: Arc<AtomicU32>,
}

#[derive(Debug, Default)]
pub(super) struct Untold {
    pub used: Vec<Arc<Holder>>,
    pub changed: BTreeSet<Change>,
    pub keys: ChangedKeys,
}

impl News {
    /// Something was changed in the database.
    pub fn change(&self, change: Change) {
        self.lock().changed.insert(change);
        self.arrived.notify_one();
    }

    /// Keys were changed in the database.
    pub fn change_keys(&self, keys: ChangedKeys) {
        self.lock().keys.add(keys);
        self.arrived.notify_one();
    }

    /// A token was used for the first time since its use was told.
    pub(in crate::actors) fn used(&self, holder: Arc<Holder>) {
        self.lock().used.push(holder);
        self.arrived.notify_one();
    }

    /// Other nodes that are there, at any moment.
    pub(in crate::actors) fn others(&self) -> Arc<AtomicU32> {
        self.others.clone()
    }

    pub(super) fn know_of(&self, others: usize) {
        self.others.store(u32::try_from(others).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Ends as soon as there is something to tell.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    pub(super) fn take(&self) -> Untold {
        take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Untold> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
