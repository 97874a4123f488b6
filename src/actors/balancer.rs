//! One per worker thread: chooses a key for each attempt from its replica of the pool, and passes on what came of it.
//!
//! Asking it costs a message on the same thread. What it learns leaves for other threads without waiting: failures at
//! once, successes in batches.

use std::{collections::HashMap, time::Duration};

use actix::prelude::*;
use serde::Serialize;
use tokio::sync::oneshot;

use super::{
    Observe,
    key::{KeyActor, Settle, Settlement},
    lease::Lease,
    supervisor::{KeyRoute, KeysRouted, Subscribe, Supervisor},
};
use crate::{
    balance::{
        breaker::ModelCooldown,
        policy,
        provisional::{Provisional, provisional},
        table::{RoutingTable, Unavailable},
    },
    domain::{
        key::{ApiKey, KeyId},
        model::ModelName,
        outcome::Outcome,
        policy::PolicyKind,
        time::Now,
    },
};

/// Successes wait this long for company; one message to a key and one wake-up of its thread then serve many.
const FLUSH_AFTER: Duration = Duration::from_millis(5);
/// …or until there are so many of them.
const FLUSH_AT: usize = 64;
/// Requests that may ask at the same moment; more of them wait their turn.
const MAILBOX: usize = 65_536;
/// A message that its actor died with is delivered once more, not for ever: it may be what killed it.
const DELIVERIES: u8 = 2;

/// Snapshot: what a balancer holds.
#[derive(Debug, Clone, Serialize)]
pub struct BalancerSnapshot {
    pub keys: usize,
    pub ready: usize,
    pub leases_given: u64,
    pub refused: u64,
    pub undelivered: usize,
}

/// What belongs to a key beside its routing.
struct Route {
    secret: ApiKey,
    actor: Addr<KeyActor>,
}

pub struct Balancer {
    table: RoutingTable<Route>,
    supervisor: Addr<Supervisor>,
    /// Successes that wait to be sent.
    successes: HashMap<KeyId, Vec<Settlement>>,
    waiting: usize,
    /// Settlements whose actor was gone; sent when its successor reports.
    undelivered: HashMap<KeyId, Vec<(Settle, u8)>>,
    /// Requests that came before the supervisor had told of any key; none once it has.
    early: Option<Vec<(Acquire, oneshot::Sender<Acquired>)>>,
    leases_given: u64,
    refused: u64,
}

type Acquired = Result<Lease, Unavailable>;

impl Balancer {
    pub fn new(kind: PolicyKind, supervisor: Addr<Supervisor>) -> Self {
        Self {
            table: RoutingTable::new(policy::build(kind)),
            supervisor,
            successes: HashMap::new(),
            waiting: 0,
            undelivered: HashMap::new(),
            early: Some(Vec::new()),
            leases_given: 0,
            refused: 0,
        }
    }

    fn pick(&mut self, Acquire { model, tried }: &Acquire, me: Addr<Self>) -> Acquired {
        match self.table.pick(model, tried) {
            Ok(picked) => {
                self.leases_given += 1;
                let (secret, gauge) = (picked.payload.secret.clone(), picked.gauge.clone());
                Ok(Lease::new(picked.key, secret, model.clone(), picked.is_probe, gauge, me))
            }
            Err(unavailable) => {
                self.refused += 1;
                Err(unavailable)
            }
        }
    }

    fn remember_success(&mut self, key: KeyId, settlement: Settlement, ctx: &mut Context<Self>) {
        self.successes.entry(key).or_default().push(settlement);
        self.waiting += 1;
        match self.waiting {
            1 => {
                ctx.run_later(FLUSH_AFTER, Self::flush);
            }
            FLUSH_AT => self.flush(ctx),
            _ => {}
        }
    }

    fn flush(&mut self, ctx: &mut Context<Self>) {
        self.waiting = 0;
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

/// Question: which key for this model? Those that the request has tried already are passed over.
#[derive(Debug, Message)]
#[rtype(result = "Result<Lease, Unavailable>")]
pub struct Acquire {
    pub model: ModelName,
    pub tried: Vec<KeyId>,
}

impl Handler<Acquire> for Balancer {
    type Result = Response<Acquired>;

    fn handle(&mut self, acquire: Acquire, ctx: &mut Context<Self>) -> Self::Result {
        let Some(early) = &mut self.early else {
            return Response::reply(self.pick(&acquire, ctx.address()));
        };
        let (answer, answered) = oneshot::channel();
        early.push((acquire, answer));
        Response::fut(async { answered.await.unwrap_or(Err(Unavailable::NoUsableKey)) })
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
        MessageResult(self.table.outlook(&model))
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
}

impl Handler<Settled> for Balancer {
    type Result = ();

    fn handle(&mut self, settled: Settled, ctx: &mut Context<Self>) {
        let Settled { key, model, outcome, latency, is_probe } = settled;
        let settlement = Settlement { model, outcome, latency, is_probe };
        if settlement.outcome == Outcome::Success && !is_probe {
            return self.remember_success(key, settlement, ctx);
        }
        self.suspend(key, &settlement);
        // What went well before is told before, or it would end a row of failures that has just begun.
        let mut settled = self.successes.remove(&key).unwrap_or_default();
        self.waiting -= settled.len();
        settled.push(settlement);
        self.deliver(key, Settle(settled), 1, ctx);
    }
}

impl Handler<KeysRouted> for Balancer {
    type Result = ();

    fn handle(&mut self, KeysRouted(routes): KeysRouted, ctx: &mut Context<Self>) {
        for route in routes {
            match route {
                KeyRoute::Changed { key, secret, gauge, actor, routing } => {
                    self.table.apply(key, gauge, routing, Route { secret, actor });
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
        for (acquire, answer) in self.early.take().into_iter().flatten() {
            // Whoever hung up meanwhile gives the lease back by dropping it.
            let _ = answer.send(self.pick(&acquire, ctx.address()));
        }
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
            undelivered: self.undelivered.values().map(Vec::len).sum(),
        })
    }
}
