//! Roll-ups: sums of the request log by minute, hour and day, so that no figure needs a look at single requests.
//!
//! They are written in the transaction that writes the rows they sum up; what is rolled back is counted nowhere.

use diesel::prelude::*;

use super::{DbConnection, schema::rollups};
use crate::domain::{
    figures::Totals,
    timeline::{DAY_MS, HOUR_MS, Step, Stretch},
};

mod models;
mod sum;

pub use models::ModelNames;
pub use sum::{RollupKey, sum_logs};

/// What requests are summed up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Total,
    Model,
    /// By the client's token, and by model.
    Token,
    Dialect,
    /// The HTTP status that the client got.
    Status,
    /// By key, and by model: the attempts that it answered or failed.
    Key,
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Total, Self::Model, Self::Token, Self::Dialect, Self::Status, Self::Key];

    pub fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Model => "model",
            Self::Token => "token",
            Self::Dialect => "dialect",
            Self::Status => "status",
            Self::Key => "key",
        }
    }

    /// For how long sums of that length are kept; `None` where there are none.
    ///
    /// Of a hundred thousand keys each has few requests, so that short sums would be as many as the requests.
    pub fn kept_ms(self, step: Step) -> Option<i64> {
        match (self, step) {
            (Self::Key, Step::Minute) => None,
            (Self::Key, Step::Hour) => Some(4 * DAY_MS),
            (Self::Key, Step::Day) => Some(100 * DAY_MS),
            (_, Step::Minute) => Some(50 * HOUR_MS),
            (_, Step::Hour) => Some(100 * DAY_MS),
            (_, Step::Day) => Some(400 * DAY_MS),
        }
    }
}

/// A row as it comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollup {
    pub at_ms: i64,
    pub name: String,
    pub model: String,
    pub totals: Totals,
}

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = rollups)]
struct Sums {
    requests: i64,
    succeeded: i64,
    client_errors: i64,
    failed: i64,
    attempts: i64,
    rescued: i64,
    prompt_tokens: i64,
    cached_tokens: i64,
    output_tokens: i64,
    thoughts_tokens: i64,
    last_at_ms: i64,
    first_byte: Vec<u8>,
    duration: Vec<u8>,
}

impl From<&Totals> for Sums {
    fn from(totals: &Totals) -> Self {
        Self {
            requests: totals.requests,
            succeeded: totals.succeeded,
            client_errors: totals.client_errors,
            failed: totals.failed,
            attempts: totals.attempts,
            rescued: totals.rescued,
            prompt_tokens: totals.prompt_tokens,
            cached_tokens: totals.cached_tokens,
            output_tokens: totals.output_tokens,
            thoughts_tokens: totals.thoughts_tokens,
            last_at_ms: totals.last_at_ms,
            first_byte: totals.first_byte.to_bytes(),
            duration: totals.duration.to_bytes(),
        }
    }
}

impl From<Sums> for Totals {
    fn from(sums: Sums) -> Self {
        let mut totals = Self {
            requests: sums.requests,
            succeeded: sums.succeeded,
            client_errors: sums.client_errors,
            failed: sums.failed,
            attempts: sums.attempts,
            rescued: sums.rescued,
            prompt_tokens: sums.prompt_tokens,
            cached_tokens: sums.cached_tokens,
            output_tokens: sums.output_tokens,
            thoughts_tokens: sums.thoughts_tokens,
            last_at_ms: sums.last_at_ms,
            ..Self::default()
        };
        totals.first_byte.merge_bytes(&sums.first_byte);
        totals.duration.merge_bytes(&sums.duration);
        totals
    }
}

/// Adds sums to those that are there; must run in a transaction that writes.
pub fn add_rollups<'a>(
    conn: &mut DbConnection,
    sums: impl IntoIterator<Item = (RollupKey<'a>, Totals)>,
) -> QueryResult<()> {
    for (key, mut totals) in sums {
        let (kind, step_ms) = (key.kind.name(), key.step.ms());
        let row = rollups::table.find((kind, step_ms, key.at_ms, &*key.name, key.model));
        if let Some(known) = row.select(Sums::as_select()).first(conn).optional()? {
            totals.merge(&known.into());
            diesel::update(row).set(Sums::from(&totals)).execute(conn)?;
        } else {
            let key = (
                rollups::kind.eq(kind),
                rollups::step_ms.eq(step_ms),
                rollups::at_ms.eq(key.at_ms),
                rollups::name.eq(&*key.name),
                rollups::model.eq(key.model),
            );
            diesel::insert_into(rollups::table).values((key, Sums::from(&totals))).execute(conn)?;
        }
    }
    Ok(())
}

