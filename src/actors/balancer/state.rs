//! What a balancer holds, and what it makes of what it is asked and told.

use std::{mem, sync::Arc, time::Duration};

use actix::Addr;
use tokio::time::Instant;
use tracing::warn;

use super::{
    Acquire, Attend, Balancer, BalancerHandle, BalancerSnapshot, Settled,
    room::{Lack, Waiting, Wish},
};
use crate::{
    actors::{
        card::KeyCard,
        key::Settlement,
        lease::Lease,
        supervisor::{ForgiveKeys, KeyRoute, SettleKeys, Supervisor},
    },
    balance::{
        affinity::{CacheBenefit, Group, Preference},
        breaker::ModelCooldown,
        egresses::{Egresses, Exit},
        latency::UsualLatency,
        policy::{self, Policy},
        provisional::{Provisional, provisional},
        storm::{Attempt, Party, Reading, Sign, Storm},
        table::{Cause, ChoiceReason, NotPicked, RoutingTable, Unavailable},
        waiting::WaitingRoom,
    },
    domain::{
        key::KeyId,
        model::ModelName,
        outcome::{EgressFault, Outcome},
        policy::Balancing,
        time::Now,
    },
};

/// Successes wait for company until there are so many of them.
const FLUSH_AT: usize = 256;
/// An address where Gemini is not offered is passed over for so long, if there is another one.
const ABROAD: Duration = Duration::from_secs(600);

pub(super) struct State {
    pub(super) table: RoutingTable<Arc<KeyCard>>,
    usual: UsualLatency,
    benefit: CacheBenefit,
    pub(super) balancing: Balancing,
    pub(super) room: WaitingRoom<Waiting>,
    /// When something may be found for those who wait, as far as was told when they were last offered keys.
    pub(super) promised: Option<Instant>,
    /// What requests leave by.
    pub(super) egresses: Arc<Egresses>,
    supervisor: Addr<Supervisor>,
    /// Successes that wait to be sent.
    unsent: Vec<(KeyId, Settlement)>,
    /// Requests that came before the supervisor had told of any key; none once it has.
    pub(super) early: Option<Vec<Waiting>>,
    /// The actor was told to see to its timers, and has not done so yet.
    pub(super) is_called: bool,
    leases_given: u64,
    pub(super) refused: u64,
    pub(super) waited: u64,
    pub(super) turned_away: u64,
    pub(super) respawned: u64,
    /// That sees to the timers.
    pub(super) actor: Option<Addr<Balancer>>,
}

impl State {
    pub fn new(
        policy: Box<dyn Policy>,
        balancing: Balancing,
        supervisor: Addr<Supervisor>,
        egresses: Arc<Egresses>,
    ) -> Self {
        Self {
            table: RoutingTable::new(policy),
            usual: UsualLatency::default(),
            benefit: CacheBenefit::default(),
            room: WaitingRoom::new(balancing.max_waiting),
            balancing,
            promised: None,
            egresses,
            supervisor,
            unsent: Vec::new(),
            early: Some(Vec::new()),
            is_called: false,
            leases_given: 0,
            refused: 0,
            waited: 0,
            turned_away: 0,
            respawned: 0,
            actor: None,
        }
    }

    /// These keys, and no others, are about to be told of.
    pub fn expect(&mut self, pool: &[KeyRoute]) {
        if self.table.is_empty() {
            self.table.make_room(pool.len());
        } else {
            let keys = pool.iter().filter_map(KeyRoute::present).collect();
            self.table.retain(&keys);
        }
    }

    /// Uses these keys so from now on.
    pub fn apply(&mut self, routes: impl Iterator<Item = KeyRoute>) {
        for route in routes {
            match route {
                KeyRoute::Changed { card, routing } => {
                    self.table.apply(card.id, routing, card);
                }
                KeyRoute::Removed { key } => self.table.remove(key),
                KeyRoute::LimitsChanged => self.table.release_held(),
            }
        }
    }

