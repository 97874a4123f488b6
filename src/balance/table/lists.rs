//! Which slots may be picked: one list a rank, and a set of them for each model that some key is kept from.

use std::collections::{BTreeSet, HashMap, HashSet};

use tokio::time::Instant;

use crate::balance::ready::ReadyList;

/// Ranks of keys; a key is used only when no key of a lower rank is ready.
pub const RANKS: usize = 2;

/// The ready slots of every rank.
#[derive(Debug, Clone, Default)]
pub struct Ranked([ReadyList; RANKS]);

impl Ranked {
    pub fn insert(&mut self, slot: u32, rank: u8) {
        self.0[usize::from(rank).min(RANKS - 1)].insert(slot);
    }

    pub fn remove(&mut self, slot: u32) {
        self.0.iter_mut().for_each(|list| list.remove(slot));
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(ReadyList::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(ReadyList::is_empty)
    }

    pub fn rank(&self, rank: usize) -> &ReadyList {
        &self.0[rank]
    }
}

/// What is particular to one model: the slots that are kept from it, and those that are not.
#[derive(Debug, Default)]
pub struct ModelTable {
    pub ready: Ranked,
    /// By the verdict of the keys' actors.
    pub cooling: BTreeSet<(Instant, u32)>,
    /// By what this worker found when it asked their ledgers, until then.
    held: HashMap<u32, Instant>,
    ends: BTreeSet<(Instant, u32)>,
    /// For whom the operator has other models in mind.
    denied: HashSet<u32>,
    /// Some keys have rules, and these were asked for this model.
    follows_rules: bool,
}

impl ModelTable {
    /// `denied` are the slots whose rules leave the model out; `None` when no key has rules.
    pub fn new(ready: Ranked, denied: Option<HashSet<u32>>) -> Self {
        let mut table = Self { ready, follows_rules: denied.is_some(), ..Self::default() };
        for slot in denied.into_iter().flatten() {
            table.deny(slot);
        }
        table
    }

    /// The slot is never for this model.
    pub fn deny(&mut self, slot: u32) {
        self.ready.remove(slot);
        self.denied.insert(slot);
    }

    pub fn forget(&mut self, slot: u32) {
        self.release(slot);
        self.denied.remove(&slot);
    }

    /// Nothing but the rules of keys makes it particular.
    pub fn is_for_rules_only(&self) -> bool {
        self.follows_rules && self.cooling.is_empty() && self.held.is_empty()
    }

    pub fn hold(&mut self, slot: u32, until: Instant) {
        self.release(slot);
        self.ready.remove(slot);
        self.held.insert(slot, until);
        self.ends.insert((until, slot));
    }

    pub fn release(&mut self, slot: u32) {
        if let Some(until) = self.held.remove(&slot) {
            self.ends.remove(&(until, slot));
        }
    }

    pub fn is_held(&self, slot: u32) -> bool {
        self.held.contains_key(&slot)
    }

    pub fn held_until(&self, slot: u32) -> Option<Instant> {
        self.held.get(&slot).copied()
    }

    pub fn held_len(&self) -> usize {
        self.held.len()
    }

    pub fn denied_len(&self) -> usize {
        self.denied.len()
    }

    /// The held slots, in the order in which their holds end.
    pub fn held(&self) -> impl Iterator<Item = (Instant, u32)> {
        self.ends.iter().copied()
    }

    /// When the first hold ends.
    pub fn first_end(&self) -> Option<Instant> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// A slot whose hold has ended; it is held no longer.
    pub fn pop_ended(&mut self, now: Instant) -> Option<u32> {
        let (until, slot) = self.held().next()?;
        if until > now {
            return None;
        }
        self.release(slot);
        Some(slot)
    }

    /// Nothing is particular any more: the list of all models serves this one too.
    pub fn is_ordinary(&self) -> bool {
        !self.follows_rules && self.cooling.is_empty() && self.held.is_empty()
    }
}
