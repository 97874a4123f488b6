//! Chooses a key for each attempt from its table of the pool, keeps those who wait for one, and passes on what came of it.
//!
//! The actor hears of keys and keeps the timers. What it knows lies in `State`, which requests ask through a
//! [`BalancerHandle`], under a lock and without a message: two of those cost more than the choice itself. What it learns
//! leaves for the keys without waiting: failures at once, successes in batches. Should the actor die, requests go on with
//! what is known, and the supervisor starts another one over the same state.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use serde::Serialize;
use tokio::time::Instant;

use super::{
    Observe,
    supervisor::{BalancerDown, KeysRouted, Subscribe, Supervisor},
};
use crate::{
    balance::{
        affinity::{Group, ModelBenefit, Preference},
        egress::Egress,
        egresses::Egresses,
        ledger::{Ledger, Reservation},
        policy,
    },
    domain::{
        client::TokenId, key::KeyId, model::ModelName, outcome::Outcome, policy::Balancing, tiers::TierSet,
        time::Now, usage::Usage,
    },
};

mod handle;
mod room;
mod state;

pub use handle::BalancerHandle;
use state::State;

/// Successes wait this long for company; one message to a key and one wake-up of its thread then serve many.
const FLUSH_AFTER: Duration = Duration::from_millis(10);
/// Changes of keys that are taken in while requests stand still.
const AT_ONCE: usize = 256;
/// Verdicts that may be on their way at the same moment.
const MAILBOX: usize = 65_536;

/// Snapshot: what a balancer holds.
#[derive(Debug, Clone, Serialize)]
pub struct BalancerSnapshot {
    pub keys: usize,
    pub ready: usize,
    pub leases_given: u64,
    pub refused: u64,
    /// Requests that wait for a key now, and those that got one after a wait.
    pub waiting: usize,
    pub waited: u64,
    /// Requests that were refused for want of a place to wait.
    pub turned_away: u64,
    /// How often its actor was started again.
    pub respawned: u64,
    /// What preferences for a key bring, model by model.
    pub benefit: Vec<ModelBenefit>,
    /// Storms of the addresses that all balancers share, and whether anything is paused for one now.
    pub storms: u64,
    pub is_paused: bool,
}

pub struct Balancer {
    handle: BalancerHandle,
    supervisor: Addr<Supervisor>,
    /// It has heard of the pool.
    has_heard: bool,
    /// Successes are on their way soon.
    flushes: bool,
    /// Wakes the waiting room when a quota window moves on or somebody gives up.
    alarm: Option<(Instant, SpawnHandle)>,
}

impl Balancer {
    /// Starts it on that thread, for the requests of all.
    pub fn start_on(
        thread: &ArbiterHandle,
        balancing: Balancing,
        supervisor: Addr<Supervisor>,
        egresses: Arc<Egresses>,
    ) -> BalancerHandle {
        let policy = policy::build(balancing.policy, rand::random());
        let handle = BalancerHandle::new(State::new(policy, balancing, supervisor.clone(), egresses));
        let balancer = Self::new(handle.clone(), supervisor);
        handle.is_kept_by(Self::start_in_arbiter(thread, |_| balancer));
        handle
    }

    /// Starts it on this thread. Every draw of the policy follows from its seed, so that a simulation can be repeated.
    #[cfg(test)]
    pub(super) fn start_here(
        policy: Box<dyn policy::Policy>,
        balancing: Balancing,
        supervisor: Addr<Supervisor>,
        egresses: Arc<Egresses>,
    ) -> BalancerHandle {
        let handle = BalancerHandle::new(State::new(policy, balancing, supervisor.clone(), egresses));
        handle.is_kept_by(Self::new(handle.clone(), supervisor).start());
        handle
    }

    /// Starts another actor, on this thread, over what the last one left.
    pub(super) fn start_again(handle: BalancerHandle, supervisor: Addr<Supervisor>) {
        handle.state().respawned += 1;
        handle.is_kept_by(Self::new(handle.clone(), supervisor).start());
    }

    fn new(handle: BalancerHandle, supervisor: Addr<Supervisor>) -> Self {
        Self { handle, supervisor, has_heard: false, flushes: false, alarm: None }
    }

    /// Sees to the timers that what it holds asks for.
    fn attend(&mut self, ctx: &mut Context<Self>) {
        self.handle.state().is_called = false;
        if self.handle.state().has_unsent() && !std::mem::replace(&mut self.flushes, true) {
            ctx.run_later(FLUSH_AFTER, |balancer, _| {
                balancer.flushes = false;
                balancer.handle.state().flush();
            });
        }
        self.set_alarm(ctx);
    }

