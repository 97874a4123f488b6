//! What the balancer knows of the pool: which keys may serve which model now, answered in constant time.
//!
//! Most models have no key that is kept from them, so they share one list of ready keys; a model gets a list of its own
//! while at least one key cools for it or has no quota left. Names that clients make up therefore cost nothing.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use foldhash::{HashMap, HashMapExt};
use tokio::time::Instant;

use super::{
    affinity::Ring,
    breaker::{Availability, ModelCooldown, Routing},
    gauge::Gauge,
    ledger::Ledger,
    policy::Policy,
    ready::ReadyList,
};
use crate::domain::{
    key::KeyId,
    model::ModelName,
    placement::{ModelRules, Tier},
    time::Now,
};

mod choice;
mod lists;
mod membership;
mod outlook;
mod pick;
mod view;

pub use choice::{Census, Choice, ChoiceReason};
use lists::{ModelTable, Ranked, ReadyFor};
pub use outlook::{Cause, Unavailable};
pub use pick::{Ask, NotPicked, Picked, Unused};

/// On what terms a key is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Keys of a higher rank are used only when none of a lower rank is ready; 0 or 1.
    pub rank: u8,
    /// Clients may be bound to some tiers.
    pub tier: Tier,
    /// Share of the traffic beside other keys, 1 to 100.
    pub weight: u8,
    /// Which models it is for; none is all.
    pub models: Option<Arc<ModelRules>>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { rank: 0, tier: Tier::default(), weight: 1, models: None }
    }
}

impl Terms {
    pub fn allow(&self, model: &ModelName) -> bool {
        model.is_none() || self.models.as_ref().is_none_or(|rules| rules.allow(model.plain()))
    }
}

/// What knows the place of a key.
pub trait Placed {
    fn place(&self) -> &Place;
}

/// What a balancer goes by that belongs to the key itself.
#[derive(Debug, Clone)]
pub struct Place {
    pub gauge: Arc<Gauge>,
    /// The quotas of its project, shared with its twins.
    pub ledger: Arc<Ledger>,
    pub terms: Terms,
}

/// A project of its own, without known limits.
impl Default for Place {
    fn default() -> Self {
        let ledger = Ledger::new(Arc::default(), Now::read());
        Self { gauge: Arc::default(), ledger: Arc::new(ledger), terms: Terms::default() }
    }
}

impl Placed for Place {
    fn place(&self) -> &Place {
        self
    }
}

/// A key as a balancer knows it; `T` has its place, and whatever else belongs to a lease: the secret.
#[derive(Debug)]
struct Slot<T> {
    key: KeyId,
    routing: Arc<Routing>,
    payload: T,
}

/// The slots of one project, and how many of them are ready or half-open.
#[derive(Debug, Default)]
struct Twins {
    slots: Vec<u32>,
    usable: u32,
}

pub struct RoutingTable<T> {
    policy: Box<dyn Policy>,
    slots: Vec<Option<Slot<T>>>,
    by_key: HashMap<KeyId, u32>,
    ring: Ring,
    /// Slots whose keys are for some models only.
    ruled: HashSet<u32>,
    /// By the addresses of their ledgers, and how many of them have a key that may be used.
    projects: HashMap<usize, Twins>,
    usable_projects: usize,
    /// Number of keys of each weight, and the greatest weight among them.
    weights: Box<[u32; 256]>,
    heaviest: u8,
    free: Vec<u32>,
    ready: Ranked,
    /// Half-open keys, and those of them whose probe nobody has claimed yet.
    half_open: ReadyList,
    unprobed: Ranked,
    cooling: BTreeSet<(Instant, u32)>,
    models: HashMap<ModelName, ModelTable>,
    /// No hold ends before this.
    next_end: Option<Instant>,
}

impl<T: Placed> RoutingTable<T> {
    pub fn new(policy: Box<dyn Policy>) -> Self {
        Self {
            policy,
            slots: Vec::new(),
            by_key: HashMap::new(),
            ring: Ring::default(),
            ruled: HashSet::new(),
            projects: HashMap::new(),
            usable_projects: 0,
            weights: Box::new([0; 256]),
            heaviest: 1,
            free: Vec::new(),
            ready: Ranked::default(),
            half_open: ReadyList::default(),
            unprobed: Ranked::default(),
            cooling: BTreeSet::new(),
            models: HashMap::new(),
            next_end: None,
        }
    }

    pub fn set_policy(&mut self, policy: Box<dyn Policy>) {
        self.policy = policy;
    }

    /// Number of keys, usable or not.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Number of keys that could be picked for a model that no key is kept from.
    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// What belongs to the key in every balancer alike.
    pub fn place(&self, key: KeyId) -> Option<&Place> {
        let index = *self.by_key.get(&key)?;
        self.slots[index as usize].as_ref().map(Slot::place)
    }

    /// The key's project, told by its address.
    pub fn project(&self, key: KeyId) -> Option<usize> {
        self.place(key).map(|place| address(&place.ledger))
    }

