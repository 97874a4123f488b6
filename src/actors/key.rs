//! One actor per API key: it alone judges whether its key may be used.

use std::{borrow::Cow, mem, sync::Arc, time::Duration};

use actix::prelude::*;
use serde::Serialize;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{
    Observe,
    supervisor::{KeyDown, KeyStateChanged, ProjectSeen, Supervisor},
};
use crate::{
    balance::{
        breaker::{Cause, HealthSnapshot, KeyHealth, KeyState, ProjectFault},
        gauge::Gauge,
        provisional::{Provisional, provisional},
    },
    domain::{
        key::{KeyId, Steering},
        model::ModelName,
        outcome::{Blame, KeyFault, Outcome},
        time::Now,
    },
};

/// What one key has done.
#[derive(Debug, Clone, Default, Serialize)]
pub struct KeyTally {
    pub attempts: u64,
    /// Since this life of the actor began.
    pub successes: u64,
    /// Attempts that failed through the key itself, its quotas or its project.
    pub failures: u64,
    pub last_used_at_ms: Option<i64>,
    /// The name of the outcome that last went against this key.
    pub last_failure: Option<Cow<'static, str>>,
}

/// Snapshot: what a key's actor holds.
#[derive(Debug, Clone, Serialize)]
pub struct KeySnapshot {
    pub id: KeyId,
    /// Which life of the actor it is; 0 is the first.
    pub incarnation: u32,
    #[serde(flatten)]
    pub health: HealthSnapshot,
    pub in_flight: u32,
    #[serde(flatten)]
    pub tally: KeyTally,
}

pub struct KeyActor {
    health: KeyHealth,
    successes: u32,
    gauge: Arc<Gauge>,
    /// That runs; the default one is none.
    timer: SpawnHandle,
    /// Tells the supervisor when this actor is gone, however it went.
    guard: DownGuard,
}

impl KeyActor {
    /// `incarnation` tells this life of the actor from earlier ones.
    pub fn new(
        id: KeyId,
        incarnation: u32,
        health: KeyHealth,
        gauge: Arc<Gauge>,
        supervisor: Addr<Supervisor>,
    ) -> Self {
        let guard = DownGuard { key: id, incarnation, supervisor };
        Self { health, successes: 0, gauge, timer: SpawnHandle::default(), guard }
    }

    fn id(&self) -> KeyId {
        self.guard.key
    }

    fn supervisor(&self) -> &Addr<Supervisor> {
        &self.guard.supervisor
    }

    fn record(&mut self, settled: &Settlement, now: Now) -> bool {
        let before = self.health.state();
        let changed = self.health.record(&settled.model, &settled.outcome, now, rand::random());
        self.count(&settled.outcome, now);
        if settled.is_probe {
            self.gauge.release_probe();
        }
        self.log_change(before, settled);
        self.tell_of_project(settled);
        changed
    }

    fn tell_of_project(&self, settled: &Settlement) {
        let exceeded = match settled.outcome {
            Outcome::Quota(exceeded) => Some((settled.model.clone(), exceeded)),
            _ => None,
        };
        if settled.consumer.is_some() || exceeded.is_some() {
            self.supervisor().do_send(ProjectSeen { key: self.id(), consumer: settled.consumer, exceeded });
        }
    }

    fn count(&mut self, outcome: &Outcome, now: Now) {
        // The attempt behind an outlier was counted when it failed.
        if *outcome != Outcome::Outlier {
            self.gauge.tally.attempted(now.unix_ms());
        }
        if *outcome == Outcome::Success {
            self.successes = self.successes.saturating_add(1);
        }
        if matches!(outcome.blame(), Blame::Key | Blame::KeyModel | Blame::Project) {
            self.gauge.tally.failed(outcome.name());
        }
    }

