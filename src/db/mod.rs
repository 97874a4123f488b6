//! Storage: the only place that knows diesel.
//!
//! [`Database`] is opened once at boot, and is the one door from asynchronous code to blocking queries. A query is a
//! plain function of its table's file, from a connection to rows.

mod check;
pub mod client_tokens;
mod counters;
mod error;
pub mod error_logs;
pub mod key_events;
pub mod key_states;
pub mod keys;
pub mod ledgers;
pub mod logs;
mod migrate;
pub mod request_logs;
pub mod resources;
pub mod responses;
pub mod rollups;
mod schema;
pub mod settings;
pub mod unsummed;

use std::{future::Future, path::Path, time::Duration};

use diesel::{
    Connection, RunQueryDsl, SqliteConnection,
    connection::{AnsiTransactionManager, SimpleConnection, TransactionManager},
    r2d2::{ConnectionManager, CustomizeConnection, Pool},
};

pub use diesel::QueryResult;
pub use error::DbError;

/// The connection that queries are written for; another database comes in here.
pub type DbConnection = SqliteConnection;
type DbPool = Pool<ConnectionManager<DbConnection>>;

/// Connections that only read. Few, since nothing on the request path reads.
const READERS: u32 = 2;
/// Rows that one step of pruning may delete: bounds the variables of its statement, and how long others wait.
const MAX_PRUNE_STEP: u32 = 10_000;
/// How long a query waits for a connection before it fails.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// A handle to the open database; clones share its connections.
///
/// SQLite allows one writer at a time, so there is one writing connection, and writes queue up for it here
/// instead of failing as busy. In WAL mode readers are not held up by it.
#[derive(Clone)]
pub struct Database {
    writer: DbPool,
    readers: DbPool,
}

impl Database {
    /// Opens the database in `path`, makes it and its folder where missing, and brings its schema up to date.
    ///
    /// Everything that speaks against using the file is looked for first, so that a file which is refused is left
    /// byte for byte as it was. Blocking; meant for boot.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let path = &std::path::absolute(path)
            .map_err(|error| DbError::Folder { path: path.to_owned(), reason: error.to_string() })?;
        check::before_use(path)?;
        let url = path.to_str().ok_or_else(|| DbError::Open {
            path: path.clone(),
            detail: "its path is not valid UTF-8".to_owned(),
        })?;
        let writer = pool(url, 1, WRITER_PRAGMAS)?;
        migrate::run(&mut *writer.get()?)
            .map_err(|error| DbError::Migrate { path: path.clone(), detail: error.to_string() })?;
        Ok(Self { writer, readers: pool(url, READERS, READER_PRAGMAS)? })
    }

    /// Runs `work` on the writing connection, on a thread where blocking is allowed.
    pub fn write<T, F>(&self, work: F) -> impl Future<Output = Result<T, DbError>> + Send + use<T, F>
    where
        F: FnOnce(&mut DbConnection) -> QueryResult<T> + Send + 'static,
        T: Send + 'static,
    {
        run(self.writer.clone(), work)
    }

    /// Runs `work` on a reading connection, on a thread where blocking is allowed.
    pub fn read<T, F>(&self, work: F) -> impl Future<Output = Result<T, DbError>> + Send + use<T, F>
    where
        F: FnOnce(&mut DbConnection) -> QueryResult<T> + Send + 'static,
        T: Send + 'static,
    {
        run(self.readers.clone(), work)
    }

    /// [`Database::write`] on this very thread, for boot and tests.
    pub fn write_blocking<T>(
        &self,
        work: impl FnOnce(&mut DbConnection) -> QueryResult<T>,
    ) -> Result<T, DbError> {
        run_blocking(&self.writer, work)
    }

    /// [`Database::read`] on this very thread, for boot and tests.
    pub fn read_blocking<T>(
        &self,
        work: impl FnOnce(&mut DbConnection) -> QueryResult<T>,
    ) -> Result<T, DbError> {
        run_blocking(&self.readers, work)
    }
}

/// Runs `work` on a connection that only reads, beside whoever has the database open; nothing is made or changed.
/// Blocking, for commands.
pub fn read_beside<T>(
    path: &Path,
    work: impl FnOnce(&mut DbConnection) -> QueryResult<T>,
) -> Result<T, DbError> {
    let mut conn = check::open_beside(path)?;
    conn.batch_execute(READER_PRAGMAS)?;
    Ok(work(&mut conn)?)
}

