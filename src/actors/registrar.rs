//! Remembers who owns what lies at Google: in memory for all workers, and in the database for the next start.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;
use serde::Serialize;
use tracing::{error, warn};

use super::Observe;
use crate::{
    balance::owners::{Found, Owned, Owners},
    db::{Database, DbError, resources, resources::StoredResource},
    domain::{client::TokenId, key::KeyId, resource::ResourceName, time::Now},
};

/// Resources that are known at a time; one takes about 300 bytes.
pub const CAPACITY: usize = 100_000;
/// Changes are written together, at most this long after the first of them.
const SAVE_AFTER: Duration = Duration::from_millis(250);
/// How long the database is left in peace after a failed write.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What all workers know of owners.
///
/// A file is often used by another worker at once, so what one has learnt the others must know: hence one registry
/// behind a lock, which is held for a look-up. While nothing is owned, a request costs a look at an atomic.
pub struct Registry {
    owners: RwLock<Owners>,
    is_used: AtomicBool,
    registrar: Addr<Registrar>,
}

impl Registry {
    pub fn new(owners: Owners, registrar: Addr<Registrar>) -> Self {
        Self { is_used: (!owners.is_empty()).into(), owners: owners.into(), registrar }
    }

    pub fn is_empty(&self) -> bool {
        !self.is_used.load(Ordering::Acquire)
    }

    pub fn find(&self, name: &ResourceName, client: &TokenId) -> Found {
        self.read(|owners, now_ms| owners.find(name, client, now_ms))
    }

    /// Whether clients neither see nor use what is another's.
    pub fn isolate(&self, isolated: bool) {
        self.write(|owners, _| owners.isolate(isolated));
    }

    /// See [`Owners::page`].
    pub fn page(
        &self,
        collection: &str,
        client: &TokenId,
        behind: Option<&ResourceName>,
        size: usize,
    ) -> Vec<ResourceName> {
        self.read(|owners, now_ms| owners.page(collection, client, behind, size, now_ms))
    }

    /// See [`Owners::together`].
    pub fn together(&self, client: &TokenId) -> u64 {
        self.write(|owners, now_ms| owners.together(client, now_ms))
    }

    /// The resource exists until then (Unix milliseconds), and that key made it, for this client if it is news.
    pub fn insert(&self, name: ResourceName, key: KeyId, client: &TokenId, expires_at_ms: i64) {
        let owned = Owned { key, client: client.clone(), expires_at_ms };
        let (stored, forgotten) = self.write(|owners, now_ms| {
            let (is_news, forgotten) = owners.insert(&name, owned, now_ms);
            (is_news.then(|| owners.get(&name).cloned()).flatten(), forgotten)
        });
        self.is_used.store(true, Ordering::Release);
        let stored = stored.map(|owned| (name, Some(owned)));
        for change in stored.into_iter().chain(forgotten.map(|name| (name, None))) {
            self.registrar.do_send(Noted(change));
        }
    }

    /// The resource is gone.
    pub fn remove(&self, name: &ResourceName) {
        if self.write(|owners, _| owners.remove(name)) {
            self.registrar.do_send(Noted((name.clone(), None)));
        }
    }

    pub fn expire(&self) {
        self.write(Owners::expire);
    }

    /// A thread that panicked with the lock leaves owners that are still sound.
    fn read<T>(&self, look: impl FnOnce(&Owners, i64) -> T) -> T {
        look(&self.owners.read().unwrap_or_else(PoisonError::into_inner), Now::read().unix_ms())
    }

    fn write<T>(&self, change: impl FnOnce(&mut Owners, i64) -> T) -> T {
        change(&mut self.owners.write().unwrap_or_else(PoisonError::into_inner), Now::read().unix_ms())
    }
}

/// Owners as the database knows them.
pub fn restore(owners: &mut Owners, stored: Vec<StoredResource>, now_ms: i64) {
    for StoredResource { name, key_id, client, expires_at_ms } in stored {
        let Some(name) = ResourceName::parse(&name) else { continue };
        let key = KeyId(key_id);
        owners.insert(&name, Owned { key, client: TokenId::new(client), expires_at_ms }, now_ms);
    }
}

