//! The request log: one row per client request. No secrets, no prompts.

use std::borrow::Cow;

use diesel::prelude::*;

use super::{DbConnection, schema::request_logs};

mod search;

pub use search::{
    Count, Page, RequestFilter, StatusMatch, count_request_logs, delete_request_logs, search_request_logs,
};

/// A finished request. The id is a UUID of version 7 in 32 hexadecimal digits, which makes ids sort by time.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = request_logs, treat_none_as_default_value = false)]
pub struct RequestLog {
    /// The request id that the client was told.
    pub id: String,
    /// When its head had arrived, in UTC milliseconds; the beginning of the id says the same.
    pub started_at_ms: i64,
    /// From then to the last byte of the answer.
    pub duration_ms: i64,
    /// `gemini`, `openai`, …
    pub dialect: Cow<'static, str>,
    pub endpoint: Cow<'static, str>,
    pub model: String,
    pub stream: bool,
    /// The HTTP status that the client got.
    pub status: i32,
    /// The key that answered; `None` when none did.
    pub key_id: Option<i64>,
    /// The name of the client's token, never the token.
    pub token_id: Option<String>,
    pub client_ip: Option<String>,
    pub attempts: i32,
    /// JSON list with one entry per attempt.
    pub trail: String,
    /// From the start to the first byte of content sent; `None` when none was.
    pub first_byte_ms: Option<i64>,
    pub prompt_tokens: i64,
    pub cached_tokens: i64,
    pub output_tokens: i64,
    pub thoughts_tokens: i64,
    /// One word for what went wrong; `None` when nothing did.
    pub error: Option<Cow<'static, str>>,
    /// `NODE_NAME`.
    pub node: Option<String>,
}

/// The last millisecond that has an id.
const LAST_MS: i64 = (1 << 48) - 1;

/// Writes a batch, all or none; inside a running transaction it is a part of that.
///
/// One prepared statement per row: measured a fifth cheaper than statements with many rows, which SQLite has to
/// parse anew each time.
pub fn insert_request_logs(conn: &mut DbConnection, rows: &[RequestLog]) -> QueryResult<()> {
    conn.transaction(|conn| {
        for row in rows {
            diesel::insert_into(request_logs::table).values(row).execute(conn)?;
        }
        Ok(())
    })
}

/// The row of a request; `None` when it is not written yet, or pruned.
pub fn find_request_log(conn: &mut DbConnection, id: &str) -> QueryResult<Option<RequestLog>> {
    request_logs::table.find(id).select(RequestLog::as_select()).first(conn).optional()
}

/// The newest `limit` rows, newest first.
pub fn list_request_logs(conn: &mut DbConnection, limit: u32) -> QueryResult<Vec<RequestLog>> {
    request_logs::table
        .order(request_logs::id.desc())
        .limit(limit.into())
        .select(RequestLog::as_select())
        .load(conn)
}

/// Deletes at most `limit` (up to 10,000) of the rows that started before `cutoff_ms`, oldest first.
///
/// One small step: the caller repeats it while the returned number of deleted rows equals `limit`, so that batches
/// of new rows get their turn in between.
pub fn delete_older_than(conn: &mut DbConnection, cutoff_ms: i64, limit: u32) -> QueryResult<usize> {
    conn.immediate_transaction(|conn| {
        let ids: Vec<String> = request_logs::table
            .filter(request_logs::id.lt(first_id_at(cutoff_ms)))
            .order(request_logs::id)
            .limit(limit.min(super::MAX_PRUNE_STEP).into())
            .select(request_logs::id)
            .load(conn)?;
        diesel::delete(request_logs::table.filter(request_logs::id.eq_any(ids))).execute(conn)
    })
}

/// All rows. Walks over the smallest index, which takes about a second with ten million.
pub fn count_rows(conn: &mut DbConnection) -> QueryResult<u64> {
    request_logs::table.count().get_result::<i64>(conn).map(i64::unsigned_abs)
}

/// Deletes at most `limit` (up to 10,000) of the rows, the oldest.
pub fn delete_oldest(conn: &mut DbConnection, limit: u32) -> QueryResult<usize> {
    delete_older_than(conn, i64::MAX, limit)
}

/// Not above any id of that millisecond: a UUID of version 7 begins with 48 bits of Unix milliseconds.
/// Source: RFC 9562, section 5.7.
fn first_id_at(unix_ms: i64) -> String {
    format!("{:012x}", unix_ms.clamp(0, LAST_MS))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::db::test_database;

    const START_MS: i64 = 1_790_000_000_000;

    pub(crate) fn row(n: i64) -> RequestLog {
        RequestLog {
            id: format!("{:012x}70008000{n:012}", START_MS + n),
            started_at_ms: START_MS + n,
            duration_ms: 1234,
            dialect: "openai".into(),
            endpoint: "chat/completions".into(),
            model: "gemini-2.5-flash".into(),
            stream: true,
            status: 200,
            key_id: Some(n % 50),
            token_id: Some("allowed-1".into()),
            client_ip: None,
            attempts: 1,
            trail: r#"[{"key":7,"status":200,"outcome":"success","ms":1200}]"#.into(),
            first_byte_ms: Some(321),
            prompt_tokens: 100,
            cached_tokens: 0,
            output_tokens: 50,
            thoughts_tokens: 20,
            error: None,
            node: Some("node-1".into()),
        }
    }

    fn rows(range: std::ops::Range<i64>) -> Vec<RequestLog> {
        range.map(row).collect()
    }

    #[test]
    fn rows_come_back_as_they_were_written_newest_first() {
        let (database, _dir) = test_database();

        database
            .write_blocking(|conn| {
                insert_request_logs(conn, &rows(0..250))?;
                assert_eq!(find_request_log(conn, &row(7).id)?, Some(row(7)));
                assert_eq!(find_request_log(conn, "unknown")?, None);
                assert_eq!(list_request_logs(conn, 2)?, [row(249), row(248)]);
                insert_request_logs(conn, &[])
            })
            .unwrap();
    }

    #[test]
    fn a_batch_with_one_bad_row_is_not_written_at_all() {
        let (database, _dir) = test_database();

        database
            .write_blocking(|conn| {
                let mut batch = rows(0..150);
                batch.push(row(3));
                assert!(insert_request_logs(conn, &batch).is_err());
                assert_eq!(list_request_logs(conn, 10)?, []);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn pruning_goes_in_steps_from_the_oldest_and_stops_at_the_cutoff() {
        let (database, _dir) = test_database();

        database
            .write_blocking(|conn| {
                insert_request_logs(conn, &rows(0..25))?;
                let cutoff = row(20).started_at_ms;
                let deleted: Vec<usize> =
                    (0..4).map(|_| delete_older_than(conn, cutoff, 8)).collect::<QueryResult<_>>()?;
                assert_eq!(deleted, [8, 8, 4, 0]);
                assert_eq!(list_request_logs(conn, 100)?.last(), Some(&row(20)));
                Ok(())
            })
            .unwrap();
    }
}
