//! One per worker thread: chooses a key for each attempt from its replica of the pool, and passes on what came of it.
//!
//! Asking it costs a message on the same thread. What it learns leaves for other threads without waiting: failures at
//! once, successes in batches.

use std::{collections::HashMap, sync::Arc, time::Duration};

use actix::prelude::*;
use serde::Serialize;
use tokio::{sync::oneshot, time::Instant};
use tracing::warn;

use super::{
    Observe,
    key::{Forgive, KeyActor, Settle, Settlement},
    lease::Lease,
    supervisor::{KeyRoute, KeysRouted, Subscribe, Supervisor},
};
use crate::{
    balance::{
        affinity::{CacheBenefit, Group, Preference},
        breaker::ModelCooldown,
        egress::Egress,
        latency::UsualLatency,
        ledger::{Ledger, Reservation},
        policy,
        provisional::{Provisional, provisional},
        storm::{Admission, Party, Reading, Storm},
        table::{Ask, Cause, RoutingTable, Unavailable},
        waiting::{Served, WaitingRoom},
    },
    domain::{
        client::TokenId,
        key::{ApiKey, KeyId},
        model::ModelName,
        outcome::{EgressFault, Outcome},
        policy::Balancing,
        time::Now,
        usage::Usage,
    },
};

/// Successes wait this long for company; one message to a key and one wake-up of its thread then serve many.
const FLUSH_AFTER: Duration = Duration::from_millis(5);
/// …or until there are so many of them.
const FLUSH_AT: usize = 64;
/// Requests that may ask at the same moment; more of them wait their turn.
const MAILBOX: usize = 65_536;
/// Requests with wishes of their own that are passed over before a queue is left alone.
const PARTICULAR: usize = 64;
/// A message that its actor died with is delivered once more, not for ever: it may be what killed it.
const DELIVERIES: u8 = 2;

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
    pub undelivered: usize,
}

/// What belongs to a key beside its routing.
struct Route {
    secret: ApiKey,
    actor: Addr<KeyActor>,
}

pub struct Balancer {
    table: RoutingTable<Route>,
    usual: UsualLatency,
    benefit: CacheBenefit,
    max_wait: Duration,
    room: WaitingRoom<Waiting>,
    /// Wakes the room when a quota window moves on or somebody gives up.
    alarm: Option<(Instant, SpawnHandle)>,
    egress: Arc<Egress>,
    supervisor: Addr<Supervisor>,
    /// Successes that wait to be sent.
    successes: HashMap<KeyId, Vec<Settlement>>,
    unsent: usize,
    /// Settlements whose actor was gone; sent when its successor reports.
    undelivered: HashMap<KeyId, Vec<(Settle, u8)>>,
    /// Requests that came before the supervisor had told of any key; none once it has.
    early: Option<Vec<Waiting>>,
    leases_given: u64,
    refused: u64,
    waited: u64,
}

type Acquired = Result<Lease, Unavailable>;

/// A request without a key, and how to reach it. The answer is gone once it was given.
#[derive(Debug)]
struct Waiting {
    acquire: Acquire,
    /// What it does with its preference for a key that others of its like had before.
    group: Option<Group>,
    answer: Option<oneshot::Sender<Acquired>>,
}

