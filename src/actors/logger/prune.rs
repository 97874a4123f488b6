//! What is too old, or too much, is deleted in small steps, so that new rows are never held up for long.

use std::time::Duration;

use actix::prelude::*;
use tracing::{error, info};

use super::Logger;
use crate::{
    db::{
        Database, DbConnection, error_logs, key_events,
        key_states::thin_key_states,
        request_logs,
        rollups::{Kind, delete_rollups_before},
    },
    domain::{
        time::Now,
        timeline::{HOUR_MS, Step, floor},
    },
};

/// Events that are kept of each key, however long it flaps: more than anybody reads.
const EVENTS_OF_A_KEY: u32 = 500;
/// Rows of one step.
const STEP: u32 = 1_000;
/// Others get their turn meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// Command: delete rows that are older than these ages, and the oldest of those that are more than so many. Answers with
/// the number of deleted rows.
#[derive(Debug, Clone, Copy, Default, Message)]
#[rtype(result = "usize")]
pub struct Prune {
    pub requests_older_than: Option<Duration>,
    pub errors_older_than: Option<Duration>,
    /// Of the history of keys.
    pub events_older_than: Option<Duration>,
    /// That each of the logs, and the history, may have.
    pub max_rows: Option<u64>,
}

impl Handler<Prune> for Logger {
    type Result = ResponseFuture<usize>;

    fn handle(&mut self, prune: Prune, _: &mut Context<Self>) -> Self::Result {
        let database = self.database.clone();
        Box::pin(async move {
            let mut deleted = 0;
            if let Some(age) = prune.requests_older_than {
                deleted += delete_in_steps(&database, age, request_logs::delete_older_than).await;
            }
            if let Some(age) = prune.errors_older_than {
                deleted += delete_in_steps(&database, age, error_logs::delete_older_than).await;
            }
            if let Some(age) = prune.events_older_than {
                deleted += delete_in_steps(&database, age, key_events::delete_older_than).await;
            }
            let surplus = |conn: &mut DbConnection| key_events::delete_surplus(conn, EVENTS_OF_A_KEY, STEP);
            deleted += repeat(&database, surplus).await;
            if let Some(most) = prune.max_rows {
                let (count, delete) = (request_logs::count_rows, request_logs::delete_oldest);
                deleted += delete_excess(&database, most, count, delete).await;
                let (count, delete) = (error_logs::count_rows, error_logs::delete_oldest);
                deleted += delete_excess(&database, most, count, delete).await;
                let (count, delete) = (key_events::count_rows, key_events::delete_oldest);
                deleted += delete_excess(&database, most, count, delete).await;
            }
            info!(deleted, "old log rows were deleted");
            deleted
        })
    }
}

/// Command: delete sums that are older than they are kept, and thin out what is known of keys' states.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct PruneSums;

impl Handler<PruneSums> for Logger {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: PruneSums, _: &mut Context<Self>) -> Self::Result {
        let database = self.database.clone();
        let now_ms = Now::read().unix_ms();
        Box::pin(async move {
            for (kind, step) in Kind::ALL.into_iter().flat_map(|kind| Step::ALL.map(|step| (kind, step))) {
                let Some(kept_ms) = kind.kept_ms(step) else { continue };
                let cutoff_ms = floor(now_ms - kept_ms, HOUR_MS);
                let delete =
                    move |conn: &mut DbConnection| delete_rollups_before(conn, kind, step, cutoff_ms, STEP);
                repeat(&database, delete).await;
            }
            if let Err(failure) = database.write(move |conn| thin_key_states(conn, now_ms)).await {
                error!(error = %failure, "old states of keys could not be deleted");
            }
        })
    }
}

pub(in crate::actors) type DeleteStep = fn(&mut DbConnection, i64, u32) -> diesel::QueryResult<usize>;

/// Answers with the number of deleted rows.
pub(in crate::actors) async fn delete_in_steps(
    database: &Database,
    age: Duration,
    step: DeleteStep,
) -> usize {
    let cutoff_ms = Now::read().unix_ms().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    repeat(database, move |conn| step(conn, cutoff_ms, STEP)).await
}

/// Deletes the oldest rows of a log that has more than `most`. Answers how many that were.
async fn delete_excess(
    database: &Database,
    most: u64,
    count: fn(&mut DbConnection) -> diesel::QueryResult<u64>,
    delete: fn(&mut DbConnection, u32) -> diesel::QueryResult<usize>,
) -> usize {
    let rows = match database.read(count).await {
        Ok(rows) => rows,
        Err(failure) => {
            error!(error = %failure, "log rows could not be counted");
            return 0;
        }
    };
    let (excess, mut deleted) = (rows.saturating_sub(most), 0);
    while deleted < excess {
        let step = u32::try_from(excess - deleted).unwrap_or(STEP).min(STEP);
        match database.write(move |conn| delete(conn, step)).await {
            Ok(0) => break,
            Ok(count) => deleted += count as u64,
            Err(failure) => {
                error!(error = %failure, "surplus log rows could not be deleted");
                break;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    usize::try_from(deleted).unwrap_or(usize::MAX)
}

/// Until a step finds nothing more.
async fn repeat(
    database: &Database,
    delete: impl Fn(&mut DbConnection) -> diesel::QueryResult<usize> + Clone + Send + 'static,
) -> usize {
    let mut deleted = 0;
    loop {
        match database.write(delete.clone()).await {
            Ok(count) => {
                deleted += count;
                if count < STEP as usize {
                    return deleted;
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(failure) => {
                error!(error = %failure, "old rows could not be deleted");
                return deleted;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        actors::logger::Flush,
        db::{
            logs::tests::count,
            request_logs::{list_request_logs, tests::row},
            test_database,
        },
    };

    #[actix::test]
    async fn a_log_that_has_grown_too_long_loses_its_oldest_rows() {
        tokio::time::pause();
        let (database, _dir) = test_database();
        let logger = Logger::new(database.clone(), Arc::default(), Arc::default()).start();
        let rows = (0..30).map(row).collect();
        logger.send(super::super::RequestsFinished { requests: rows, errors: Vec::new() }).await.unwrap();
        logger.send(Flush).await.unwrap();
        let prune = |max_rows| Prune { max_rows, ..Prune::default() };

        assert_eq!(logger.send(prune(Some(30))).await.unwrap(), 0);
        assert_eq!(logger.send(prune(Some(12))).await.unwrap(), 18);

        assert_eq!(database.read_blocking(count).unwrap(), (12, 0));
        let left = database.read_blocking(|conn| list_request_logs(conn, 100)).unwrap();
        assert_eq!(left.last().map(|row| &row.id), Some(&row(18).id));
    }
}