    fn log_change(&self, before: KeyState, settled: &Settlement) {
        let (after, outcome) = (self.health.state(), settled.outcome.name());
        if before == after {
            return;
        }
        match after {
            KeyState::Invalid { reason } => {
                warn!(key.id = %self.id(), ?reason, "key {} is invalid and out of use: {reason:?}", self.id());
            }
            _ => info!(key.id = %self.id(), outcome, "key {} is now {after:?}", self.id()),
        }
    }

    /// Tells what has changed, and wakes up when the next cooldown ends.
    fn publish(&mut self, cause: Cause, ctx: &mut Context<Self>) {
        let now = Now::read();
        self.supervisor().do_send(KeyStateChanged {
            key: self.id(),
            routing: self.health.routing(),
            health: self.health.snapshot(now),
            cause,
        });
        self.set_timer(now, ctx);
    }

    fn set_timer(&mut self, now: Now, ctx: &mut Context<Self>) {
        let timer = mem::take(&mut self.timer);
        if timer != SpawnHandle::default() {
            ctx.cancel_future(timer);
        }
        if let Some(at) = self.health.next_expiry() {
            let wait = at.saturating_duration_since(now.instant).max(Duration::from_millis(1));
            self.timer = ctx.run_later(wait, Self::wake);
        }
    }

    fn wake(&mut self, ctx: &mut Context<Self>) {
        self.timer = SpawnHandle::default();
        self.health.expire(Now::read().instant);
        self.publish(Cause::Time, ctx);
    }
}

impl Actor for KeyActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Without a bound, as nothing may overtake what waits for a place: a storm is forgiven after what it did. The
        // supervisor alone writes, from the same thread.
        ctx.set_mailbox_capacity(0);
        // A probe that was out when an earlier life ended would otherwise block the next one.
        self.gauge.release_probe();
        let now = Now::read();
        if self.health.expire(now.instant) || self.guard.incarnation > 0 {
            self.publish(Cause::Time, ctx);
        } else {
            // The supervisor made it, and knows; a hundred thousand keys that all speak up at the start are a crowd.
            self.set_timer(now, ctx);
        }
    }
}

/// What one attempt with this key came to.
#[derive(Debug, Clone)]
pub struct Settlement {
    pub model: ModelName,
    pub outcome: Outcome,
    pub is_probe: bool,
    /// The number of the key's project, where Google named it in a refusal.
    pub consumer: Option<u64>,
}

/// Command: attempts that leased this key have ended; successes come in batches.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Settle(pub Vec<Settlement>);

impl Handler<Settle> for KeyActor {
    type Result = ();

    fn handle(&mut self, Settle(settled): Settle, ctx: &mut Context<Self>) {
        let now = Now::read();
        let mut cause = None;
        for settlement in &settled {
            let changed = self.record(settlement, now);
            // Balancers assume something of a key that was refused; they wait for the verdict, even an unchanged one.
            if changed || provisional(&settlement.outcome, now) != Provisional::Nothing {
                cause = Some(Cause::Attempt(settlement.outcome.name()));
            }
        }
        if let Some(cause) = cause {
            self.publish(cause, ctx);
        }
    }
}

/// Command: a re-check has looked at this key. Answered when the verdict is on its way to the supervisor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Rechecked {
    /// The fault that Google still sees, or none when it accepted the key.
    pub fault: Option<KeyFault>,
    /// Somebody asked about this very key.
    pub is_asked_for: bool,
}

impl Handler<Rechecked> for KeyActor {
    type Result = ();

    fn handle(&mut self, Rechecked { fault, is_asked_for }: Rechecked, ctx: &mut Context<Self>) {
        let changed = match fault {
            None if is_asked_for => self.health.verified(Now::read().instant),
            None => self.health.found_well(),
            Some(fault) => self.health.found_invalid(fault),
        };
        let cause = if is_asked_for { Cause::Verify } else { Cause::Recheck };
        if changed {
            info!(key.id = %self.id(), "key {} is now {:?} after a re-check", self.id(), self.health.state());
            self.publish(cause, ctx);
        }
    }
}

