//! Buffers what the request path has finished with and writes it in batches; nobody waits for it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;
use serde::Serialize;
use tokio::{sync::oneshot, time::Instant};
use tracing::error;

use super::{Observe, traffic::Traffic};
use crate::{
    db::{
        Database, error_logs::NewErrorLog, logs::insert_logs, request_logs::RequestLog, rollups::ModelNames,
    },
    domain::key_event::KeyEvent,
};

mod history;
mod prune;
mod sums;

pub use history::KeysChanged;
pub(super) use prune::delete_in_steps;
pub use prune::{Prune, PruneSums};
pub use sums::StatesSampled;

/// Rows that are written in one transaction.
const BATCH: usize = 500;
/// A row waits this long for company at most; so much is lost when the process is killed.
const FLUSH_EVERY: Duration = Duration::from_millis(500);
/// Rows that are held while the database does not take them. A row has about 500 bytes, so together 50 MB; a row of
/// the error log has up to 64 kB more with `ERROR_LOG_RECORD_REQUEST_BODY`.
const CAPACITY: usize = 100_000;
/// Batches of rows that workers may have sent and the logger not yet taken.
const MAILBOX: usize = 4_096;
/// How long the database is left in peace after a failed write.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// How full the queue is, for whoever sends to it and for the metrics.
#[derive(Debug, Default)]
pub struct LogQueue {
    queued: AtomicUsize,
    written: AtomicU64,
    dropped: AtomicU64,
}

