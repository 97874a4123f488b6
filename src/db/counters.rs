//! Ids that are made in Rust and never used twice, even when the row with the highest one is gone.

use diesel::prelude::*;

use super::{DbConnection, schema::counters};

/// Reserves `count` ids in a row for a table and gives the first; the first ever is 1.
///
/// Must run in a transaction that writes, together with the rows that take the ids.
pub(super) fn reserve(conn: &mut DbConnection, name: &str, count: usize) -> QueryResult<i64> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let counter = counters::table.find(name);
    let last: Option<i64> = counter.select(counters::value).first(conn).optional()?;
    let next = last.unwrap_or(0).saturating_add(count);
    if last.is_some() {
        diesel::update(counter).set(counters::value.eq(next)).execute(conn)?;
    } else {
        diesel::insert_into(counters::table)
            .values((counters::name.eq(name), counters::value.eq(next)))
            .execute(conn)?;
    }
    Ok(last.unwrap_or(0) + 1)
}

/// How far a counter has come; 0 where there is none.
pub(super) fn count(conn: &mut DbConnection, name: &str) -> QueryResult<i64> {
    let last = counters::table.find(name).select(counters::value).first(conn).optional()?;
    Ok(last.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::test_database;

    #[test]
    fn ids_of_a_table_go_on_where_the_last_reservation_ended() {
        let (database, _dir) = test_database();

        let firsts = database.write_blocking(|conn| {
            Ok([
                reserve(conn, "a", 3)?,
                reserve(conn, "b", 1)?,
                reserve(conn, "a", 2)?,
                reserve(conn, "a", 1)?,
            ])
        });

        assert_eq!(firsts.unwrap(), [1, 1, 4, 6]);
    }
}