    /// Number of projects with a key that is ready, or may be probed.
    pub fn usable_projects(&self) -> usize {
        self.usable_projects
    }

    /// Makes room for so many keys more, so that a large pool takes no more memory than it needs.
    pub fn make_room(&mut self, keys: usize) {
        self.slots.reserve_exact(keys.saturating_sub(self.free.len()));
        self.by_key.reserve(keys);
        self.projects.reserve(keys);
    }

    /// Takes in a new key, or what has become of a known one.
    pub fn apply(&mut self, key: KeyId, routing: impl Into<Arc<Routing>>, payload: T) {
        let slot = Slot { key, routing: routing.into(), payload };
        let index = match self.by_key.get(&key) {
            Some(&index) if self.keeps_its_place(index, &slot) => {
                self.slots[index as usize] = Some(slot);
                return;
            }
            Some(&index) => {
                self.unlist(index);
                self.leave(index);
                index
            }
            None => self.allocate(key),
        };
        self.join(index, &slot);
        self.slots[index as usize] = Some(slot);
        self.list(index);
    }

    /// A ready key that goes on as before keeps its turn. One that is half-open never does: its probe may have taken
    /// it off the list.
    fn keeps_its_place(&self, index: u32, new: &Slot<T>) -> bool {
        new.routing.availability == Availability::Ready
            && self.slots[index as usize].as_ref().is_some_and(|known| {
                known.routing == new.routing
                    && known.place().terms == new.place().terms
                    && Arc::ptr_eq(&known.place().ledger, &new.place().ledger)
            })
    }

    /// Forgets a key that was taken out of the pool.
    pub fn remove(&mut self, key: KeyId) {
        if let Some(index) = self.by_key.remove(&key) {
            self.unlist(index);
            self.leave(index);
            self.ring.remove(key);
            self.slots[index as usize] = None;
            self.free.push(index);
        }
    }

    /// Forgets all keys but these.
    pub fn retain(&mut self, keys: &HashSet<KeyId>) {
        let gone: Vec<_> = self.by_key.keys().filter(|key| !keys.contains(key)).copied().collect();
        for key in gone {
            self.remove(key);
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

    fn allocate(&mut self, key: KeyId) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer than 2³² keys")
        });
        self.by_key.insert(key, index);
        self.ring.insert(key, index);
        index
    }

    /// Counts a slot among its twins and its weight's.
    fn join(&mut self, index: u32, slot: &Slot<T>) {
        let twins = &mut self.projects.entry(address(&slot.place().ledger)).or_default().slots;
        // Most have one.
        if twins.is_empty() {
            twins.reserve_exact(1);
        }
        twins.push(index);
        if slot.place().terms.models.is_some() {
            self.ruled.insert(index);
        }
        self.weights[usize::from(slot.place().terms.weight)] += 1;
        self.heaviest = self.heaviest.max(slot.place().terms.weight);
    }

    fn leave(&mut self, index: u32) {
        let Some(slot) = self.slots[index as usize].as_ref() else { return };
        let weights = &mut self.weights;
        weights[usize::from(slot.place().terms.weight)] -= 1;
        self.heaviest = weights.iter().rposition(|keys| *keys > 0).map_or(1, |weight| weight as u8);
        let address = address(&slot.place().ledger);
        if let Some(twins) = self.projects.get_mut(&address) {
            twins.slots.retain(|twin| *twin != index);
            if twins.slots.is_empty() {
                self.projects.remove(&address);
            }
        }
        self.ruled.remove(&index);
        for table in self.models.values_mut() {
            table.forget(index);
        }
    }

    /// The slots that are ready for a model.
    fn ready_for(&self, model: &ModelName) -> ReadyFor<'_> {
        ReadyFor::new(&self.ready, self.models.get(model))
    }

    fn change(&mut self, key: KeyId, change: impl FnOnce(&mut Routing)) {
        let Some(&index) = self.by_key.get(&key) else { return };
        self.unlist(index);
        if let Some(slot) = self.slots[index as usize].as_mut() {
            change(Arc::make_mut(&mut slot.routing));
        }
        self.list(index);
    }
}

impl<T: Placed> Slot<T> {
    /// As far as the verdict of its actor and its own rules go.
    fn place(&self) -> &Place {
        self.payload.place()
    }

    fn is_ready_for(&self, model: &ModelName) -> bool {
        self.routing.availability == Availability::Ready && self.serves(model)
    }

    /// Whether nothing keeps it from this model in particular.
    fn serves(&self, model: &ModelName) -> bool {
        self.routing.cooldown(model).is_none() && self.place().terms.allow(model)
    }
}

/// Tells projects apart; an address is not given to another ledger while a slot holds this one.
fn address(ledger: &Arc<Ledger>) -> usize {
    Arc::as_ptr(ledger) as usize
}

#[cfg(test)]
mod tests;
