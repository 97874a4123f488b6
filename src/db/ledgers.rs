//! Quota ledgers at rest: what each project has used and learnt.

use std::collections::{BTreeSet, HashSet};

use diesel::prelude::*;

use super::{DbConnection, schema::quota_ledgers};
use crate::domain::placement::ProjectName;

/// A ledger as it comes back from the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLedger {
    pub project: String,
    /// JSON of the last checkpoint; opaque here.
    pub ledger: String,
    pub updated_at_ms: i64,
}

#[derive(Insertable)]
#[diesel(table_name = quota_ledgers)]
struct NewLedger<'a> {
    project: &'a str,
    ledger: &'a str,
    updated_at_ms: i64,
}

/// All ledgers, by the names of their projects.
pub fn load_ledgers(conn: &mut DbConnection) -> QueryResult<Vec<StoredLedger>> {
    let rows: Vec<(String, String, i64)> = quota_ledgers::table.order(quota_ledgers::project).load(conn)?;
    let stored = |(project, ledger, updated_at_ms)| StoredLedger { project, ledger, updated_at_ms };
    Ok(rows.into_iter().map(stored).collect())
}

/// Stores checkpoints, all or none.
pub fn save_ledgers(
    conn: &mut DbConnection,
    checkpoints: &[(ProjectName, String)],
    now_ms: i64,
) -> QueryResult<()> {
    conn.immediate_transaction(|conn| {
        for (project, ledger) in checkpoints {
            let row = NewLedger { project: project.as_str(), ledger, updated_at_ms: now_ms };
            let updated = diesel::update(quota_ledgers::table.find(row.project))
                .set((quota_ledgers::ledger.eq(row.ledger), quota_ledgers::updated_at_ms.eq(now_ms)))
                .execute(conn)?;
            if updated == 0 {
                diesel::insert_into(quota_ledgers::table).values(row).execute(conn)?;
            }
        }
        Ok(())
    })
}

/// Forgets the ledgers of projects that have not been heard of since then, but those in use. Answers how many.
pub fn prune_ledgers(
    conn: &mut DbConnection,
    before_ms: i64,
    in_use: &BTreeSet<ProjectName>,
) -> QueryResult<usize> {
    conn.immediate_transaction(|conn| {
        let old = quota_ledgers::table.filter(quota_ledgers::updated_at_ms.lt(before_ms));
        let mut old: Vec<String> = old.select(quota_ledgers::project).load(conn)?;
        let in_use: HashSet<_> = in_use.iter().map(ProjectName::as_str).collect();
        old.retain(|project| !in_use.contains(project.as_str()));
        for project in &old {
            diesel::delete(quota_ledgers::table.find(project)).execute(conn)?;
        }
        Ok(old.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::test_database;

    fn project(name: &str) -> ProjectName {
        ProjectName::parse(name).unwrap()
    }

    #[test]
    fn the_last_checkpoint_of_each_project_comes_back() {
        let (database, _dir) = test_database();

        database
            .write_blocking(|conn| {
                save_ledgers(conn, &[(project("b"), "1".into()), (project("a"), "2".into())], 5)?;
                save_ledgers(conn, &[(project("b"), "3".into())], 6)?;
                save_ledgers(conn, &[], 7)?;

                let stored = load_ledgers(conn)?;
                let rows: Vec<_> =
                    stored.iter().map(|row| (&*row.project, &*row.ledger, row.updated_at_ms)).collect();
                assert_eq!(rows, [("a", "2", 5), ("b", "3", 6)]);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn projects_that_are_gone_are_forgotten_in_time() {
        let (database, _dir) = test_database();

        database
            .write_blocking(|conn| {
                save_ledgers(conn, &[(project("old"), "{}".into())], 5)?;
                save_ledgers(conn, &[(project("idle"), "{}".into())], 5)?;
                save_ledgers(conn, &[(project("new"), "{}".into())], 9)?;

                assert_eq!(prune_ledgers(conn, 9, &[project("idle")].into())?, 1);
                let left: Vec<_> = load_ledgers(conn)?.into_iter().map(|row| row.project).collect();
                assert_eq!(left, ["idle", "new"]);
                Ok(())
            })
            .unwrap();
    }
}
