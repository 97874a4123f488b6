//! Owners at rest: which key made what lies at Google, and for which client.

use diesel::prelude::*;

use super::{DbConnection, schema::resources};

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Insertable, AsChangeset)]
#[diesel(table_name = resources)]
pub struct StoredResource {
    pub name: String,
    pub key_id: i64,
    /// Fingerprint of the client's token.
    pub client: String,
    pub expires_at_ms: i64,
}

/// All that have not ended.
pub fn load_resources(conn: &mut DbConnection, now_ms: i64) -> QueryResult<Vec<StoredResource>> {
    resources::table.filter(resources::expires_at_ms.gt(now_ms)).order(resources::name).load(conn)
}

/// Stores some and deletes others, all or none.
pub fn save_resources(
    conn: &mut DbConnection,
    present: &[StoredResource],
    gone: &[String],
) -> QueryResult<()> {
    conn.immediate_transaction(|conn| {
        for row in present {
            let updated = diesel::update(resources::table.find(&row.name)).set(row).execute(conn)?;
            if updated == 0 {
                diesel::insert_into(resources::table).values(row).execute(conn)?;
            }
        }
        for name in gone {
            diesel::delete(resources::table.find(name)).execute(conn)?;
        }
        Ok(())
    })
}

/// Deletes those that have ended by then. Answers how many.
pub fn prune_resources(conn: &mut DbConnection, now_ms: i64) -> QueryResult<usize> {
    diesel::delete(resources::table.filter(resources::expires_at_ms.le(now_ms))).execute(conn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::test_database;

    fn row(name: &str, key_id: i64, expires_at_ms: i64) -> StoredResource {
        StoredResource { name: name.into(), key_id, client: "c".into(), expires_at_ms }
    }

    #[test]
    fn the_last_word_on_each_resource_comes_back_until_it_ends() {
        let (database, _dir) = test_database();

        database
            .write_blocking(|conn| {
                save_resources(conn, &[row("files/b", 1, 50), row("files/a", 1, 90)], &[])?;
                save_resources(conn, &[row("files/b", 2, 70), row("files/c", 1, 99)], &["files/c".into()])?;

                assert_eq!(load_resources(conn, 10)?, [row("files/a", 1, 90), row("files/b", 2, 70)]);
                assert_eq!(load_resources(conn, 70)?, [row("files/a", 1, 90)]);
                assert_eq!(prune_resources(conn, 70)?, 1);
                assert_eq!(load_resources(conn, 10)?, [row("files/a", 1, 90)]);
                Ok(())
            })
            .unwrap();
    }
}
