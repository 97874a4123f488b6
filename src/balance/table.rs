//! A balancer's replica of the pool: which keys may serve which model now, answered in constant time.
//!
//! Most models have no key that is kept from them, so they share one list of ready keys; a model gets a list of its own
//! while at least one key cools for it or has no quota left. Names that clients make up therefore cost nothing.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    affinity::{Preference, Ring},
    breaker::{Availability, ModelCooldown, Routing},
    gauge::Gauge,
    ledger::{Ledger, Reservation, Spent, SpentReason},
    policy::{Candidates, Policy},
    ready::ReadyList,
};
use crate::domain::{
    key::KeyId,
    model::ModelName,
    outcome::{QuotaMetric, QuotaWindow},
    placement::ModelRules,
    time::Now,
};

mod lists;
mod outlook;
mod view;

use lists::{ModelTable, RANKS, Ranked};
pub use outlook::{Cause, Unavailable};
use view::SlotView;

/// How many half-open keys are looked at for a probe before an ordinary key serves the request.
const PROBES_TO_TRY: usize = 4;
/// A preferred key is used as long as it costs at most so many times what the policy's own choice costs.
const DEAREST_PREFERENCE: f32 = 4.0;

/// Large requests are tried with so many keys that only have room for smaller ones.
const UNFIT: usize = 16;
/// Tables of models that are kept although nothing but the rules of keys is particular to them.
const TABLES: usize = 256;
/// A key that has just been found spent is not asked again at once, whatever its ledger says.
const SHORTEST_HOLD: Duration = Duration::from_millis(1);

/// On what terms a key is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Keys of a higher rank are used only when none of a lower rank is ready; 0 or 1.
    pub rank: u8,
    /// Share of the traffic beside other keys, 1 to 100.
    pub weight: u8,
    /// Which models it is for; none is all.
    pub models: Option<Arc<ModelRules>>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { rank: 0, weight: 1, models: None }
    }
}

impl Terms {
    pub fn allow(&self, model: &ModelName) -> bool {
        self.models.as_ref().is_none_or(|rules| rules.allow(model.as_str()))
    }
}

/// What belongs to a key in every balancer alike.
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

/// One key as a balancer knows it; `T` is whatever else belongs to a lease (the secret, the actor's address).
#[derive(Debug)]
struct Slot<T> {
    key: KeyId,
    place: Place,
    routing: Routing,
    payload: T,
}

/// What a request wants.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub model: &'a ModelName,
    /// Input tokens as far as they can be told beforehand.
    pub tokens: u64,
    /// Keys that this request has had already.
    pub tried: &'a [KeyId],
    /// No key of this project, for a second request beside one that runs.
    pub elsewhere: Option<&'a Arc<Ledger>>,
    pub preference: Option<Preference>,
}

impl<'a> Ask<'a> {
    /// Any key for this model.
    pub fn new(model: &'a ModelName) -> Self {
        Self { model, tokens: 0, tried: &[], elsewhere: None, preference: None }
    }

    fn allows<T>(&self, slot: &Slot<T>) -> bool {
        let is_owner = match self.preference {
            Some(Preference::Owner(owner)) => slot.key == owner,
            Some(Preference::Same(_)) | None => true,
        };
        is_owner
            && !self.tried.contains(&slot.key)
            && self.elsewhere.is_none_or(|ledger| !Arc::ptr_eq(ledger, &slot.place.ledger))
    }
}

/// Why this key, and what else there was: the short answer to "why did it go there".
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    pub reason: ChoiceReason,
    /// What the key costs by [`super::cost`]; 1 is an idle key of which nothing bad is known.
    #[serde(serialize_with = "in_hundredths")]
    pub cost: f32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rank: u8,
    pub others: Census,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChoiceReason {
    /// It decides over a half-open key.
    Probe,
    /// The resource that the request names belongs to it.
    Owner,
    /// It served this conversation or prompt before.
    Preferred,
    /// The policy's choice.
    Policy,
}

