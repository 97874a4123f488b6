//! Starting actors again whose end was no plan: those of keys, and the balancer's.

use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Supervisor;
use crate::{
    actors::{
        balancer::{Balancer, BalancerHandle},
        key::KeyActor,
    },
    balance::breaker::KeyHealth,
    domain::{key::KeyId, time::Now},
};

/// An actor that has been well for this long starts its backoff afresh.
const CALM_AFTER: Duration = Duration::from_secs(60);
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// How often an actor was started, and how soon it will be the next time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Restarts {
    /// 0 is the first life.
    pub incarnation: u32,
    last_start: Instant,
    backoff: Duration,
}

impl Restarts {
    pub fn new(now: Instant) -> Self {
        Self { incarnation: 0, last_start: now, backoff: FIRST_BACKOFF }
    }

    /// The actor is gone: how long it stays away.
    pub fn pause(&mut self, now: Instant) -> Duration {
        if now - self.last_start >= CALM_AFTER {
            self.backoff = FIRST_BACKOFF;
        }
        let pause = self.backoff;
        self.backoff = (pause * 2).min(LONGEST_BACKOFF);
        pause
    }

    /// It lives again.
    pub fn begin(&mut self, now: Instant) {
        self.incarnation += 1;
        self.last_start = now;
    }
}

/// Event: the actor of a key is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct KeyDown {
    pub key: KeyId,
    pub incarnation: u32,
    pub panicked: bool,
}

impl Handler<KeyDown> for Supervisor {
    type Result = ();

    fn handle(&mut self, KeyDown { key, incarnation, panicked }: KeyDown, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let Some(entry) = self.keys.get_mut(&key).filter(|entry| entry.incarnation() == incarnation) else {
            return;
        };
        let backoff = entry.restarts.get_or_insert_with(|| Box::new(Restarts::new(now))).pause(now);
        if panicked {
            self.respawned_after_panic += 1;
        } else {
            self.respawned_after_stop += 1;
        }
        let cause = if panicked { "panic" } else { "stop" };
        warn!(key.id = %key, cause, backoff_ms = backoff.as_millis(), "the actor of key {key} is gone and comes back");
        ctx.run_later(backoff, move |supervisor, ctx| supervisor.respawn(key, ctx));
    }
}

/// Event: the balancer's actor is gone. What it keeps is not, and requests go on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct BalancerDown(pub BalancerHandle);

impl Handler<BalancerDown> for Supervisor {
    type Result = ();

    fn handle(&mut self, BalancerDown(balancer): BalancerDown, ctx: &mut Context<Self>) {
        // Its successor is told of all keys.
        self.balancer = None;
        let backoff = self.balancer_restarts.pause(Instant::now());
        warn!(backoff_ms = backoff.as_millis(), "the balancer's actor is gone and comes back");
        ctx.run_later(backoff, move |supervisor, ctx| {
            supervisor.balancer_restarts.begin(Instant::now());
            Balancer::start_again(balancer, ctx.address());
        });
    }
}

impl Supervisor {
    fn respawn(&mut self, key: KeyId, ctx: &mut Context<Self>) {
        let Some(entry) = self.keys.get_mut(&key) else { return };
        let now = Now::read();
        let health = KeyHealth::restore(&entry.health, self.max_failures, now);
        if let Some(restarts) = &mut entry.restarts {
            restarts.begin(now.instant);
        }
        let incarnation = entry.incarnation();
        let gauge = entry.place.gauge.clone();
        entry.actor = KeyActor::new(key, incarnation, health, gauge, ctx.address()).start();
        info!(key.id = %key, incarnation, "the actor of key {key} is back");
        self.deliver_kept(key, ctx);
    }
}