/// Which rows are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub kind: Kind,
    /// Any, if `None`.
    pub names: Option<&'a [String]>,
    pub model: Option<&'a str>,
}

type Boxed<'a> = rollups::BoxedQuery<'a, diesel::sqlite::Sqlite>;

impl<'a> Wanted<'a> {
    fn query(self, stretch: Stretch) -> Boxed<'a> {
        let Stretch { step, from_ms, to_ms } = stretch;
        let query = rollups::table
            .filter(rollups::kind.eq(self.kind.name()))
            .filter(rollups::step_ms.eq(step.ms()))
            .into_boxed();
        let query = match self.names {
            // One look into the primary key for each bucket and name, instead of a walk over everybody's rows.
            Some(names) => {
                let buckets = (from_ms..to_ms).step_by(usize::try_from(step.ms()).unwrap_or(usize::MAX));
                query.filter(rollups::at_ms.eq_any(buckets)).filter(rollups::name.eq_any(names))
            }
            None => query.filter(rollups::at_ms.ge(from_ms)).filter(rollups::at_ms.lt(to_ms)),
        };
        match self.model {
            Some(model) => query.filter(rollups::model.eq(model)),
            None => query,
        }
    }
}

/// The rows of all these stretches, at most `limit` of each; the newest first.
pub fn load_rollups(
    conn: &mut DbConnection,
    wanted: Wanted<'_>,
    stretches: &[Stretch],
    limit: u32,
) -> QueryResult<Vec<Rollup>> {
    let mut found = Vec::new();
    for stretch in stretches {
        let query = wanted.query(*stretch).order(rollups::at_ms.desc()).limit(limit.into());
        let columns = (rollups::at_ms, rollups::name, rollups::model, Sums::as_select());
        let rows: Vec<(i64, String, String, Sums)> = query.select(columns).load(conn)?;
        found.extend(rows.into_iter().map(|(at_ms, name, model, sums)| Rollup {
            at_ms,
            name,
            model,
            totals: sums.into(),
        }));
    }
    Ok(found)
}

/// Names with their requests, one entry for each row, of which at most `limit` are looked at, the newest.
pub fn load_requests_by_name(
    conn: &mut DbConnection,
    wanted: Wanted<'_>,
    stretches: &[Stretch],
    limit: u32,
) -> QueryResult<Vec<(String, i64)>> {
    let mut found: Vec<(String, i64)> = Vec::new();
    for stretch in stretches.iter().rev() {
        let left = i64::from(limit) - i64::try_from(found.len()).unwrap_or(i64::MAX);
        let query = wanted.query(*stretch).order(rollups::at_ms.desc()).limit(left.max(0));
        found.extend(query.select((rollups::name, rollups::requests)).load::<(String, i64)>(conn)?);
    }
    Ok(found)
}