/// The pool at the moment of a choice, as seen for one model. A key may be kept from it by more than one thing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Census {
    pub keys: u32,
    pub ready: u32,
    /// Of these, cost money, and are used only when none of the others is ready.
    #[serde(skip_serializing_if = "is_zero")]
    pub paid: u32,
    /// Have no quota left for the model.
    #[serde(skip_serializing_if = "is_zero")]
    pub spent: u32,
    /// Cool for the model by Google's word.
    #[serde(skip_serializing_if = "is_zero")]
    pub cooling: u32,
    /// Cool as a whole.
    #[serde(skip_serializing_if = "is_zero")]
    pub open: u32,
    /// May have one attempt, which decides over them.
    #[serde(skip_serializing_if = "is_zero")]
    pub half_open: u32,
    /// Are kept from the model by the operator's rules.
    #[serde(skip_serializing_if = "is_zero")]
    pub denied: u32,
    /// Are out of use until somebody acts.
    #[serde(skip_serializing_if = "is_zero")]
    pub out: u32,
    /// Were tried by this request already.
    #[serde(skip_serializing_if = "is_zero")]
    pub tried: u32,
}

fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

fn in_hundredths<S: serde::Serializer>(number: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f32((number * 100.0).round() / 100.0)
}

pub struct RoutingTable<T> {
    policy: Box<dyn Policy>,
    slots: Vec<Option<Slot<T>>>,
    by_key: HashMap<KeyId, u32>,
    ring: Ring,
    /// Slots whose keys are for some models only.
    ruled: HashSet<u32>,
    /// Which slots belong to one project, by the address of its ledger.
    twins: HashMap<usize, Vec<u32>>,
    /// Number of keys of each weight, and the greatest weight among them.
    weights: Box<[u32; 256]>,
    heaviest: u8,
    free: Vec<u32>,
    ready: Ranked,
    /// Half-open keys, and those of them whose probe nobody has claimed yet.
    half_open: ReadyList,
    unprobed: ReadyList,
    cooling: BTreeSet<(Instant, u32)>,
    models: HashMap<ModelName, ModelTable>,
    /// No hold ends before this.
    next_end: Option<Instant>,
}

/// What a pick found.
#[derive(Debug)]
pub struct Picked<'a, T> {
    pub key: KeyId,
    pub gauge: &'a Arc<Gauge>,
    pub ledger: &'a Arc<Ledger>,
    pub payload: &'a T,
    /// Room in the quota windows of the key's project.
    pub reservation: Reservation,
    /// This attempt decides over a half-open key; its end must release the gauge's probe.
    pub is_probe: bool,
    pub choice: Choice,
}

impl<T> Picked<'_, T> {
    /// Leaves the key to somebody else; nothing was sent.
    pub fn give_up(self, model: &ModelName, now: Now) {
        self.ledger.refund(model, self.reservation, now);
        if self.is_probe {
            self.gauge.release_probe();
        }
    }
}