    /// Wakes up when the next key has quota again or the first request has waited long enough.
    fn set_alarm(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let wanted = self.handle.state().next_event(now);
        if self.alarm.as_ref().map(|(at, _)| *at) == wanted {
            return;
        }
        if let Some((_, alarm)) = self.alarm.take() {
            ctx.cancel_future(alarm);
        }
        self.alarm = wanted.map(|at| {
            let wait = at.saturating_duration_since(now);
            (at, ctx.run_later(wait, Self::wake))
        });
    }

    fn wake(&mut self, ctx: &mut Context<Self>) {
        self.alarm = None;
        self.handle.state().wake(Now::read(), &self.handle);
        self.set_alarm(ctx);
    }
}

impl Actor for Balancer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let me = ctx.address();
        self.supervisor.do_send(Subscribe { routes: me.clone().recipient(), observe: me.recipient() });
        self.attend(ctx);
    }
}

/// A panic closes a mailbox for good and no actix supervisor restarts the actor, so this is the only way to hear of one.
impl Drop for Balancer {
    fn drop(&mut self) {
        self.supervisor.do_send(BalancerDown(self.handle.clone()));
    }
}

/// Question: which key for this request? Put to a [`BalancerHandle`], and answered when there is one, or when it is not
/// worth waiting for.
#[derive(Debug)]
pub struct Acquire {
    pub model: ModelName,
    /// Input tokens as far as they can be told beforehand.
    pub tokens: u64,
    /// Whose request it is; those who wait take turns.
    pub client: TokenId,
    pub preference: Option<Preference>,
    /// Keys that the request has had already.
    pub tried: Vec<KeyId>,
    /// No key of this project.
    pub elsewhere: Option<Arc<Ledger>>,
    /// It was refused there, so it had better leave by another address.
    pub other_than: Option<Arc<Egress>>,
    /// Only keys of these.
    pub tiers: TierSet,
    /// Nobody waits any longer then.
    pub deadline: Instant,
}

impl Acquire {
    /// Some keys are of no use to it that are to others.
    fn is_particular(&self) -> bool {
        self.is_choosy() || self.tokens > 0
    }

    /// …whatever their size.
    fn is_choosy(&self) -> bool {
        let has_owner = matches!(self.preference, Some(Preference::Owner(_)));
        has_owner || !self.tried.is_empty() || self.elsewhere.is_some() || !self.tiers.is_all()
    }
}

/// A lease that was given back, with what came of it.
#[derive(Debug)]
pub struct Settled {
    pub key: KeyId,
    pub model: ModelName,
    pub outcome: Outcome,
    /// To the first byte; none of an answer that came whole, which tells more of the request than of the key.
    pub latency: Option<Duration>,
    pub leased_at: Instant,
    pub is_probe: bool,
    /// What it had of its project's quotas.
    pub reservation: Option<Reservation>,
    /// The project's, whatever the key belongs to by now; none of what is only said of a key.
    pub ledger: Option<Arc<Ledger>>,
    /// Nothing was sent, so that it is given back whole.
    pub is_unused: bool,
    /// For a request that would rather have had one key than another.
    pub group: Option<Group>,
    /// What Google counted, if it told.
    pub usage: Option<Usage>,
    /// The number of the key's project, if Google named it.
    pub consumer: Option<u64>,
    /// What it left by; none of what is only said of a key.
    pub egress: Option<Arc<Egress>>,
}

/// Command: something has changed that a timer may be wanted for.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Attend;

impl Handler<Attend> for Balancer {
    type Result = ();

    fn handle(&mut self, _: Attend, ctx: &mut Context<Self>) {
        self.attend(ctx);
    }
}

impl Handler<KeysRouted> for Balancer {
    type Result = ();

    fn handle(&mut self, KeysRouted(routes): KeysRouted, ctx: &mut Context<Self>) {
        // What is told first is the whole pool.
        if !std::mem::replace(&mut self.has_heard, true) {
            self.handle.state().expect(&routes);
        }
        let mut routes = routes.into_iter();
        // Requests get their turn between parts of a large pool.
        while routes.len() > 0 {
            self.handle.state().apply(routes.by_ref().take(AT_ONCE));
        }
        self.handle.state().serve_changed(Now::read(), &self.handle);
        self.set_alarm(ctx);
    }
}

impl Handler<Observe<BalancerSnapshot>> for Balancer {
    type Result = MessageResult<Observe<BalancerSnapshot>>;

    fn handle(&mut self, _: Observe<BalancerSnapshot>, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.handle.state().snapshot(Instant::now()))
    }
}
