//! All keys as operators look at them: a replica of what the supervisor knows, on a thread where a long look holds up
//! nobody.

mod changes;
mod query;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Deref,
    sync::Arc,
};

use actix::prelude::*;

use changes::Changes;
pub use changes::{Glance, LookAround, StateChange};
pub use query::{KeyFilter, KeyPage, KeySort, QueryKeys};

use super::{
    card::KeyCard,
    supervisor::{ListTo, Supervisor},
};
use crate::{
    balance::{breaker::HealthSnapshot, tally::Tally},
    domain::{key::KeyId, time::Now},
};

/// What is known of one key.
#[derive(Debug, Clone)]
pub struct KeyRow {
    pub card: Arc<KeyCard>,
    pub health: Arc<HealthSnapshot>,
}

impl Deref for KeyRow {
    type Target = KeyCard;

    fn deref(&self) -> &KeyCard {
        &self.card
    }
}

impl KeyRow {
    pub fn masked(&self) -> String {
        self.secret.masked()
    }

    /// What it has done.
    pub fn tally(&self) -> &Tally {
        &self.place.gauge.tally
    }
}

pub struct Directory {
    supervisor: Addr<Supervisor>,
    keys: BTreeMap<KeyId, KeyRow>,
    changes: Changes,
    /// It has heard of the keys that there were at first, which are no news.
    is_filled: bool,
}

impl Directory {
    pub fn new(supervisor: Addr<Supervisor>) -> Self {
        Self { supervisor, keys: BTreeMap::new(), changes: Changes::default(), is_filled: false }
    }
}

impl Actor for Directory {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.supervisor.do_send(ListTo(ctx.address().recipient()));
    }
}

/// What has become of one key.
#[derive(Debug)]
pub enum Listing {
    Changed(KeyRow),
    Removed(KeyId),
}

/// Event, from the supervisor: so these keys are now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Listed(pub Vec<Listing>);

impl Handler<Listed> for Directory {
    type Result = ();

    fn handle(&mut self, Listed(listings): Listed, _: &mut Context<Self>) {
        let now = Now::read();
        if !self.is_filled {
            // All at once, in order, so that the tree is packed.
            let rows = listings.into_iter().filter_map(|listing| match listing {
                Listing::Changed(row) => Some((row.id, row)),
                Listing::Removed(_) => None,
            });
            self.keys = rows.collect();
            self.is_filled = true;
            return;
        }
        for listing in listings {
            match listing {
                Listing::Changed(row) => {
                    let from = self.keys.get(&row.id).map(|known| known.health.name());
                    self.changes.note(from, &row, now);
                    self.keys.insert(row.id, row);
                }
                Listing::Removed(key) => {
                    self.keys.remove(&key);
                }
            }
        }
    }
}

/// Question: these keys; those that are gone are left out.
#[derive(Debug, Message)]
#[rtype(result = "HashMap<KeyId, KeyRow>")]
pub struct LookUpAll(pub Vec<KeyId>);

impl Handler<LookUpAll> for Directory {
    type Result = MessageResult<LookUpAll>;

    fn handle(&mut self, LookUpAll(keys): LookUpAll, _: &mut Context<Self>) -> Self::Result {
        let known = keys.into_iter().filter_map(|key| Some((key, self.keys.get(&key)?.clone())));
        MessageResult(known.collect())
    }
}

/// Question: this key.
#[derive(Debug, Message)]
#[rtype(result = "Option<KeyRow>")]
pub struct LookUp(pub KeyId);

impl Handler<LookUp> for Directory {
    type Result = MessageResult<LookUp>;

    fn handle(&mut self, LookUp(key): LookUp, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.keys.get(&key).cloned())
    }
}
