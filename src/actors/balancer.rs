//! One per worker thread: chooses a key for each attempt from its replica of the pool, and passes on what came of it.
//!
//! Asking it costs a message on the same thread. What it learns leaves for other threads without waiting: failures at
//! once, successes in batches.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use serde::Serialize;
use tokio::{sync::oneshot, time::Instant};
use tracing::warn;

use super::{
    Observe,
    key::Settlement,
    lease::Lease,
    supervisor::{ForgiveKeys, KeyRoute, KeysRouted, SettleKeys, Subscribe, Supervisor},
};
use crate::{
    balance::{
        affinity::{CacheBenefit, Group, ModelBenefit, Preference},
        breaker::ModelCooldown,
        egress::Egress,
        latency::UsualLatency,
        ledger::{Ledger, Reservation},
        policy,
        provisional::{Provisional, provisional},
        storm::{Admission, Party, Reading, Sign, Storm},
        table::{Cause, Census, RoutingTable, Unavailable},
        waiting::WaitingRoom,
    },
    domain::{
        client::TokenId,
        key::{ApiKey, KeyId},
        model::ModelName,
        outcome::{EgressFault, Outcome},
        policy::Balancing,
        tiers::TierSet,
        time::Now,
        usage::Usage,
    },
};

mod room;

use room::{Waiting, Wish};

/// Successes wait this long for company; one message to a key and one wake-up of its thread then serve many.
const FLUSH_AFTER: Duration = Duration::from_millis(10);
/// …or until there are so many of them.
const FLUSH_AT: usize = 256;
/// Requests that may ask at the same moment; more of them wait their turn.
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
    /// Storms of the address that all balancers share, and whether it is paused now.
    pub storms: u64,
    pub is_paused: bool,
}

pub struct Balancer {
    table: RoutingTable<ApiKey>,
    usual: UsualLatency,
    benefit: CacheBenefit,
    balancing: Balancing,
    room: WaitingRoom<Waiting>,
    /// When something may be found for those who wait, as far as was told when they were last offered keys.
    promised: Option<Instant>,
    /// Wakes the room when a quota window moves on or somebody gives up.
    alarm: Option<(Instant, SpawnHandle)>,
    egress: Arc<Egress>,
    supervisor: Addr<Supervisor>,
    /// Successes that wait to be sent.
    unsent: Vec<(KeyId, Settlement)>,
    /// Requests that came before the supervisor had told of any key; none once it has.
    early: Option<Vec<Waiting>>,
    leases_given: u64,
    refused: u64,
    waited: u64,
    turned_away: u64,
}

type Acquired = Result<Lease, Unavailable>;

impl Balancer {
    /// `egress` is the address that all workers leave by.
    pub fn new(balancing: Balancing, supervisor: Addr<Supervisor>, egress: Arc<Egress>) -> Self {
        Self {
            table: RoutingTable::new(policy::build(balancing.policy, rand::random())),
            usual: UsualLatency::default(),
            benefit: CacheBenefit::default(),
            balancing,
            room: WaitingRoom::new(balancing.max_waiting),
            promised: None,
            alarm: None,
            egress,
            supervisor,
            unsent: Vec::new(),
            early: Some(Vec::new()),
            leases_given: 0,
            refused: 0,
            waited: 0,
            turned_away: 0,
        }
    }

    /// Every draw of its policy follows from the seed, so that a simulation can be repeated.
    #[cfg(test)]
    pub(super) fn seeded(self, policy: crate::domain::policy::PolicyKind, seed: u64) -> Self {
        Self { table: RoutingTable::new(policy::build(policy, seed)), ..self }
    }

    fn pick(&mut self, wish: &Wish, now: Now, me: &Addr<Self>) -> Acquired {
        if let Some(paused) = self.paused(now) {
            return Err(paused);
        }
        let picked = self.table.pick(&wish.ask(), now)?;
        if let Admission::PausedUntil(at) = self.egress.admit(now.instant) {
            // Another worker's probe was quicker.
            picked.give_up(&wish.acquire.model, now);
            return Err(self.paused(now).unwrap_or(Unavailable::Until { at, cause: Cause::Egress }));
        }
        self.leases_given += 1;
        picked.gauge.enter();
        Ok(Lease {
            key: picked.key,
            secret: picked.payload.clone(),
            choice: picked.choice,
            ledger: picked.ledger.clone(),
            model: wish.acquire.model.clone(),
            is_probe: picked.is_probe,
            gauge: picked.gauge.clone(),
            balancer: me.clone(),
            reservation: Some(picked.reservation),
            group: wish.group,
            usage: None,
            consumer: None,
            is_settled: false,
        })
    }

