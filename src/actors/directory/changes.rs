//! Which keys have come into another state lately, for whoever watches the pool.

use std::collections::VecDeque;

use actix::prelude::*;

use super::{Directory, KeyRow};
use crate::{
    actors::supervisor::StateCounts,
    domain::{key_event::StateName, time::Now},
};

/// Changes that are kept; whoever looks less often than they come is told how many were missed.
const KEPT: usize = 100;

/// A key that has come into another state.
#[derive(Debug, Clone)]
pub struct StateChange {
    /// As it is since then.
    pub row: KeyRow,
    /// `None` for a key that is new.
    pub from: Option<StateName>,
    pub to: StateName,
    pub at_ms: i64,
}

/// The last changes, oldest first.
#[derive(Debug, Default)]
pub(super) struct Changes {
    kept: VecDeque<StateChange>,
    /// How many there have ever been.
    seen: u64,
}

impl Changes {
    /// The key was so, and is as its row says now.
    pub fn note(&mut self, from: Option<StateName>, row: &KeyRow, now: Now) {
        let to = row.health.name();
        if from == Some(to) {
            return;
        }
        self.seen += 1;
        self.kept.push_back(StateChange { row: row.clone(), from, to, at_ms: now.unix_ms() });
        if self.kept.len() > KEPT {
            self.kept.pop_front();
        }
    }

    /// Newest first, and how many more there were.
    fn since(&self, seen: u64) -> (Vec<StateChange>, u64) {
        let new = self.seen.saturating_sub(seen);
        let told: Vec<_> =
            self.kept.iter().rev().take(usize::try_from(new).unwrap_or(usize::MAX)).cloned().collect();
        let more = new - told.len() as u64;
        (told, more)
    }
}

/// The pool at a glance.
#[derive(Debug)]
pub struct Glance {
    pub states: StateCounts,
    /// Leases that are out.
    pub in_flight: u64,
    /// Newest first, at most 100.
    pub changes: Vec<StateChange>,
    /// Further ones, which are no longer kept.
    pub more: u64,
    /// To be given with the next look.
    pub seen: u64,
}

/// Question: how is the pool, and what has changed since that many changes? `None` for somebody who begins to look.
#[derive(Debug, Message)]
#[rtype(result = "Glance")]
pub struct LookAround(pub Option<u64>);

impl Handler<LookAround> for Directory {
    type Result = MessageResult<LookAround>;

    fn handle(&mut self, LookAround(seen): LookAround, _: &mut Context<Self>) -> Self::Result {
        let (changes, more) = self.changes.since(seen.unwrap_or(self.changes.seen));
        let mut states = StateCounts::default();
        let mut in_flight = 0;
        for row in self.keys.values() {
            states.count(&row.health);
            in_flight += u64::from(row.place.gauge.in_flight());
        }
        MessageResult(Glance { states, in_flight, changes, more, seen: self.changes.seen })
    }
}
