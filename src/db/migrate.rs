//! The schema: what this version knows, and how a database gets there.

use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::DbConnection;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// Applies what is missing; each migration in its own transaction.
pub(super) fn run(conn: &mut DbConnection) -> Result<(), BoxedError> {
    conn.run_pending_migrations(MIGRATIONS).map(drop)
}

/// Whether this version has a migration of that name, as `__diesel_schema_migrations` spells it.
pub(super) fn knows(version: &str) -> bool {
    known_versions().iter().any(|known| known == version)
}

fn known_versions() -> Vec<String> {
    let migrations = diesel::migration::MigrationSource::<Sqlite>::migrations(&MIGRATIONS)
        .expect("embedded migrations were read at compile time");
    migrations.iter().map(|migration| migration.name().version().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use diesel::{Connection, QueryableByName, RunQueryDsl, sql_query, sql_types::Text};

    use super::*;

    #[derive(QueryableByName)]
    struct Name {
        #[diesel(sql_type = Text)]
        name: String,
    }

    fn tables(conn: &mut DbConnection) -> Vec<String> {
        let rows: Vec<Name> = sql_query(
            "SELECT name FROM sqlite_schema WHERE type IN ('table', 'index') AND name NOT LIKE 'sqlite%' ORDER BY name",
        )
        .load(conn)
        .unwrap();
        rows.into_iter().map(|row| row.name).collect()
    }

    #[test]
    fn every_migration_goes_up_down_and_up_again() {
        let mut conn = DbConnection::establish(":memory:").unwrap();

        run(&mut conn).unwrap();
        let first = tables(&mut conn);
        conn.revert_all_migrations(MIGRATIONS).unwrap();
        assert_eq!(tables(&mut conn), ["__diesel_schema_migrations"]);
        run(&mut conn).unwrap();

        assert_eq!(tables(&mut conn), first);
        assert!(first.contains(&"request_logs".to_owned()));
    }

    #[test]
    fn keys_that_were_disabled_before_there_were_switches_stay_so() {
        use crate::db::schema::keys::{self, dsl};
        use diesel::prelude::*;

        let mut conn = DbConnection::establish(":memory:").unwrap();
        run(&mut conn).unwrap();
        while tables_have_switches(&mut conn) {
            conn.revert_last_migration(MIGRATIONS).unwrap();
        }
        let healths = [
            "NULL",
            r#"'{"state":"active"}'"#,
            r#"'{"state":"active","disabled":{"until_ms":77}}'"#,
            r#"'{"state":"active","disabled":{"until_ms":null}}'"#,
            "'no JSON'",
        ];
        for (id, health) in healths.iter().enumerate() {
            let row = format!(
                "INSERT INTO keys (id, fingerprint, sealed, origin, created_at_ms, weight, health)
                VALUES ({id}, x'0{id}', x'00', 'admin', 5, 1, {health})"
            );
            sql_query(row).execute(&mut conn).unwrap();
        }

        run(&mut conn).unwrap();

        let switches = keys::table.select((dsl::disabled, dsl::disabled_until_ms)).order(dsl::id);
        let off = (false, None);
        assert_eq!(
            switches.load::<(bool, Option<i64>)>(&mut conn).unwrap(),
            [off, off, (true, Some(77)), (true, None), off]
        );
    }

    fn tables_have_switches(conn: &mut DbConnection) -> bool {
        sql_query("SELECT disabled FROM keys").execute(conn).is_ok()
    }

    /// Of two with the same version one would be left out without a word.
    #[test]
    fn every_migration_has_a_version_of_its_own() {
        let folders = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite")).unwrap();
        let known = known_versions();
        let different: std::collections::HashSet<_> = known.iter().collect();

        assert_eq!(different.len(), folders.count(), "{known:?}");
    }

    #[test]
    fn versions_are_known_by_their_digits() {
        assert!(knows("20261123000000"));
        assert!(!knows("20991231000000"));
    }
}
