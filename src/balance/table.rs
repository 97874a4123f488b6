//! A balancer's replica of the pool: which keys may serve which model now, answered in constant time.
//!
//! Most models have no cooling key, so they share one list of ready keys; a model gets a list of its own while at
//! least one key cools for it. Names that clients make up therefore cost nothing.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use tokio::time::Instant;

use super::{
    breaker::{Availability, ModelCooldown, Routing},
    gauge::Gauge,
    policy::{Candidates, Policy},
    ready::ReadyList,
};
use crate::domain::{key::KeyId, model::ModelName};

/// How many half-open keys are looked at for a probe before an ordinary key serves the request.
const PROBES_TO_TRY: usize = 4;

/// One key as a balancer knows it; `T` is whatever else belongs to a lease (the secret, the actor's address).
#[derive(Debug)]
struct Slot<T> {
    key: KeyId,
    gauge: Arc<Gauge>,
    routing: Routing,
    payload: T,
}

/// The keys that cool for one model, and those that do not.
#[derive(Debug, Default)]
struct ModelTable {
    ready: ReadyList,
    cooling: BTreeSet<(Instant, u32)>,
}

mod outlook;

pub use outlook::{Cause, Unavailable};

pub struct RoutingTable<T> {
    policy: Box<dyn Policy>,
    slots: Vec<Option<Slot<T>>>,
    by_key: HashMap<KeyId, u32>,
    free: Vec<u32>,
    ready: ReadyList,
    /// Half-open keys, and those of them whose probe nobody has claimed yet.
    half_open: ReadyList,
    unprobed: ReadyList,
    cooling: BTreeSet<(Instant, u32)>,
    models: HashMap<ModelName, ModelTable>,
}

/// What a pick found.
#[derive(Debug)]
pub struct Picked<'a, T> {
    pub key: KeyId,
    pub gauge: &'a Arc<Gauge>,
    pub payload: &'a T,
    /// This attempt decides over a half-open key; its end must release the gauge's probe.
    pub is_probe: bool,
}

impl<T> RoutingTable<T> {
    pub fn new(policy: Box<dyn Policy>) -> Self {
        Self {
            policy,
            slots: Vec::new(),
            by_key: HashMap::new(),
            free: Vec::new(),
            ready: ReadyList::default(),
            half_open: ReadyList::default(),
            unprobed: ReadyList::default(),
            cooling: BTreeSet::new(),
            models: HashMap::new(),
        }
    }