impl LogQueue {
    /// Rows that are not in the database yet.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Counts rows that are given up.
    pub fn refuse(&self, rows: usize) {
        self.dropped.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Rows that were given up because the queue was full, or because the database will never take them.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Snapshot: what the logger holds.
#[derive(Debug, Clone, Serialize)]
pub struct LoggerSnapshot {
    pub queued: usize,
    pub written: u64,
    pub dropped: u64,
    /// Writes that failed and were tried again.
    pub failures: u64,
}

pub struct Logger {
    database: Database,
    queue: Arc<LogQueue>,
    traffic: Arc<Traffic>,
    /// Of the sums. Written to only inside of transactions.
    names: Arc<Mutex<ModelNames>>,
    waiting: Batch,
    is_writing: bool,
    /// The database is left in peace until then, as the last write failed.
    not_before: Option<Instant>,
    failures: u64,
    /// Who waits for everything to be written.
    flushing: Vec<oneshot::Sender<()>>,
}

/// Rows of both logs and of the history of keys, oldest first.
#[derive(Debug, Default)]
struct Batch {
    requests: VecDeque<RequestLog>,
    errors: VecDeque<NewErrorLog>,
    events: VecDeque<KeyEvent>,
}

impl Batch {
    fn len(&self) -> usize {
        self.requests.len() + self.errors.len() + self.events.len()
    }

    fn take_first(&mut self, count: usize) -> Self {
        let errors = count.min(self.errors.len());
        let events = (count - errors).min(self.events.len());
        let requests = (count - errors - events).min(self.requests.len());
        Self {
            events: self.events.drain(..events).collect(),
            requests: self.requests.drain(..requests).collect(),
            errors: self.errors.drain(..errors).collect(),
        }
    }

    fn put_back(&mut self, mut older: Self) {
        older.requests.append(&mut self.requests);
        older.errors.append(&mut self.errors);
        older.events.append(&mut self.events);
        *self = older;
    }
}

impl Logger {
    pub fn new(database: Database, queue: Arc<LogQueue>, traffic: Arc<Traffic>) -> Self {
        Self {
            database,
            queue,
            traffic,
            names: Arc::default(),
            waiting: Batch::default(),
            is_writing: false,
            not_before: None,
            failures: 0,
            flushing: Vec::new(),
        }
    }

    /// Keeps what is to be written, or gives it up where too much waits already.
    fn take_in(&mut self, mut fresh: Batch, ctx: &mut Context<Self>) {
        let count = fresh.len();
        if self.waiting.len() + count > CAPACITY {
            self.queue.refuse(count);
            return;
        }
        self.queue.queued.fetch_add(count, Ordering::Relaxed);
        self.waiting.requests.append(&mut fresh.requests);
        self.waiting.errors.append(&mut fresh.errors);
        self.waiting.events.append(&mut fresh.events);
        if self.waiting.len() >= BATCH {
            self.write(ctx);
        }
    }

    /// Writes the oldest batch; goes on at once while a whole batch, or somebody, waits.
    fn write(&mut self, ctx: &mut Context<Self>) {
        let rests = self.not_before.is_some_and(|instant| Instant::now() < instant);
        if self.is_writing || rests {
            return;
        }
        if self.waiting.len() == 0 {
            for flushed in self.flushing.drain(..) {
                // Whoever gave up waiting needs no answer.
                let _ = flushed.send(());
            }
            return;
        }
        self.is_writing = true;
        let batch = self.waiting.take_first(BATCH);
        let count = batch.len();
        let writing = write_batch(self.database.clone(), self.names.clone(), self.traffic.clone(), batch);
        ctx.spawn(writing.into_actor(self).map(move |written, logger, ctx| {
            logger.is_writing = false;
            let broken = match written {
                Ok(broken) => broken,
                Err(batch) => {
                    logger.waiting.put_back(batch);
                    logger.failures += 1;
                    logger.not_before = Some(Instant::now() + RETRY_AFTER);
                    return;
                }
            };
            logger.queue.queued.fetch_sub(count, Ordering::Relaxed);
            logger.queue.written.fetch_add((count - broken) as u64, Ordering::Relaxed);
            logger.queue.refuse(broken);
            if logger.waiting.len() >= BATCH || !logger.flushing.is_empty() {
                logger.write(ctx);
            }
        }));
    }
}

/// Answers with the number of rows that can never be written; gives the batch back when the database does not take it.
async fn write_batch(
    database: Database,
    names: Arc<Mutex<ModelNames>>,
    traffic: Arc<Traffic>,
    batch: Batch,
) -> Result<usize, Batch> {
    let batch = Arc::new(Mutex::new(batch));
    let rows = batch.clone();
    let written = database.write(move |conn| {
        let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        let Batch { requests, errors, events } = &mut *rows;
        let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
        let (requests, errors) = (requests.make_contiguous(), errors.make_contiguous());
        insert_logs(conn, &mut names, requests, errors, events.make_contiguous())
    });
    let written = written.await;
    let mut batch = batch.lock().unwrap_or_else(PoisonError::into_inner);
    match written {
        Ok(broken) => {
            for row in &broken {
                error!(request_id = row.request_id, reason = row.reason, "a log row is left out");
            }
            traffic.show(batch.requests.make_contiguous());
            Ok(broken.len())
        }
        Err(failure) => {
            let batch = std::mem::take(&mut *batch);
            error!(error = %failure, rows = batch.len(), "log rows could not be written, trying again");
            Err(batch)
        }
    }
}

impl Actor for Logger {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.run_interval(FLUSH_EVERY, Self::write);
        let summing = sums::sum_older_logs(self.database.clone(), self.names.clone());
        ctx.spawn(summing.into_actor(self));
    }
}

/// Event: requests have ended; workers send them in small batches.
#[derive(Debug, Default, Message)]
#[rtype(result = "()")]
pub struct RequestsFinished {
    pub requests: Vec<RequestLog>,
    pub errors: Vec<NewErrorLog>,
}

impl Handler<RequestsFinished> for Logger {
    type Result = ();

