//! Changes that the dashboard makes to keys.

use std::collections::HashSet;

use diesel::prelude::*;

use super::{
    ADDED, CHUNK, CONFIGURED, EDITED, NewKey, PlacementRow, REMOVED, StoredKey, context, counters, keys, tell,
};
use crate::{
    db::{DbConnection, all_or_nothing},
    domain::{
        key::{KeyAbout, KeyFigures, KeyId, KeyOrigin, KeySwitches},
        key_event::{KeyEventBy, KeyEventKind},
        placement::{KeyPlacement, PlacedKey},
    },
    secrets::Sealer,
};

/// Adds keys that are not there yet, all or none; `label` and `tags` are theirs. Answers with those that are new.
///
/// A key that was deleted in the dashboard comes back as a new one, with an id of its own; so does one of `API_KEYS`, and
/// is the dashboard's from then on.
pub fn insert_keys(
    conn: &mut DbConnection,
    sealer: &Sealer,
    added: &[PlacedKey],
    (label, tags): (Option<&str>, &[String]),
    now_ms: i64,
) -> QueryResult<Vec<StoredKey>> {
    let wanted: Vec<(Vec<u8>, &PlacedKey)> =
        added.iter().map(|placed| (sealer.fingerprint(placed.key.expose()).to_vec(), placed)).collect();
    all_or_nothing(conn, |conn| {
        let mut known = HashSet::new();
        for chunk in wanted.chunks(CHUNK) {
            let prints: Vec<&[u8]> = chunk.iter().map(|(print, _)| print.as_slice()).collect();
            let is_gone = keys::origin.eq(REMOVED).or(keys::deleted_at_ms.is_not_null());
            diesel::delete(keys::table.filter(keys::fingerprint.eq_any(prints.clone())).filter(is_gone))
                .execute(conn)?;
            let present =
                keys::table.filter(keys::fingerprint.eq_any(prints.clone())).select(keys::fingerprint);
            known.extend(present.load::<Vec<u8>>(conn)?);
        }
        let fresh: Vec<_> = wanted.iter().filter(|(print, _)| known.insert(print.clone())).collect();
        if fresh.is_empty() {
            return Ok(Vec::new());
        }
        let first = counters::reserve(conn, "keys", fresh.len())?;
        let about = KeyAbout {
            label: label.map(str::to_owned),
            tags: tags.to_vec(),
            origin: KeyOrigin::Admin,
            created_at_ms: now_ms,
        };
        let mut stored = Vec::with_capacity(fresh.len());
        let mut rows = Vec::with_capacity(fresh.len());
        for (id, (print, placed)) in (first..).zip(fresh) {
            rows.push(NewKey {
                id,
                fingerprint: print.clone(),
                sealed: sealer.seal(placed.key.expose().as_bytes(), &context(id)),
                origin: ADDED,
                created_at_ms: now_ms,
                label: about.label.clone(),
                tags: tags_json(tags),
                placement: (&placed.placement).into(),
            });
            stored.push(StoredKey {
                id: KeyId(id),
                key: placed.key.clone(),
                placement: placed.placement.clone(),
                about: about.clone(),
                health: None,
                health_at_ms: None,
                switches: KeySwitches::default(),
                figures: KeyFigures::default(),
            });
        }
        for rows in rows.chunks(CHUNK) {
            diesel::insert_into(keys::table).values(rows).execute(conn)?;
        }
        let ids = stored.iter().map(|key| key.id);
        tell(conn, ids, KeyEventKind::Added, KeyEventBy::Operator, now_ms)?;
        Ok(stored)
    })
}

/// Which of these keys are there already, in their order.
pub fn find_prints(
    conn: &mut DbConnection,
    sealer: &Sealer,
    looked_for: &[PlacedKey],
) -> QueryResult<Vec<bool>> {
    let prints: Vec<Vec<u8>> =
        looked_for.iter().map(|placed| sealer.fingerprint(placed.key.expose()).to_vec()).collect();
    let mut known = HashSet::new();
    for chunk in prints.chunks(CHUNK) {
        let present = keys::table
            .filter(keys::fingerprint.eq_any(chunk.iter().map(Vec::as_slice)))
            .filter(keys::origin.ne(REMOVED).and(keys::deleted_at_ms.is_null()))
            .select(keys::fingerprint);
        known.extend(present.load::<Vec<u8>>(conn)?);
    }
    Ok(prints.iter().map(|print| known.contains(print)).collect())
}

