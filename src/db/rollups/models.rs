//! Which models have sums of their own: clients can make up any name.

use std::collections::HashSet;

use diesel::prelude::*;

use super::Kind;
use crate::{
    db::{DbConnection, request_logs::RequestLog, schema::rollups},
    domain::timeline::Step,
};

/// Google has some sixty, and each can be asked for by several names.
const MOST: usize = 300;
/// What all other names are summed up under.
pub(super) const OTHER: &str = "other";

/// Models that are known to exist, as Google has answered for them.
#[derive(Debug, Default)]
pub struct ModelNames {
    known: HashSet<String>,
    is_loaded: bool,
}

impl ModelNames {
    /// Adds those that have sums already, the first time that it is called.
    pub(in crate::db) fn load(&mut self, conn: &mut DbConnection) -> QueryResult<()> {
        if !self.is_loaded {
            let known: Vec<String> = rollups::table
                .filter(rollups::kind.eq(Kind::Model.name()).and(rollups::step_ms.eq(Step::Day.ms())))
                .select(rollups::name)
                .distinct()
                .limit(MOST as i64)
                .load(conn)?;
            self.known.extend(known);
            self.is_loaded = true;
        }
        Ok(())
    }

    /// An answer, and also a quota or an outage, is nothing that Google gives for a model it does not know.
    pub(super) fn learn(&mut self, row: &RequestLog) {
        let is_served = row.attempts > 0 && matches!(row.status, 200..400 | 429 | 500..);
        if is_served && self.known.len() < MOST && !self.known.contains(&row.model) {
            self.known.insert(row.model.clone());
        }
    }

    /// The name that it is summed up under. What names no model stays so.
    pub(super) fn name<'a>(&self, model: &'a str) -> &'a str {
        if model.is_empty() || self.known.contains(model) { model } else { OTHER }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::request_logs::tests::row;

    fn asked(model: &str, status: i32, attempts: i32) -> RequestLog {
        RequestLog { model: model.into(), status, attempts, ..row(1) }
    }

    #[test]
    fn a_model_is_known_once_google_has_served_it_and_from_then_on() {
        let mut names = ModelNames::default();

        names.learn(&asked("made-up", 404, 1));
        names.learn(&asked("made-up", 503, 0));
        assert_eq!(names.name("made-up"), "other");
        names.learn(&asked("real", 429, 1));
        assert_eq!((names.name("real"), names.name("")), ("real", ""));
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let mut names = ModelNames::default();

        (0..1000).for_each(|n| names.learn(&asked(&format!("model-{n}"), 200, 1)));

        assert_eq!(names.known.len(), MOST);
        assert_eq!(names.name("model-999"), "other");
    }
}
