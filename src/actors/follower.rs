//! Reads keys that other nodes have changed.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use tracing::error;

use super::supervisor::{KeysFound, Supervisor};
use crate::{
    cluster::ChangedKeys,
    db::{Database, DbConnection, QueryResult, keys::LoadedKeys},
};

/// After a failure.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Finds keys in the database, and opens them.
pub type FindKeys = Arc<dyn Fn(&mut DbConnection, &ChangedKeys) -> QueryResult<LoadedKeys> + Send + Sync>;

/// One reading at a time; what is told meanwhile is read next, in one piece.
pub struct KeyFollower {
    database: Database,
    find: FindKeys,
    supervisor: Addr<Supervisor>,
    unread: ChangedKeys,
    is_reading: bool,
}

impl KeyFollower {
    pub fn new(database: Database, find: FindKeys, supervisor: Addr<Supervisor>) -> Self {
        Self { database, find, supervisor, unread: ChangedKeys::default(), is_reading: false }
    }

    /// Reads where this node writes, and tells the supervisor before the next write: so whatever this node does with a key
    /// after it was read reaches the supervisor later, and is not undone.
    fn read(&mut self, ctx: &mut Context<Self>) {
        if self.is_reading || self.unread.are_none() {
            return;
        }
        self.is_reading = true;
        let asked = self.unread.take();
        let (find, supervisor, told) = (self.find.clone(), self.supervisor.clone(), asked.clone());
        let reading = self.database.write(move |conn| {
            let found = find(conn, &told)?.keys.into_iter().map(Into::into).collect();
            supervisor.do_send(KeysFound { asked: told, found });
            Ok(())
        });
        ctx.spawn(reading.into_actor(self).map(|read, follower, ctx| match read {
            Ok(()) => follower.go_on(ctx),
            Err(failure) => {
                error!(error = %failure, "keys that another node has changed could not be read, trying again");
                follower.unread.add(asked);
                ctx.run_later(RETRY_AFTER, Self::go_on);
            }
        }));
    }

    fn go_on(&mut self, ctx: &mut Context<Self>) {
        self.is_reading = false;
        self.read(ctx);
    }
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