    /// What a request is told while nothing leaves. Clients know a refusal that names no quota as a used-up one.
    fn paused(&self, now: Now) -> Option<Unavailable> {
        let (at, sign) = self.egress.pause(now.instant)?;
        let cause = if sign == Sign::BareLimit { Cause::Quota } else { Cause::Egress };
        Some(Unavailable::Until { at, cause })
    }

    /// Successes wait for company. Whatever else there is goes at once, with what came before it: a success that
    /// arrives late would end a row of failures that has just begun.
    fn report(&mut self, key: KeyId, settlement: Settlement, ctx: &mut Context<Self>) {
        let may_wait = settlement.outcome == Outcome::Success && !settlement.is_probe;
        self.unsent.push((key, settlement));
        match self.unsent.len() {
            1 if may_wait => {
                ctx.run_later(FLUSH_AFTER, |balancer, _| balancer.flush());
            }
            len if may_wait && len < FLUSH_AT => {}
            _ => self.flush(),
        }
    }

    fn flush(&mut self) {
        if !self.unsent.is_empty() {
            self.supervisor.do_send(SettleKeys(std::mem::take(&mut self.unsent)));
        }
    }

    /// An outcome that a storm explains is the address's, and none of the key's.
    fn read_weather(&mut self, mut settled: Settled, now: Now) -> Settled {
        let Some(party) = self.table.project(settled.key).map(Party::Project) else { return settled };
        let in_use = self.table.projects_len();
        match self.egress.record(settled.key, party, &settled.outcome, in_use, now.instant) {
            Reading::OfKey => return settled,
            Reading::OfStorm => {}
            Reading::Begins(storm) => self.forgive(storm),
        }
        settled.outcome = Outcome::Egress(EgressFault::Storm);
        settled
    }

    fn forgive(&mut self, storm: Storm) {
        let Storm { sign, keys, since, .. } = storm;
        warn!(?sign, keys = keys.len(), "keys of many projects fail alike; the address rests, not the keys");
        // What was sent before the storm was recognised arrives first.
        self.flush();
        self.supervisor.do_send(ForgiveKeys { keys, since });
    }

    /// What all balancers may know at once: how quick the key was, and what is left of its quotas.
    fn learn(&mut self, settled: &Settled, now: Now) {
        let Some(place) = self.table.place(settled.key) else { return };
        let mut gave_back = false;
        if let Some(reservation) = settled.reservation {
            let tokens = settled.usage.map(|usage| usage.input());
            gave_back = place.ledger.settle(&settled.model, reservation, tokens, now);
        }
        if let Outcome::Quota(exceeded) = &settled.outcome {
            place.ledger.exceeded(&settled.model, exceeded, now);
        }
        let is_success = settled.outcome == Outcome::Success;
        let slowness = is_success.then(|| self.usual.compare(&settled.model, settled.latency));
        place.gauge.learn(&settled.outcome, slowness, now.instant);
        if let (Some(group), Some(usage)) = (settled.group, &settled.usage) {
            self.benefit.record(&settled.model, group, usage, now.instant);
        }
        if gave_back {
            self.table.reconsider(settled.key, &settled.model);
        }
    }

