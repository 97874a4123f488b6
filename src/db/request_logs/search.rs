//! Looking for requests: page by page, newest first, and never over more rows at once than can be looked at quickly.

use diesel::prelude::*;

use super::{RequestLog, first_id_at};
use crate::db::{DbConnection, schema::request_logs};

/// Rows that one page looks at: a rare thing among millions is found in several steps.
const EXAMINED: u32 = 20_000;
/// Matches are counted up to here.
const COUNTED: u32 = 1_000;

/// What a request must be like; what is `None` or empty does not matter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RequestFilter {
    pub from_ms: Option<i64>,
    /// It began before.
    pub to_ms: Option<i64>,
    /// How its id begins.
    pub id: Option<String>,
    pub model: Option<String>,
    pub dialect: Option<String>,
    pub endpoint: Option<String>,
    /// The key that answered.
    pub key_id: Option<i64>,
    pub token_id: Option<String>,
    /// One of these.
    pub statuses: Vec<StatusMatch>,
    pub error: Option<String>,
    pub stream: Option<bool>,
    /// It took more than one attempt.
    pub retried: Option<bool>,
    /// An attempt of it had an empty answer.
    pub empty: Option<bool>,
    pub min_duration_ms: Option<i64>,
    pub max_duration_ms: Option<i64>,
    pub client_ip: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusMatch {
    /// Nothing went wrong.
    Ok,
    /// The client was told an error, perhaps in a stream that had begun with 200.
    Error,
    /// The HTTP status lies between these, both included.
    Between(i32, i32),
}

/// A part of what was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, Place = String> {
    /// Newest first.
    pub rows: Vec<T>,
    /// Where the next page begins; `None` when everything was looked at. A page may be short, or empty, and still not be
    /// the last one.
    pub next: Option<Place>,
}

/// How many requests match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub at_least: u32,
    pub is_exact: bool,
}

type Boxed<'a> = request_logs::BoxedQuery<'a, diesel::sqlite::Sqlite>;

impl RequestFilter {
    /// Whether every row of the range, or of the key, matches, so that as many are looked at as are wanted.
    fn is_plain(&self) -> bool {
        let Self { from_ms, to_ms, id, key_id, .. } = self;
        let plain =
            Self { from_ms: *from_ms, to_ms: *to_ms, id: id.clone(), key_id: *key_id, ..Self::default() };
        *self == plain
    }

    /// What an index finds.
    fn range<'a>(&self, before: Option<&'a str>) -> Boxed<'a> {
        let mut query = request_logs::table.into_boxed();
        if let Some(before) = before {
            query = query.filter(request_logs::id.lt(before));
        }
        if let Some(from_ms) = self.from_ms {
            query = query.filter(request_logs::id.ge(first_id_at(from_ms)));
        }
        if let Some(to_ms) = self.to_ms {
            query = query.filter(request_logs::id.lt(first_id_at(to_ms)));
        }
        if let Some(id) = &self.id {
            // 'g' comes after every hexadecimal digit.
            query = query.filter(request_logs::id.ge(id.clone()).and(request_logs::id.lt(format!("{id}g"))));
        }
        match self.key_id {
            Some(key_id) => query.filter(request_logs::key_id.eq(key_id)),
            None => query,
        }
    }

    /// What has to be looked at.
    fn narrow<'a>(&self, mut query: Boxed<'a>) -> Boxed<'a> {
        if let Some(model) = &self.model {
            query = query.filter(request_logs::model.eq(model.clone()));
        }
        if let Some(dialect) = &self.dialect {
            query = query.filter(request_logs::dialect.eq(dialect.clone()));
        }
        if let Some(endpoint) = &self.endpoint {
            query = query.filter(request_logs::endpoint.eq(endpoint.clone()));
        }
        if let Some(token_id) = &self.token_id {
            query = query.filter(request_logs::token_id.eq(token_id.clone()));
        }
        if let Some(client_ip) = &self.client_ip {
            query = query.filter(request_logs::client_ip.eq(client_ip.clone()));
        }
        if let Some(error) = &self.error {
            query = query.filter(request_logs::error.eq(error.clone()));
        }
        self.narrow_by_course(self.narrow_by_status(query))
    }

    fn narrow_by_status<'a>(&self, query: Boxed<'a>) -> Boxed<'a> {
        type Condition = Box<
            dyn BoxableExpression<
                    request_logs::table,
                    diesel::sqlite::Sqlite,
                    SqlType = diesel::sql_types::Bool,
                >,
        >;
        let condition = |status: &StatusMatch| -> Condition {
            match *status {
                StatusMatch::Ok => Box::new(request_logs::status.lt(400).and(request_logs::error.is_null())),
                StatusMatch::Error => {
                    Box::new(request_logs::status.ge(400).or(request_logs::error.is_not_null()))
                }
                StatusMatch::Between(low, high) => Box::new(request_logs::status.between(low, high)),
            }
        };
        let any = self.statuses.iter().map(condition).reduce(|one, other| Box::new(one.or(other)));
        match any {
            Some(any) => query.filter(any),
            None => query,
        }
    }

    fn narrow_by_course<'a>(&self, mut query: Boxed<'a>) -> Boxed<'a> {
        /// As `upstream::trail` writes it.
        const EMPTY: &str = r#"%"outcome":"empty"%"#;
        query = match self.empty {
            Some(true) => query.filter(request_logs::trail.like(EMPTY)),
            Some(false) => query.filter(request_logs::trail.not_like(EMPTY)),
            None => query,
        };
        query = match self.retried {
            Some(true) => query.filter(request_logs::attempts.gt(1)),
            Some(false) => query.filter(request_logs::attempts.le(1)),
            None => query,
        };
        if let Some(stream) = self.stream {
            query = query.filter(request_logs::stream.eq(stream));
        }
        if let Some(min) = self.min_duration_ms {
            query = query.filter(request_logs::duration_ms.ge(min));
        }
        match self.max_duration_ms {
            Some(max) => query.filter(request_logs::duration_ms.le(max)),
            None => query,
        }
    }

    /// The last row that a page which begins there looks at, where there are more behind it.
    fn horizon(&self, conn: &mut DbConnection, before: Option<&str>) -> QueryResult<Option<String>> {
        if self.is_plain() {
            return Ok(None);
        }
        self.range(before)
            .order(request_logs::id.desc())
            .offset(EXAMINED.into())
            .limit(1)
            .select(request_logs::id)
            .first(conn)
            .optional()
    }

    fn within<'a>(&self, before: Option<&'a str>, horizon: Option<&'a str>) -> Boxed<'a> {
        let query = self.range(before).order(request_logs::id.desc());
        let query = match horizon {
            Some(horizon) => query.filter(request_logs::id.ge(horizon)),
            None => query,
        };
        self.narrow(query)
    }
}