    fn handle(&mut self, finished: RequestsFinished, ctx: &mut Context<Self>) {
        self.traffic.count(&finished.requests);
        let RequestsFinished { requests, errors } = finished;
        let fresh = Batch { requests: requests.into(), errors: errors.into(), events: VecDeque::new() };
        self.take_in(fresh, ctx);
    }
}

/// Command: write everything that waits, and answer when it is done; the last one before the process ends.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Flush;

impl Handler<Flush> for Logger {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Flush, ctx: &mut Context<Self>) -> Self::Result {
        let (flushed, is_flushed) = oneshot::channel();
        self.flushing.push(flushed);
        // There may not be another time.
        self.not_before = None;
        self.write(ctx);
        Box::pin(async {
            // Nobody answers when the actor has ended, and then nothing waits any more.
            let _ = is_flushed.await;
        })
    }
}

impl Handler<Observe<LoggerSnapshot>> for Logger {
    type Result = MessageResult<Observe<LoggerSnapshot>>;

    fn handle(&mut self, _: Observe<LoggerSnapshot>, _: &mut Context<Self>) -> Self::Result {
        MessageResult(LoggerSnapshot {
            queued: self.queue.queued(),
            written: self.queue.written(),
            dropped: self.queue.dropped(),
            failures: self.failures,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{
        logs::tests::{close_error_log, count, failure, open_error_log},
        request_logs::tests::row,
        test_database,
    };

    fn finished(numbers: &[i64]) -> RequestsFinished {
        RequestsFinished {
            requests: numbers.iter().map(|n| row(*n)).collect(),
            errors: numbers.iter().map(|n| failure(*n)).collect(),
        }
    }

    #[actix::test]
    async fn rows_that_the_database_did_not_take_for_a_while_arrive_all_and_once() {
        tokio::time::pause();
        let (database, _dir) = test_database();
        database.write_blocking(close_error_log).unwrap();
        let queue = Arc::<LogQueue>::default();
        let logger = Logger::new(database.clone(), queue.clone(), Arc::default()).start();

        logger.send(finished(&[1, 2])).await.unwrap();
        tokio::time::sleep(RETRY_AFTER * 3).await;
        assert_eq!(database.read_blocking(count).unwrap(), (0, 0));
        logger.send(finished(&[3])).await.unwrap();
        database.write_blocking(open_error_log).unwrap();
        logger.send(Flush).await.unwrap();

        assert_eq!(database.read_blocking(count).unwrap(), (3, 3));
        assert_eq!((queue.queued(), queue.written(), queue.dropped()), (0, 6, 0));
    }

    #[actix::test]
    async fn a_database_that_fails_is_asked_every_two_seconds_and_at_once_by_a_flush() {
        tokio::time::pause();
        let (database, _dir) = test_database();
        database.write_blocking(close_error_log).unwrap();
        let logger = Logger::new(database, Arc::default(), Arc::default()).start();
        let failures = async || logger.send(Observe::<LoggerSnapshot>::new()).await.unwrap().failures;

        logger.send(finished(&[1])).await.unwrap();
        tokio::time::sleep(RETRY_AFTER * 10).await;
        let before = failures().await;
        assert!((7..=10).contains(&before), "{before}");

        logger.do_send(Flush);
        tokio::time::sleep(FLUSH_EVERY / 2).await;
        assert_eq!(failures().await, before + 1);
    }

    #[actix::test]
    async fn an_id_that_comes_twice_does_not_hold_up_the_rows_behind_it() {
        tokio::time::pause();
        let (database, _dir) = test_database();
        let queue = Arc::<LogQueue>::default();
        let logger = Logger::new(database.clone(), queue.clone(), Arc::default()).start();

        logger.send(finished(&[1])).await.unwrap();
        logger.send(Flush).await.unwrap();
        logger.send(finished(&[1, 2])).await.unwrap();
        logger.send(Flush).await.unwrap();

        assert_eq!(database.read_blocking(count).unwrap(), (2, 3));
        assert_eq!((queue.queued(), queue.written(), queue.dropped()), (0, 5, 1));
    }
}
