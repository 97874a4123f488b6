//! What has happened to keys, newest first. What happens again and again is one row that counts.

use std::collections::HashMap;

use diesel::prelude::*;

use super::{DbConnection, counters, schema::key_events};
use crate::domain::{
    key::KeyId,
    key_event::{KeyEvent, KeyEventKind, read_word, word},
    model::ModelName,
    timeline::HOUR_MS,
};

/// The same within so long is counted and gets no row of its own.
const COUNTED_WITHIN_MS: i64 = HOUR_MS;
/// So far back it is looked for; a key that flaps has a handful of different events.
const LOOKED_AT: i64 = 20;
/// Rows of one statement, well under SQLite's limit of 32,766 variables.
const CHUNK: usize = 500;

/// An event as it comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKeyEvent {
    pub id: i64,
    pub event: KeyEvent,
    /// How often it has happened, the first time included.
    pub times: i64,
    pub last_at_ms: i64,
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = key_events, treat_none_as_default_value = false)]
struct Row {
    id: i64,
    key_id: i64,
    at_ms: i64,
    times: i64,
    last_at_ms: i64,
    kind: String,
    from_state: Option<String>,
    to_state: Option<String>,
    reason: Option<String>,
    cause: Option<String>,
    model: Option<String>,
    until_ms: Option<i64>,
    account: String,
}

impl Row {
    fn new(stored: &StoredKeyEvent) -> Self {
        let StoredKeyEvent { id, event, times, last_at_ms } = stored;
        Self {
            id: *id,
            key_id: event.key.0,
            at_ms: event.at_ms,
            times: *times,
            last_at_ms: *last_at_ms,
            kind: word(&event.kind).unwrap_or_default(),
            from_state: event.from.as_ref().and_then(word),
            to_state: event.to.as_ref().and_then(word),
            reason: event.reason.clone(),
            cause: event.cause.clone(),
            model: event.model.as_ref().map(ToString::to_string),
            until_ms: event.until_ms,
            account: word(&event.by).unwrap_or_default(),
        }
    }

    /// `None` for what a newer version wrote and this one does not understand.
    fn read(self) -> Option<StoredKeyEvent> {
        let event = KeyEvent {
            key: KeyId(self.key_id),
            at_ms: self.at_ms,
            kind: read_word(&self.kind)?,
            from: self.from_state.as_deref().and_then(read_word),
            to: self.to_state.as_deref().and_then(read_word),
            reason: self.reason,
            cause: self.cause,
            model: self.model.as_deref().and_then(ModelName::parse),
            until_ms: self.until_ms,
            by: read_word(&self.account)?,
        };
        Some(StoredKeyEvent { id: self.id, event, times: self.times, last_at_ms: self.last_at_ms })
    }
}

/// Writes what has happened, in that order; the same once more within an hour adds to what is there.
///
/// Must run in a transaction that writes.
pub(super) fn insert_key_events(conn: &mut DbConnection, events: &[KeyEvent]) -> QueryResult<()> {
    let mut by_key: HashMap<KeyId, Vec<&KeyEvent>> = HashMap::new();
    for event in events {
        by_key.entry(event.key).or_default().push(event);
    }
    let mut fresh: Vec<StoredKeyEvent> = Vec::new();
    for (key, events) in by_key {
        let mut known = latest(conn, key)?;
        let stored = known.len();
        let mut counted = vec![false; stored];
        for event in events {
            let same = known.iter().position(|known| {
                event.at_ms - known.event.at_ms < COUNTED_WITHIN_MS && event.repeats(&known.event)
            });
            match same {
                Some(at) => {
                    known[at].times += 1;
                    known[at].last_at_ms = event.at_ms;
                    known[at].event.until_ms = event.until_ms;
                    if let Some(counted) = counted.get_mut(at) {
                        *counted = true;
                    }
                }
                None => known.push(fresh_event(event)),
            }
        }
        for (again, _) in known.iter().zip(counted).filter(|(_, counted)| *counted) {
            count_again(conn, again)?;
        }
        fresh.extend(known.drain(stored..));
    }
    fresh.sort_by_key(|stored| stored.event.at_ms);
    insert_fresh(conn, fresh)
}

/// The same for what happens to a key once, and so needs not be looked for.
pub(super) fn insert_new_events(conn: &mut DbConnection, events: &[KeyEvent]) -> QueryResult<()> {
    insert_fresh(conn, events.iter().map(fresh_event).collect())
}

/// It gets its id when it is written.
fn fresh_event(event: &KeyEvent) -> StoredKeyEvent {
    StoredKeyEvent { id: 0, event: event.clone(), times: 1, last_at_ms: event.at_ms }
}

