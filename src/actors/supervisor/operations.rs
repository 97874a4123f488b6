//! What operators do with keys while they are in use: add, place anew, disable, enable, reset, remove.
//!
//! Each command is answered when the actors of its keys have judged and the supervisor has told the balancers, so that
//! whoever then asks all balancers for anything knows that they have heard of it.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use futures_util::future::join_all;
use tracing::{error, info};

use super::{KeyRoute, PoolKey, Supervisor};
use crate::{
    actors::{
        card::KeyCard,
        directory::Listing,
        key::{Steer, Steering},
    },
    db::keys::purge_deleted,
    domain::{
        key::{KeyAbout, KeyId, UNDONE_WITHIN},
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
        let ids: Vec<KeyId> = added.iter().map(|key| key.id).collect();
        for key in added {
            if !self.keys.contains_key(&key.id) {
                self.spawn_key(key, ctx);
            }
        }
        self.tell_of(&ids);
    }
}

/// Command: these keys are gone. Attempts that are under way with them end by themselves.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RemoveKeys(pub Vec<KeyId>);

impl Handler<RemoveKeys> for Supervisor {
    type Result = ();

    fn handle(&mut self, RemoveKeys(ids): RemoveKeys, ctx: &mut Context<Self>) {
        for key in ids {
            // It may come back, and then as it was.
            self.save_soon(key, ctx);
            let Some(entry) = self.keys.remove(&key) else { continue };
            self.projects.leave(key, &entry.place.ledger);
            self.undelivered.remove(&key);
            entry.actor.do_send(Steer(Steering::Retire));
            self.announce(&[KeyRoute::Removed { key }]);
            self.list(Listing::Removed(key));
        }
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
        let now = Now::read();
        let ids: Vec<KeyId> = placed.iter().map(|(key, ..)| *key).collect();
        for (key, placement, about) in placed {
            let Some(entry) = self.keys.get_mut(&key) else { continue };
            let mut card = KeyCard { about: about.into(), ..(*entry.card).clone() };
            if *card.placement != placement {
                self.projects.leave(key, &card.place.ledger);
                // What is in flight goes on to count.
                card.place = self.projects.place(key, &placement, card.place.gauge, now);
                card.placement = placement.shared();
            }
            entry.card = Arc::new(card);
        }
        self.tell_of(&ids);
    }
}

/// Command: do this with these keys. Answered with the number of those that did it.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct SteerKeys {
    pub keys: Vec<KeyId>,
    pub steering: Steering,
}

impl Handler<SteerKeys> for Supervisor {
    type Result = ResponseFuture<usize>;

    fn handle(&mut self, SteerKeys { keys, steering }: SteerKeys, _: &mut Context<Self>) -> Self::Result {
        let actors =
            keys.iter().filter_map(|key| self.keys.get(key)).map(|entry| entry.actor.send(Steer(steering)));
        let asked = join_all(actors);
        Box::pin(async move { asked.await.iter().filter(|answer| answer.is_ok()).count() })
    }
}

impl Supervisor {
    /// Tells balancers and the directory how these keys stand.
    pub(super) fn tell_of(&self, keys: &[KeyId]) {
        let known = keys.iter().filter_map(|key| self.keys.get(key));
        let routes: Vec<KeyRoute> = known.clone().map(|entry| entry.route()).collect();
        self.announce(&routes);
        for entry in known {
            self.list(entry.listing());
        }
    }
}
