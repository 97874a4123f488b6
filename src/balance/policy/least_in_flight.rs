//! The least busy key among the next few in turn.

use super::{Candidates, Policy, ReadyList, Turn};

/// How many allowed keys are compared. Exact for pools up to this size; beyond it the turn sees to it that no key
/// is forgotten, and eight choices are within a hair of looking at all of them.
const CHOICES: usize = 8;

#[derive(Debug, Default)]
pub struct LeastInFlight(Turn);

impl Policy for LeastInFlight {
    fn choose(&mut self, ready: &ReadyList, candidates: &dyn Candidates) -> Option<u32> {
        self.0
            .next(ready.len())
            .map(|position| ready.at(position))
            .filter(|&slot| candidates.is_allowed(slot))
            .take(CHOICES)
            .min_by_key(|&slot| candidates.in_flight(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Busy(Vec<u32>);

    impl Candidates for Busy {
        fn is_allowed(&self, _: u32) -> bool {
            true
        }
        fn in_flight(&self, slot: u32) -> u32 {
            self.0[slot as usize]
        }
    }

    #[test]
    fn the_least_busy_key_is_chosen_wherever_the_turn_is() {
        let mut list = ReadyList::default();
        (0..4).for_each(|slot| list.insert(slot));
        let mut policy = LeastInFlight::default();

        let picks: Vec<_> = (0..4).filter_map(|_| policy.choose(&list, &Busy(vec![3, 2, 0, 5]))).collect();

        assert_eq!(picks, [2, 2, 2, 2]);
    }
}
