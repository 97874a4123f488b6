//! How one of the ready keys is chosen. Every policy looks at a bounded number of them.

mod least_in_flight;
mod round_robin;

use super::ready::ReadyList;
use crate::domain::policy::PolicyKind;

/// The policy of that name.
pub fn build(kind: PolicyKind) -> Box<dyn Policy> {
    match kind {
        PolicyKind::RoundRobin => Box::<round_robin::RoundRobin>::default(),
        PolicyKind::LeastInFlight => Box::<least_in_flight::LeastInFlight>::default(),
    }
}

/// What a policy may know of a candidate.
pub trait Candidates {
    /// False for keys that this request has tried already.
    fn is_allowed(&self, slot: u32) -> bool;
    /// Leases of the key that are out now.
    fn in_flight(&self, slot: u32) -> u32;
}

/// Chooses one of the ready slots, or none when none of them is allowed.
///
/// A policy takes constant time as long as few candidates are disallowed, and uses every ready slot in time.
pub trait Policy: Send {
    fn choose(&mut self, ready: &ReadyList, candidates: &dyn Candidates) -> Option<u32>;
}

/// Walks over the whole list once, starting behind the last pick; policies share it.
#[derive(Debug, Default)]
struct Turn(usize);

impl Turn {
    /// The positions to look at, in order; advances the turn by one.
    fn next(&mut self, len: usize) -> impl Iterator<Item = usize> + use<> {
        let start = if len == 0 { 0 } else { self.0 % len };
        self.0 = start + 1;
        (0..len).map(move |step| (start + step) % len)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    struct Pool {
        tried: BTreeSet<u32>,
        in_flight: BTreeMap<u32, u32>,
    }

    impl Candidates for Pool {
        fn is_allowed(&self, slot: u32) -> bool {
            !self.tried.contains(&slot)
        }
        fn in_flight(&self, slot: u32) -> u32 {
            self.in_flight.get(&slot).copied().unwrap_or(0)
        }
    }

    fn ready(slots: impl IntoIterator<Item = u32>) -> ReadyList {
        let mut list = ReadyList::default();
        slots.into_iter().for_each(|slot| list.insert(slot));
        list
    }

    proptest! {
        #[test]
        fn no_policy_picks_a_key_that_is_not_ready_or_was_tried(
            slots in prop::collection::btree_set(0u32..30, 0..20),
            tried in prop::collection::btree_set(0u32..30, 0..6),
        ) {
            let list = ready(slots.iter().copied());
            let pool = Pool { tried: tried.clone(), in_flight: BTreeMap::new() };
            for kind in PolicyKind::ALL {
                let mut policy = build(kind);
                for _ in 0..40 {
                    match policy.choose(&list, &pool) {
                        Some(slot) => prop_assert!(slots.contains(&slot) && !tried.contains(&slot)),
                        None => prop_assert!(slots.is_subset(&tried)),
                    }
                }
            }
        }

        #[test]
        fn every_ready_key_is_used_in_time(count in 1u32..40) {
            let list = ready(0..count);
            for kind in PolicyKind::ALL {
                let mut policy = build(kind);
                let mut pool = Pool { tried: BTreeSet::new(), in_flight: BTreeMap::new() };
                for _ in 0..4 * count {
                    let slot = policy.choose(&list, &pool).unwrap();
                    *pool.in_flight.entry(slot).or_default() += 1;
                }
                prop_assert_eq!(pool.in_flight.len(), count as usize, "{:?}", kind);
            }
        }
    }
}
