//! Keeps responses for the clients that asked for it. Nobody waits for the database: what is not written yet is found in
//! memory, by every worker, so that the next request of a conversation may come at once.

use std::{
    collections::{HashMap, VecDeque},
    mem::take,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix::prelude::*;
use serde::Serialize;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::{
    Observe,
    logger::{Flush, delete_in_steps},
};
use crate::db::{
    Database,
    responses::{self, StoredResponse, insert_response},
};

/// Rows that are written in one transaction.
const BATCH: usize = 64;
/// Bytes that wait at most, while the database does not take them; what comes then is not kept.
const CAPACITY: usize = 64 * 1024 * 1024;
/// How long the database is left in peace after a failed write.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Makes the row when it is first needed, on whatever thread that is.
type MakeRow = Box<dyn FnOnce() -> StoredResponse + Send>;

/// A response that is to be kept.
pub struct Waiting {
    id: String,
    /// About so much memory.
    bytes: usize,
    row: LazyLock<StoredResponse, MakeRow>,
}

impl Waiting {
    pub fn new(id: String, bytes: usize, make: impl FnOnce() -> StoredResponse + Send + 'static) -> Self {
        Self { id, bytes, row: LazyLock::new(Box::new(make)) }
    }

    /// May take a while the first time, as long as reading the request once more.
    pub fn row(&self) -> &StoredResponse {
        &self.row
    }
}

/// The responses that are on their way to the database; held for a look and never across a wait.
#[derive(Default)]
pub struct Unwritten(Mutex<Rows>);

#[derive(Default)]
struct Rows {
    by_id: HashMap<String, Arc<Waiting>>,
    bytes: usize,
}

impl Unwritten {
    pub fn find(&self, id: &str) -> Option<Arc<Waiting>> {
        self.rows().by_id.get(id).cloned()
    }

    /// From now on it is found; fails when too much waits already.
    pub fn add(&self, waiting: Arc<Waiting>) -> Result<(), Full> {
        let mut rows = self.rows();
        if rows.bytes + waiting.bytes > CAPACITY {
            return Err(Full);
        }
        rows.bytes += waiting.bytes;
        rows.by_id.insert(waiting.id.clone(), waiting);
        Ok(())
    }

    /// Answers whether it was there; it will not be written any more, unless that has begun.
    pub fn remove(&self, id: &str) -> bool {
        let mut rows = self.rows();
        let removed = rows.by_id.remove(id);
        rows.bytes -= removed.as_ref().map_or(0, |waiting| waiting.bytes);
        removed.is_some()
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// More waits to be written than memory allows for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many responses wait to be written")]
pub struct Full;

/// Snapshot: what is not written yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ArchiveSnapshot {
    pub waiting: usize,
    pub bytes: usize,
}

pub struct Archive {
    database: Database,
    unwritten: Arc<Unwritten>,
    queue: VecDeque<Arc<Waiting>>,
    is_writing: bool,
    /// Who waits for everything to be written.
    flushing: Vec<oneshot::Sender<()>>,
}

impl Archive {
    pub fn new(database: Database, unwritten: Arc<Unwritten>) -> Self {
        Self { database, unwritten, queue: VecDeque::new(), is_writing: false, flushing: Vec::new() }
    }

    /// Writes the oldest batch, and goes on until nothing waits.
    fn write(&mut self, ctx: &mut Context<Self>) {
        if self.is_writing {
            return;
        }
        if self.queue.is_empty() {
            for flushed in self.flushing.drain(..) {
                // Whoever gave up waiting needs no answer.
                let _ = flushed.send(());
            }
            return;
        }
        self.is_writing = true;
        let batch: Vec<_> = self.queue.drain(..self.queue.len().min(BATCH)).collect();
        let writing = write_batch(self.database.clone(), self.unwritten.clone(), batch);
        ctx.spawn(writing.into_actor(self).map(|written, archive, ctx| {
            archive.is_writing = false;
            match written {
                Ok(()) => archive.write(ctx),
                Err(batch) => {
                    batch.into_iter().rev().for_each(|waiting| archive.queue.push_front(waiting));
                    ctx.run_later(RETRY_AFTER, Self::write);
                }
            }
        }));
    }
}

/// Gives the batch back when the database does not take it.
async fn write_batch(
    database: Database,
    unwritten: Arc<Unwritten>,
    batch: Vec<Arc<Waiting>>,
) -> Result<(), Vec<Arc<Waiting>>> {
    let (rows, still_wanted) = (batch.clone(), unwritten.clone());
    let written = database.write(move |conn| {
        conn.immediate_transaction(|conn| {
            // Looked at while nobody else writes: what is deleted from here on is deleted after it was written.
            let mut wanted = rows.iter().filter(|waiting| still_wanted.find(&waiting.id).is_some());
            wanted.try_for_each(|waiting| insert_response(conn, waiting.row()))
        })
    });
    match written.await {
        Ok(()) => {
            for waiting in batch {
                unwritten.remove(&waiting.id);
            }
            Ok(())
        }
        Err(failure) => {
            error!(error = %failure, rows = batch.len(), "responses could not be written, trying again");
            Err(batch)
        }
    }
}

impl Actor for Archive {
    type Context = Context<Self>;
}

/// Command: write a response that [`Unwritten`] holds.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Keep(pub Arc<Waiting>);

impl Handler<Keep> for Archive {
    type Result = ();

    fn handle(&mut self, Keep(waiting): Keep, ctx: &mut Context<Self>) {
        self.queue.push_back(waiting);
        self.write(ctx);
    }
}

impl Handler<Flush> for Archive {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Flush, ctx: &mut Context<Self>) -> Self::Result {
        let (flushed, is_flushed) = oneshot::channel();
        self.flushing.push(flushed);
        self.write(ctx);
        Box::pin(async {
            // Nobody answers when the actor has ended, and then nothing waits any more.
            let _ = is_flushed.await;
        })
    }
}

/// Command: delete responses that are older than this, in small steps. Answers with the number of deleted rows.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "usize")]
pub struct PruneResponses {
    pub older_than: Duration,
}

impl Handler<PruneResponses> for Archive {
    type Result = ResponseFuture<usize>;

    fn handle(
        &mut self,
        PruneResponses { older_than }: PruneResponses,
        _: &mut Context<Self>,
    ) -> Self::Result {
        let database = self.database.clone();
        Box::pin(async move {
            let deleted = delete_in_steps(&database, older_than, responses::delete_older_than).await;
            info!(deleted, "old responses were deleted");
            deleted
        })
    }
}

impl Handler<Observe<ArchiveSnapshot>> for Archive {
    type Result = MessageResult<Observe<ArchiveSnapshot>>;

    fn handle(&mut self, _: Observe<ArchiveSnapshot>, _: &mut Context<Self>) -> Self::Result {
        let rows = self.unwritten.rows();
        MessageResult(ArchiveSnapshot { waiting: rows.by_id.len(), bytes: rows.bytes })
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        let lost = take(&mut self.queue).len();
        if lost > 0 {
            warn!(lost, "responses were not written");
        }
    }
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection;

    use super::*;
    use crate::db::{
        responses::{
            delete_response, find_response,
            tests::{id, row},
        },
        test_database,
    };

    struct Setting {
        database: Database,
        unwritten: Arc<Unwritten>,
        archive: Addr<Archive>,
        _dir: tempfile::TempDir,
    }

    fn setting() -> Setting {
        let (database, dir) = test_database();
        let unwritten = Arc::<Unwritten>::default();
        let archive = Archive::new(database.clone(), unwritten.clone()).start();
        Setting { database, unwritten, archive, _dir: dir }
    }

    impl Setting {
        fn keep(&self, n: i64) {
            let waiting = Arc::new(Waiting::new(id(n), 100, move || row(n, None)));
            self.unwritten.add(waiting.clone()).unwrap();
            self.archive.do_send(Keep(waiting));
        }

        fn is_written(&self, n: i64) -> bool {
            let found = self.database.read_blocking(|conn| find_response(conn, "allowed-1", &id(n)));
            found.unwrap().is_some()
        }
    }

    #[actix::test]
    async fn a_response_is_found_before_and_after_it_is_written() {
        let setting = setting();

        setting.keep(1);
        assert_eq!(setting.unwritten.find(&id(1)).unwrap().row(), &row(1, None));
        setting.archive.send(Flush).await.unwrap();

        assert!(setting.is_written(1));
        assert!(setting.unwritten.find(&id(1)).is_none());
        let snapshot = setting.archive.send(Observe::new()).await.unwrap();
        assert_eq!(snapshot, ArchiveSnapshot { waiting: 0, bytes: 0 });
    }

    #[actix::test]
    async fn one_that_is_deleted_while_it_waits_is_never_written() {
        let setting = setting();
        setting.keep(1);
        setting.keep(2);

        assert!(setting.unwritten.remove(&id(1)));
        let deleted = setting.database.write(|conn| delete_response(conn, "allowed-1", &id(1))).await;
        assert!(!deleted.unwrap());
        setting.archive.send(Flush).await.unwrap();

        assert!(!setting.is_written(1) && setting.is_written(2));
    }

    #[actix::test]
    async fn what_the_database_did_not_take_for_a_while_arrives_later() {
        tokio::time::pause();
        let setting = setting();
        let change =
            |sql: &'static str| setting.database.write_blocking(|conn| conn.batch_execute(sql)).unwrap();
        change("ALTER TABLE responses RENAME TO away");

        setting.keep(1);
        tokio::time::sleep(RETRY_AFTER * 3).await;
        assert!(setting.unwritten.find(&id(1)).is_some());
        change("ALTER TABLE away RENAME TO responses");
        setting.archive.send(Flush).await.unwrap();

        assert!(setting.is_written(1));
    }

    #[test]
    fn what_waits_is_bounded() {
        let unwritten = Unwritten::default();
        let waiting = |n, bytes| Arc::new(Waiting::new(id(n), bytes, move || row(n, None)));

        assert_eq!(unwritten.add(waiting(1, CAPACITY)), Ok(()));
        assert_eq!(unwritten.add(waiting(2, 1)), Err(Full));
        assert!(unwritten.remove(&id(1)) && !unwritten.remove(&id(1)));
        assert_eq!(unwritten.add(waiting(2, 1)), Ok(()));
    }
}