/// Deletes at most about `limit` (up to 10,000) of the sums of a kind and length that began before `cutoff_ms`; the
/// caller repeats it until none are left.
pub fn delete_rollups_before(
    conn: &mut DbConnection,
    kind: Kind,
    step: Step,
    cutoff_ms: i64,
    limit: u32,
) -> QueryResult<usize> {
    let of_kind = || rollups::table.filter(rollups::kind.eq(kind.name()).and(rollups::step_ms.eq(step.ms())));
    conn.immediate_transaction(|conn| {
        let oldest: Vec<(i64, String)> = of_kind()
            .filter(rollups::at_ms.lt(cutoff_ms))
            .order((rollups::at_ms, rollups::name))
            .limit(limit.min(super::MAX_PRUNE_STEP).into())
            .select((rollups::at_ms, rollups::name))
            .load(conn)?;
        let Some((at_ms, name)) = oldest.last() else { return Ok(0) };
        let before = rollups::at_ms.lt(at_ms).or(rollups::at_ms.eq(at_ms).and(rollups::name.le(name)));
        diesel::delete(of_kind().filter(before)).execute(conn)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{request_logs::tests::row, test_database};

    fn key(kind: Kind, step: Step, at_ms: i64, name: &str) -> RollupKey<'_> {
        RollupKey { kind, step, at_ms, name: name.into(), model: "" }
    }

    fn three() -> Totals {
        let mut totals = Totals { requests: 3, succeeded: 2, failed: 1, last_at_ms: 7, ..Totals::default() };
        totals.first_byte.record(100);
        totals
    }

    fn day(from_ms: i64) -> [Stretch; 1] {
        [Stretch { step: Step::Day, from_ms, to_ms: from_ms + DAY_MS }]
    }

    const MODELS: Wanted<'_> = Wanted { kind: Kind::Model, names: None, model: None };

    #[test]
    fn what_is_added_twice_counts_twice_and_stays_apart_by_name_and_bucket() {
        let (database, _dir) = test_database();

        database
            .write_blocking(|conn| {
                for (at_ms, name) in [(0, "a"), (0, "b"), (DAY_MS, "a"), (0, "a")] {
                    add_rollups(conn, [(key(Kind::Model, Step::Day, at_ms, name), three())])?;
                }
                let mut found = load_rollups(conn, MODELS, &day(0), 10)?;
                found.sort_by(|one, two| one.name.cmp(&two.name));
                let mut twice = three();
                twice.merge(&three());
                assert_eq!((&*found[0].name, &found[0].totals), ("a", &twice));
                assert_eq!((&*found[1].name, &found[1].totals, found.len()), ("b", &three(), 2));

                let names = ["b".to_owned()];
                let only = load_rollups(conn, Wanted { names: Some(&names), ..MODELS }, &day(0), 10)?;
                assert_eq!(only.len(), 1);
                assert_eq!(load_requests_by_name(conn, MODELS, &day(DAY_MS), 10)?, [("a".to_owned(), 3)]);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn old_sums_go_in_steps_and_only_those_of_their_length() {
        let (database, _dir) = test_database();

        database
            .write_blocking(|conn| {
                for hour in 0..10 {
                    for name in ["a", "b", "c"] {
                        let at_ms = hour * HOUR_MS;
                        add_rollups(conn, [(key(Kind::Model, Step::Hour, at_ms, name), three())])?;
                    }
                }
                add_rollups(conn, [(key(Kind::Model, Step::Day, 0, "a"), three())])?;
                let mut step = || delete_rollups_before(conn, Kind::Model, Step::Hour, 4 * HOUR_MS, 5);
                assert_eq!([step()?, step()?, step()?, step()?], [5, 5, 2, 0]);
                let hours = [Stretch { step: Step::Hour, from_ms: 0, to_ms: DAY_MS }];
                assert_eq!(load_rollups(conn, MODELS, &hours, 100)?.len(), 18);
                assert_eq!(load_rollups(conn, MODELS, &day(0), 100)?.len(), 1);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn the_sums_of_rows_agree_with_the_rows() {
        let (database, _dir) = test_database();
        let rows: Vec<_> = (0..100).map(row).collect();

        database
            .write_blocking(|conn| {
                let mut names = ModelNames::default();
                add_rollups(conn, sum_logs(&rows, &[], &mut names))?;
                let from_ms = crate::domain::timeline::floor(rows[0].started_at_ms, DAY_MS);
                for kind in Kind::ALL {
                    let wanted = Wanted { kind, names: None, model: None };
                    let found = load_rollups(conn, wanted, &day(from_ms), 1000)?;
                    let mut sum = Totals::default();
                    found.iter().for_each(|rollup| sum.merge(&rollup.totals));
                    assert_eq!((sum.requests, sum.succeeded, sum.attempts), (100, 100, 100), "{kind:?}");
                    assert_eq!((sum.tokens(), sum.duration.count()), (100 * 170, 100), "{kind:?}");
                    assert_eq!(sum.last_at_ms, rows[99].started_at_ms);
                }
                Ok(())
            })
            .unwrap();
    }
}