/// Command: what this key was refused since then was a storm, and none of its doing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Forgive {
    pub since: Instant,
}

impl Handler<Forgive> for KeyActor {
    type Result = ();

    fn handle(&mut self, Forgive { since }: Forgive, ctx: &mut Context<Self>) {
        if self.health.forgive_since(since) {
            debug!(key.id = %self.id(), "key {} is forgiven what a storm did", self.id());
        }
        // Balancers that took it for refused wait for the verdict, whatever it is.
        self.publish(Cause::Storm, ctx);
    }
}

/// Event: another key of the same project fell by a fault of the project.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct SiblingFell(pub ProjectFault);

impl Handler<SiblingFell> for KeyActor {
    type Result = ();

    fn handle(&mut self, SiblingFell(fault): SiblingFell, ctx: &mut Context<Self>) {
        if self.health.sibling_fell(fault, Now::read()) {
            info!(key.id = %self.id(), ?fault, "key {} is now {:?}, as its project fell", self.id(), self.health.state());
            self.publish(Cause::Sibling, ctx);
        }
    }
}

/// Command: an operator wants this. Answered when the verdict is on its way to the supervisor.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Steer {
    pub steering: Steering,
    /// What it is in the key's history.
    pub cause: Cause,
}

impl Handler<Steer> for KeyActor {
    type Result = ();

    fn handle(&mut self, Steer { steering, cause }: Steer, ctx: &mut Context<Self>) {
        let now = Now::read();
        match steering {
            Steering::Disable(disabled) => {
                self.health.disable(disabled.until_ms.map(|at| now.instant_chosen(at)));
            }
            Steering::Enable => self.health.enable(),
            Steering::Reset => self.health.reset(),
        }
        info!(key.id = %self.id(), ?steering, "an operator has changed key {}", self.id());
        self.publish(cause, ctx);
    }
}

/// Command: the key was removed.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Retire;

impl Handler<Retire> for KeyActor {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// Command: die as a bug would make you, for drills that show that nobody notices.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Crash;

impl Handler<Crash> for KeyActor {
    type Result = ();

    #[allow(clippy::panic, reason = "the drill is a panic")]
    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("drill: key {} was told to crash", self.id());
    }
}

/// Command: so many failures in a row trip a key from now on. The supervisor passes it on to all of them.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct AllowFailures(pub u32);

impl Handler<AllowFailures> for KeyActor {
    type Result = ();

    fn handle(&mut self, AllowFailures(count): AllowFailures, _: &mut Context<Self>) {
        self.health.allow_failures(count);
    }
}

impl Handler<Observe<KeySnapshot>> for KeyActor {
    type Result = MessageResult<Observe<KeySnapshot>>;

    fn handle(&mut self, _: Observe<KeySnapshot>, _: &mut Context<Self>) -> Self::Result {
        MessageResult(KeySnapshot {
            id: self.id(),
            incarnation: self.guard.incarnation,
            health: self.health.snapshot(Now::read()),
            in_flight: self.gauge.in_flight(),
            tally: KeyTally {
                attempts: self.gauge.tally.attempts(),
                successes: self.successes.into(),
                failures: self.gauge.tally.failures(),
                last_used_at_ms: self.gauge.tally.last_used_ms(),
                last_failure: self.gauge.tally.last_failure(),
            },
        })
    }
}

/// Speaks when the actor that owns it is dropped. A panic closes a mailbox for good and no actix supervisor
/// restarts it, so this is the only way to hear of one.
struct DownGuard {
    key: KeyId,
    incarnation: u32,
    supervisor: Addr<Supervisor>,
}

impl Drop for DownGuard {
    fn drop(&mut self) {
        self.supervisor.do_send(KeyDown {
            key: self.key,
            incarnation: self.incarnation,
            panicked: std::thread::panicking(),
        });
    }
}