    /// Number of keys, usable or not.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Number of keys that could be picked for a model that no key cools for.
    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }

    pub fn payload_mut(&mut self, key: KeyId) -> Option<&mut T> {
        let index = *self.by_key.get(&key)?;
        self.slots[index as usize].as_mut().map(|slot| &mut slot.payload)
    }

    /// Takes in a new key, or what has become of a known one.
    pub fn apply(&mut self, key: KeyId, gauge: Arc<Gauge>, routing: Routing, payload: T) {
        let index = match self.by_key.get(&key) {
            Some(&index) if self.keeps_its_place(index, &routing) => {
                self.slots[index as usize] = Some(Slot { key, gauge, routing, payload });
                return;
            }
            Some(&index) => {
                self.unlist(index);
                index
            }
            None => self.allocate(key),
        };
        self.slots[index as usize] = Some(Slot { key, gauge, routing, payload });
        self.list(index);
    }

    /// A ready key that goes on as before keeps its turn. One that is half-open never does: its probe may have taken
    /// it off the list.
    fn keeps_its_place(&self, index: u32, routing: &Routing) -> bool {
        let known = self.slots[index as usize].as_ref().map(|slot| &slot.routing);
        routing.availability == Availability::Ready && known == Some(routing)
    }

    /// Forgets a key that was taken out of the pool.
    pub fn remove(&mut self, key: KeyId) {
        if let Some(index) = self.by_key.remove(&key) {
            self.unlist(index);
            self.slots[index as usize] = None;
            self.free.push(index);
        }
    }

    /// Keeps a key from a model until the key's actor has spoken; never shortens what is known already.
    pub fn suspend_model(&mut self, key: KeyId, cooldown: ModelCooldown) {
        let is_known = |known: &&mut ModelCooldown| known.model == cooldown.model;
        self.change(key, |routing| match routing.cooldowns.iter_mut().find(is_known) {
            Some(known) if known.until < cooldown.until => *known = cooldown.clone(),
            Some(_) => {}
            None => routing.cooldowns.push(cooldown.clone()),
        });
    }

    /// Keeps a key from all requests until the key's actor has spoken.
    pub fn suspend_key(&mut self, key: KeyId, availability: Availability) {
        self.change(key, |routing| routing.availability = availability);
    }

    /// Picks a key for the model that is not among those tried.
    pub fn pick(&mut self, model: &ModelName, tried: &[KeyId]) -> Result<Picked<'_, T>, Unavailable> {
        if let Some(index) = self.pick_probe(model, tried) {
            return Ok(self.picked(index, true));
        }
        let ready = self.models.get(model).map_or(&self.ready, |table| &table.ready);
        let choice = self.policy.choose(ready, &SlotView { slots: &self.slots, tried });
        match choice {
            Some(index) => Ok(self.picked(index, false)),
            None => Err(self.outlook(model)),
        }
    }

    /// A half-open key whose probe nobody has claimed. A key that somebody else probes leaves the list until its
    /// actor announces it again.
    fn pick_probe(&mut self, model: &ModelName, tried: &[KeyId]) -> Option<u32> {
        for _ in 0..PROBES_TO_TRY.min(self.unprobed.len()) {
            let index = self.unprobed.at(0);
            let slot = self.slots[index as usize].as_ref().expect("listed slots are taken");
            if tried.contains(&slot.key) || slot.routing.cooldown(model).is_some() {
                // To the end of the list: another request may use it.
                self.unprobed.remove(index);
                self.unprobed.insert(index);
                continue;
            }
            let claimed = slot.gauge.claim_probe();
            self.unprobed.remove(index);
            if claimed {
                return Some(index);
            }
        }
        None
    }

    fn picked(&self, index: u32, is_probe: bool) -> Picked<'_, T> {
        let slot = self.slots[index as usize].as_ref().expect("listed slots are taken");
        Picked { key: slot.key, gauge: &slot.gauge, payload: &slot.payload, is_probe }
    }

    fn allocate(&mut self, key: KeyId) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer than 2³² keys")
        });
        self.by_key.insert(key, index);
        index
    }

    fn change(&mut self, key: KeyId, change: impl FnOnce(&mut Routing)) {
        let Some(&index) = self.by_key.get(&key) else { return };
        self.unlist(index);
        if let Some(slot) = self.slots[index as usize].as_mut() {
            change(&mut slot.routing);
        }
        self.list(index);
    }

    /// Puts the slot into every list that its routing says.
    fn list(&mut self, index: u32) {
        let Some(slot) = self.slots[index as usize].as_ref() else { return };
        for cooldown in &slot.routing.cooldowns {
            let Some(back_at) = slot.routing.back_at(cooldown) else { break };
            let common = &self.ready;
            let of_its_own = || ModelTable { ready: common.clone(), cooling: BTreeSet::new() };
            let table = self.models.entry(cooldown.model.clone()).or_insert_with(of_its_own);
            table.cooling.insert((back_at, index));
        }
        match slot.routing.availability {
            Availability::Ready => {
                self.ready.insert(index);
                for (model, table) in &mut self.models {
                    table.ready.set(index, slot.routing.cooldown(model).is_none());
                }
            }
            Availability::HalfOpen => {
                self.half_open.insert(index);
                self.unprobed.insert(index);
            }
            Availability::CoolingUntil(until) => {
                self.cooling.insert((until, index));
            }
            Availability::Out => {}
        }
    }

    /// Takes the slot out of every list; a model for which no key cools any more shares the common list again.
    fn unlist(&mut self, index: u32) {
        let Some(slot) = self.slots[index as usize].as_ref() else { return };
        self.ready.remove(index);
        self.half_open.remove(index);
        self.unprobed.remove(index);
        if let Availability::CoolingUntil(until) = slot.routing.availability {
            self.cooling.remove(&(until, index));
        }
        for cooldown in &slot.routing.cooldowns {
            if let (Some(table), Some(back_at)) =
                (self.models.get_mut(&cooldown.model), slot.routing.back_at(cooldown))
            {
                table.cooling.remove(&(back_at, index));
            }
        }
        self.models.retain(|_, table| {
            table.ready.remove(index);
            !table.cooling.is_empty()
        });
    }
}

/// The slots as a policy sees them.
struct SlotView<'a, T> {
    slots: &'a [Option<Slot<T>>],
    tried: &'a [KeyId],
}

