//! One per worker thread: chooses a key for each attempt from its replica of the pool, and passes on what came of it.
//!
//! The actor hears of keys and keeps the timers. What it knows lies in `State`, which the requests of its own thread ask
//! through a [`LocalBalancer`], without a message: two of those cost more than the choice itself. What it learns leaves for
//! other threads without waiting: failures at once, successes in batches.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use serde::Serialize;
use tokio::time::Instant;

use super::{
    Observe,
    supervisor::{KeyRoute, KeysRouted, Subscribe, Supervisor},
};
use crate::{
    balance::{
        affinity::{Group, ModelBenefit, Preference},
        egress::Egress,
        egresses::Egresses,
        ledger::{Ledger, Reservation},
        policy::{self, Policy},
    },
    domain::{
        client::TokenId, key::KeyId, model::ModelName, outcome::Outcome, policy::Balancing, tiers::TierSet,
        time::Now, usage::Usage,
    },
};

mod local;
mod room;
mod state;

pub use local::LocalBalancer;
use state::State;

/// Successes wait this long for company; one message to a key and one wake-up of its thread then serve many.
const FLUSH_AFTER: Duration = Duration::from_millis(10);
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
    /// What preferences for a key bring, model by model.
    pub benefit: Vec<ModelBenefit>,
    /// Storms of the addresses that all balancers share, and whether anything is paused for one now.
    pub storms: u64,
    pub is_paused: bool,
}

pub struct Balancer {
    local: LocalBalancer,
    supervisor: Addr<Supervisor>,
    /// Successes are on their way soon.
    flushes: bool,
    /// Wakes the waiting room when a quota window moves on or somebody gives up.
    alarm: Option<(Instant, SpawnHandle)>,
}

impl Balancer {
    /// Starts one on this thread, for the requests of this thread. `egresses` are what all workers leave by.
    pub fn start_local(
        balancing: Balancing,
        supervisor: Addr<Supervisor>,
        egresses: Arc<Egresses>,
    ) -> LocalBalancer {
        let policy = policy::build(balancing.policy, rand::random());
        Self::start_with(policy, balancing, supervisor, egresses)
    }

    /// Every draw of the policy follows from its seed, so that a simulation can be repeated.
    pub(super) fn start_with(
        policy: Box<dyn Policy>,
        balancing: Balancing,
        supervisor: Addr<Supervisor>,
        egresses: Arc<Egresses>,
    ) -> LocalBalancer {
        let state = State::new(policy, balancing, supervisor.clone(), egresses);
        let mut started = None;
        Self::create(|ctx| {
            let local = started.insert(LocalBalancer::new(state, ctx.address())).clone();
            Self { local, supervisor, flushes: false, alarm: None }
        });
        started.expect("an actor is made before its address is known")
    }

    /// Sees to the timers that what it holds asks for.
    fn attend(&mut self, ctx: &mut Context<Self>) {
        if self.local.state().has_unsent() && !std::mem::replace(&mut self.flushes, true) {
            ctx.run_later(FLUSH_AFTER, |balancer, _| {
                balancer.flushes = false;
                balancer.local.state().flush();
            });
        }
        self.set_alarm(ctx);
    }

    /// Wakes up when the next key has quota again or the first request has waited long enough.
    fn set_alarm(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let wanted = self.local.state().next_event(now);
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
        self.local.state().wake(Now::read(), &self.local);
        self.set_alarm(ctx);
    }
}

impl Actor for Balancer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let me = ctx.address();
        self.supervisor.do_send(Subscribe { routes: me.clone().recipient(), observe: me.recipient() });
    }
}

/// Question: which key for this request? Put to a [`LocalBalancer`], and answered when there is one, or when it is not
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

/// Event: a lease was given back. A message only where it happens while the balancer itself is at work.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Settled {
    pub key: KeyId,
    pub model: ModelName,
    pub outcome: Outcome,
    pub latency: Duration,
    pub leased_at: Instant,
    pub is_probe: bool,
    /// What it had of its project's quotas.
    pub reservation: Option<Reservation>,
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

impl Handler<Settled> for Balancer {
    type Result = ();

    fn handle(&mut self, settled: Settled, _: &mut Context<Self>) {
        self.local.settle(settled);
    }
}

/// Command: something has changed that a timer may be wanted for.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Attend;

impl Handler<Attend> for Balancer {
    type Result = ();

    fn handle(&mut self, _: Attend, ctx: &mut Context<Self>) {
        self.local.state().is_called = false;
        self.attend(ctx);
    }
}

impl Handler<KeysRouted> for Balancer {
    type Result = ();

    fn handle(&mut self, KeysRouted(routes): KeysRouted, ctx: &mut Context<Self>) {
        let mut state = self.local.state();
        if state.table.is_empty() {
            state.table.make_room(routes.len());
        }
        for route in routes {
            match route {
                KeyRoute::Changed { key, secret, place, routing } => {
                    state.table.apply(key, place, routing, secret);
                }
                KeyRoute::Removed { key } => state.table.remove(key),
                KeyRoute::LimitsChanged => state.table.release_held(),
            }
        }
        state.serve_changed(Now::read(), &self.local);
        drop(state);
        self.set_alarm(ctx);
    }
}

impl Handler<Observe<BalancerSnapshot>> for Balancer {
    type Result = MessageResult<Observe<BalancerSnapshot>>;

    fn handle(&mut self, _: Observe<BalancerSnapshot>, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.local.state().snapshot(Instant::now()))
    }
}
