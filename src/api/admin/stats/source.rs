//! Which sums answer a question, and how they are put together.

use std::collections::{BTreeMap, HashMap};

use diesel::QueryResult;
use serde::Deserialize;

use crate::{
    api::admin::error::AdminError,
    db::{
        DbConnection,
        rollups::{Kind, Rollup, Wanted, load_requests_by_name, load_rollups},
    },
    domain::{figures::Totals, timeline::Stretch},
};

/// Rows that one question may load; bounds its time and memory.
const MOST_ROWS: u32 = 60_000;

/// What figures can be told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    Model,
    Key,
    Token,
    Dialect,
    Status,
}

/// What requests must be like to count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub key_id: Option<i64>,
    pub token_id: Option<String>,
    pub model: Option<String>,
}

/// The sums that are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub kind: Kind,
    name: Option<String>,
    model: Option<String>,
    by: By,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    All,
    Name,
    Model,
}

impl Source {
    /// 400 for what is not summed up: requests are, by each of the groups, and those of a token or of a key also by model.
    pub fn of(group_by: Option<GroupBy>, filter: Filter) -> Result<Self, AdminError> {
        let Filter { key_id, token_id, model } = filter;
        let (kind, name) = match (key_id, token_id) {
            (Some(_), Some(_)) => {
                return Err(AdminError::parameter("token_id", "cannot be combined with `key_id`"));
            }
            (Some(key), None) => (Some(Kind::Key), Some(key.to_string())),
            (None, Some(token)) => (Some(Kind::Token), Some(token)),
            (None, None) => (None, None),
        };
        let whole = |kind| Ok(Self { kind, name: None, model: None, by: By::Name });
        match (group_by, kind, model) {
            (None, Some(kind), model) => Ok(Self { kind, name, model, by: By::All }),
            (None, None, None) => Ok(Self { kind: Kind::Total, name: None, model: None, by: By::All }),
            (None, None, model) => Ok(Self { kind: Kind::Model, name: model, model: None, by: By::All }),
            (Some(GroupBy::Model), Some(kind), None) => Ok(Self { kind, name, model: None, by: By::Model }),
            (Some(GroupBy::Model), None, None) => whole(Kind::Model),
            (Some(GroupBy::Key), None, model) => Ok(Self { kind: Kind::Key, name, model, by: By::Name }),
            (Some(GroupBy::Token), None, model) => Ok(Self { kind: Kind::Token, name, model, by: By::Name }),
            (Some(GroupBy::Dialect), None, None) => whole(Kind::Dialect),
            (Some(GroupBy::Status), None, None) => whole(Kind::Status),
            _ => Err(AdminError::parameter("group_by", "cannot be combined with this filter")),
        }
    }

    /// A hundred thousand keys have too many rows to load them all for the sake of a few.
    pub fn is_wide(&self) -> bool {
        self.by == By::Name && matches!(self.kind, Kind::Key | Kind::Token)
    }

    pub fn is_grouped(&self) -> bool {
        self.by != By::All
    }

    fn group<'r>(&self, row: &'r Rollup) -> &'r str {
        match self.by {
            By::All => "",
            By::Name => &row.name,
            By::Model => &row.model,
        }
    }

    fn wanted<'a>(&'a self, names: Option<&'a [String]>) -> Wanted<'a> {
        Wanted { kind: self.kind, names, model: self.model.as_deref() }
    }

    /// The groups with the most requests, at most so many, and their rows; the busiest first.
    pub fn load(&self, conn: &mut DbConnection, stretches: &[Stretch], most: usize) -> QueryResult<Grouped> {
        let own = self.name.as_ref().map(std::slice::from_ref);
        if !self.is_wide() {
            let rows = load_rollups(conn, self.wanted(own), stretches, MOST_ROWS)?;
            let ranked = rank(rows.iter().map(|row| (self.group(row), row.totals.requests)));
            return Ok(Grouped::new(self, ranked, rows, most, None));
        }
        let found = load_requests_by_name(conn, self.wanted(None), stretches, MOST_ROWS)?;
        let ranked = rank(found.iter().map(|(name, requests)| (&**name, *requests)));
        let names: Vec<String> = ranked.iter().take(most).map(|(name, _)| name.clone()).collect();
        let rows = load_rollups(conn, self.wanted(Some(&names)), stretches, MOST_ROWS)?;
        // Each failed attempt counts for its key, so keys are no parts of the traffic.
        let is_part = self.kind != Kind::Key && self.model.is_none();
        let whole = if is_part && ranked.len() > most {
            let total = Wanted { kind: Kind::Total, names: None, model: None };
            Some(load_rollups(conn, total, stretches, MOST_ROWS)?)
        } else {
            None
        };
        Ok(Grouped::new(self, ranked, rows, most, whole))
    }
}

/// The busiest first; of equals by name.
fn rank<'a>(requests: impl Iterator<Item = (&'a str, i64)>) -> Vec<(String, i64)> {
    let mut sums: HashMap<&str, i64> = HashMap::new();
    for (name, count) in requests {
        *sums.entry(name).or_default() += count;
    }
    let mut ranked: Vec<_> = sums.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    ranked.sort_unstable_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    ranked
}