impl<T> Candidates for SlotView<'_, T> {
    fn is_allowed(&self, slot: u32) -> bool {
        self.slots[slot as usize].as_ref().is_some_and(|slot| !self.tried.contains(&slot.key))
    }

    fn in_flight(&self, slot: u32) -> u32 {
        self.slots[slot as usize].as_ref().map_or(u32::MAX, |slot| slot.gauge.in_flight())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        balance::{breaker::ModelReason, policy},
        domain::policy::PolicyKind,
    };

    fn table() -> RoutingTable<()> {
        RoutingTable::new(policy::build(PolicyKind::RoundRobin))
    }

    fn model(name: &str) -> ModelName {
        ModelName::parse(name).unwrap()
    }

    fn quota(name: &str, until: Instant) -> ModelCooldown {
        ModelCooldown { model: model(name), until, reason: ModelReason::QuotaMinute }
    }

    fn put(table: &mut RoutingTable<()>, key: i64, availability: Availability, cooling: &[(&str, Instant)]) {
        let cooldowns = cooling.iter().map(|(name, until)| quota(name, *until)).collect();
        table.apply(KeyId(key), Arc::default(), Routing { availability, warm_at: None, cooldowns }, ());
    }

    fn picks(table: &mut RoutingTable<()>, name: &str, count: usize) -> Vec<i64> {
        (0..count).map(|_| table.pick(&model(name), &[]).unwrap().key.0).collect()
    }

    #[test]
    fn a_key_that_cools_for_one_model_still_serves_the_others() {
        let (mut table, soon) = (table(), Instant::now() + Duration::from_secs(9));
        put(&mut table, 1, Availability::Ready, &[("pro", soon)]);
        put(&mut table, 2, Availability::Ready, &[]);

        assert_eq!(picks(&mut table, "pro", 3), [2, 2, 2]);
        let mut flash = picks(&mut table, "flash", 2);
        flash.sort_unstable();
        assert_eq!(flash, [1, 2]);
    }

    #[test]
    fn a_request_never_gets_the_same_key_twice() {
        let mut table = table();
        put(&mut table, 1, Availability::Ready, &[]);
        put(&mut table, 2, Availability::Ready, &[]);

        let second = table.pick(&model("pro"), &[KeyId(1)]).unwrap().key;
        assert_eq!(second, KeyId(2));
        assert_eq!(table.pick(&model("pro"), &[KeyId(1), KeyId(2)]).unwrap_err(), Unavailable::Soon);
    }

    #[test]
    fn a_half_open_key_gets_one_probe_and_the_rest_goes_elsewhere() {
        let mut table = table();
        put(&mut table, 1, Availability::HalfOpen, &[]);
        put(&mut table, 2, Availability::Ready, &[]);

        let probe = table.pick(&model("pro"), &[]).unwrap();
        assert_eq!((probe.key, probe.is_probe), (KeyId(1), true));
        assert_eq!(picks(&mut table, "pro", 2), [2, 2]);
    }

    #[test]
    fn a_key_that_was_taken_out_is_never_picked_again() {
        let mut table = table();
        put(&mut table, 1, Availability::Ready, &[("pro", Instant::now())]);
        put(&mut table, 2, Availability::Ready, &[]);
        table.remove(KeyId(1));
        put(&mut table, 3, Availability::Ready, &[]);

        let mut keys = picks(&mut table, "pro", 2);
        keys.sort_unstable();
        assert_eq!((table.len(), keys), (2, vec![2, 3]));
    }

    #[derive(Debug, Clone)]
    enum Change {
        Apply(i64, u8, Vec<u8>),
        Suspend(i64, u8),
        Remove(i64),
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let change = prop_oneof![
            (0i64..8, 0u8..4, prop::collection::vec(0u8..3, 0..3))
                .prop_map(|(k, a, m)| Change::Apply(k, a, m)),
            (0i64..8, 0u8..3).prop_map(|(k, m)| Change::Suspend(k, m)),
            (0i64..8).prop_map(Change::Remove),
        ];
        prop::collection::vec(change, 0..60)
    }

    proptest! {
        /// Against a plain list of what each key may do: every pick is allowed, and a refusal means that none is.
        #[test]
        fn a_pick_is_always_allowed_and_a_refusal_always_true(changes in changes()) {
            let now = Instant::now();
            let until = now + Duration::from_secs(60);
            let names = ["a", "b", "c"];
            let mut table = table();
            let mut truth: HashMap<i64, (u8, BTreeSet<u8>)> = HashMap::new();
            for change in changes {
                match change {
                    Change::Apply(key, availability, mut models) => {
                        models.sort_unstable();
                        models.dedup();
                        let how = [
                            Availability::Ready, Availability::HalfOpen,
                            Availability::CoolingUntil(until), Availability::Out,
                        ][availability as usize];
                        let cooling: Vec<_> = models.iter().map(|&m| (names[m as usize], until)).collect();
                        put(&mut table, key, how, &cooling);
                        truth.insert(key, (availability, models.into_iter().collect()));
                    }
                    Change::Suspend(key, m) => {
                        table.suspend_model(KeyId(key), quota(names[m as usize], until));
                        if let Some((_, models)) = truth.get_mut(&key) { models.insert(m); }
                    }
                    Change::Remove(key) => {
                        table.remove(KeyId(key));
                        truth.remove(&key);
                    }
                }
                for (m, name) in names.iter().enumerate() {
                    let may = |&(availability, ref models): &(u8, BTreeSet<u8>)|
                        availability == 0 && !models.contains(&(m as u8));
                    match table.pick(&model(name), &[]) {
                        Ok(picked) if picked.is_probe => prop_assert_eq!(truth[&picked.key.0].0, 1),
                        Ok(picked) => prop_assert!(may(&truth[&picked.key.0])),
                        Err(_) => prop_assert!(!truth.values().any(may)),
                    }
                }
            }
        }
    }
}