    pub fn rebalance(
        &mut self,
        balancing: Balancing,
        egresses: Arc<Egresses>,
        now: Now,
        handle: &BalancerHandle,
    ) {
        if balancing.policy != self.balancing.policy {
            self.table.set_policy(policy::build(balancing.policy, rand::random()));
        }
        self.room.set_seats(balancing.max_waiting);
        self.balancing = balancing;
        if !Arc::ptr_eq(&self.egresses, &egresses) {
            self.egresses = egresses;
            // What paused may be no way any more.
            self.wake(now, handle);
            self.call();
        }
    }

    /// What a request does with its preference. A conversation stays where it is, as its signatures may be of no use
    /// elsewhere; prefixes are followed as long as it pays.
    pub fn group_of(&mut self, acquire: &Acquire, now: Now) -> Option<Group> {
        match acquire.preference? {
            Preference::Prefix(_) => Some(self.benefit.assign(&acquire.model, now.instant)),
            Preference::Conversation(_) => Some(Group::Conversation),
            Preference::Owner(_) | Preference::Together(_) => None,
        }
    }

    pub fn pick(&mut self, wish: &Wish, now: Now, handle: &BalancerHandle) -> Result<Lease, Lack> {
        let model = &wish.acquire.model;
        if let Some(paused) = self.paused(model, now) {
            return Err(Lack::Paused(paused));
        }
        let picked =
            self.table.pick(&wish.ask(), now).map_err(|NotPicked { room_at }| Lack::Key { room_at })?;
        let egress = match self.egresses.choose(
            &picked.payload.secret,
            wish.acquire.other_than.as_ref(),
            model,
            now,
        ) {
            Ok(egress) => egress,
            Err(at) => {
                // Another request's probe was quicker.
                let unused = picked.unused();
                self.table.give_back(unused, model, now);
                let paused = self.paused(model, now);
                return Err(Lack::Paused(paused.unwrap_or(Unavailable::Until { at, cause: Cause::Egress })));
            }
        };
        self.leases_given += 1;
        picked.gauge.enter();
        Ok(Lease {
            key: picked.key,
            secret: picked.payload.secret.clone(),
            exit: Exit::new(egress),
            choice: picked.choice,
            ledger: picked.ledger.clone(),
            model: model.clone(),
            leased_at: now.instant,
            is_probe: picked.is_probe(),
            gauge: picked.gauge.clone(),
            balancer: handle.clone(),
            reservation: Some(picked.reservation),
            group: measured(wish.group, picked.choice.reason),
            usage: None,
            consumer: None,
            is_unused: false,
            is_settled: false,
        })
    }

    /// What a request is told while nothing leaves. Clients know a refusal that names no quota as a used-up one.
    pub fn paused(&self, model: &ModelName, now: Now) -> Option<Unavailable> {
        let (at, sign) = self.egresses.pause(model, now.instant)?;
        let cause = if sign == Sign::BareLimit { Cause::Quota } else { Cause::Egress };
        Some(Unavailable::Until { at, cause })
    }

    /// Takes a lease back with what the attempt came to.
    pub fn settle(&mut self, settled: Settled, now: Now, handle: &BalancerHandle) {
        let settled = self.read_weather(settled, now);
        // A request may have turned out smaller than was reserved for it.
        let has_room = self.learn(&settled, now) && self.room.is_awaited(&settled.model);
        let Settled { key, model, outcome, is_probe, consumer, .. } = settled;
        if has_room {
            self.serve(&model, now, handle);
            self.call();
        }
        let settlement = Settlement { model, outcome, is_probe, consumer };
        self.suspend(key, &settlement, now);
        self.report(key, settlement);
    }

    /// Successes wait for company. Whatever else there is goes at once, with what came before it: a success that
    /// arrives late would end a row of failures that has just begun.
    fn report(&mut self, key: KeyId, settlement: Settlement) {
        let may_wait = settlement.outcome == Outcome::Success && !settlement.is_probe;
        self.unsent.push((key, settlement));
        match self.unsent.len() {
            1 if may_wait => self.call(),
            len if may_wait && len < FLUSH_AT => {}
            _ => self.flush(),
        }
    }

    /// The actor has a timer to set.
    pub fn call(&mut self) {
        if let Some(actor) = &self.actor
            && !mem::replace(&mut self.is_called, true)
        {
            actor.do_send(Attend);
        }
    }

    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    pub fn flush(&mut self) {
        if self.has_unsent() {
            // A busy gateway fills the next batch as soon.
            let next = Vec::with_capacity(self.unsent.len().min(FLUSH_AT));
            self.supervisor.do_send(SettleKeys(mem::replace(&mut self.unsent, next)));
        }
    }

