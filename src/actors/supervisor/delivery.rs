//! Brings what came of attempts to the actors of the keys, and once more to their successors.
//!
//! A balancer sends one message for many keys, so its thread wakes this one once; from here on nothing leaves it.

use std::collections::HashMap;

use actix::prelude::*;
use tokio::time::Instant;

use super::Supervisor;
use crate::{
    actors::key::{Forgive, Settle, Settlement},
    domain::key::KeyId,
};

/// A message that its actor died with is delivered once more, not for ever: it may be what killed it.
const DELIVERIES: u8 = 2;

/// What waits for the successors of dead actors.
pub(super) type Undelivered = HashMap<KeyId, Vec<(Settle, u8)>>;

/// Command: attempts with these keys have ended, in this order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SettleKeys(pub Vec<(KeyId, Settlement)>);

impl Handler<SettleKeys> for Supervisor {
    type Result = ();

    fn handle(&mut self, SettleKeys(settled): SettleKeys, ctx: &mut Context<Self>) {
        let mut by_key: HashMap<KeyId, Vec<Settlement>> = HashMap::new();
        for (key, settlement) in settled {
            by_key.entry(key).or_default().push(settlement);
        }
        for (key, settled) in by_key {
            self.deliver(key, Settle(settled), 1, ctx);
        }
    }
}

/// Command: what these keys were refused since then was a storm, and none of their doing.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ForgiveKeys {
    pub keys: Vec<KeyId>,
    pub since: Instant,
}

impl Handler<ForgiveKeys> for Supervisor {
    type Result = ();

    fn handle(&mut self, ForgiveKeys { keys, since }: ForgiveKeys, _: &mut Context<Self>) {
        for entry in keys.iter().filter_map(|key| self.keys.get(key)) {
            entry.actor.do_send(Forgive { since });
        }
    }
}

impl Supervisor {
    /// Sends a settlement, and keeps it when the actor dies with it.
    fn deliver(&mut self, key: KeyId, settle: Settle, delivery: u8, ctx: &mut Context<Self>) {
        let Some(entry) = self.keys.get(&key) else { return };
        let sent = entry.actor.send(settle.clone()).into_actor(self);
        ctx.spawn(sent.map(move |result, supervisor, ctx| match result {
            Ok(()) => supervisor.saving.used(key),
            Err(_) if delivery < DELIVERIES => supervisor.keep(key, settle, delivery, ctx),
            Err(_) => {}
        }));
    }

    fn keep(&mut self, key: KeyId, settle: Settle, delivery: u8, ctx: &mut Context<Self>) {
        match self.keys.get(&key) {
            // The successor is there already.
            Some(entry) if entry.actor.connected() => self.deliver(key, settle, delivery + 1, ctx),
            Some(_) => self.undelivered.entry(key).or_default().push((settle, delivery)),
            None => {}
        }
    }

    /// Gives a successor what its predecessor did not take.
    pub(super) fn deliver_kept(&mut self, key: KeyId, ctx: &mut Context<Self>) {
        for (settle, delivery) in self.undelivered.remove(&key).unwrap_or_default() {
            self.deliver(key, settle, delivery + 1, ctx);
        }
    }
}