impl<T> RoutingTable<T> {
    pub fn new(policy: Box<dyn Policy>) -> Self {
        Self {
            policy,
            slots: Vec::new(),
            by_key: HashMap::new(),
            ring: Ring::default(),
            ruled: HashSet::new(),
            twins: HashMap::new(),
            weights: Box::new([0; 256]),
            heaviest: 1,
            free: Vec::new(),
            ready: Ranked::default(),
            half_open: ReadyList::default(),
            unprobed: ReadyList::default(),
            cooling: BTreeSet::new(),
            models: HashMap::new(),
            next_end: None,
        }
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

    pub fn payload_mut(&mut self, key: KeyId) -> Option<&mut T> {
        let index = *self.by_key.get(&key)?;
        self.slots[index as usize].as_mut().map(|slot| &mut slot.payload)
    }

    /// What belongs to the key in every balancer alike.
    pub fn place(&self, key: KeyId) -> Option<&Place> {
        let index = *self.by_key.get(&key)?;
        self.slots[index as usize].as_ref().map(|slot| &slot.place)
    }

    /// The key's project, told by its address.
    pub fn project(&self, key: KeyId) -> Option<usize> {
        self.place(key).map(|place| address(&place.ledger))
    }

    /// Number of projects that have keys.
    pub fn projects_len(&self) -> usize {
        self.twins.len()
    }

    /// Takes in a new key, or what has become of a known one.
    pub fn apply(&mut self, key: KeyId, place: Place, routing: Routing, payload: T) {
        let slot = Slot { key, place, routing, payload };
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
                    && known.place.terms == new.place.terms
                    && Arc::ptr_eq(&known.place.ledger, &new.place.ledger)
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

    /// Picks a key for a request and takes its part of the key's quotas.
    pub fn pick(&mut self, ask: &Ask<'_>, now: Now) -> Result<Picked<'_, T>, Unavailable> {
        self.expire(now.instant);
        if let Some((index, reservation)) = self.pick_probe(ask, now) {
            return Ok(self.picked(index, reservation, ChoiceReason::Probe, ask, now));
        }
        let mut unfit = Vec::new();
        for rank in 0..RANKS {
            while let Some((index, reason)) = self.choose(ask, rank, &unfit, now) {
                match self.reserve(index, ask, now) {
                    Ok(reservation) => return Ok(self.picked(index, reservation, reason, ask, now)),
                    // It has room, but not for one as large as this.
                    Err(spent) if unfit.len() < UNFIT && self.has_room_for_less(index, ask, spent, now) => {
                        unfit.push((spent.until, index));
                    }
                    Err(spent) => self.hold_twins(index, ask.model, spent.until, now.instant),
                }
            }
        }
        Err(self.outlook(ask.model, unfit.into_iter().map(|(at, _)| at).min()))
    }

    /// Lets keys back whose quota windows have moved on. Returns the models that have more keys than before.
    pub fn expire(&mut self, now: Instant) -> Vec<ModelName> {
        if self.next_end.is_none_or(|end| now < end) {
            return Vec::new();
        }
        let mut richer = Vec::new();
        for (model, table) in &mut self.models {
            let before = table.ready.len();
            while let Some(index) = table.pop_ended(now) {
                if let Some(slot) =
                    self.slots[index as usize].as_ref().filter(|slot| slot.is_ready_for(model))
                {
                    table.ready.insert(index, slot.place.terms.rank);
                }
            }
            if table.ready.len() > before {
                richer.push(model.clone());
            }
        }
        self.models.retain(|_, table| !table.is_ordinary());
        self.next_end = self.models.values().filter_map(ModelTable::first_end).min();
        richer
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub fn next_end(&self) -> Option<Instant> {
        self.next_end
    }

    fn choose(
        &mut self,
        ask: &Ask<'_>,
        rank: usize,
        unfit: &[(Instant, u32)],
        now: Now,
    ) -> Option<(u32, ChoiceReason)> {
        if !self.ruled.is_empty() {
            self.table_of(ask.model);
        }
        let ready = self.models.get(ask.model).map_or(&self.ready, |table| &table.ready).rank(rank);
        let view = SlotView { slots: &self.slots, ask, unfit, heaviest: self.heaviest, now };
        let is_fit = |index| ready.contains(index) && view.is_allowed(index);
        if let Some(Preference::Owner(owner)) = ask.preference {
            let index = *self.by_key.get(&owner)?;
            return is_fit(index).then_some((index, ChoiceReason::Owner));
        }
        let chosen = self.policy.choose(ready, &view)?;
        let preferred = match ask.preference {
            Some(Preference::Same(hash)) => self.ring.prefer(hash, is_fit),
            _ => None,
        };
        match preferred {
            Some(preferred) if view.cost(preferred) <= DEAREST_PREFERENCE * view.cost(chosen) => {
                Some((preferred, ChoiceReason::Preferred))
            }
            _ => Some((chosen, ChoiceReason::Policy)),
        }
    }

    /// A half-open key whose probe nobody has claimed. A key that somebody else probes leaves the list until its
    /// actor announces it again.
    fn pick_probe(&mut self, ask: &Ask<'_>, now: Now) -> Option<(u32, Reservation)> {
        for _ in 0..PROBES_TO_TRY.min(self.unprobed.len()) {
            let index = self.unprobed.at(0);
            let slot = self.slots[index as usize].as_ref().expect("listed slots are taken");
            let is_fit = ask.allows(slot) && slot.serves(ask.model);
            let Some(reservation) = is_fit.then(|| self.reserve(index, ask, now).ok()).flatten() else {
                // To the end of the list: another request may use it.
                self.unprobed.remove(index);
                self.unprobed.insert(index);
                continue;
            };
            let claimed = slot.place.gauge.claim_probe();
            let ledger = slot.place.ledger.clone();
            self.unprobed.remove(index);
            if claimed {
                return Some((index, reservation));
            }
            ledger.refund(ask.model, reservation, now);
        }
        None
    }

    fn reserve(&self, index: u32, ask: &Ask<'_>, now: Now) -> Result<Reservation, Spent> {
        let slot = self.slots[index as usize].as_ref().expect("listed slots are taken");
        slot.place.ledger.reserve(ask.model, ask.tokens, now)
    }

    /// Is it only for this request that there is no room?
    fn has_room_for_less(&self, index: u32, ask: &Ask<'_>, spent: Spent, now: Now) -> bool {
        /// A smaller share of a quota than this is not worth asking for.
        const LEAST: f32 = 0.02;
        let slot = self.slots[index as usize].as_ref().expect("listed slots are taken");
        let is_about_tokens = matches!(
            spent.reason,
            SpentReason::Quota { metric: QuotaMetric::Tokens, window: QuotaWindow::Minute }
        );
        is_about_tokens && slot.place.ledger.headroom(ask.model, now) > LEAST
    }

    fn picked(
        &self,
        index: u32,
        reservation: Reservation,
        reason: ChoiceReason,
        ask: &Ask<'_>,
        now: Now,
    ) -> Picked<'_, T> {
        let slot = self.slots[index as usize].as_ref().expect("listed slots are taken");
        let view = SlotView { slots: &self.slots, ask, unfit: &[], heaviest: self.heaviest, now };
        Picked {
            key: slot.key,
            gauge: &slot.place.gauge,
            ledger: &slot.place.ledger,
            payload: &slot.payload,
            reservation,
            is_probe: reason == ChoiceReason::Probe,
            choice: Choice {
                reason,
                cost: view.cost(index),
                rank: slot.place.terms.rank,
                others: self.census(ask.model, ask.tried.len()),
            },
        }
    }

    /// Counts the keys by what keeps them from a model; `tried` of them by one request that has had them.
    pub fn census(&self, model: &ModelName, tried: usize) -> Census {
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let of_model = self.models.get(model);
        let ready = of_model.map_or(&self.ready, |table| &table.ready);
        let (half_open, open) = (self.half_open.len(), self.cooling.len());
        Census {
            keys: count(self.len()),
            ready: count(ready.len()),
            paid: count(ready.rank(RANKS - 1).len()),
            spent: count(of_model.map_or(0, ModelTable::held_len)),
            cooling: count(of_model.map_or(0, |table| table.cooling.len())),
            open: count(open),
            half_open: count(half_open),
            denied: count(of_model.map_or(0, ModelTable::denied_len)),
            // Whatever is in use is in one of the lists of all models.
            out: count(self.len().saturating_sub(self.ready.len() + half_open + open)),
            tried: count(tried),
        }
    }

    /// Keeps every key of the slot's project from the model until then.
    fn hold_twins(&mut self, index: u32, model: &ModelName, until: Instant, now: Instant) {
        let until = until.max(now + SHORTEST_HOLD);
        let slot = self.slots[index as usize].as_ref().expect("listed slots are taken");
        let project = address(&slot.place.ledger);
        self.table_of(model);
        if let (Some(table), Some(twins)) = (self.models.get_mut(model), self.twins.get(&project)) {
            twins.iter().for_each(|twin| table.hold(*twin, until));
        }
        self.next_end = Some(self.next_end.map_or(until, |end| end.min(until)));
    }

    /// The model's own table, made if there is none yet.
    fn table_of(&mut self, model: &ModelName) -> &mut ModelTable {
        if !self.models.contains_key(model) {
            self.forget_needless_tables();
            let slots = &self.slots;
            let is_denied = |index: &&u32| {
                slots[**index as usize].as_ref().is_some_and(|slot| !slot.place.terms.allow(model))
            };
            let denied =
                (!self.ruled.is_empty()).then(|| self.ruled.iter().filter(is_denied).copied().collect());
            self.models.insert(model.clone(), ModelTable::new(self.ready.clone(), denied));
        }
        self.models.get_mut(model).expect("it was made just now")
    }

    /// Clients can make up any number of models, and a table of its own costs memory.
    fn forget_needless_tables(&mut self) {
        if self.models.len() >= TABLES {
            self.models.retain(|_, table| !table.is_for_rules_only());
        }
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
        self.twins.entry(address(&slot.place.ledger)).or_default().push(index);
        if slot.place.terms.models.is_some() {
            self.ruled.insert(index);
        }
        self.weights[usize::from(slot.place.terms.weight)] += 1;
        self.heaviest = self.heaviest.max(slot.place.terms.weight);
    }

    fn leave(&mut self, index: u32) {
        let Some(slot) = self.slots[index as usize].as_ref() else { return };
        let weights = &mut self.weights;
        weights[usize::from(slot.place.terms.weight)] -= 1;
        self.heaviest = weights.iter().rposition(|keys| *keys > 0).map_or(1, |weight| weight as u8);
        let address = address(&slot.place.ledger);
        if let Some(twins) = self.twins.get_mut(&address) {
            twins.retain(|twin| *twin != index);
            if twins.is_empty() {
                self.twins.remove(&address);
            }
        }
        self.ruled.remove(&index);
        for table in self.models.values_mut() {
            table.forget(index);
        }
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
        let mut cooling = Vec::new();
        for cooldown in &slot.routing.cooldowns {
            let Some(back_at) = slot.routing.back_at(cooldown) else { break };
            cooling.push((cooldown.model.clone(), back_at));
        }
        for (model, back_at) in cooling {
            self.table_of(&model).cooling.insert((back_at, index));
        }
        let Some(slot) = self.slots[index as usize].as_ref() else { return };
        match slot.routing.availability {
            Availability::Ready => {
                self.ready.insert(index, slot.place.terms.rank);
                for (model, table) in &mut self.models {
                    if !slot.place.terms.allow(model) {
                        table.deny(index);
                    } else if slot.is_ready_for(model) && !table.is_held(index) {
                        table.ready.insert(index, slot.place.terms.rank);
                    }
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

    /// Takes the slot out of every list; a model that nothing is particular to any more shares the common list again.
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
            !table.is_ordinary()
        });
    }
}

impl<T> Slot<T> {
    /// As far as the verdict of its actor and its own rules go.
    fn is_ready_for(&self, model: &ModelName) -> bool {
        self.routing.availability == Availability::Ready && self.serves(model)
    }

    /// Whether nothing keeps it from this model in particular.
    fn serves(&self, model: &ModelName) -> bool {
        self.routing.cooldown(model).is_none() && self.place.terms.allow(model)
    }
}

/// Tells projects apart; an address is not given to another ledger while a slot holds this one.
fn address(ledger: &Arc<Ledger>) -> usize {
    Arc::as_ptr(ledger) as usize
}

#[cfg(test)]
mod tests;
