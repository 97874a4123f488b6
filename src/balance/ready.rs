//! A dense set of slots that can be picked from in O(1), whatever its size.

/// The slot numbers that may be picked now. Insertion, removal and access by position take constant time;
/// removal moves the last slot into the gap, so the order is arbitrary but dense.
#[derive(Debug, Clone, Default)]
pub struct ReadyList {
    members: Vec<u32>,
    /// Position of each slot in `members`, or `ABSENT`.
    positions: Vec<u32>,
}

const ABSENT: u32 = u32::MAX;

impl ReadyList {
    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn contains(&self, slot: u32) -> bool {
        self.positions.get(slot as usize).is_some_and(|&position| position != ABSENT)
    }

    /// The slot at that position; positions run from 0 to `len() - 1`.
    pub fn at(&self, position: usize) -> u32 {
        self.members[position]
    }

    /// Puts a slot in or takes it out.
    pub fn set(&mut self, slot: u32, ready: bool) {
        if ready { self.insert(slot) } else { self.remove(slot) }
    }

    pub fn insert(&mut self, slot: u32) {
        let index = slot as usize;
        if self.positions.len() <= index {
            self.positions.resize(index + 1, ABSENT);
        }
        if self.positions[index] == ABSENT {
            self.positions[index] = u32::try_from(self.members.len()).expect("fewer than 2³² keys");
            self.members.push(slot);
        }
    }

    pub fn remove(&mut self, slot: u32) {
        if !self.contains(slot) {
            return;
        }
        let position = std::mem::replace(&mut self.positions[slot as usize], ABSENT);
        self.members.swap_remove(position as usize);
        if let Some(&moved) = self.members.get(position as usize) {
            self.positions[moved as usize] = position;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_exactly_what_a_plain_set_would(changes in prop::collection::vec((0u32..40, any::<bool>()), 0..200)) {
            let (mut list, mut model) = (ReadyList::default(), BTreeSet::new());
            for (slot, ready) in changes {
                list.set(slot, ready);
                if ready { model.insert(slot); } else { model.remove(&slot); }

                let members: BTreeSet<u32> = (0..list.len()).map(|position| list.at(position)).collect();
                prop_assert_eq!(&members, &model);
                prop_assert_eq!(list.len(), model.len());
                prop_assert!((0..40).all(|slot| list.contains(slot) == model.contains(&slot)));
            }
        }
    }
}
