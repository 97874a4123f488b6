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

    pub fn rank(&self, rank: usize) -> &ReadyList {
        &self.0[rank]
    }

    pub fn contains(&self, slot: u32) -> bool {
        self.0.iter().any(|list| list.contains(slot))
    }
}

/// Slots that are kept from a model, by rank.
type Kept = [HashSet<u32>; RANKS];

/// What is particular to one model: the slots that are kept from it, and why.
///
/// As long as few are kept, the list of all models serves it too, with those passed over. From then on it has a list of
/// its own: the copy costs as much as the pool is large, so it is made only after many keys have gone.
#[derive(Debug, Default)]
pub struct ModelTable {
    /// Of the common list, those that are not ready for this model.
    kept: Kept,
    own: Option<Ranked>,
    /// By the verdict of the keys' actors.
    pub cooling: BTreeSet<(Instant, u32)>,
    /// By what was found when their ledgers were asked, until then.
    held: HashMap<u32, Instant>,
    ends: BTreeSet<(Instant, u32)>,
    /// For whom the operator has other models in mind.
    denied: HashSet<u32>,
    /// Some keys have rules, and these were asked for this model.
    follows_rules: bool,
}

/// Slots that are passed over in a list of so many before a model gets one of its own: looking at each of them, and
/// copying the list when there are more, then cost about the same.
fn passed_over(common: usize) -> usize {
    common.isqrt().max(16)
}

impl ModelTable {
    /// A table of a model that some keys have rules about.
    pub fn following_rules(follows_rules: bool) -> Self {
        Self { follows_rules, ..Self::default() }
    }

    /// The slot is never for this model.
    pub fn deny(&mut self, slot: u32) {
        self.denied.insert(slot);
    }

    pub fn forget(&mut self, slot: u32) {
        self.release(slot);
        self.denied.remove(&slot);
    }

    /// Keeps a slot of the common list from this model.
    pub fn keep(&mut self, slot: u32, rank: u8, common: &Ranked) {
        self.kept[usize::from(rank).min(RANKS - 1)].insert(slot);
        if let Some(own) = &mut self.own {
            own.remove(slot);
        } else if self.kept_len() > passed_over(common.len()) {
            let own = self.own.insert(common.clone());
            self.kept.iter().flatten().for_each(|slot| own.remove(*slot));
        }
    }

    /// Gives a slot of the common list to this model too.
    pub fn free(&mut self, slot: u32, rank: u8, common: &Ranked) {
        self.kept.iter_mut().for_each(|kept| {
            kept.remove(&slot);
        });
        if let Some(own) = &mut self.own {
            own.insert(slot, rank);
        }
        if self.kept_len() < passed_over(common.len()) / 2 {
            self.own = None;
        }
    }

    /// The slot has left the common list.
    pub fn unlist(&mut self, slot: u32) {
        self.kept.iter_mut().for_each(|kept| {
            kept.remove(&slot);
        });
        if let Some(own) = &mut self.own {
            own.remove(slot);
        }
    }

    #[cfg(test)]
    pub fn has_own(&self) -> bool {
        self.own.is_some()
    }

    fn kept_len(&self) -> usize {
        self.kept.iter().map(HashSet::len).sum()
    }

    /// Nothing but the rules of keys makes it particular.
    pub fn is_for_rules_only(&self) -> bool {
        self.follows_rules && self.cooling.is_empty() && self.held.is_empty()
    }

    pub fn hold(&mut self, slot: u32, until: Instant) {
        self.release(slot);
        self.held.insert(slot, until);
        self.ends.insert((until, slot));
    }

    pub fn release(&mut self, slot: u32) {
        if let Some(until) = self.held.remove(&slot) {
            self.ends.remove(&(until, slot));
        }
    }

    /// Releases the slot whose hold ends first.
    pub fn pop_held(&mut self) -> Option<u32> {
        let (_, slot) = *self.ends.first()?;
        self.release(slot);
        Some(slot)
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

/// The slots that are ready for a model: those of a list, but for some.
#[derive(Debug, Clone, Copy)]
pub struct ReadyFor<'a> {
    list: &'a Ranked,
    kept: Option<&'a Kept>,
}

impl<'a> ReadyFor<'a> {
    /// `common` is the list of all models, `table` what is particular to this one.
    pub fn new(common: &'a Ranked, table: Option<&'a ModelTable>) -> Self {
        match table {
            Some(ModelTable { own: Some(own), .. }) => Self { list: own, kept: None },
            Some(table) => Self { list: common, kept: Some(&table.kept) },
            None => Self { list: common, kept: None },
        }
    }

    pub fn len(self) -> usize {
        (0..RANKS).map(|rank| self.rank_len(rank)).sum()
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn rank_len(self, rank: usize) -> usize {
        self.list.rank(rank).len() - self.kept.map_or(0, |kept| kept[rank].len())
    }

    pub fn contains(self, slot: u32) -> bool {
        (0..RANKS).any(|rank| self.list.rank(rank).contains(slot) && !self.is_kept(rank, slot))
    }

    /// The list to choose from; [`passed_over`](Self::passed_over) says which of it to leave out.
    pub fn list(self, rank: usize) -> &'a ReadyList {
        self.list.rank(rank)
    }

    /// Those of a rank's list that are not for this model, if there are any.
    pub fn passed_over(self, rank: usize) -> Option<&'a HashSet<u32>> {
        self.kept.map(|kept| &kept[rank]).filter(|kept| !kept.is_empty())
    }

    fn is_kept(self, rank: usize, slot: u32) -> bool {
        self.kept.is_some_and(|kept| kept[rank].contains(&slot))
    }
}
