//! The power of two choices: of two keys the one that costs less.
//!
//! Two choices come close to looking at all keys, and never send everybody to the one that looks best at the moment.
//! The first choice is the next key in turn, so that none is forgotten; the second is drawn.

use rand::RngExt;

use super::{Candidates, Policy, ReadyList, Turn};

/// Draws for a second key that is allowed and another one than the first.
const DRAWS: usize = 3;

/// A key that costs no more than this is idle, and nothing much speaks against it: no other could be better by far, and
/// in a large pool every look at one is a look at cold memory.
const GOOD_ENOUGH: f32 = 1.1;

#[derive(Debug)]
pub struct P2c(pub Turn);

impl Policy for P2c {
    fn choose(&mut self, ready: &ReadyList, candidates: &dyn Candidates) -> Option<u32> {
        let first = self.0.take(ready, candidates)?;
        let cost = candidates.cost(first);
        if cost <= GOOD_ENOUGH {
            return Some(first);
        }
        let drawn = (0..DRAWS).find_map(|_| {
            let slot = ready.at(self.0.chance.random_range(0..ready.len()));
            (slot != first && candidates.is_allowed(slot) && self.0.accepts(slot, candidates)).then_some(slot)
        });
        let second = drawn.filter(|&second| candidates.cost(second) < cost);
        Some(second.unwrap_or(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first key costs ten times as much as the others.
    struct OneIsDear;

    impl Candidates for OneIsDear {
        fn is_allowed(&self, _: u32) -> bool {
            true
        }
        fn in_flight(&self, _: u32) -> u32 {
            0
        }
        fn share(&self, _: u32) -> f32 {
            1.0
        }
        fn cost(&self, slot: u32) -> f32 {
            if slot == 0 { 10.0 } else { 1.0 }
        }
    }

    #[test]
    fn a_dear_key_is_taken_only_when_nothing_else_was_drawn() {
        let mut list = ReadyList::default();
        (0..4).for_each(|slot| list.insert(slot));
        let mut policy = P2c(Turn::new(1));

        let dear = (0..1_000).filter(|_| policy.choose(&list, &OneIsDear) == Some(0)).count();

        assert!(dear < 20, "{dear} of 1,000");
    }

    #[test]
    fn where_all_cost_the_same_keys_take_turns() {
        let mut list = ReadyList::default();
        (5..8).for_each(|slot| list.insert(slot));
        let mut policy = P2c(Turn::new(1));

        let picks: Vec<_> = (0..6).filter_map(|_| policy.choose(&list, &OneIsDear)).collect();

        assert_eq!(picks, [5, 6, 7, 5, 6, 7]);
    }
}