/// Everything that `work` writes, or nothing; inside such a transaction a part of it.
pub fn all_or_nothing<T>(
    conn: &mut DbConnection,
    work: impl FnOnce(&mut DbConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    let status = AnsiTransactionManager::transaction_manager_status_mut(conn);
    match status.transaction_depth()? {
        Some(_) => conn.transaction(work),
        // Whoever reads first and writes later would have to give up where somebody else has written meanwhile.
        None => conn.immediate_transaction(work),
    }
}

/// Does the database answer?
pub fn ping(conn: &mut DbConnection) -> QueryResult<()> {
    conn.batch_execute("SELECT 1")
}

/// How large the database is.
pub fn size_bytes(conn: &mut DbConnection) -> QueryResult<i64> {
    let size = "page_count * page_size FROM pragma_page_count(), pragma_page_size()";
    diesel::select(diesel::dsl::sql::<diesel::sql_types::BigInt>(size)).get_result(conn)
}

/// The one door to blocking code.
#[allow(clippy::disallowed_methods, reason = "this is the door")]
async fn run<T, F>(pool: DbPool, work: F) -> Result<T, DbError>
where
    F: FnOnce(&mut DbConnection) -> QueryResult<T> + Send + 'static,
    T: Send + 'static,
{
    tokio::task::spawn_blocking(move || run_blocking(&pool, work)).await?
}

fn run_blocking<T>(
    pool: &DbPool,
    work: impl FnOnce(&mut DbConnection) -> QueryResult<T>,
) -> Result<T, DbError> {
    Ok(work(&mut *pool.get()?)?)
}

/// The timeout comes first, since switching to WAL may have to wait for another process.
///
/// `NORMAL` can lose the last transactions when the *machine* loses power, never the database; source:
/// <https://www.sqlite.org/pragma.html#pragma_synchronous>.
const WRITER_PRAGMAS: &str = "
    PRAGMA busy_timeout = 5000;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA foreign_keys = ON;
";
const READER_PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON; PRAGMA query_only = ON;";

/// A pool of `size` connections that live as long as it does.
fn pool(url: &str, size: u32, pragmas: &'static str) -> Result<DbPool, DbError> {
    let pool = Pool::builder()
        .max_size(size)
        .connection_timeout(CONNECTION_TIMEOUT)
        .connection_customizer(Box::new(Pragmas(pragmas)))
        // A file does not hang up, so there is nothing to test and nothing to renew.
        .test_on_check_out(false)
        .max_lifetime(None)
        .idle_timeout(None)
        .build(ConnectionManager::new(url))?;
    Ok(pool)
}

/// Statements that each new connection runs first.
#[derive(Debug)]
struct Pragmas(&'static str);

impl CustomizeConnection<DbConnection, diesel::r2d2::Error> for Pragmas {
    fn on_acquire(&self, conn: &mut DbConnection) -> Result<(), diesel::r2d2::Error> {
        conn.batch_execute(self.0).map_err(diesel::r2d2::Error::QueryError)
    }
}

/// A database in a folder of its own, gone with the returned guard.
#[cfg(test)]
pub(crate) fn test_database() -> (Database, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let database = Database::open(&dir.path().join("test_db")).expect("a fresh database opens");
    (database, dir)
}

#[cfg(test)]
mod tests {
    use super::{schema::counters, *};
    use diesel::prelude::*;

    fn insert(conn: &mut DbConnection, name: &str) -> QueryResult<usize> {
        diesel::insert_into(counters::table)
            .values((counters::name.eq(name), counters::value.eq(1)))
            .execute(conn)
    }

    fn count(conn: &mut DbConnection) -> QueryResult<i64> {
        counters::table.count().get_result(conn)
    }

    #[tokio::test]
    async fn what_was_written_can_be_read() {
        let (database, _dir) = test_database();

        database.write(|conn| insert(conn, "a")).await.unwrap();

        assert_eq!(database.read(count).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_reader_sees_the_last_committed_state_while_a_write_is_under_way() {
        let (database, _dir) = test_database();
        database.write_blocking(|conn| insert(conn, "before")).unwrap();

        let reader = database.clone();
        let seen = database
            .write(move |conn| {
                conn.immediate_transaction(|conn| {
                    insert(conn, "during")?;
                    Ok(reader.read_blocking(count).expect("a reader is not held up"))
                })
            })
            .await
            .unwrap();

        assert_eq!((seen, database.read_blocking(count).unwrap()), (1, 2));
    }

    #[tokio::test]
    async fn writers_queue_up_instead_of_failing_as_busy() {
        let (database, _dir) = test_database();

        let writes = (0..20).map(|n| database.write(move |conn| insert(conn, &n.to_string())));
        let results = futures_util::future::join_all(writes).await;

        assert!(results.iter().all(Result::is_ok));
        assert_eq!(database.read_blocking(count).unwrap(), 20);
    }

    #[test]
    fn a_reading_connection_cannot_write() {
        let (database, _dir) = test_database();

        assert!(database.read_blocking(|conn| insert(conn, "a")).is_err());
    }

    #[tokio::test]
    async fn a_panic_in_a_query_is_an_error_and_the_next_query_works() {
        let (database, _dir) = test_database();

        let panicked = database.write(|_| -> QueryResult<()> { panic!("on purpose") }).await;

        assert!(matches!(panicked, Err(DbError::Task(_))));
        database.write(|conn| insert(conn, "after")).await.unwrap();
    }
}
