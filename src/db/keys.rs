//! API keys at rest: sealed, found by fingerprint, with the last checkpoint of their health.

mod configured;
mod deletion;
mod edit;
mod reading;
mod switches;

pub use configured::{KeysFollowed, follow_configured};
pub use deletion::{delete_keys, purge_deleted, restore_keys};
pub use edit::{change_keys, find_prints, insert_keys};
pub use reading::{LoadedKeys, StoredKey, load_keys, load_keys_behind, load_some_keys, read_keys};
pub use switches::steer_keys;

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;

use super::{DbConnection, all_or_nothing, counters, key_events::insert_new_events, schema::keys};
use crate::{
    domain::{
        key::{KeyFigures, KeyId},
        key_event::{KeyEvent, KeyEventBy, KeyEventKind},
        placement::{KeyPlacement, PlacedKey, ProjectName, Tier},
    },
    secrets::Sealer,
};

/// `origin` of keys that come from `API_KEYS` and leave with it.
const CONFIGURED: &str = "config";
/// Of keys of `API_KEYS` whose placement the dashboard has changed: that holds, and they leave with `API_KEYS`.
const EDITED: &str = "edited";
/// Of keys of `API_KEYS` that were deleted in the dashboard: they stay out until `API_KEYS` has been without them.
const REMOVED: &str = "removed";
/// Of keys that the dashboard has added.
const ADDED: &str = "admin";
/// Rows of one statement, well under SQLite's limit of 32,766 variables.
const CHUNK: usize = 500;

/// What [`sync_configured`] did, in keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeySync {
    pub added: usize,
    pub removed: usize,
    pub kept: usize,
}

#[derive(Insertable)]
#[diesel(table_name = keys, treat_none_as_default_value = false)]
struct NewKey {
    id: i64,
    fingerprint: Vec<u8>,
    sealed: Vec<u8>,
    origin: &'static str,
    created_at_ms: i64,
    label: Option<String>,
    tags: Option<String>,
    #[diesel(embed)]
    placement: PlacementRow,
}

/// The columns of a [`KeyPlacement`].
#[derive(Debug, Clone, PartialEq, Eq, Insertable, AsChangeset, Queryable, Selectable)]
#[diesel(table_name = keys, treat_none_as_null = true, treat_none_as_default_value = false)]
struct PlacementRow {
    project: Option<String>,
    tier: Option<String>,
    weight: i32,
    models: Option<String>,
}

impl From<&KeyPlacement> for PlacementRow {
    fn from(placement: &KeyPlacement) -> Self {
        let models = (!placement.models.is_empty()).then_some(&placement.models);
        Self {
            project: placement.project.as_ref().map(ToString::to_string),
            tier: placement.tier.map(|tier| tier.name().to_owned()),
            weight: i32::from(placement.weight),
            models: models.and_then(|models| serde_json::to_string(models).ok()),
        }
    }
}

impl From<PlacementRow> for KeyPlacement {
    /// What a newer version wrote and this one does not understand counts as not said.
    fn from(row: PlacementRow) -> Self {
        let models = row.models.and_then(|json| serde_json::from_str(&json).ok());
        Self {
            project: row.project.and_then(|name| ProjectName::parse(&name)),
            tier: row.tier.and_then(|name| Tier::parse(&name)),
            weight: u8::try_from(row.weight).unwrap_or(1).clamp(1, 100),
            models: models.unwrap_or_default(),
        }
    }
}

/// The columns of [`KeyFigures`].
#[derive(Debug, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = keys, treat_none_as_null = true)]
struct FiguresRow {
    requests_total: i64,
    failures_total: i64,
    last_used_at_ms: Option<i64>,
    last_error: Option<String>,
}

impl From<&KeyFigures> for FiguresRow {
    fn from(figures: &KeyFigures) -> Self {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Self {
            requests_total: count(figures.requests),
            failures_total: count(figures.failures),
            last_used_at_ms: figures.last_used_at_ms,
            last_error: figures.last_error.clone(),
        }
    }
}