/// The newest matches that come before `before`, at most `limit`.
pub fn search_request_logs(
    conn: &mut DbConnection,
    filter: &RequestFilter,
    before: Option<&str>,
    limit: u32,
) -> QueryResult<Page<RequestLog>> {
    let horizon = filter.horizon(conn, before)?;
    let query = filter.within(before, horizon.as_deref()).limit(i64::from(limit) + 1);
    let mut rows: Vec<RequestLog> = query.select(RequestLog::as_select()).load(conn)?;
    let is_full = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = if is_full { rows.last().map(|row| row.id.clone()) } else { horizon };
    Ok(Page { rows, next })
}

/// How many match, as far as that is quickly told.
pub fn count_request_logs(conn: &mut DbConnection, filter: &RequestFilter) -> QueryResult<Count> {
    let horizon = filter.horizon(conn, None)?;
    let query = filter.within(None, horizon.as_deref()).limit(i64::from(COUNTED) + 1);
    let ids: Vec<String> = query.select(request_logs::id).load(conn)?;
    let is_exact = horizon.is_none() && ids.len() <= COUNTED as usize;
    Ok(Count { at_least: u32::try_from(ids.len()).unwrap_or(COUNTED), is_exact })
}

/// Deletes the newest matches before `before`, at most `limit` (up to 10,000), and gives their number as the only row.
///
/// One small step: the caller goes on where it says.
pub fn delete_request_logs(
    conn: &mut DbConnection,
    filter: &RequestFilter,
    before: Option<&str>,
    limit: u32,
) -> QueryResult<Page<usize>> {
    conn.immediate_transaction(|conn| {
        let horizon = filter.horizon(conn, before)?;
        let limit = limit.min(crate::db::MAX_PRUNE_STEP);
        let query = filter.within(before, horizon.as_deref()).limit(limit.into());
        let ids: Vec<String> = query.select(request_logs::id).load(conn)?;
        let next = if ids.len() == limit as usize { ids.last().cloned() } else { horizon };
        let deleted =
            diesel::delete(request_logs::table.filter(request_logs::id.eq_any(ids))).execute(conn)?;
        Ok(Page { rows: vec![deleted], next })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{
        request_logs::{insert_request_logs, tests::row},
        test_database,
    };

    fn found(filter: &RequestFilter, rows: &[RequestLog]) -> Vec<String> {
        let (database, _dir) = test_database();
        database.write_blocking(|conn| insert_request_logs(conn, rows)).unwrap();
        let page = database.read_blocking(|conn| search_request_logs(conn, filter, None, 100)).unwrap();
        assert_eq!(page.next, None);
        page.rows.into_iter().map(|row| row.id).collect()
    }

    #[test]
    fn each_condition_leaves_out_what_is_not_like_it() {
        let odd = RequestLog {
            model: "other-model".into(),
            dialect: "gemini".into(),
            endpoint: "generateContent".into(),
            key_id: Some(999),
            token_id: Some("allowed-2".into()),
            status: 503,
            error: Some("overloaded".into()),
            stream: false,
            attempts: 3,
            duration_ms: 9_000,
            client_ip: Some("10.0.0.1".into()),
            trail: r#"[{"key_id":1,"outcome":"empty"}]"#.into(),
            ..row(50)
        };
        let rows: Vec<_> = (0..20).map(row).chain([odd.clone()]).collect();
        let any = RequestFilter::default;
        let alike = [
            RequestFilter { from_ms: Some(odd.started_at_ms), ..any() },
            RequestFilter { id: Some(odd.id.clone()), ..any() },
            RequestFilter { model: Some("other-model".into()), ..any() },
            RequestFilter { dialect: Some("gemini".into()), ..any() },
            RequestFilter { endpoint: Some("generateContent".into()), ..any() },
            RequestFilter { key_id: Some(999), ..any() },
            RequestFilter { token_id: Some("allowed-2".into()), ..any() },
            RequestFilter { statuses: vec![StatusMatch::Error], ..any() },
            RequestFilter {
                statuses: vec![StatusMatch::Between(500, 599), StatusMatch::Between(429, 429)],
                ..any()
            },
            RequestFilter { error: Some("overloaded".into()), ..any() },
            RequestFilter { stream: Some(false), ..any() },
            RequestFilter { retried: Some(true), ..any() },
            RequestFilter { empty: Some(true), ..any() },
            RequestFilter { min_duration_ms: Some(9_000), ..any() },
            RequestFilter { client_ip: Some("10.0.0.1".into()), ..any() },
        ];
        for filter in alike {
            assert_eq!(found(&filter, &rows), std::slice::from_ref(&odd.id), "{filter:?}");
        }
        let unlike = [
            RequestFilter { to_ms: Some(odd.started_at_ms), ..any() },
            RequestFilter { statuses: vec![StatusMatch::Ok], ..any() },
            RequestFilter { retried: Some(false), ..any() },
            RequestFilter { empty: Some(false), ..any() },
            RequestFilter { max_duration_ms: Some(8_999), ..any() },
        ];
        for filter in unlike {
            assert_eq!(found(&filter, &rows).len(), 20, "{filter:?}");
        }
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let (database, _dir) = test_database();
        let rows: Vec<_> = (0..25).map(row).collect();
        database.write_blocking(|conn| insert_request_logs(conn, &rows)).unwrap();

        for filter in [RequestFilter::default(), RequestFilter { stream: Some(true), ..Default::default() }] {
            let (mut ids, mut before, mut pages) = (Vec::new(), None::<String>, 0);
            loop {
                let page = database
                    .read_blocking(|conn| search_request_logs(conn, &filter, before.as_deref(), 10))
                    .unwrap();
                ids.extend(page.rows.into_iter().map(|row| row.id));
                pages += 1;
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
            assert_eq!((ids.len(), pages), (25, 3));
            assert!(ids.is_sorted_by(|one, other| one > other));
        }
    }

    #[test]
    fn what_is_rare_is_looked_for_in_steps_that_say_how_far_they_came() {
        let (database, _dir) = test_database();
        let rare = RequestLog { model: "rare".into(), ..row(0) };
        let rows: Vec<_> = [rare].into_iter().chain((1..=i64::from(EXAMINED) + 10).map(row)).collect();
        database.write_blocking(|conn| insert_request_logs(conn, &rows)).unwrap();
        let filter = RequestFilter { model: Some("rare".into()), ..RequestFilter::default() };
        let search = |before: Option<&str>| {
            database.read_blocking(|conn| search_request_logs(conn, &filter, before, 10)).unwrap()
        };

        let first = search(None);
        assert_eq!((first.rows.len(), first.next.is_some()), (0, true));
        let second = search(first.next.as_deref());
        assert_eq!((second.rows.len(), second.next), (1, None));
        let count = database.read_blocking(|conn| count_request_logs(conn, &filter)).unwrap();
        assert_eq!(count, Count { at_least: 0, is_exact: false });
        let all = database.read_blocking(|conn| count_request_logs(conn, &RequestFilter::default()));
        assert_eq!(all.unwrap(), Count { at_least: COUNTED + 1, is_exact: false });
    }

    #[test]
    fn deletion_takes_the_matches_alone() {
        let (database, _dir) = test_database();
        let rows: Vec<_> = (0..20).map(|n| RequestLog { stream: n % 2 == 0, ..row(n) }).collect();
        let filter = RequestFilter { stream: Some(true), ..RequestFilter::default() };

        database
            .write_blocking(|conn| {
                insert_request_logs(conn, &rows)?;
                let first = delete_request_logs(conn, &filter, None, 6)?;
                assert_eq!(first.rows, [6]);
                let second = delete_request_logs(conn, &filter, first.next.as_deref(), 6)?;
                assert_eq!(second, Page { rows: vec![4], next: None });
                let left = search_request_logs(conn, &RequestFilter::default(), None, 100)?;
                assert_eq!((left.rows.len(), left.rows.iter().any(|row| row.stream)), (10, false));
                Ok(())
            })
            .unwrap();
    }
}
