//! Deletion in the dashboard, which can be taken back for a while: a key that is deleted is out of use and nowhere
//! listed, and its row stays until it is purged.

use diesel::prelude::*;

use super::{
    ADDED, CHUNK, LoadedKeys, REMOVED, keys,
    reading::{Row, open_all},
    tell,
};
use crate::{
    db::DbConnection,
    domain::{
        key::KeyId,
        key_event::{KeyEventBy, KeyEventKind},
    },
    secrets::Sealer,
};

/// Deletes these keys. Answers how many that were.
pub fn delete_keys(conn: &mut DbConnection, ids: &[KeyId], now_ms: i64) -> QueryResult<usize> {
    conn.immediate_transaction(|conn| {
        let mut deleted = 0;
        for chunk in ids.chunks(CHUNK) {
            let here = keys::table
                .filter(keys::id.eq_any(chunk.iter().map(|id| id.0)))
                .filter(keys::deleted_at_ms.is_null().and(keys::origin.ne(REMOVED)));
            let gone: Vec<i64> = here.clone().select(keys::id).load(conn)?;
            diesel::update(here).set(keys::deleted_at_ms.eq(now_ms)).execute(conn)?;
            deleted += gone.len();
            let gone = gone.into_iter().map(KeyId);
            tell(conn, gone, KeyEventKind::Deleted, KeyEventBy::Operator, now_ms)?;
        }
        Ok(deleted)
    })
}

/// Takes back the deletion of those keys that are not purged yet, and answers with them.
pub fn restore_keys(
    conn: &mut DbConnection,
    sealer: &Sealer,
    ids: &[KeyId],
    now_ms: i64,
) -> QueryResult<LoadedKeys> {
    conn.immediate_transaction(|conn| {
        let mut rows: Vec<Row> = Vec::new();
        for chunk in ids.chunks(CHUNK) {
            let gone = keys::table
                .filter(keys::id.eq_any(chunk.iter().map(|id| id.0)))
                .filter(keys::deleted_at_ms.is_not_null());
            rows.extend(gone.clone().order(keys::id).select(Row::as_select()).load(conn)?);
            diesel::update(gone).set(keys::deleted_at_ms.eq(None::<i64>)).execute(conn)?;
        }
        let back = rows.iter().map(|row| KeyId(row.id));
        tell(conn, back, KeyEventKind::Restored, KeyEventBy::Operator, now_ms)?;
        Ok(open_all(sealer, rows))
    })
}

/// Ends what was deleted before `cutoff_ms`; of keys of `API_KEYS` a mark is left, so that the next start does not bring
/// them back. Answers how many keys that were.
pub fn purge_deleted(conn: &mut DbConnection, cutoff_ms: i64) -> QueryResult<usize> {
    conn.immediate_transaction(|conn| {
        let gone = keys::deleted_at_ms.lt(cutoff_ms);
        let ended = diesel::delete(keys::table.filter(gone).filter(keys::origin.eq(ADDED))).execute(conn)?;
        let marked = diesel::update(keys::table.filter(gone))
            .set((
                keys::origin.eq(REMOVED),
                keys::health.eq(None::<String>),
                keys::deleted_at_ms.eq(None::<i64>),
            ))
            .execute(conn)?;
        Ok(ended + marked)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        db::{
            key_events::{KeyEventFilter, list_key_events},
            keys::{Checkpoint, insert_keys, load_keys, save_checkpoints, sync_configured},
            test_database,
        },
        domain::{
            key::{ApiKey, KeyFigures},
            placement::PlacedKey,
        },
        secrets::EncryptionKey,
    };

    fn api_keys(texts: &[&str]) -> Vec<PlacedKey> {
        texts.iter().map(|text| ApiKey::parse(text).unwrap().into()).collect()
    }

    fn ids(conn: &mut DbConnection, sealer: &Sealer) -> Vec<i64> {
        load_keys(conn, sealer).unwrap().keys.iter().map(|stored| stored.id.0).collect()
    }

    /// Keys 1 and 2 of `API_KEYS`, key 3 of the dashboard.
    fn with_keys(work: impl FnOnce(&mut DbConnection, &Sealer) -> QueryResult<()>) {
        let (database, _dir) = test_database();
        let sealer = Sealer::new(&EncryptionKey::random());
        database
            .write_blocking(|conn| {
                sync_configured(conn, &sealer, &api_keys(&["a", "b"]), 5)?;
                insert_keys(conn, &sealer, &api_keys(&["c"]), (None, &[]), 6)?;
                work(conn, &sealer)
            })
            .unwrap();
    }

    #[test]
    fn a_key_that_comes_back_is_what_it_was() {
        with_keys(|conn, sealer| {
            let figures = KeyFigures { requests: 9, ..KeyFigures::default() };
            let health = Some("{}".to_owned());
            save_checkpoints(conn, &[Checkpoint { key: KeyId(3), health: health.clone(), figures }], 7)?;
            let before = load_keys(conn, sealer)?;

            assert_eq!(delete_keys(conn, &[KeyId(3), KeyId(99)], 10)?, 1);
            assert_eq!(delete_keys(conn, &[KeyId(3)], 11)?, 0);
            assert_eq!(ids(conn, sealer), [1, 2]);
            let back = restore_keys(conn, sealer, &[KeyId(3), KeyId(1)], 20)?;

            assert_eq!(back.keys, before.keys[2..]);
            assert_eq!(load_keys(conn, sealer)?, before);
            let told =
                list_key_events(conn, &KeyEventFilter { key: Some(KeyId(3)), kinds: vec![] }, None, 9)?;
            let kinds: Vec<_> =
                told.iter().rev().map(|stored| (stored.event.kind, stored.event.by)).collect();
            let of_operator = |kind| (kind, KeyEventBy::Operator);
            assert_eq!(
                kinds,
                [KeyEventKind::Added, KeyEventKind::Deleted, KeyEventKind::Restored].map(of_operator)
            );
            Ok(())
        });
    }

    #[test]
    fn what_was_deleted_long_ago_is_purged_and_stays_away() {
        with_keys(|conn, sealer| {
            delete_keys(conn, &[KeyId(1), KeyId(3)], 10)?;

            assert_eq!(purge_deleted(conn, 10)?, 0);
            assert_eq!(purge_deleted(conn, 11)?, 2);

            assert_eq!(restore_keys(conn, sealer, &[KeyId(1), KeyId(3)], 12)?.keys, []);
            let sync = sync_configured(conn, sealer, &api_keys(&["a", "b"]), 13)?;
            assert_eq!((ids(conn, sealer), sync.added), (vec![2], 0));
            Ok(())
        });
    }

    #[test]
    fn a_deleted_key_that_is_added_again_is_a_new_one() {
        with_keys(|conn, sealer| {
            delete_keys(conn, &[KeyId(1), KeyId(3)], 10)?;

            let added = insert_keys(conn, sealer, &api_keys(&["a", "c"]), (None, &[]), 11)?;

            assert_eq!(added.iter().map(|stored| stored.id.0).collect::<Vec<_>>(), [4, 5]);
            assert_eq!(restore_keys(conn, sealer, &[KeyId(1), KeyId(3)], 12)?.keys, []);
            assert_eq!(ids(conn, sealer), [2, 4, 5]);
            Ok(())
        });
    }
}