impl From<FiguresRow> for KeyFigures {
    fn from(row: FiguresRow) -> Self {
        Self {
            requests: row.requests_total.unsigned_abs(),
            failures: row.failures_total.unsigned_abs(),
            last_used_at_ms: row.last_used_at_ms,
            last_error: row.last_error,
        }
    }
}

/// What is compared of a row with `API_KEYS`.
#[derive(Queryable, Selectable)]
#[diesel(table_name = keys)]
struct Present {
    id: i64,
    fingerprint: Vec<u8>,
    origin: String,
    #[diesel(embed)]
    placement: PlacementRow,
}

/// A configured key with its fingerprint.
type Wanted<'a> = (Vec<u8>, &'a PlacedKey);

/// Makes the configured keys of the table equal to `configured`; keys added by an admin stay as they are.
///
/// A key that stays keeps its id and health, and gets the placement that it has now. Duplicates in `configured` count once.
pub fn sync_configured(
    conn: &mut DbConnection,
    sealer: &Sealer,
    configured: &[PlacedKey],
    now_ms: i64,
) -> QueryResult<KeySync> {
    let wanted = distinct(sealer, configured);
    let wanted_fingerprints: HashSet<&[u8]> = wanted.iter().map(|(fingerprint, _)| &**fingerprint).collect();
    all_or_nothing(conn, |conn| {
        let stored: Vec<Present> = keys::table.select(Present::as_select()).load(conn)?;
        let present: HashMap<&[u8], &Present> = stored.iter().map(|row| (&*row.fingerprint, row)).collect();
        let missing: Vec<&Wanted> =
            wanted.iter().filter(|(fingerprint, _)| !present.contains_key(&**fingerprint)).collect();
        let gone: Vec<i64> = stored
            .iter()
            .filter(|row| row.origin != ADDED && !wanted_fingerprints.contains(&*row.fingerprint))
            .map(|row| row.id)
            .collect();

        insert_configured(conn, sealer, &missing, now_ms)?;
        for (fingerprint, key) in &wanted {
            let placement = PlacementRow::from(&key.placement);
            if let Some(row) = present.get(&**fingerprint)
                && row.origin == CONFIGURED
                && row.placement != placement
            {
                diesel::update(keys::table.find(row.id)).set(placement).execute(conn)?;
            }
        }
        for ids in gone.chunks(CHUNK) {
            diesel::delete(keys::table.filter(keys::id.eq_any(ids))).execute(conn)?;
        }
        Ok(KeySync { added: missing.len(), removed: gone.len(), kept: wanted.len() - missing.len() })
    })
}

/// The keys in their order, each once.
fn distinct<'a>(sealer: &Sealer, configured: &'a [PlacedKey]) -> Vec<Wanted<'a>> {
    let mut seen = HashSet::new();
    let fresh = configured.iter().filter(|placed| seen.insert(placed.key.expose()));
    fresh.map(|placed| (sealer.fingerprint(placed.key.expose()).to_vec(), placed)).collect()
}

fn insert_configured(
    conn: &mut DbConnection,
    sealer: &Sealer,
    missing: &[&Wanted],
    now_ms: i64,
) -> QueryResult<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let first = counters::reserve(conn, "keys", missing.len())?;
    let rows: Vec<NewKey> = (first..)
        .zip(missing)
        .map(|(id, (fingerprint, PlacedKey { key, placement }))| NewKey {
            id,
            fingerprint: fingerprint.clone(),
            sealed: sealer.seal(key.expose().as_bytes(), &context(id)),
            origin: CONFIGURED,
            created_at_ms: now_ms,
            label: None,
            tags: None,
            placement: placement.into(),
        })
        .collect();
    for rows in rows.chunks(CHUNK) {
        diesel::insert_into(keys::table).values(rows).execute(conn)?;
    }
    let ids = rows.iter().map(|row| KeyId(row.id));
    tell(conn, ids, KeyEventKind::Added, KeyEventBy::Config, now_ms)
}

