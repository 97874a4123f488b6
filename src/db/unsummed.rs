//! Rows of the logs from before there were roll-ups: added to them piece by piece, the newest first.

use diesel::prelude::*;

use super::{
    DbConnection,
    error_logs::{ErrorLog, NewErrorLog},
    request_logs::RequestLog,
    rollups::{ModelNames, add_rollups, sum_logs},
    schema::{error_logs, request_logs, unsummed_logs},
};

/// Sums up at most `limit` rows of each log; answers whether there are more.
///
/// Where it stands is written in the same transaction, so nothing is summed up twice.
pub fn sum_older_logs(conn: &mut DbConnection, names: &mut ModelNames, limit: u32) -> QueryResult<bool> {
    conn.immediate_transaction(|conn| {
        names.load(conn)?;
        let requests = sum_requests(conn, names, limit)?;
        let errors = sum_errors(conn, names, limit)?;
        Ok(requests || errors)
    })
}

fn sum_requests(conn: &mut DbConnection, names: &mut ModelNames, limit: u32) -> QueryResult<bool> {
    let Some(before_id) = standing(conn, "request_logs")? else { return Ok(false) };
    let rows: Vec<RequestLog> = request_logs::table
        .filter(request_logs::id.lt(before_id))
        .order(request_logs::id.desc())
        .limit(limit.into())
        .select(RequestLog::as_select())
        .load(conn)?;
    add_rollups(conn, sum_logs(&rows, &[], names))?;
    stand(conn, "request_logs", rows.last().map(|row| row.id.clone()))
}

fn sum_errors(conn: &mut DbConnection, names: &mut ModelNames, limit: u32) -> QueryResult<bool> {
    let Some(before_id) = standing(conn, "error_logs")? else { return Ok(false) };
    let before_id = before_id.parse::<i64>().unwrap_or(0);
    let rows: Vec<ErrorLog> = error_logs::table
        .filter(error_logs::id.lt(before_id))
        .order(error_logs::id.desc())
        .limit(limit.into())
        .select(ErrorLog::as_select())
        .load(conn)?;
    let last = rows.last().map(|row| row.id.to_string());
    let rows: Vec<NewErrorLog> = rows.into_iter().map(NewErrorLog::from).collect();
    add_rollups(conn, sum_logs(&[], &rows, names))?;
    stand(conn, "error_logs", last)
}

/// Everything below is still to be done; `None` when nothing is.
fn standing(conn: &mut DbConnection, log: &str) -> QueryResult<Option<String>> {
    unsummed_logs::table.find(log).select(unsummed_logs::before_id).first(conn).optional()
}

fn stand(conn: &mut DbConnection, log: &str, last: Option<String>) -> QueryResult<bool> {
    let row = unsummed_logs::table.find(log);
    match &last {
        Some(id) => diesel::update(row).set(unsummed_logs::before_id.eq(id)).execute(conn)?,
        None => diesel::delete(row).execute(conn)?,
    };
    Ok(last.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        db::{
            logs::{insert_logs, tests::failure},
            request_logs::{insert_request_logs, tests::row},
            rollups::{Kind, Wanted, load_rollups},
            test_database,
        },
        domain::timeline::{DAY_MS, Step, Stretch, floor},
    };

    fn requests(conn: &mut DbConnection, kind: Kind) -> QueryResult<i64> {
        let from_ms = floor(row(0).started_at_ms, DAY_MS);
        let stretch = Stretch { step: Step::Day, from_ms, to_ms: from_ms + DAY_MS };
        let found = load_rollups(conn, Wanted { kind, names: None, model: None }, &[stretch], 1000)?;
        Ok(found.iter().map(|rollup| rollup.totals.requests).sum())
    }

    #[test]
    fn rows_from_before_are_summed_up_once_beside_new_ones() {
        let (database, _dir) = test_database();

        database
            .write_blocking(|conn| {
                let old: Vec<_> = (0..25).map(row).collect();
                insert_request_logs(conn, &old)?;
                crate::db::error_logs::insert_error_logs(conn, &[failure(1), failure(2)])?;
                diesel::insert_into(unsummed_logs::table)
                    .values([
                        (
                            unsummed_logs::log.eq("request_logs"),
                            unsummed_logs::before_id.eq(row(24).id + "~"),
                        ),
                        (unsummed_logs::log.eq("error_logs"), unsummed_logs::before_id.eq("3".to_owned())),
                    ])
                    .execute(conn)?;
                let mut names = ModelNames::default();
                insert_logs(conn, &mut names, &[row(30), row(31)], &[], &[])?;

                let mut steps = 0;
                while sum_older_logs(conn, &mut names, 10)? {
                    steps += 1;
                }

                assert_eq!(steps, 3);
                assert_eq!(requests(conn, Kind::Total)?, 27);
                assert!(!sum_older_logs(conn, &mut names, 10)?);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn a_fresh_database_has_nothing_to_sum_up() {
        let (database, _dir) = test_database();

        let more = database.write_blocking(|conn| sum_older_logs(conn, &mut ModelNames::default(), 10));

        assert!(!more.unwrap());
    }
}