impl Waiting {
    fn ask(&self) -> Ask<'_> {
        let Acquire { model, tokens, tried, elsewhere, preference, .. } = &self.acquire;
        // Those of a control group go wherever it suits.
        let preference = preference.filter(|_| self.group.is_none_or(|group| group == Group::Preferring));
        Ask { model, tokens: *tokens, tried, elsewhere: elsewhere.as_ref(), preference }
    }

    /// Whoever hung up meanwhile has no use for a lease, which then counts for nothing.
    fn answer(&mut self, acquired: Acquired) {
        let Some(answer) = self.answer.take() else { return };
        if let Err(Ok(lease)) = answer.send(acquired) {
            lease.cancel();
        }
    }

    fn is_gone(&self) -> bool {
        self.answer.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

impl Balancer {
    /// `egress` is the address that all workers leave by.
    pub fn new(balancing: Balancing, supervisor: Addr<Supervisor>, egress: Arc<Egress>) -> Self {
        Self {
            table: RoutingTable::new(policy::build(balancing.policy, rand::random())),
            usual: UsualLatency::default(),
            benefit: CacheBenefit::default(),
            max_wait: balancing.max_wait,
            room: WaitingRoom::new(balancing.max_waiting),
            alarm: None,
            egress,
            supervisor,
            successes: HashMap::new(),
            unsent: 0,
            undelivered: HashMap::new(),
            early: Some(Vec::new()),
            leases_given: 0,
            refused: 0,
            waited: 0,
        }
    }

    fn pick(&mut self, waiting: &Waiting, now: Now, me: &Addr<Self>) -> Acquired {
        let acquire = &waiting.acquire;
        if let Some(at) = self.egress.paused_until(now.instant) {
            return Err(Unavailable::Until { at, cause: Cause::Egress });
        }
        let picked = self.table.pick(&waiting.ask(), now)?;
        if let Admission::PausedUntil(at) = self.egress.admit(now.instant) {
            // Another worker's probe was quicker.
            picked.give_up(&acquire.model, now);
            return Err(Unavailable::Until { at, cause: Cause::Egress });
        }
        self.leases_given += 1;
        picked.gauge.enter();
        Ok(Lease {
            key: picked.key,
            secret: picked.payload.secret.clone(),
            choice: picked.choice,
            ledger: picked.ledger.clone(),
            model: acquire.model.clone(),
            is_probe: picked.is_probe,
            gauge: picked.gauge.clone(),
            balancer: me.clone(),
            reservation: Some(picked.reservation),
            group: waiting.group,
            usage: None,
            is_settled: false,
        })
    }

    /// A key at once, a place in the room, or the reason for neither.
    fn acquire(&mut self, mut waiting: Waiting, ctx: &mut Context<Self>) {
        let now = Now::read();
        let model = waiting.acquire.model.clone();
        // Those who wait for this model come first.
        let unavailable = if self.room.is_awaited(&model) {
            self.table.prospects(&waiting.ask(), None)
        } else {
            match self.pick(&waiting, now, &ctx.address()) {
                Ok(lease) => return waiting.answer(Ok(lease)),
                Err(unavailable) => unavailable,
            }
        };
        let until = waiting.acquire.deadline.min(now.instant + self.max_wait);
        if !self.is_worth_waiting(&waiting, unavailable, until) {
            return self.refuse(waiting, unavailable);
        }
        let client = waiting.acquire.client.clone();
        if let Some(sent_away) = self.room.enter(&model, &client, until, waiting) {
            self.refuse(sent_away, unavailable);
        }
        self.serve(&model, now, ctx);
        self.set_alarm(now, ctx);
    }

    /// Will there be a key before the request gives up?
    fn is_worth_waiting(&self, waiting: &Waiting, unavailable: Unavailable, until: Instant) -> bool {
        match unavailable {
            Unavailable::NoUsableKey | Unavailable::Until { cause: Cause::Model, .. } => false,
            // What is ready, or will be first, may be what was tried.
            _ if !waiting.acquire.tried.is_empty() => {
                self.table.recovery(&waiting.ask()).is_some_and(|(at, _)| at <= until)
            }
            Unavailable::Until { at, .. } => at <= until,
            Unavailable::Soon => true,
        }
    }

    fn refuse(&mut self, mut waiting: Waiting, unavailable: Unavailable) {
        self.refused += 1;
        waiting.answer(Err(unavailable));
    }

    /// Gives the keys that there are for a model to those who wait for it.
    fn serve(&mut self, model: &ModelName, now: Now, ctx: &mut Context<Self>) {
        let (mut room, me) = (std::mem::take(&mut self.room), ctx.address());
        let mut particular = 0;
        room.serve(model, |waiting| {
            if waiting.is_gone() {
                return Served::Done;
            }
            match self.pick(waiting, now, &me) {
                Ok(lease) => {
                    self.waited += 1;
                    waiting.answer(Ok(lease));
                    Served::Done
                }
                Err(_) if !waiting.acquire.is_particular() || particular == PARTICULAR => Served::NothingLeft,
                Err(_) => {
                    particular += 1;
                    Served::NotYet
                }
            }
        });
        self.room = room;
    }

    /// Something may have become ready.
    fn serve_all(&mut self, ctx: &mut Context<Self>) {
        if self.room.is_empty() {
            return;
        }
        let now = Now::read();
        for model in self.room.models() {
            self.serve(&model, now, ctx);
        }
        self.set_alarm(now, ctx);
    }

    /// Wakes up when the next key has quota again or the first request has waited long enough.
    fn set_alarm(&mut self, now: Now, ctx: &mut Context<Self>) {
        let calm = self.egress.paused_until(now.instant);
        let wanted = self.room.next_deadline().into_iter().chain(self.table.next_end()).chain(calm).min();
        let wanted = wanted.filter(|_| !self.room.is_empty());
        if self.alarm.as_ref().map(|(at, _)| *at) == wanted {
            return;
        }
        if let Some((_, alarm)) = self.alarm.take() {
            ctx.cancel_future(alarm);
        }
        self.alarm = wanted.map(|at| {
            let wait = at.saturating_duration_since(now.instant);
            (at, ctx.run_later(wait, Self::wake))
        });
    }

    fn wake(&mut self, ctx: &mut Context<Self>) {
        self.alarm = None;
        self.serve_all(ctx);
        let now = Now::read();
        for (_, waiting) in self.room.give_up(now.instant) {
            let outlook = self.table.prospects(&waiting.ask(), None);
            self.refuse(waiting, outlook);
        }
        self.set_alarm(now, ctx);
    }

    fn remember_success(&mut self, key: KeyId, settlement: Settlement, ctx: &mut Context<Self>) {
        self.successes.entry(key).or_default().push(settlement);
        self.unsent += 1;
        match self.unsent {
            1 => {
                ctx.run_later(FLUSH_AFTER, Self::flush);
            }
            FLUSH_AT => self.flush(ctx),
            _ => {}
        }
    }

    fn flush(&mut self, ctx: &mut Context<Self>) {
        self.unsent = 0;
        for (key, settled) in std::mem::take(&mut self.successes) {
            self.deliver(key, Settle(settled), 1, ctx);
        }
    }

    /// Sends a settlement, and keeps it when the actor dies with it.
    fn deliver(&mut self, key: KeyId, settle: Settle, delivery: u8, ctx: &mut Context<Self>) {
        let Some(route) = self.table.payload_mut(key) else { return };
        let sent = route.actor.send(settle.clone()).into_actor(self);
        ctx.spawn(sent.map(move |result, balancer, ctx| {
            if result.is_err() && delivery < DELIVERIES {
                balancer.keep(key, settle, delivery, ctx);
            }
        }));
    }

    fn keep(&mut self, key: KeyId, settle: Settle, delivery: u8, ctx: &mut Context<Self>) {
        match self.table.payload_mut(key) {
            // The successor has reported already.
            Some(route) if route.actor.connected() => self.deliver(key, settle, delivery + 1, ctx),
            Some(_) => self.undelivered.entry(key).or_default().push((settle, delivery)),
            None => {}
        }
    }

    /// An outcome that a storm explains is the address's, and none of the key's.
    fn read_weather(&mut self, mut settled: Settled, now: Now, ctx: &mut Context<Self>) -> Settled {
        let Some(party) = self.table.project(settled.key).map(Party::Project) else { return settled };
        let in_use = self.table.projects_len();
        match self.egress.record(settled.key, party, &settled.outcome, in_use, now.instant) {
            Reading::OfKey => return settled,
            Reading::OfStorm => {}
            Reading::Begins(storm) => self.forgive(&storm, ctx),
        }
        settled.outcome = Outcome::Egress(EgressFault::Storm);
        settled
    }

    fn forgive(&mut self, storm: &Storm, ctx: &mut Context<Self>) {
        warn!(sign = ?storm.sign, keys = storm.keys.len(), "keys of many projects fail alike; the address rests, not the keys");
        // What was sent before the storm was recognised arrives first.
        self.flush(ctx);
        for key in &storm.keys {
            if let Some(route) = self.table.payload_mut(*key) {
                route.actor.do_send(Forgive { since: storm.since });
            }
        }
    }

    /// What all balancers may know at once: how quick the key was, and what is left of its quotas.
    fn learn(&mut self, settled: &Settled, now: Now) {
        let Some(place) = self.table.place(settled.key) else { return };
        if let Some(reservation) = settled.reservation {
            let tokens = settled.usage.map(|usage| usage.input());
            place.ledger.settle(&settled.model, reservation, tokens, now);
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
    }

    /// Until the key's actor has spoken, requests of this worker go by what the same rules say of the answer.
    fn suspend(&mut self, key: KeyId, settlement: &Settlement) {
        match provisional(&settlement.outcome, Now::read()) {
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
        self.supervisor.do_send(Subscribe(ctx.address().recipient()));
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
    /// Nobody waits any longer then.
    pub deadline: Instant,
}

impl Acquire {
    /// Some keys are of no use to it that are to others.
    fn is_particular(&self) -> bool {
        let has_owner = matches!(self.preference, Some(Preference::Owner(_)));
        has_owner || !self.tried.is_empty() || self.elsewhere.is_some() || self.tokens > 0
    }
}

impl Handler<Acquire> for Balancer {
    type Result = Response<Acquired>;

    fn handle(&mut self, acquire: Acquire, ctx: &mut Context<Self>) -> Self::Result {
        let (answer, mut answered) = oneshot::channel();
        let group = matches!(acquire.preference, Some(Preference::Same(_)))
            .then(|| self.benefit.assign(&acquire.model, Instant::now()));
        let waiting = Waiting { acquire, group, answer: Some(answer) };
        match &mut self.early {
            Some(early) => early.push(waiting),
            None => self.acquire(waiting, ctx),
        }
        match answered.try_recv() {
            Ok(acquired) => Response::reply(acquired),
            Err(_) => Response::fut(async { answered.await.unwrap_or(Err(Unavailable::NoUsableKey)) }),
        }
    }
}

/// Question: when could this model be served, should no key be picked for it?
#[derive(Debug, Message)]
#[rtype(result = "Unavailable")]
pub struct Foresee {
    pub model: ModelName,
}

impl Handler<Foresee> for Balancer {
    type Result = MessageResult<Foresee>;

    fn handle(&mut self, Foresee { model }: Foresee, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.table.outlook(&model, None))
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
}

impl Handler<Settled> for Balancer {
    type Result = ();

    fn handle(&mut self, settled: Settled, ctx: &mut Context<Self>) {
        let now = Now::read();
        let settled = self.read_weather(settled, now, ctx);
        self.learn(&settled, now);
        let Settled { key, model, outcome, latency, is_probe, .. } = settled;
        let settlement = Settlement { model, outcome, latency, is_probe };
        if settlement.outcome == Outcome::Success && !is_probe {
            return self.remember_success(key, settlement, ctx);
        }
        self.suspend(key, &settlement);
        // What went well before is told before, or it would end a row of failures that has just begun.
        let mut settled = self.successes.remove(&key).unwrap_or_default();
        self.unsent -= settled.len();
        settled.push(settlement);
        self.deliver(key, Settle(settled), 1, ctx);
    }
}

impl Handler<KeysRouted> for Balancer {
    type Result = ();

    fn handle(&mut self, KeysRouted(routes): KeysRouted, ctx: &mut Context<Self>) {
        for route in routes {
            match route {
                KeyRoute::Changed { key, secret, place, actor, routing } => {
                    self.table.apply(key, place, routing, Route { secret, actor });
                    for (settle, delivery) in self.undelivered.remove(&key).unwrap_or_default() {
                        self.deliver(key, settle, delivery + 1, ctx);
                    }
                }
                KeyRoute::Removed { key } => {
                    self.table.remove(key);
                    self.undelivered.remove(&key);
                }
            }
        }
        for early in self.early.take().into_iter().flatten() {
            self.acquire(early, ctx);
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
            undelivered: self.undelivered.values().map(Vec::len).sum(),
        })
    }
}