/// Writes into the history of these keys what became of them, in the transaction in which it does.
fn tell(
    conn: &mut DbConnection,
    keys: impl Iterator<Item = KeyId>,
    kind: KeyEventKind,
    by: KeyEventBy,
    now_ms: i64,
) -> QueryResult<()> {
    let events: Vec<KeyEvent> = keys.map(|key| KeyEvent::new(key, now_ms, kind, by)).collect();
    insert_new_events(conn, &events)
}

/// Binds a sealed key to its row, so that rows cannot be exchanged.
fn context(id: i64) -> String {
    format!("keys/{id}")
}

/// What is saved of a key that is in use.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    pub key: KeyId,
    /// JSON; what is stored stays without it.
    pub health: Option<String>,
    pub figures: KeyFigures,
}

/// Stores checkpoints, all or none; keys that are gone in the meantime are passed over.
pub fn save_checkpoints(conn: &mut DbConnection, checkpoints: &[Checkpoint], now_ms: i64) -> QueryResult<()> {
    conn.immediate_transaction(|conn| {
        for Checkpoint { key, health, figures } in checkpoints {
            let (row, figures) = (keys::table.find(key.0), FiguresRow::from(figures));
            match health {
                Some(health) => diesel::update(row)
                    .set((keys::health.eq(health), keys::health_at_ms.eq(now_ms), figures))
                    .execute(conn)?,
                None => diesel::update(row).set(figures).execute(conn)?,
            };
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{db::test_database, domain::key::ApiKey, secrets::EncryptionKey};

    fn sealer(passphrase: &str) -> Sealer {
        Sealer::new(&EncryptionKey::parse(passphrase).unwrap())
    }

    fn api_keys(texts: &[&str]) -> Vec<PlacedKey> {
        texts.iter().map(|text| ApiKey::parse(text).unwrap().into()).collect()
    }

    fn placed(text: &str, placement: &str) -> PlacedKey {
        let placement = KeyPlacement::parse(placement).unwrap();
        PlacedKey { placement, ..ApiKey::parse(text).unwrap().into() }
    }

    fn pairs(loaded: &LoadedKeys) -> Vec<(i64, &str)> {
        loaded.keys.iter().map(|stored| (stored.id.0, stored.key.expose())).collect()
    }

    #[test]
    fn configured_keys_come_back_in_their_order() {
        let ((database, _dir), sealer) = (test_database(), sealer("correct horse battery"));

        database
            .write_blocking(|conn| {
                let sync = sync_configured(conn, &sealer, &api_keys(&["k2", "k1", "k2"]), 5)?;
                assert_eq!(sync, KeySync { added: 2, removed: 0, kept: 0 });
                assert_eq!(pairs(&load_keys(conn, &sealer)?), [(1, "k2"), (2, "k1")]);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn a_key_that_stays_keeps_its_id_and_an_id_is_never_used_again() {
        let ((database, _dir), sealer) = (test_database(), sealer("correct horse battery"));

        database
            .write_blocking(|conn| {
                sync_configured(conn, &sealer, &api_keys(&["a", "b", "c"]), 5)?;
                let second = sync_configured(conn, &sealer, &api_keys(&["b"]), 6)?;
                let third = sync_configured(conn, &sealer, &api_keys(&["c", "b"]), 7)?;

                assert_eq!(second, KeySync { added: 0, removed: 2, kept: 1 });
                assert_eq!(third, KeySync { added: 1, removed: 0, kept: 1 });
                assert_eq!(pairs(&load_keys(conn, &sealer)?), [(2, "b"), (4, "c")]);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn a_key_comes_back_where_it_was_placed_last() {
        let ((database, _dir), sealer) = (test_database(), sealer("correct horse battery"));
        let first = placed("a", "project=alpha tier=free weight=2 models=gemma-* not-models=gemma-2");
        let second = placed("b", "");

        database
            .write_blocking(|conn| {
                for configured in [[&first, &second], [&second, &first]] {
                    let [a, b] = configured.map(|placed| placed.placement.clone());
                    let keys = [("a", a), ("b", b)]
                        .map(|(text, placement)| PlacedKey { placement, ..placed(text, "") });
                    sync_configured(conn, &sealer, &keys, 5)?;

                    let loaded = load_keys(conn, &sealer)?.keys;
                    let places: Vec<_> = loaded.into_iter().map(|stored| stored.placement).collect();
                    assert_eq!(places, keys.map(|placed| placed.placement));
                }
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn places_that_this_version_does_not_know_count_as_not_said() {
        let row = PlacementRow {
            project: Some("key/1".into()),
            tier: Some("tier9".into()),
            weight: -5,
            models: Some("[".into()),
        };

        assert_eq!(KeyPlacement::from(row), KeyPlacement::default());
    }

    #[test]
    fn keys_of_an_admin_outlive_the_configuration() {
        let ((database, _dir), sealer) = (test_database(), sealer("correct horse battery"));

        database
            .write_blocking(|conn| {
                sync_configured(conn, &sealer, &api_keys(&["a", "b"]), 5)?;
                diesel::update(keys::table.find(1)).set(keys::origin.eq("admin")).execute(conn)?;

                let sync = sync_configured(conn, &sealer, &[], 6)?;

                assert_eq!(sync, KeySync { added: 0, removed: 1, kept: 0 });
                assert_eq!(pairs(&load_keys(conn, &sealer)?), [(1, "a")]);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn with_another_encryption_key_rows_are_reported_and_nothing_fails() {
        let (database, _dir) = test_database();
        let (right, wrong) = (sealer("correct horse battery"), sealer("quite another passphrase"));

        database
            .write_blocking(|conn| {
                sync_configured(conn, &right, &api_keys(&["a", "b"]), 5)?;

                let loaded = load_keys(conn, &wrong)?;

                assert_eq!(loaded.keys, []);
                assert_eq!(loaded.unreadable, [KeyId(1), KeyId(2)]);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn exchanged_rows_are_not_opened() {
        let ((database, _dir), sealer) = (test_database(), sealer("correct horse battery"));

        database
            .write_blocking(|conn| {
                sync_configured(conn, &sealer, &api_keys(&["a", "b"]), 5)?;
                let other: Vec<u8> = keys::table.find(2).select(keys::sealed).first(conn)?;
                diesel::update(keys::table.find(1)).set(keys::sealed.eq(other)).execute(conn)?;

                assert_eq!(load_keys(conn, &sealer)?.unreadable, [KeyId(1)]);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn checkpoints_are_kept_per_key_and_unknown_keys_are_passed_over() {
        let ((database, _dir), sealer) = (test_database(), sealer("correct horse battery"));

        database
            .write_blocking(|conn| {
                sync_configured(conn, &sealer, &api_keys(&["a", "b"]), 5)?;

                let figures = KeyFigures {
                    requests: 9,
                    failures: 2,
                    last_used_at_ms: Some(70),
                    last_error: Some("billing".into()),
                };
                let of = |key, health: Option<&str>, figures: &KeyFigures| Checkpoint {
                    key: KeyId(key),
                    health: health.map(str::to_owned),
                    figures: figures.clone(),
                };
                let saved = [of(2, Some("{}"), &KeyFigures::default()), of(99, Some("{}"), &figures)];
                save_checkpoints(conn, &saved, 77)?;
                save_checkpoints(conn, &[of(2, None, &figures)], 78)?;

                let loaded = load_keys(conn, &sealer)?.keys.into_iter();
                let kept: Vec<_> = loaded.map(|key| (key.health, key.health_at_ms, key.figures)).collect();
                let expected =
                    [(None, None, KeyFigures::default()), (Some("{}".to_owned()), Some(77), figures)];
                assert_eq!(kept, expected);
                Ok(())
            })
            .unwrap();
    }
}