/// What was found, by group and bucket.
#[derive(Debug)]
pub struct Grouped {
    /// The busiest first.
    pub groups: Vec<(String, BTreeMap<i64, Totals>)>,
    /// All others together, if there are others and it can be told.
    pub rest: Option<BTreeMap<i64, Totals>>,
    /// Number of groups, also of those that are not told.
    pub count: usize,
}

impl Grouped {
    fn new(
        source: &Source,
        ranked: Vec<(String, i64)>,
        rows: Vec<Rollup>,
        most: usize,
        whole: Option<Vec<Rollup>>,
    ) -> Self {
        let count = ranked.len();
        let mut groups: Vec<_> =
            ranked.into_iter().take(most).map(|(name, _)| (name, BTreeMap::<i64, Totals>::new())).collect();
        let places: HashMap<String, usize> =
            groups.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
        let mut rest = BTreeMap::<i64, Totals>::new();
        for row in rows {
            let buckets = match places.get(source.group(&row)) {
                Some(place) => &mut groups[*place].1,
                None => &mut rest,
            };
            buckets.entry(row.at_ms).or_default().merge(&row.totals);
        }
        if let Some(whole) = whole {
            for row in whole {
                rest.entry(row.at_ms).or_default().merge(&row.totals);
            }
            for (at_ms, totals) in groups.iter().flat_map(|(_, buckets)| buckets) {
                rest.entry(*at_ms).or_default().subtract(totals);
            }
        }
        Self { groups, rest: Some(rest).filter(|rest| !rest.is_empty()), count }
    }
}

/// All buckets together.
pub fn sum<'a>(buckets: impl IntoIterator<Item = &'a Totals>) -> Totals {
    let mut sum = Totals::default();
    buckets.into_iter().for_each(|totals| sum.merge(totals));
    sum
}

/// The whole traffic of a range.
pub fn load_total(conn: &mut DbConnection, stretches: &[Stretch]) -> QueryResult<Totals> {
    let wanted = Wanted { kind: Kind::Total, names: None, model: None };
    let rows = load_rollups(conn, wanted, stretches, MOST_ROWS)?;
    Ok(sum(rows.iter().map(|row| &row.totals)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str) -> Filter {
        Filter { token_id: Some(name.into()), ..Filter::default() }
    }

    fn row(at_ms: i64, name: &str, requests: i64) -> Rollup {
        let totals = Totals { requests, ..Totals::default() };
        Rollup { at_ms, name: name.into(), model: String::new(), totals }
    }

    #[test]
    fn what_is_summed_up_can_be_asked_for() {
        let of = |group_by, filter| Source::of(group_by, filter).map(|source| (source.kind, source.by));
        let model = || Filter { model: Some("m".into()), ..Filter::default() };

        assert_eq!(of(None, Filter::default()).unwrap(), (Kind::Total, By::All));
        assert_eq!(of(None, model()).unwrap(), (Kind::Model, By::All));
        assert_eq!(
            of(None, Filter { model: Some("m".into()), ..token("a") }).unwrap(),
            (Kind::Token, By::All)
        );
        assert_eq!(of(Some(GroupBy::Model), token("a")).unwrap(), (Kind::Token, By::Model));
        assert_eq!(of(Some(GroupBy::Key), model()).unwrap(), (Kind::Key, By::Name));
        assert_eq!(of(Some(GroupBy::Status), Filter::default()).unwrap(), (Kind::Status, By::Name));
    }

    #[test]
    fn what_is_not_summed_up_is_refused() {
        let both = Filter { key_id: Some(1), ..token("a") };
        for (group_by, filter) in [
            (None, both),
            (Some(GroupBy::Dialect), token("a")),
            (Some(GroupBy::Key), token("a")),
            (Some(GroupBy::Model), Filter { model: Some("m".into()), ..Filter::default() }),
        ] {
            assert_eq!(
                Source::of(group_by, filter.clone()).expect_err("refused").status(),
                400,
                "{filter:?}"
            );
        }
    }

    #[test]
    fn those_behind_the_busiest_are_told_together() {
        let source = Source::of(Some(GroupBy::Model), Filter::default()).unwrap();
        let rows = vec![row(0, "a", 1), row(0, "b", 5), row(60, "b", 1), row(0, "c", 2), row(60, "d", 2)];
        let ranked = rank(rows.iter().map(|row| (&*row.name, row.totals.requests)));

        let told = Grouped::new(&source, ranked, rows, 2, None);

        let names: Vec<_> = told.groups.iter().map(|(name, _)| &**name).collect();
        assert_eq!((names, told.count), (vec!["b", "c"], 4));
        let rest: Vec<_> = told.rest.iter().flatten().map(|(at, totals)| (*at, totals.requests)).collect();
        assert_eq!(rest, [(0, 1), (60, 2)]);
    }

    #[test]
    fn of_a_whole_the_rest_is_what_the_busiest_leave() {
        let source = Source::of(Some(GroupBy::Token), Filter::default()).unwrap();
        let ranked = vec![("a".to_owned(), 7), ("b".to_owned(), 1)];

        let told = Grouped::new(&source, ranked, vec![row(0, "a", 7)], 1, Some(vec![row(0, "", 8)]));

        assert_eq!(told.rest.unwrap()[&0].requests, 1);
    }
}
