//! Reads keys that other nodes have changed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use actix::prelude::*;
use tracing::error;

use super::supervisor::{KeysFound, Sought, Supervisor};
use crate::{
    cluster::ChangedKeys,
    db::{Database, DbConnection, QueryResult, keys::LoadedKeys},
    domain::key::KeyId,
};

/// Where all keys are read, so many are read at once: others wait to write meanwhile.
pub const PAGE: usize = 1000;
/// After a failure.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is looked for in the database.
#[derive(Debug, Clone)]
pub enum Wanted {
    These(BTreeSet<KeyId>),
    /// The first [`PAGE`] with higher ids.
    Behind(KeyId),
}

/// Finds keys in the database, in the order of their ids, and opens them.
pub type FindKeys = Arc<dyn Fn(&mut DbConnection, &Wanted) -> QueryResult<LoadedKeys> + Send + Sync>;

/// One reading at a time; what is told meanwhile is read next, in one piece.
pub struct KeyFollower {
    database: Database,
    find: FindKeys,
    supervisor: Addr<Supervisor>,
    unread: ChangedKeys,
    /// All keys are being read, and were read up to this one.
    read_to: Option<KeyId>,
    is_reading: bool,
}

impl KeyFollower {
    pub fn new(database: Database, find: FindKeys, supervisor: Addr<Supervisor>) -> Self {
        let unread = ChangedKeys::default();
        Self { database, find, supervisor, unread, read_to: None, is_reading: false }
    }

    /// Reads where this node writes, and tells the supervisor before the next write: so whatever this node does with a key
    /// after it was read reaches the supervisor later, and is not undone.
    fn read(&mut self, ctx: &mut Context<Self>) {
        if self.is_reading {
            return;
        }
        let Some(wanted) = self.next() else { return };
        self.is_reading = true;
        let (find, supervisor, asked) = (self.find.clone(), self.supervisor.clone(), wanted.clone());
        let reading = self.database.write(move |conn| {
            let found = find(conn, &asked)?;
            let last = last_of_page(&found);
            let sought = match asked {
                Wanted::These(keys) => Sought::These(keys),
                Wanted::Behind(key) => Sought::Range { behind: key, to: last },
            };
            let found = found.keys.into_iter().map(Into::into).collect();
            supervisor.do_send(KeysFound { sought, found });
            Ok(last)
        });
        ctx.spawn(reading.into_actor(self).map(|read, follower, ctx| match read {
            Ok(last) => {
                if let Wanted::Behind(_) = wanted {
                    follower.read_to = last;
                }
                follower.go_on(ctx);
            }
            Err(failure) => {
                error!(error = %failure, "keys that another node has changed could not be read, trying again");
                follower.put_back(wanted);
                ctx.run_later(RETRY_AFTER, Self::go_on);
            }
        }));
    }

    fn next(&mut self) -> Option<Wanted> {
        if let Some(key) = self.read_to.take() {
            return Some(Wanted::Behind(key));
        }
        match self.unread.take() {
            ChangedKeys::These(keys) if keys.is_empty() => None,
            ChangedKeys::These(keys) => Some(Wanted::These(keys)),
            ChangedKeys::All => Some(Wanted::Behind(KeyId(i64::MIN))),
        }
    }

    fn put_back(&mut self, wanted: Wanted) {
        match wanted {
            Wanted::These(keys) => self.unread.add(ChangedKeys::These(keys)),
            Wanted::Behind(key) => self.read_to = Some(key),
        }
    }

    fn go_on(&mut self, ctx: &mut Context<Self>) {
        self.is_reading = false;
        self.read(ctx);
    }
}

/// The last key of a page that others may follow.
fn last_of_page(found: &LoadedKeys) -> Option<KeyId> {
    let is_full = found.keys.len() + found.unreadable.len() >= PAGE;
    let ids = found.keys.iter().map(|key| key.id).chain(found.unreadable.iter().copied());
    ids.max().filter(|_| is_full)
}

impl Actor for KeyFollower {
    type Context = Context<Self>;
}

/// Event: another node has changed these keys in the database.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct KeysTold(pub ChangedKeys);

impl Handler<KeysTold> for KeyFollower {
    type Result = ();

    fn handle(&mut self, KeysTold(keys): KeysTold, ctx: &mut Context<Self>) {
        self.unread.add(keys);
        self.read(ctx);
    }
}
