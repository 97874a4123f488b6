//! Looking for failed attempts: page by page, newest first, and never over more rows at once than can be looked at
//! quickly.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::ErrorLog;
use crate::db::{DbConnection, request_logs::Page, schema::error_logs};

/// Rows that one page looks at.
const EXAMINED: u32 = 10_000;

/// What a failed attempt must be like; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorFilter {
    pub from_ms: Option<i64>,
    /// It was noted before.
    pub to_ms: Option<i64>,
    pub key_id: Option<i64>,
    pub request_id: Option<String>,
    pub model: Option<String>,
    /// Google's HTTP status.
    pub status: Option<i32>,
    pub kind: Option<String>,
    /// A part of what Google said.
    pub message: Option<String>,
}

/// Rows that are looked at to find out what they have in common.
const SKETCHED: u32 = 20_000;

/// What a failed attempt has in common with others.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = error_logs)]
pub struct Sketch {
    pub at_ms: i64,
    pub request_id: String,
    pub key_id: Option<i64>,
    pub model: String,
    pub status: Option<i32>,
    pub kind: String,
    pub message: String,
}

/// A place between rows; those that come later are older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub at_ms: i64,
    pub id: i64,
}

type Boxed<'a> = error_logs::BoxedQuery<'a, diesel::sqlite::Sqlite>;

impl ErrorFilter {
    /// What an index finds, newest first.
    fn range(&self, before: Option<Place>) -> Boxed<'static> {
        let mut query =
            error_logs::table.order((error_logs::at_ms.desc(), error_logs::id.desc())).into_boxed();
        if let Some(Place { at_ms, id }) = before {
            let is_older = error_logs::at_ms.lt(at_ms).or(error_logs::id.lt(id));
            query = query.filter(error_logs::at_ms.le(at_ms).and(is_older));
        }
        if let Some(from_ms) = self.from_ms {
            query = query.filter(error_logs::at_ms.ge(from_ms));
        }
        if let Some(to_ms) = self.to_ms {
            query = query.filter(error_logs::at_ms.lt(to_ms));
        }
        if let Some(request_id) = &self.request_id {
            query = query.filter(error_logs::request_id.eq(request_id.clone()));
        }
        match self.key_id {
            Some(key_id) => query.filter(error_logs::key_id.eq(key_id)),
            None => query,
        }
    }

    /// Everything that matches and is not older than the horizon.
    fn within(&self, before: Option<Place>, horizon_ms: Option<i64>) -> Boxed<'static> {
        let mut query = self.range(before);
        if let Some(horizon_ms) = horizon_ms {
            query = query.filter(error_logs::at_ms.ge(horizon_ms));
        }
        if let Some(model) = &self.model {
            query = query.filter(error_logs::model.eq(model.clone()));
        }
        if let Some(status) = self.status {
            query = query.filter(error_logs::status.eq(status));
        }
        if let Some(kind) = &self.kind {
            query = query.filter(error_logs::kind.eq(kind.clone()));
        }
        if let Some(part) = &self.message {
            query = query.filter(error_logs::message.like(containing(part)).escape('\\'));
        }
        query
    }

    /// The time of the last row that is looked at, where there are more behind it.
    fn horizon(&self, conn: &mut DbConnection, before: Option<Place>) -> QueryResult<Option<i64>> {
        let Self { from_ms, to_ms, key_id, request_id, .. } = self.clone();
        if *self == (Self { from_ms, to_ms, key_id, request_id, ..Self::default() }) {
            return Ok(None);
        }
        let query = self.range(before).offset(EXAMINED.into()).limit(1);
        query.select(error_logs::at_ms).first(conn).optional()
    }
}

/// A pattern for whatever has that text in it.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern + "%"
}

/// The newest matches that come after that place, at most `limit`.
pub fn search_error_logs(
    conn: &mut DbConnection,
    filter: &ErrorFilter,
    before: Option<Place>,
    limit: u32,
) -> QueryResult<Page<ErrorLog, Place>> {
    let horizon = filter.horizon(conn, before)?;
    let query = filter.within(before, horizon).limit(i64::from(limit) + 1);
    let mut rows: Vec<ErrorLog> = query.select(ErrorLog::as_select()).load(conn)?;
    let is_full = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = if is_full {
        rows.last().map(|row| Place { at_ms: row.at_ms, id: row.id })
    } else {
        // All of that millisecond were looked at.
        horizon.map(|at_ms| Place { at_ms, id: i64::MIN })
    };
    Ok(Page { rows, next })
}