fn latest(conn: &mut DbConnection, key: KeyId) -> QueryResult<Vec<StoredKeyEvent>> {
    let rows: Vec<Row> = key_events::table
        .filter(key_events::key_id.eq(key.0))
        .order(key_events::id.desc())
        .limit(LOOKED_AT)
        .select(Row::as_select())
        .load(conn)?;
    Ok(rows.into_iter().filter_map(Row::read).collect())
}

fn count_again(conn: &mut DbConnection, stored: &StoredKeyEvent) -> QueryResult<()> {
    diesel::update(key_events::table.find(stored.id))
        .set((
            key_events::times.eq(stored.times),
            key_events::last_at_ms.eq(stored.last_at_ms),
            key_events::until_ms.eq(stored.event.until_ms),
        ))
        .execute(conn)
        .map(drop)
}

fn insert_fresh(conn: &mut DbConnection, fresh: Vec<StoredKeyEvent>) -> QueryResult<()> {
    if fresh.is_empty() {
        return Ok(());
    }
    let first = counters::reserve(conn, "key_events", fresh.len())?;
    let rows: Vec<Row> = (first..).zip(&fresh).map(|(id, stored)| Row { id, ..Row::new(stored) }).collect();
    for rows in rows.chunks(CHUNK) {
        diesel::insert_into(key_events::table).values(rows).execute(conn)?;
    }
    Ok(())
}

/// Which events are looked for.
#[derive(Debug, Clone, Default)]
pub struct KeyEventFilter {
    pub key: Option<KeyId>,
    /// All kinds, if empty.
    pub kinds: Vec<KeyEventKind>,
}

/// At most `limit` events from before the one with that id, newest first.
pub fn list_key_events(
    conn: &mut DbConnection,
    filter: &KeyEventFilter,
    before: Option<i64>,
    limit: usize,
) -> QueryResult<Vec<StoredKeyEvent>> {
    let rows: Vec<Row> = matching(filter)
        .filter(key_events::id.lt(before.unwrap_or(i64::MAX)))
        .order(key_events::id.desc())
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .select(Row::as_select())
        .load(conn)?;
    Ok(rows.into_iter().filter_map(Row::read).collect())
}

pub fn count_key_events(conn: &mut DbConnection, filter: &KeyEventFilter) -> QueryResult<usize> {
    let count: i64 = matching(filter).count().get_result(conn)?;
    Ok(usize::try_from(count).unwrap_or(0))
}

fn matching(filter: &KeyEventFilter) -> key_events::BoxedQuery<'static, diesel::sqlite::Sqlite> {
    let mut query = key_events::table.into_boxed();
    if let Some(key) = filter.key {
        query = query.filter(key_events::key_id.eq(key.0));
    }
    if !filter.kinds.is_empty() {
        let kinds: Vec<String> = filter.kinds.iter().filter_map(word).collect();
        query = query.filter(key_events::kind.eq_any(kinds));
    }
    query
}

/// Deletes at most `limit` (up to 10,000) of the events that began before `cutoff_ms`, oldest first.
pub fn delete_older_than(conn: &mut DbConnection, cutoff_ms: i64, limit: u32) -> QueryResult<usize> {
    conn.immediate_transaction(|conn| {
        // Ids follow time, so the oldest are found without an index of their own.
        let oldest: Vec<(i64, i64)> = key_events::table
            .order(key_events::id)
            .limit(limit.min(super::MAX_PRUNE_STEP).into())
            .select((key_events::id, key_events::at_ms))
            .load(conn)?;
        let ids: Vec<i64> =
            oldest.into_iter().take_while(|(_, at_ms)| *at_ms < cutoff_ms).map(|(id, _)| id).collect();
        diesel::delete(key_events::table.filter(key_events::id.eq_any(ids))).execute(conn)
    })
}

/// Of the keys that have more than `most` events, deletes the oldest, at most `limit` (up to 10,000) in all.
pub fn delete_surplus(conn: &mut DbConnection, most: u32, limit: u32) -> QueryResult<usize> {
    let limit = limit.min(super::MAX_PRUNE_STEP) as usize;
    conn.immediate_transaction(|conn| {
        let crowded: Vec<(i64, i64)> = key_events::table
            .group_by(key_events::key_id)
            .having(diesel::dsl::count_star().gt(i64::from(most)))
            .select((key_events::key_id, diesel::dsl::count_star()))
            .load(conn)?;
        let mut ids: Vec<i64> = Vec::new();
        for (key, count) in crowded {
            let room = i64::try_from(limit - ids.len()).unwrap_or(0);
            if room == 0 {
                break;
            }
            let oldest = key_events::table
                .filter(key_events::key_id.eq(key))
                .order(key_events::id)
                .limit((count - i64::from(most)).min(room))
                .select(key_events::id);
            ids.extend(oldest.load::<i64>(conn)?);
        }
        diesel::delete(key_events::table.filter(key_events::id.eq_any(ids))).execute(conn)
    })
}

