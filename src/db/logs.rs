//! Both logs and their sums at once, and the history of keys with them: what belongs to a batch is written together.

use diesel::{
    prelude::*,
    result::{DatabaseErrorKind, Error},
};

use super::{
    DbConnection,
    error_logs::{NewErrorLog, insert_error_logs},
    key_events::insert_key_events,
    request_logs::{RequestLog, insert_request_logs},
    rollups::{ModelNames, add_rollups, sum_logs},
};
use crate::domain::key_event::KeyEvent;

/// A row that breaks a rule of its table and so can never be written, such as one whose id is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenRow {
    pub request_id: String,
    /// The rule, in the database's words.
    pub reason: String,
}

/// Writes the rows of both logs, adds them to the roll-ups, and writes what happened to keys, in one transaction; answers with those that had to be
/// left out.
///
/// A failure of anything but a row writes nothing at all, so the same rows can be given again.
pub fn insert_logs(
    conn: &mut DbConnection,
    names: &mut ModelNames,
    requests: &[RequestLog],
    errors: &[NewErrorLog],
    events: &[KeyEvent],
) -> QueryResult<Vec<BrokenRow>> {
    let together = conn.immediate_transaction(|conn| {
        names.load(conn)?;
        insert_request_logs(conn, requests)?;
        insert_error_logs(conn, errors)?;
        insert_key_events(conn, events)?;
        add_rollups(conn, sum_logs(requests, errors, names))
    });
    match together {
        Ok(()) => Ok(Vec::new()),
        Err(error) if broken_rule(&error).is_some() => {
            insert_one_by_one(conn, names, requests, errors, events)
        }
        Err(error) => Err(error),
    }
}

/// Slower, and stopped by no single row.
fn insert_one_by_one(
    conn: &mut DbConnection,
    names: &mut ModelNames,
    requests: &[RequestLog],
    errors: &[NewErrorLog],
    events: &[KeyEvent],
) -> QueryResult<Vec<BrokenRow>> {
    conn.immediate_transaction(|conn| {
        let mut broken = Vec::new();
        insert_key_events(conn, events)?;
        for row in requests {
            let row = std::slice::from_ref(row);
            let inserted = conn.transaction(|conn| {
                insert_request_logs(conn, row)?;
                add_rollups(conn, sum_logs(row, &[], names))
            });
            broken.extend(unless_written(inserted, &row[0].id)?);
        }
        for row in errors {
            let row = std::slice::from_ref(row);
            let inserted = conn.transaction(|conn| {
                insert_error_logs(conn, row)?;
                add_rollups(conn, sum_logs(&[], row, names))
            });
            broken.extend(unless_written(inserted, &row[0].request_id)?);
        }
        Ok(broken)
    })
}

fn unless_written(inserted: QueryResult<()>, request_id: &str) -> QueryResult<Option<BrokenRow>> {
    let Err(error) = inserted else { return Ok(None) };
    match broken_rule(&error) {
        Some(reason) => Ok(Some(BrokenRow { request_id: request_id.to_owned(), reason })),
        None => Err(error),
    }
}

/// What the row did wrong; `None` when it is not to blame.
fn broken_rule(error: &Error) -> Option<String> {
    match error {
        Error::DatabaseError(
            DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::CheckViolation,
            rule,
        ) => Some(rule.message().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use diesel::connection::SimpleConnection;

    use super::*;
    use crate::db::{
        error_logs::list_error_logs, request_logs::list_request_logs, request_logs::tests::row, test_database,
    };

    pub(crate) fn failure(n: i64) -> NewErrorLog {
        NewErrorLog {
            request_id: row(n).id,
            at_ms: row(n).started_at_ms,
            key_id: None,
            model: "gemini-2.5-flash".into(),
            status: Some(503),
            kind: "overloaded".into(),
            message: String::new(),
            request_body: None,
        }
    }

    /// From now on nothing gets into the error log.
    pub(crate) fn close_error_log(conn: &mut DbConnection) -> QueryResult<()> {
        conn.batch_execute(
            "CREATE TRIGGER closed BEFORE INSERT ON error_logs BEGIN SELECT RAISE(ABORT, 'closed'); END",
        )
    }

    pub(crate) fn open_error_log(conn: &mut DbConnection) -> QueryResult<()> {
        conn.batch_execute("DROP TRIGGER closed")
    }

    /// Rows in the request log and in the error log.
    pub(crate) fn count(conn: &mut DbConnection) -> QueryResult<(usize, usize)> {
        Ok((list_request_logs(conn, 1000)?.len(), list_error_logs(conn, 1000)?.len()))
    }

    #[test]
    fn when_one_log_takes_nothing_the_other_keeps_nothing_either() {
        let (database, _dir) = test_database();
        let mut names = ModelNames::default();

        database
            .write_blocking(|conn| {
                close_error_log(conn)?;
                assert!(insert_logs(conn, &mut names, &[row(1)], &[failure(1)], &[]).is_err());
                assert_eq!(count(conn)?, (0, 0));

                open_error_log(conn)?;
                assert_eq!(insert_logs(conn, &mut names, &[row(1)], &[failure(1)], &[])?, []);
                assert_eq!(count(conn)?, (1, 1));
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn a_row_whose_id_is_taken_is_left_out_and_named_and_all_others_are_written() {
        let (database, _dir) = test_database();
        let mut names = ModelNames::default();

        database
            .write_blocking(|conn| {
                insert_logs(conn, &mut names, &[row(2)], &[], &[])?;
                let broken =
                    insert_logs(conn, &mut names, &[row(1), row(2), row(3)], &[failure(1), failure(3)], &[])?;
                let ids: Vec<_> = broken.iter().map(|row| &row.request_id).collect();
                assert_eq!(ids, [&row(2).id]);
                assert!(broken[0].reason.contains("request_logs.id"), "{broken:?}");
                assert_eq!(count(conn)?, (3, 2));
                Ok(())
            })
            .unwrap();
    }
}
