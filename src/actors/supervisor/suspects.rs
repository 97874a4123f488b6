//! Which keys a re-check should look at, and which it can measure its questions by.

use std::collections::HashSet;

use actix::prelude::*;
use rand::seq::IteratorRandom;

use super::{Entry, Supervisor};
use crate::{
    actors::key::KeyActor,
    domain::key::{ApiKey, KeyId},
};

/// Healthy keys that a re-check asks about as well.
const CONTROLS: usize = 3;

/// Question: which keys might be in a better or worse state than we think?
#[derive(Debug, Message)]
#[rtype(result = "Suspects")]
pub struct FindSuspects {
    /// These, whatever state they are in; every key that is not plainly well, if none are named.
    pub named: Option<Vec<KeyId>>,
}

/// Command: look at these keys at once, as something happened to a key of their project.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RecheckNow(pub Vec<KeyId>);

/// The keys of a re-check.
#[derive(Debug, Default)]
pub struct Suspects {
    pub suspects: Vec<Suspect>,
    /// A few keys that are well: where they are refused too, it is the question that is refused.
    pub controls: Vec<Suspect>,
}

/// A key that a re-check should look at.
#[derive(Debug)]
pub struct Suspect {
    pub key: KeyId,
    pub secret: ApiKey,
    pub actor: Addr<KeyActor>,
}

impl Suspect {
    fn new(key: KeyId, entry: &Entry) -> Self {
        Self { key, secret: entry.secret.clone(), actor: entry.actor.clone() }
    }
}

impl Handler<FindSuspects> for Supervisor {
    type Result = MessageResult<FindSuspects>;

    fn handle(&mut self, FindSuspects { named }: FindSuspects, _: &mut Context<Self>) -> Self::Result {
        let named = named.map(|named| named.into_iter().collect::<HashSet<_>>());
        let is_meant = |key: &KeyId, entry: &Entry| match &named {
            Some(named) => named.contains(key),
            None => entry.health.is_suspect(),
        };
        let meant = self.keys.iter().filter(|(key, entry)| is_meant(key, entry));
        let well =
            self.keys.iter().filter(|(key, entry)| !is_meant(key, entry) && !entry.health.is_suspect());
        let well = well.sample(&mut rand::rng(), CONTROLS);
        MessageResult(Suspects {
            suspects: meant.map(|(key, entry)| Suspect::new(*key, entry)).collect(),
            controls: well.into_iter().map(|(key, entry)| Suspect::new(*key, entry)).collect(),
        })
    }
}
