//! The error log: one row per failure worth reading about. No secrets.

use diesel::prelude::*;

use super::{DbConnection, counters, schema::error_logs};

mod search;

pub use search::{ErrorFilter, Place, Sketch, delete_error_logs, search_error_logs, sketch_error_logs};

/// A failure to be written.
#[derive(Debug, Clone, PartialEq, Eq, Insertable)]
#[diesel(table_name = error_logs, treat_none_as_default_value = false)]
pub struct NewErrorLog {
    /// The request that it happened to.
    pub request_id: String,
    /// UTC milliseconds.
    pub at_ms: i64,
    pub key_id: Option<i64>,
    pub model: String,
    /// The upstream's HTTP status; `None` when it did not answer.
    pub status: Option<i32>,
    /// One word, as `Outcome::name` gives it.
    pub kind: String,
    /// What the upstream said.
    pub message: String,
    /// Only with `ERROR_LOG_RECORD_REQUEST_BODY`.
    pub request_body: Option<String>,
}

/// A failure as it comes back; the fields are those of [`NewErrorLog`].
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = error_logs)]
pub struct ErrorLog {
    pub id: i64,
    pub request_id: String,
    pub at_ms: i64,
    pub key_id: Option<i64>,
    pub model: String,
    pub status: Option<i32>,
    pub kind: String,
    pub message: String,
    pub request_body: Option<String>,
}

/// As it was before it had an id.
impl From<ErrorLog> for NewErrorLog {
    fn from(row: ErrorLog) -> Self {
        let ErrorLog { id: _, request_id, at_ms, key_id, model, status, kind, message, request_body } = row;
        Self { request_id, at_ms, key_id, model, status, kind, message, request_body }
    }
}

/// Writes a batch, all or none; ids follow the order of the rows. Inside a running transaction it is a part of that.
pub fn insert_error_logs(conn: &mut DbConnection, rows: &[NewErrorLog]) -> QueryResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    conn.transaction(|conn| {
        let first = counters::reserve(conn, "error_logs", rows.len())?;
        for (id, row) in (first..).zip(rows) {
            diesel::insert_into(error_logs::table).values((error_logs::id.eq(id), row)).execute(conn)?;
        }
        Ok(())
    })
}

/// `None` when it is pruned, or there never was one.
pub fn find_error_log(conn: &mut DbConnection, id: i64) -> QueryResult<Option<ErrorLog>> {
    error_logs::table.find(id).select(ErrorLog::as_select()).first(conn).optional()
}

/// The newest `limit` rows, newest first.
pub fn list_error_logs(conn: &mut DbConnection, limit: u32) -> QueryResult<Vec<ErrorLog>> {
    error_logs::table
        .order(error_logs::id.desc())
        .limit(limit.into())
        .select(ErrorLog::as_select())
        .load(conn)
}

/// Deletes at most `limit` (up to 10,000) of the rows from before `cutoff_ms`, oldest first; see
/// [`super::request_logs::delete_older_than`].
pub fn delete_older_than(conn: &mut DbConnection, cutoff_ms: i64, limit: u32) -> QueryResult<usize> {
    conn.immediate_transaction(|conn| {
        let ids: Vec<i64> = error_logs::table
            .filter(error_logs::at_ms.lt(cutoff_ms))
            .order(error_logs::at_ms)
            .limit(limit.min(super::MAX_PRUNE_STEP).into())
            .select(error_logs::id)
            .load(conn)?;
        diesel::delete(error_logs::table.filter(error_logs::id.eq_any(ids))).execute(conn)
    })
}

/// All rows.
pub fn count_rows(conn: &mut DbConnection) -> QueryResult<u64> {
    error_logs::table.count().get_result::<i64>(conn).map(i64::unsigned_abs)
}

/// Deletes at most `limit` (up to 10,000) of the rows, the oldest.
pub fn delete_oldest(conn: &mut DbConnection, limit: u32) -> QueryResult<usize> {
    delete_older_than(conn, i64::MAX, limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::test_database;

    fn failure(at_ms: i64) -> NewErrorLog {
        NewErrorLog {
            request_id: format!("request-{at_ms}"),
            at_ms,
            key_id: Some(3),
            model: "gemini-2.5-pro".into(),
            status: None,
            kind: "timed_out".into(),
            message: "no answer within 120 s".into(),
            request_body: None,
        }
    }

    #[test]
    fn failures_come_back_newest_first_with_ids_in_order() {
        let (database, _dir) = test_database();

        database
            .write_blocking(|conn| {
                insert_error_logs(conn, &[failure(10), failure(20)])?;
                insert_error_logs(conn, &[])?;
                insert_error_logs(conn, &[failure(30)])?;
                let listed: Vec<_> =
                    list_error_logs(conn, 2)?.into_iter().map(|row| (row.id, row.at_ms)).collect();
                assert_eq!(listed, [(3, 30), (2, 20)]);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn pruning_goes_in_steps_and_stops_at_the_cutoff() {
        let (database, _dir) = test_database();

        database
            .write_blocking(|conn| {
                insert_error_logs(conn, &[failure(1), failure(2), failure(3), failure(4)])?;
                assert_eq!(delete_older_than(conn, 4, 2)?, 2);
                assert_eq!(delete_older_than(conn, 4, 2)?, 1);
                assert_eq!(list_error_logs(conn, 10)?.len(), 1);
                Ok(())
            })
            .unwrap();
    }
}