/// Snapshot: what the registrar holds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RegistrarSnapshot {
    /// Changes that are not in the database yet.
    pub unsaved: usize,
}

/// What became of a resource: `None` when it is gone.
type Changes = HashMap<ResourceName, Option<Owned>>;

pub struct Registrar {
    database: Database,
    unsaved: Changes,
    /// On its way to the database.
    saving: Option<Changes>,
}

impl Registrar {
    pub fn new(database: Database) -> Self {
        Self { database, unsaved: HashMap::new(), saving: None }
    }

    fn write(&self, changes: &Changes) -> impl Future<Output = Result<(), DbError>> + use<> {
        let (mut present, mut gone) = (Vec::new(), Vec::new());
        for (name, owned) in changes {
            match owned {
                Some(owned) => present.push(StoredResource {
                    name: name.to_string(),
                    key_id: owned.key.0,
                    client: owned.client.to_string(),
                    expires_at_ms: owned.expires_at_ms,
                }),
                None => gone.push(name.to_string()),
            }
        }
        self.database.write(move |conn| resources::save_resources(conn, &present, &gone))
    }

    fn save(&mut self, ctx: &mut Context<Self>) {
        if self.saving.is_some() || self.unsaved.is_empty() {
            return;
        }
        let taken = std::mem::take(&mut self.unsaved);
        let saving = self.write(&taken);
        self.saving = Some(taken);
        ctx.spawn(saving.into_actor(self).map(|result, registrar, ctx| {
            let taken = registrar.saving.take().unwrap_or_default();
            if let Err(failure) = result {
                error!(error = %failure, resources = taken.len(), "the owners of resources could not be saved, trying again");
                for (name, owned) in taken {
                    registrar.unsaved.entry(name).or_insert(owned);
                }
                ctx.run_later(RETRY_AFTER, Self::save);
            } else if !registrar.unsaved.is_empty() {
                ctx.run_later(SAVE_AFTER, Self::save);
            }
        }));
    }
}

impl Actor for Registrar {
    type Context = Context<Self>;
}

/// Event: a resource has an owner now, or is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Noted((ResourceName, Option<Owned>));

impl Handler<Noted> for Registrar {
    type Result = ();

    fn handle(&mut self, Noted((name, owned)): Noted, ctx: &mut Context<Self>) {
        if self.unsaved.len() >= CAPACITY && !self.unsaved.contains_key(&name) {
            warn!(resource = %name, "the database takes no owners, and one is not saved");
            return;
        }
        self.unsaved.insert(name, owned);
        if self.unsaved.len() == 1 {
            ctx.run_later(SAVE_AFTER, Self::save);
        }
    }
}

/// Command: write what is unsaved, and answer when that is done; the last one before the process ends.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct SaveOwners;

impl Handler<SaveOwners> for Registrar {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: SaveOwners, _: &mut Context<Self>) -> Self::Result {
        // What is on its way may still fail.
        let mut all = self.saving.clone().unwrap_or_default();
        all.extend(self.unsaved.drain());
        let saving = self.write(&all);
        Box::pin(async move {
            if let Err(failure) = saving.await {
                error!(error = %failure, "the owners of resources could not be saved");
            }
        })
    }
}

/// Command: delete from the database what has ended.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct PruneResources;

impl Handler<PruneResources> for Registrar {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: PruneResources, _: &mut Context<Self>) -> Self::Result {
        let now_ms = Now::read().unix_ms();
        let pruning = self.database.write(move |conn| resources::prune_resources(conn, now_ms));
        Box::pin(async move {
            if let Err(failure) = pruning.await {
                error!(error = %failure, "old owners of resources could not be deleted");
            }
        })
    }
}

impl Handler<Observe<RegistrarSnapshot>> for Registrar {
    type Result = MessageResult<Observe<RegistrarSnapshot>>;

    fn handle(&mut self, _: Observe<RegistrarSnapshot>, _: &mut Context<Self>) -> Self::Result {
        let saving = self.saving.as_ref().map_or(0, HashMap::len);
        MessageResult(RegistrarSnapshot { unsaved: self.unsaved.len() + saving })
    }
}
