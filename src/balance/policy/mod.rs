//! How one of the ready keys is chosen. Every policy looks at a bounded number of them.

mod least_in_flight;
mod p2c;
mod round_robin;

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::ready::ReadyList;
use crate::domain::policy::PolicyKind;

/// The policy of that name; `seed` is its only source of chance.
pub fn build(kind: PolicyKind, seed: u64) -> Box<dyn Policy> {
    let turn = Turn::new(seed);
    match kind {
        PolicyKind::RoundRobin => Box::new(round_robin::RoundRobin(turn)),
        PolicyKind::LeastInFlight => Box::new(least_in_flight::LeastInFlight(turn)),
        PolicyKind::P2c => Box::new(p2c::P2c(turn)),
    }
}

/// What a policy may know of a candidate.
pub trait Candidates {
    /// False for keys that this request has tried already or may not use.
    fn is_allowed(&self, slot: u32) -> bool;
    /// Leases of the key that are out now.
    fn in_flight(&self, slot: u32) -> u32;
    /// The key's weight as a share of the heaviest one's, above 0 and up to 1; a part of it while it warms up.
    fn share(&self, slot: u32) -> f32;
    /// What it costs to use this key now, see [`super::cost`]; the lower the better.
    fn cost(&self, slot: u32) -> f32;
}

/// Chooses one of the ready slots, or none when none of them is allowed.
///
/// A policy takes constant time as long as few candidates are disallowed, and uses every ready slot in time.
pub trait Policy: Send {
    fn choose(&mut self, ready: &ReadyList, candidates: &dyn Candidates) -> Option<u32>;
}

/// Walks over the list, each time from behind the last one taken; policies share it.
#[derive(Debug)]
struct Turn {
    next: usize,
    chance: SmallRng,
}

impl Turn {
    /// Light keys that are passed over before one is taken in spite of its weight.
    const PASSED_OVER: usize = 16;

    fn new(seed: u64) -> Self {
        Self { next: 0, chance: SmallRng::seed_from_u64(seed) }
    }

    /// The next allowed slot in turn; of light keys every so many are passed over.
    fn take(&mut self, ready: &ReadyList, candidates: &dyn Candidates) -> Option<u32> {
        let (len, start) = (ready.len(), self.next);
        let mut light = None;
        let mut passed_over = 0;
        for step in 0..len {
            let position = (start + step) % len;
            let slot = ready.at(position);
            if !candidates.is_allowed(slot) {
                continue;
            }
            if self.accepts(slot, candidates) {
                self.next = position + 1;
                return Some(slot);
            }
            light.get_or_insert((slot, position));
            passed_over += 1;
            if passed_over == Self::PASSED_OVER {
                break;
            }
        }
        let (slot, position) = light?;
        self.next = position + 1;
        Some(slot)
    }

    /// Always for the heaviest keys, for others as often as their weight says.
    fn accepts(&mut self, slot: u32, candidates: &dyn Candidates) -> bool {
        let share = candidates.share(slot);
        share >= 1.0 || self.chance.random::<f32>() < share
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Pool {
        tried: BTreeSet<u32>,
        in_flight: BTreeMap<u32, u32>,
        shares: BTreeMap<u32, f32>,
    }

    impl Candidates for Pool {
        fn is_allowed(&self, slot: u32) -> bool {
            !self.tried.contains(&slot)
        }
        fn in_flight(&self, slot: u32) -> u32 {
            self.in_flight.get(&slot).copied().unwrap_or(0)
        }
        fn share(&self, slot: u32) -> f32 {
            self.shares.get(&slot).copied().unwrap_or(1.0)
        }
        fn cost(&self, slot: u32) -> f32 {
            (1.0 + self.in_flight(slot) as f32) / self.share(slot)
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
            light in prop::collection::btree_set(0u32..30, 0..20),
        ) {
            let list = ready(slots.iter().copied());
            let shares = light.into_iter().map(|slot| (slot, 0.01)).collect();
            let pool = Pool { tried: tried.clone(), shares, ..Pool::default() };
            for kind in PolicyKind::ALL {
                let mut policy = build(kind, 7);
                for _ in 0..40 {
                    match policy.choose(&list, &pool) {
                        Some(slot) => prop_assert!(slots.contains(&slot) && !tried.contains(&slot)),
                        None => prop_assert!(slots.is_subset(&tried)),
                    }
                }
            }
        }

        #[test]
        fn every_ready_key_is_used_in_time(count in 1u32..40, seed: u64) {
            let list = ready(0..count);
            for kind in PolicyKind::ALL {
                let mut policy = build(kind, seed);
                let mut pool = Pool::default();
                for _ in 0..4 * count {
                    let slot = policy.choose(&list, &pool).unwrap();
                    *pool.in_flight.entry(slot).or_default() += 1;
                }
                prop_assert_eq!(pool.in_flight.len(), count as usize, "{:?}", kind);
            }
        }
    }

    #[test]
    fn traffic_follows_the_weights() {
        let list = ready(0..10);
        // Half of the keys have a quarter of the others' weight.
        let shares: BTreeMap<_, _> = (0..5).map(|slot| (slot, 0.25)).collect();
        for kind in PolicyKind::ALL {
            let mut policy = build(kind, 3);
            let mut pool = Pool { shares: shares.clone(), ..Pool::default() };
            for _ in 0..5_000 {
                let slot = policy.choose(&list, &pool).unwrap();
                *pool.in_flight.entry(slot).or_default() += 1;
            }
            let light: u32 = (0..5).map(|slot| pool.in_flight(slot)).sum();
            assert!((800..1_200).contains(&light), "{kind:?} gave the light keys {light} of 5,000");
        }
    }
}
