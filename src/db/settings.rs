//! Settings at rest: what was set in the dashboard.

use diesel::prelude::*;

use super::{DbConnection, all_or_nothing, schema::settings};

/// A setting as it is stored; either its value or its sealed value is there.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = settings)]
pub struct StoredSetting {
    pub name: String,
    /// JSON.
    pub value: Option<String>,
    /// The same of a secret; opaque here.
    pub sealed: Option<Vec<u8>>,
    /// Fingerprint of the value in the file or the environment that it covers, if there was one.
    pub covers: Option<Vec<u8>>,
    pub changed_at_ms: i64,
}

/// All of them, by name.
pub fn load_settings(conn: &mut DbConnection) -> QueryResult<Vec<StoredSetting>> {
    settings::table.order(settings::name).select(StoredSetting::as_select()).load(conn)
}

/// Stores these and forgets those, all or nothing.
pub fn save_settings(conn: &mut DbConnection, set: &[StoredSetting], unset: &[String]) -> QueryResult<()> {
    all_or_nothing(conn, |conn| {
        let changed = set.iter().map(|row| &row.name).chain(unset);
        for name in changed {
            diesel::delete(settings::table.find(name)).execute(conn)?;
        }
        for row in set {
            diesel::insert_into(settings::table).values(row).execute(conn)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::test_database;

    fn setting(name: &str, value: &str) -> StoredSetting {
        StoredSetting {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            sealed: None,
            covers: Some(vec![1, 2]),
            changed_at_ms: 7,
        }
    }

    #[test]
    fn what_was_set_last_comes_back_and_what_was_unset_does_not() {
        let (database, _dir) = test_database();

        database
            .write_blocking(|conn| {
                save_settings(conn, &[setting("B", "1"), setting("A", "2")], &[])?;
                save_settings(conn, &[setting("B", "3"), setting("C", "4")], &["A".into(), "X".into()])?;

                assert_eq!(load_settings(conn)?, [setting("B", "3"), setting("C", "4")]);
                Ok(())
            })
            .unwrap();
    }
}