/// Stores what is said of these keys, all or none.
pub fn change_keys(conn: &mut DbConnection, changed: &[(KeyId, KeyPlacement, KeyAbout)]) -> QueryResult<()> {
    all_or_nothing(conn, |conn| {
        for (id, placement, about) in changed {
            diesel::update(keys::table.find(id.0))
                .set((
                    PlacementRow::from(placement),
                    keys::label.eq(about.label.as_deref()),
                    keys::tags.eq(tags_json(&about.tags)),
                ))
                .execute(conn)?;
            let configured = keys::table.find(id.0).filter(keys::origin.eq(CONFIGURED));
            diesel::update(configured).set(keys::origin.eq(EDITED)).execute(conn)?;
        }
        Ok(())
    })
}

fn tags_json(tags: &[String]) -> Option<String> {
    (!tags.is_empty()).then(|| serde_json::to_string(tags).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        db::{
            keys::{KeySync, delete_keys, load_keys, purge_deleted, sync_configured},
            test_database,
        },
        domain::key::ApiKey,
        secrets::EncryptionKey,
    };

    fn api_keys(texts: &[&str]) -> Vec<PlacedKey> {
        texts.iter().map(|text| ApiKey::parse(text).unwrap().into()).collect()
    }

    fn texts(conn: &mut DbConnection, sealer: &Sealer) -> Vec<String> {
        load_keys(conn, sealer).unwrap().keys.iter().map(|stored| stored.key.expose().to_owned()).collect()
    }

    #[test]
    fn a_configured_key_that_was_deleted_stays_away_until_it_has_left_the_configuration() {
        let (database, _dir) = test_database();
        let sealer = Sealer::new(&EncryptionKey::parse("correct horse battery").unwrap());
        database
            .write_blocking(|conn| {
                sync_configured(conn, &sealer, &api_keys(&["a", "b"]), 5)?;
                insert_keys(conn, &sealer, &api_keys(&["b", "c"]), (Some("mine"), &["new".into()]), 6)?;
                assert_eq!(texts(conn, &sealer), ["a", "b", "c"]);

                delete_keys(conn, &[KeyId(1), KeyId(3)], 6)?;
                purge_deleted(conn, 7)?;
                let again = sync_configured(conn, &sealer, &api_keys(&["a", "b"]), 7)?;
                assert_eq!((texts(conn, &sealer), again.added), (vec!["b".to_owned()], 0));

                sync_configured(conn, &sealer, &api_keys(&["b"]), 8)?;
                let back = sync_configured(conn, &sealer, &api_keys(&["a", "b"]), 9)?;
                assert_eq!(back, KeySync { added: 1, removed: 0, kept: 1 });
                assert_eq!(texts(conn, &sealer), ["b", "a"]);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn what_the_dashboard_says_of_a_configured_key_outlives_a_restart() {
        let (database, _dir) = test_database();
        let sealer = Sealer::new(&EncryptionKey::parse("correct horse battery").unwrap());
        database
            .write_blocking(|conn| {
                sync_configured(conn, &sealer, &api_keys(&["a"]), 5)?;
                let placement = KeyPlacement { weight: 7, ..KeyPlacement::default() };
                let about =
                    KeyAbout { label: Some("mine".into()), tags: vec!["x".into()], ..KeyAbout::default() };
                change_keys(conn, &[(KeyId(1), placement.clone(), about)])?;
                sync_configured(conn, &sealer, &api_keys(&["a"]), 6)?;

                let stored = load_keys(conn, &sealer)?.keys.remove(0);
                assert_eq!((stored.placement, stored.about.label.as_deref()), (placement, Some("mine")));
                assert_eq!((stored.about.origin, stored.about.created_at_ms), (KeyOrigin::Config, 5));
                Ok(())
            })
            .unwrap();
    }
}