/// All rows.
pub fn count_rows(conn: &mut DbConnection) -> QueryResult<u64> {
    key_events::table.count().get_result::<i64>(conn).map(i64::unsigned_abs)
}

/// Deletes at most `limit` (up to 10,000) of the rows, the oldest.
pub fn delete_oldest(conn: &mut DbConnection, limit: u32) -> QueryResult<usize> {
    delete_older_than(conn, i64::MAX, limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        db::test_database,
        domain::key_event::{KeyEventBy, StateName},
    };

    fn event(key: i64, at_ms: i64, to: StateName) -> KeyEvent {
        KeyEvent {
            to: Some(to),
            reason: Some("failures".into()),
            until_ms: Some(at_ms + 5),
            ..KeyEvent::new(KeyId(key), at_ms, KeyEventKind::State, KeyEventBy::Traffic)
        }
    }

    fn insert(conn: &mut DbConnection, events: &[KeyEvent]) -> QueryResult<()> {
        conn.immediate_transaction(|conn| insert_key_events(conn, events))
    }

    fn of(key: i64) -> KeyEventFilter {
        KeyEventFilter { key: Some(KeyId(key)), kinds: Vec::new() }
    }

    #[test]
    fn events_come_back_newest_first_and_page_by_page() {
        let (database, _dir) = test_database();
        let told: Vec<_> = [StateName::Cooling, StateName::HalfOpen, StateName::Active]
            .into_iter()
            .zip(10..)
            .map(|(to, at_ms)| KeyEvent { model: ModelName::parse("flash"), ..event(1, at_ms, to) })
            .collect();
        database
            .write_blocking(|conn| {
                insert(conn, &told)?;
                insert(conn, &[event(2, 13, StateName::Invalid)])?;

                let first = list_key_events(conn, &of(1), None, 2)?;
                let second = list_key_events(conn, &of(1), Some(first[1].id), 2)?;

                let events: Vec<_> =
                    first.into_iter().chain(second).rev().map(|stored| stored.event).collect();
                assert_eq!(events, told);
                assert_eq!((count_key_events(conn, &of(1))?, count_rows(conn)?), (3, 4));
                let added = KeyEventFilter { key: None, kinds: vec![KeyEventKind::Added] };
                assert_eq!(list_key_events(conn, &added, None, 10)?, []);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn a_key_that_flaps_for_an_hour_has_one_row_for_each_thing_that_happens_to_it() {
        let (database, _dir) = test_database();
        database
            .write_blocking(|conn| {
                for minute in 0..59 {
                    let at_ms = minute * 60_000;
                    let flap = [event(1, at_ms, StateName::Cooling), event(1, at_ms + 9, StateName::Active)];
                    insert(conn, &flap)?;
                }

                let rows = list_key_events(conn, &of(1), None, 100)?;
                let counted: Vec<_> = rows.iter().map(|row| (row.event.at_ms, row.times)).collect();
                assert_eq!(counted, [(9, 59), (0, 59)]);
                let last = 58 * 60_000;
                assert_eq!((rows[1].last_at_ms, rows[1].event.until_ms), (last, Some(last + 5)));

                insert(conn, &[event(1, COUNTED_WITHIN_MS, StateName::Cooling)])?;
                assert_eq!(count_rows(conn)?, 3, "the next hour has its own");
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn what_repeats_within_one_batch_is_one_row_too() {
        let (database, _dir) = test_database();
        database
            .write_blocking(|conn| {
                let batch: Vec<_> = (0..50).map(|n| event(1, n, StateName::Cooling)).collect();
                insert(conn, &batch)?;

                let rows = list_key_events(conn, &of(1), None, 100)?;
                assert_eq!((rows.len(), rows[0].times, rows[0].last_at_ms), (1, 50, 49));
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn the_old_and_the_surplus_of_a_key_go_and_other_keys_lose_nothing() {
        let (database, _dir) = test_database();
        database
            .write_blocking(|conn| {
                for n in 0..30 {
                    insert(conn, &[event(1, n * COUNTED_WITHIN_MS, StateName::Cooling)])?;
                }
                insert(conn, &[event(2, 30 * COUNTED_WITHIN_MS, StateName::Cooling)])?;

                assert_eq!(delete_older_than(conn, 10 * COUNTED_WITHIN_MS, 4)?, 4);
                assert_eq!(delete_older_than(conn, 10 * COUNTED_WITHIN_MS, 100)?, 6);
                assert_eq!(delete_surplus(conn, 5, 9)?, 9);
                assert_eq!(delete_surplus(conn, 5, 100)?, 6);
                assert_eq!(delete_surplus(conn, 5, 100)?, 0);

                let left = list_key_events(conn, &of(1), None, 100)?;
                assert_eq!(left.last().map(|row| row.event.at_ms), Some(25 * COUNTED_WITHIN_MS));
                assert_eq!(count_rows(conn)?, 6);
                Ok(())
            })
            .unwrap();
    }
}
