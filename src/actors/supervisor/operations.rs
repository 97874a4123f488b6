//! What operators do with keys while they are in use: add, place anew, disable, enable, reset, remove.
//!
//! Each command is answered when the actors of its keys have judged and the supervisor has told the balancer, so that
//! whoever then asks the balancer for anything knows that it has heard of it.

use std::{future::Future, sync::Arc, time::Duration};

use actix::prelude::*;
use futures_util::future::join_all;
use tracing::{error, info};

use super::{KeyRoute, PoolKey, Supervisor};
use crate::{
    actors::{
        card::KeyCard,
        directory::Listing,
        key::{Retire, Steer},
    },
    balance::breaker::Cause,
    db::{
        DbError,
        keys::{purge_deleted, steer_keys},
    },
    domain::{
        key::{KeyAbout, KeyId, Steering, UNDONE_WITHIN},
        placement::KeyPlacement,
        time::Now,
    },
};

/// Command: use these keys as well. Those that exist stay as they are.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct AddKeys(pub Vec<PoolKey>);

impl Handler<AddKeys> for Supervisor {
    type Result = ();

    fn handle(&mut self, AddKeys(added): AddKeys, ctx: &mut Context<Self>) {
        self.tell_nodes(added.iter().map(|key| key.id));
        self.add(added, ctx);
    }
}

/// Command: these keys are gone. Attempts that are under way with them end by themselves.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RemoveKeys(pub Vec<KeyId>);

impl Handler<RemoveKeys> for Supervisor {
    type Result = ();

    fn handle(&mut self, RemoveKeys(ids): RemoveKeys, ctx: &mut Context<Self>) {
        self.tell_nodes(ids.iter().copied());
        self.remove(ids, ctx);
    }
}

/// Command: end for good what was deleted so long ago that nobody takes it back any more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PurgeKeys;

impl Handler<PurgeKeys> for Supervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: PurgeKeys, _: &mut Context<Self>) -> Self::Result {
        let cutoff_ms = purged_before_ms(Now::read());
        let purging = self.database.write(move |conn| purge_deleted(conn, cutoff_ms));
        Box::pin(async {
            match purging.await {
                Ok(0) => {}
                Ok(keys) => info!(keys, "deleted keys are gone for good"),
                Err(failure) => error!(error = %failure, "deleted keys could not be purged"),
            }
        })
    }
}

/// Whoever takes a deletion back in the last second shall find it.
pub fn purged_before_ms(now: Now) -> i64 {
    const GRACE: Duration = Duration::from_secs(30);
    let kept_ms = (UNDONE_WITHIN + GRACE).as_millis();
    now.unix_ms() - i64::try_from(kept_ms).unwrap_or(i64::MAX)
}

/// Command: what is said of these keys has changed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PlaceKeys(pub Vec<(KeyId, KeyPlacement, KeyAbout)>);

impl Handler<PlaceKeys> for Supervisor {
    type Result = ();

    fn handle(&mut self, PlaceKeys(placed): PlaceKeys, _: &mut Context<Self>) {
        self.tell_nodes(placed.iter().map(|(key, ..)| *key));
        self.place(placed);
    }
}

/// Command: do this with these keys. Answered with the number of those that did it; where it cannot be stored, none does.
#[derive(Debug, Message)]
#[rtype(result = "Result<usize, DbError>")]
pub struct SteerKeys {
    pub keys: Vec<KeyId>,
    pub steering: Steering,
}

/// Stored first, so that what is read meanwhile of what other nodes have done does not undo it.
impl Handler<SteerKeys> for Supervisor {
    type Result = ResponseActFuture<Self, Result<usize, DbError>>;

    fn handle(&mut self, SteerKeys { keys, steering }: SteerKeys, _: &mut Context<Self>) -> Self::Result {
        let now_ms = Now::read().unix_ms();
        let known: Vec<KeyId> = keys.into_iter().filter(|key| self.keys.contains_key(key)).collect();
        let ids = known.clone();
        let storing = self.database.write(move |conn| steer_keys(conn, &ids, steering, now_ms));
        let steering = storing.into_actor(self).then(move |stored, supervisor, _| {
            let asked = stored.map(|()| supervisor.steer(&known, steering, now_ms));
            async move { Ok(asked?.await) }.into_actor(supervisor)
        });
        Box::pin(steering)
    }
}

impl Supervisor {
    pub(super) fn add(&mut self, added: Vec<PoolKey>, ctx: &mut Context<Self>) {
        let ids: Vec<KeyId> = added.iter().map(|key| key.id).collect();
        for key in added {
            if !self.keys.contains_key(&key.id) {
                self.spawn_key(key, ctx);
            }
        }
        self.tell_of(&ids);
    }

    pub(super) fn remove(&mut self, ids: Vec<KeyId>, ctx: &mut Context<Self>) {
        self.twins.forget(&ids);
        for key in ids {
            // It may come back, and then as it was.
            self.save_soon(key, ctx);
            let Some(entry) = self.keys.remove(&key) else { continue };
            self.projects.leave(key, &entry.placement);
            self.undelivered.remove(&key);
            entry.actor.do_send(Retire);
            self.announce(&[KeyRoute::Removed { key }]);
            self.list(Listing::Removed(key));
        }
    }

    pub(super) fn place(&mut self, placed: Vec<(KeyId, KeyPlacement, KeyAbout)>) {
        let (now, mut are_moved) = (Now::read(), false);
        let ids: Vec<KeyId> = placed.iter().map(|(key, ..)| *key).collect();
        for (key, placement, about) in placed {
            let Some(entry) = self.keys.get_mut(&key) else { continue };
            let mut card = KeyCard { about: about.into(), ..(*entry.card).clone() };
            if *card.placement != placement {
                self.projects.leave(key, &card.placement);
                // What is in flight goes on to count.
                card.place = self.projects.place(key, &placement, card.place.gauge, now);
                card.placement = placement.shared();
                are_moved = true;
            }
            entry.card = Arc::new(card);
        }
        self.tell_of(&ids);
        if are_moved {
            // Others of their projects may do more now.
            self.announce(&[KeyRoute::LimitsChanged]);
        }
    }

    fn steer(
        &mut self,
        keys: &[KeyId],
        steering: Steering,
        now_ms: i64,
    ) -> impl Future<Output = usize> + use<> {
        self.tell_nodes(keys.iter().copied());
        let cause = if steering == Steering::Reset { Cause::Reset } else { Cause::Switch };
        let mut asked = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(entry) = self.keys.get_mut(key) else { continue };
            let mut switches = entry.switches();
            switches.steer(steering, now_ms);
            entry.switch(switches);
            asked.push(entry.actor.send(Steer { steering, cause }));
            if steering == Steering::Reset {
                entry.place.ledger.forget_refusals(Now::read());
            }
        }
        if steering == Steering::Reset {
            self.announce(&[KeyRoute::LimitsChanged]);
        }
        async { join_all(asked).await.iter().filter(|answer| answer.is_ok()).count() }
    }

    /// Tells the balancer and the directory how these keys stand.
    pub(super) fn tell_of(&self, keys: &[KeyId]) {
        let known = keys.iter().filter_map(|key| self.keys.get(key));
        let routes: Vec<KeyRoute> = known.clone().map(|entry| entry.route()).collect();
        self.announce(&routes);
        for entry in known {
            self.list(entry.listing());
        }
    }
}
