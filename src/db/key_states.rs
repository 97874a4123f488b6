//! How many keys were in each state over time, sampled once a minute.

use diesel::prelude::*;

use super::{DbConnection, schema::key_states};
use crate::domain::timeline::{DAY_MS, HOUR_MS};

/// One look at the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = key_states)]
pub struct KeyStates {
    pub at_ms: i64,
    pub active: i64,
    pub cooling: i64,
    pub half_open: i64,
    pub invalid: i64,
    pub disabled: i64,
}

/// Every minute is kept for so long, then one look an hour.
const MINUTES_KEPT_MS: i64 = 2 * DAY_MS;
const HOURS_KEPT_MS: i64 = 100 * DAY_MS;

/// Of two looks in one minute the later counts.
pub fn save_key_states(conn: &mut DbConnection, states: KeyStates) -> QueryResult<()> {
    conn.immediate_transaction(|conn| {
        let row = key_states::table.find(states.at_ms);
        if diesel::update(row).set(states).execute(conn)? == 0 {
            diesel::insert_into(key_states::table).values(states).execute(conn)?;
        }
        Ok(())
    })
}

/// In order.
pub fn load_key_states(conn: &mut DbConnection, from_ms: i64, to_ms: i64) -> QueryResult<Vec<KeyStates>> {
    key_states::table
        .filter(key_states::at_ms.ge(from_ms).and(key_states::at_ms.lt(to_ms)))
        .order(key_states::at_ms)
        .load(conn)
}

/// Deletes what is too old, and of older days all but one look an hour. A few thousand rows at most.
pub fn thin_key_states(conn: &mut DbConnection, now_ms: i64) -> QueryResult<usize> {
    conn.immediate_transaction(|conn| {
        let old: Vec<i64> = key_states::table
            .filter(key_states::at_ms.lt(now_ms - MINUTES_KEPT_MS))
            .select(key_states::at_ms)
            .order(key_states::at_ms)
            .load(conn)?;
        let goes = |at_ms: &i64| *at_ms < now_ms - HOURS_KEPT_MS || at_ms % HOUR_MS != 0;
        let gone: Vec<i64> = old.into_iter().filter(goes).take(super::MAX_PRUNE_STEP as usize).collect();
        diesel::delete(key_states::table.filter(key_states::at_ms.eq_any(gone))).execute(conn)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{db::test_database, domain::timeline::MINUTE_MS};

    fn states(at_ms: i64, active: i64) -> KeyStates {
        KeyStates { at_ms, active, cooling: 0, half_open: 0, invalid: 0, disabled: 0 }
    }

    #[test]
    fn minutes_become_hours_and_hours_end() {
        let (database, _dir) = test_database();

        database
            .write_blocking(|conn| {
                for minute in 0..180 {
                    save_key_states(conn, states(minute * MINUTE_MS, minute))?;
                }
                save_key_states(conn, states(0, 7))?;
                assert_eq!(thin_key_states(conn, HOUR_MS)?, 0);
                // The first two hours are old now.
                assert_eq!(thin_key_states(conn, 2 * HOUR_MS + MINUTES_KEPT_MS)?, 118);
                let left = load_key_states(conn, 0, 2 * HOUR_MS)?;
                assert_eq!(left, [states(0, 7), states(HOUR_MS, 60)]);
                thin_key_states(conn, HOURS_KEPT_MS + HOUR_MS)?;
                assert_eq!(load_key_states(conn, 0, HOUR_MS)?, []);
                Ok(())
            })
            .unwrap();
    }
}