    /// An outcome that a storm explains is the address's, and none of the key's.
    fn read_weather(&mut self, mut settled: Settled, now: Now) -> Settled {
        let Some(egress) = settled.egress.clone() else { return settled };
        if settled.outcome == Outcome::Egress(EgressFault::Location) {
            egress.found_abroad(now.unix_ms(), ABROAD);
        }
        if !self.egresses.is_concerned(&egress, &settled.outcome) {
            return settled;
        }
        let Some(party) = self.table.project(settled.key).map(Party::Project) else { return settled };
        let Settled { key, ref model, leased_at, .. } = settled;
        let attempt = Attempt { key, party, model, leased_at };
        let in_use = self.table.usable_projects();
        match self.egresses.record(&egress, attempt, &settled.outcome, in_use, now.instant) {
            Reading::OfKey => return settled,
            Reading::OfStorm => {}
            Reading::Begins(storm) => self.forgive(storm, egress.name()),
        }
        settled.outcome = Outcome::Egress(EgressFault::Storm);
        settled
    }

    fn forgive(&mut self, storm: Storm, egress: &str) {
        let Storm { sign, keys, since, .. } = storm;
        warn!(
            ?sign,
            egress,
            keys = keys.len(),
            "keys of many projects fail alike; the address rests, not the keys"
        );
        // What was sent before the storm was recognised arrives first.
        self.flush();
        self.supervisor.do_send(ForgiveKeys { keys, since });
    }

    /// What all balancers may know at once: how quick the key was, and what is left of its quotas. True if some of its
    /// project's quota was given back.
    fn learn(&mut self, settled: &Settled, now: Now) -> bool {
        let Some(place) = self.table.place(settled.key) else { return false };
        let ledger = settled.ledger.as_ref().unwrap_or(&place.ledger);
        let is_success = settled.outcome == Outcome::Success;
        let mut gave_back = false;
        if let Some(reservation) = settled.reservation.filter(|_| settled.is_unused) {
            ledger.refund(&settled.model, reservation, now);
            gave_back = true;
        } else if let Some(reservation) = settled.reservation {
            // Of a success that tells no count the estimate is all there is.
            let counted = settled.usage.map(|usage| usage.input());
            let counted = counted.or_else(|| is_success.then(|| reservation.estimate()));
            gave_back = ledger.settle(&settled.model, reservation, counted, now);
        }
        if let Outcome::Quota(exceeded) = &settled.outcome {
            ledger.exceeded(&settled.model, exceeded, now);
        }
        let first_byte = settled.latency.filter(|_| is_success);
        let slowness = first_byte.map(|latency| self.usual.compare(&settled.model, latency));
        place.gauge.learn(&settled.outcome, slowness, now.instant);
        if let (Some(group), Some(usage)) = (settled.group, &settled.usage) {
            self.benefit.record(&settled.model, group, usage, now.instant);
        }
        if gave_back {
            self.table.reconsider(settled.key, &settled.model);
        }
        gave_back
    }

    /// Until the key's actor has spoken, requests go by what the same rules say of the answer.
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

    pub fn snapshot(&self, now: Instant) -> BalancerSnapshot {
        BalancerSnapshot {
            keys: self.table.len(),
            ready: self.table.ready_len(),
            leases_given: self.leases_given,
            refused: self.refused,
            waiting: self.room.len(),
            waited: self.waited,
            turned_away: self.turned_away,
            respawned: self.respawned,
            benefit: self.benefit.report(now),
            storms: self.egresses.storms(),
            is_paused: self.egresses.is_paused(now),
        }
    }
}

/// What an attempt tells of preferences: one that was to follow its preference, and could not, tells nothing.
fn measured(group: Option<Group>, reason: ChoiceReason) -> Option<Group> {
    let group = group?;
    let went_as_meant = match group {
        Group::Preferring | Group::Conversation => reason == ChoiceReason::Preferred,
        Group::Control => reason == ChoiceReason::Policy,
        Group::Off => false,
    };
    went_as_meant.then_some(group)
}