/// The newest matches, as many as can be looked at together; the next page says that there are more.
pub fn sketch_error_logs(conn: &mut DbConnection, filter: &ErrorFilter) -> QueryResult<Page<Sketch, Place>> {
    let horizon = filter.range(None).offset(SKETCHED.into()).limit(1);
    let horizon: Option<(i64, i64)> =
        horizon.select((error_logs::at_ms, error_logs::id)).first(conn).optional()?;
    let query = filter.within(None, horizon.map(|(at_ms, _)| at_ms)).limit(SKETCHED.into());
    let rows = query.select(Sketch::as_select()).load(conn)?;
    Ok(Page { rows, next: horizon.map(|(at_ms, id)| Place { at_ms, id }) })
}

/// Deletes the newest matches after that place, at most `limit` (up to 10,000), and gives their number as the only row.
///
/// One small step: the caller goes on where it says.
pub fn delete_error_logs(
    conn: &mut DbConnection,
    filter: &ErrorFilter,
    before: Option<Place>,
    limit: u32,
) -> QueryResult<Page<usize, Place>> {
    conn.immediate_transaction(|conn| {
        let found = search_error_logs(conn, filter, before, limit.min(crate::db::MAX_PRUNE_STEP))?;
        let ids: Vec<i64> = found.rows.iter().map(|row| row.id).collect();
        let deleted = diesel::delete(error_logs::table.filter(error_logs::id.eq_any(ids))).execute(conn)?;
        Ok(Page { rows: vec![deleted], next: found.next })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{
        error_logs::{NewErrorLog, insert_error_logs},
        logs::tests::failure,
        test_database,
    };

    #[test]
    fn each_condition_leaves_out_what_is_not_like_it() {
        let (database, _dir) = test_database();
        let odd = NewErrorLog {
            key_id: Some(9),
            model: "other-model".into(),
            status: Some(429),
            kind: "quota_minute".into(),
            message: "100% of the quota_ is used".into(),
            ..failure(50)
        };
        let rows: Vec<_> = (0..20).map(failure).chain([odd.clone()]).collect();
        database.write_blocking(|conn| insert_error_logs(conn, &rows)).unwrap();
        let any = ErrorFilter::default;

        for filter in [
            ErrorFilter { from_ms: Some(odd.at_ms), ..any() },
            ErrorFilter { key_id: Some(9), ..any() },
            ErrorFilter { request_id: Some(odd.request_id.clone()), ..any() },
            ErrorFilter { model: Some("other-model".into()), ..any() },
            ErrorFilter { status: Some(429), ..any() },
            ErrorFilter { kind: Some("quota_minute".into()), ..any() },
            ErrorFilter { message: Some("100% of".into()), ..any() },
            ErrorFilter { message: Some("QUOTA_ is".into()), ..any() },
        ] {
            let page = database.read_blocking(|conn| search_error_logs(conn, &filter, None, 100)).unwrap();
            let times: Vec<_> = page.rows.iter().map(|row| row.at_ms).collect();
            assert_eq!((times, page.next), (vec![odd.at_ms], None), "{filter:?}");
        }
        let none = ErrorFilter { message: Some("10_%".into()), ..any() };
        let page = database.read_blocking(|conn| search_error_logs(conn, &none, None, 100)).unwrap();
        assert_eq!(page.rows, []);
    }

    #[test]
    fn pages_go_through_rows_of_the_same_millisecond() {
        let (database, _dir) = test_database();
        let rows: Vec<_> = (0..25).map(|n| failure(n / 10)).collect();
        database.write_blocking(|conn| insert_error_logs(conn, &rows)).unwrap();

        let (mut ids, mut before) = (Vec::new(), None);
        loop {
            let page = database
                .read_blocking(|conn| search_error_logs(conn, &ErrorFilter::default(), before, 4))
                .unwrap();
            ids.extend(page.rows.into_iter().map(|row| row.id));
            before = page.next;
            if before.is_none() {
                break;
            }
        }

        assert_eq!(ids, (1..=25).rev().collect::<Vec<_>>());
    }

    #[test]
    fn deletion_takes_the_matches_alone() {
        let (database, _dir) = test_database();
        let rows: Vec<_> = (0..20)
            .map(|n| NewErrorLog { status: Some(if n < 15 { 503 } else { 429 }), ..failure(n) })
            .collect();
        let filter = ErrorFilter { status: Some(503), ..ErrorFilter::default() };

        database
            .write_blocking(|conn| {
                insert_error_logs(conn, &rows)?;
                let first = delete_error_logs(conn, &filter, None, 10)?;
                let second = delete_error_logs(conn, &filter, first.next, 10)?;
                assert_eq!((first.rows, second.rows, second.next), (vec![10], vec![5], None));
                assert_eq!(search_error_logs(conn, &ErrorFilter::default(), None, 100)?.rows.len(), 5);
                Ok(())
            })
            .unwrap();
    }
}
