//! Which keys somebody wants to see, and in what order.

use std::collections::BTreeSet;

use actix::prelude::*;

use super::{Directory, KeyRow};
use crate::{
    actors::supervisor::StateCounts,
    domain::{key::KeyId, key_event::StateName, model::ModelName, placement::Tier},
};

/// Names of tags and projects that are told; a form offers no more.
const FACETS: usize = 200;

/// What a key has to be. Everything that is not said fits every key.
#[derive(Debug, Clone, Default)]
pub struct KeyFilter {
    pub ids: Option<BTreeSet<KeyId>>,
    pub states: Vec<StateName>,
    /// Part of its label, mask, id, project or a tag, in any letter case.
    pub text: Option<String>,
    pub tag: Option<String>,
    pub project: Option<String>,
    pub tier: Option<Tier>,
    /// A model that it is for.
    pub model: Option<ModelName>,
}

impl KeyFilter {
    fn fits(&self, row: &KeyRow) -> bool {
        let project = || row.placement.project.as_ref().map(|name| name.as_str());
        self.ids.as_ref().is_none_or(|ids| ids.contains(&row.id))
            && (self.states.is_empty() || self.states.contains(&row.health.name()))
            && self.tag.as_ref().is_none_or(|tag| row.about.tags.contains(tag))
            && self
                .project
                .as_ref()
                .is_none_or(|name| project().is_some_and(|known| known.eq_ignore_ascii_case(name)))
            && self.tier.is_none_or(|tier| row.place.terms.tier == tier)
            && self.model.as_ref().is_none_or(|model| row.place.terms.allow(model))
            && self.text.as_ref().is_none_or(|text| has_text(row, text))
    }
}

fn has_text(row: &KeyRow, text: &str) -> bool {
    let text = text.to_lowercase();
    let holds = |known: &str| known.to_lowercase().contains(&text);
    row.about.label.as_deref().is_some_and(holds)
        || holds(&row.masked())
        || row.id.to_string() == text
        || row.placement.project.as_ref().is_some_and(|name| holds(name.as_str()))
        || row.about.tags.iter().any(|tag| holds(tag))
}

/// What a list is sorted by; keys that are alike stand in the order of their ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeySort {
    #[default]
    Id,
    Label,
    State,
    LastUsed,
    Requests,
    Failures,
    InFlight,
    Created,
}

/// What one key is sorted by.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank<'a> {
    Text(Option<&'a str>),
    State(StateName),
    Time(Option<i64>),
    Count(u64),
}

impl KeySort {
    fn rank(self, row: &KeyRow) -> Rank<'_> {
        match self {
            Self::Id => Rank::Count(row.id.0.unsigned_abs()),
            Self::Label => Rank::Text(row.about.label.as_deref()),
            Self::State => Rank::State(row.health.name()),
            Self::LastUsed => Rank::Time(row.tally().last_used_ms()),
            Self::Requests => Rank::Count(row.tally().attempts()),
            Self::Failures => Rank::Count(row.tally().failures()),
            Self::InFlight => Rank::Count(row.place.gauge.in_flight().into()),
            Self::Created => Rank::Time(Some(row.about.created_at_ms)),
        }
    }
}

/// Question: a page of these keys.
#[derive(Debug, Message)]
#[rtype(result = "KeyPage")]
pub struct QueryKeys {
    pub filter: KeyFilter,
    pub sort: KeySort,
    pub is_descending: bool,
    pub offset: usize,
    pub limit: usize,
}

#[derive(Debug, MessageResponse)]
pub struct KeyPage {
    pub rows: Vec<KeyRow>,
    /// Keys that the filter fits.
    pub total: usize,
    /// Of all keys.
    pub counts: StateCounts,
    /// Of all keys, in order.
    pub tags: Vec<String>,
    pub projects: Vec<String>,
}

impl Handler<QueryKeys> for Directory {
    type Result = KeyPage;

    fn handle(&mut self, query: QueryKeys, _: &mut Context<Self>) -> Self::Result {
        let (mut tags, mut projects) = (BTreeSet::new(), BTreeSet::new());
        let mut counts = StateCounts::default();
        let mut found = Vec::new();
        for row in self.keys.values() {
            counts.count(&row.health);
            if tags.len() < FACETS {
                tags.extend(row.about.tags.iter().map(String::as_str));
            }
            if projects.len() < FACETS {
                projects.extend(row.placement.project.as_ref().map(|name| name.as_str()));
            }
            if query.filter.fits(row) {
                found.push(row);
            }
        }
        // They are in the order of their ids already, and a stable sort leaves those that are alike so.
        if query.sort != KeySort::Id {
            // Workers count on meanwhile, and an order that changes while it is sorted by makes the sort panic.
            found.sort_by_cached_key(|row| query.sort.rank(row));
        }
        if query.is_descending {
            found.reverse();
        }
        let owned = |names: BTreeSet<&str>| names.into_iter().map(str::to_owned).collect();
        KeyPage {
            total: found.len(),
            rows: found.into_iter().skip(query.offset).take(query.limit).cloned().collect(),
            counts,
            tags: owned(tags),
            projects: owned(projects),
        }
    }
}