    /// Until the key's actor has spoken, requests of this worker go by what the same rules say of the answer.
    fn suspend(&mut self, key: KeyId, settlement: &Settlement, now: Now) {
        match provisional(&settlement.outcome, now) {
            Provisional::Nothing => {}
            Provisional::Model(until, reason) => {
                let model = settlement.model.clone();
                self.table.suspend_model(key, ModelCooldown { model, until, reason });
            }
            Provisional::Key(availability) => self.table.suspend_key(key, availability),
        }
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

/// Command: find keys so from now on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Rebalance(pub Balancing);

impl Handler<Rebalance> for Balancer {
    type Result = ();

    fn handle(&mut self, Rebalance(balancing): Rebalance, _: &mut Context<Self>) {
        if balancing.policy != self.balancing.policy {
            self.table.set_policy(policy::build(balancing.policy, rand::random()));
        }
        self.room.set_seats(balancing.max_waiting);
        self.balancing = balancing;
    }
}

/// Question: which key for this request? Answered when there is one, or when it is not worth waiting for.
#[derive(Debug, Message)]
#[rtype(result = "Result<Lease, Unavailable>")]
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

impl Handler<Acquire> for Balancer {
    type Result = Response<Acquired>;

    fn handle(&mut self, acquire: Acquire, ctx: &mut Context<Self>) -> Self::Result {
        let now = Now::read();
        let group = matches!(acquire.preference, Some(Preference::Same(_)))
            .then(|| self.benefit.assign(&acquire.model, now.instant));
        let wish = Wish { acquire, group };
        if self.early.is_none() {
            match self.pick_in_turn(&wish, now, &ctx.address()) {
                Err(unavailable) if self.is_worth_waiting(&wish, unavailable, now) => {}
                acquired => return Response::reply(acquired.inspect_err(|_| self.refused += 1)),
            }
        }
        let (answer, answered) = oneshot::channel();
        self.wait(Waiting { wish, answer: Some(answer) }, now, ctx);
        Response::fut(async { answered.await.unwrap_or(Err(Unavailable::NoUsableKey)) })
    }
}

/// Question: when could this model be served, should no key be picked for it, and what keeps the keys?
#[derive(Debug, Message)]
#[rtype(result = "(Unavailable, Census)")]
pub struct Foresee {
    pub model: ModelName,
    /// How many keys the request has had.
    pub tried: usize,
}

impl Handler<Foresee> for Balancer {
    type Result = MessageResult<Foresee>;

    fn handle(&mut self, Foresee { model, tried }: Foresee, _: &mut Context<Self>) -> Self::Result {
        MessageResult((self.table.outlook(&model, None), self.table.census(&model, tried)))
    }
}

/// Event: a lease was given back.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Settled {
    pub key: KeyId,
    pub model: ModelName,
    pub outcome: Outcome,
    pub latency: Duration,
    pub is_probe: bool,
    /// What it had of its project's quotas.
    pub reservation: Option<Reservation>,
    /// For a request that would rather have had one key than another.
    pub group: Option<Group>,
    /// What Google counted, if it told.
    pub usage: Option<Usage>,
    /// The number of the key's project, if Google named it.
    pub consumer: Option<u64>,
}

impl Handler<Settled> for Balancer {
    type Result = ();

    fn handle(&mut self, settled: Settled, ctx: &mut Context<Self>) {
        let now = Now::read();
        let settled = self.read_weather(settled, now);
        self.learn(&settled, now);
        // A request may have turned out smaller than was reserved for it.
        if settled.usage.is_some() && self.room.is_awaited(&settled.model) {
            self.serve(&settled.model, now, ctx);
        }
        let Settled { key, model, outcome, latency, is_probe, consumer, .. } = settled;
        let settlement = Settlement { model, outcome, latency, is_probe, consumer };
        self.suspend(key, &settlement, now);
        self.report(key, settlement, ctx);
    }
}

impl Handler<KeysRouted> for Balancer {
    type Result = ();

    fn handle(&mut self, KeysRouted(routes): KeysRouted, ctx: &mut Context<Self>) {
        for route in routes {
            match route {
                KeyRoute::Changed { key, secret, place, routing } => {
                    self.table.apply(key, place, routing, secret);
                }
                KeyRoute::Removed { key } => self.table.remove(key),
            }
        }
        let now = Now::read();
        for early in self.early.take().into_iter().flatten() {
            self.admit(early, now, ctx);
        }
        self.serve_all(ctx);
    }
}

impl Handler<Observe<BalancerSnapshot>> for Balancer {
    type Result = MessageResult<Observe<BalancerSnapshot>>;

    fn handle(&mut self, _: Observe<BalancerSnapshot>, _: &mut Context<Self>) -> Self::Result {
        MessageResult(BalancerSnapshot {
            keys: self.table.len(),
            ready: self.table.ready_len(),
            leases_given: self.leases_given,
            refused: self.refused,
            waiting: self.room.len(),
            waited: self.waited,
            turned_away: self.turned_away,
            benefit: self.benefit.report(Instant::now()),
            storms: self.egress.storms(),
            is_paused: self.egress.pause(Instant::now()).is_some(),
        })
    }
}
