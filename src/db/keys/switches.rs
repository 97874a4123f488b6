//! What operators have set of keys by hand. In columns of their own, as each node writes the health that it knows.

use diesel::prelude::*;

use super::{CHUNK, keys};
use crate::{
    db::{DbConnection, all_or_nothing},
    domain::key::{DisabledUntil, KeyId, KeySwitches, Steering},
};

/// The columns of [`KeySwitches`].
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = keys)]
pub(super) struct SwitchesRow {
    disabled: bool,
    disabled_until_ms: Option<i64>,
    reset_at_ms: Option<i64>,
}

impl From<SwitchesRow> for KeySwitches {
    fn from(row: SwitchesRow) -> Self {
        let until = DisabledUntil { until_ms: row.disabled_until_ms };
        Self { disabled: row.disabled.then_some(until), reset_at_ms: row.reset_at_ms }
    }
}

/// Stores what an operator does with these keys, all or none.
pub fn steer_keys(
    conn: &mut DbConnection,
    ids: &[KeyId],
    steering: Steering,
    now_ms: i64,
) -> QueryResult<()> {
    all_or_nothing(conn, |conn| {
        for chunk in ids.chunks(CHUNK) {
            let rows = diesel::update(keys::table.filter(keys::id.eq_any(chunk.iter().map(|id| id.0))));
            let switch = |disabled: bool, until_ms: Option<i64>| {
                (keys::disabled.eq(disabled), keys::disabled_until_ms.eq(until_ms))
            };
            match steering {
                Steering::Disable(disabled) => rows.set(switch(true, disabled.until_ms)).execute(conn)?,
                Steering::Enable => rows.set(switch(false, None)).execute(conn)?,
                Steering::Reset => rows.set(keys::reset_at_ms.eq(now_ms)).execute(conn)?,
            };
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        db::{
            keys::{Checkpoint, load_some_keys, save_checkpoints, sync_configured},
            test_database,
        },
        domain::key::{ApiKey, KeyFigures},
        secrets::{EncryptionKey, Sealer},
    };

    #[test]
    fn what_was_set_by_hand_is_not_overwritten_by_what_a_node_has_learnt() {
        let (database, _dir) = test_database();
        let sealer = Sealer::new(&EncryptionKey::parse("correct horse battery").unwrap());
        let keys = ["a", "b"].map(|text| ApiKey::parse(text).unwrap().into());
        let both = [KeyId(1), KeyId(2)];
        let off = |until_ms| DisabledUntil { until_ms };
        database
            .write_blocking(|conn| {
                sync_configured(conn, &sealer, &keys, 5)?;
                steer_keys(conn, &both, Steering::Disable(off(Some(77))), 6)?;
                steer_keys(conn, &[KeyId(2)], Steering::Disable(off(None)), 6)?;
                steer_keys(conn, &[KeyId(1)], Steering::Reset, 7)?;
                let health = Some(r#"{"state":"active"}"#.to_owned());
                let learnt = Checkpoint { key: KeyId(1), health, figures: KeyFigures::default() };
                save_checkpoints(conn, &[learnt], 8)?;
                let switches = |conn: &mut _| -> QueryResult<Vec<KeySwitches>> {
                    let ids = [KeyId(1), KeyId(2), KeyId(99)];
                    Ok(load_some_keys(conn, &sealer, &ids)?.keys.iter().map(|key| key.switches).collect())
                };

                let (first, second) = (Some(off(Some(77))), Some(off(None)));
                assert_eq!(
                    switches(conn)?,
                    [
                        KeySwitches { disabled: first, reset_at_ms: Some(7) },
                        KeySwitches { disabled: second, reset_at_ms: None },
                    ]
                );
                steer_keys(conn, &both, Steering::Enable, 9)?;
                assert!(switches(conn)?.iter().all(|switches| switches.disabled.is_none()));
                Ok(())
            })
            .unwrap();
    }
}
