//! The least busy key among the next few in turn.

use super::{Candidates, Policy, ReadyList, Turn};

/// How many allowed keys are compared. Exact for pools up to this size; beyond it the turn sees to it that no key
/// is forgotten, and eight choices are within a hair of looking at all of them.
const CHOICES: usize = 8;

#[derive(Debug)]
pub struct LeastInFlight(pub Turn);

impl Policy for LeastInFlight {
    fn choose(&mut self, ready: &ReadyList, candidates: &dyn Candidates) -> Option<u32> {
        let first = self.0.take(ready, candidates)?;
        let (len, behind) = (ready.len(), self.0.next);
        let others = (0..len).map(|step| ready.at((behind + step) % len));
        let others = others.filter(|&slot| candidates.is_allowed(slot)).take(CHOICES - 1);
        let load = |slot: u32| candidates.in_flight(slot) as f32 / candidates.share(slot);
        std::iter::once(first).chain(others).min_by(|&one, &other| load(one).total_cmp(&load(other)))
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
        fn share(&self, _: u32) -> f32 {
            1.0
        }
        fn cost(&self, _: u32) -> f32 {
            1.0
        }
    }

    #[test]
    fn the_least_busy_key_is_chosen_wherever_the_turn_is() {
        let mut list = ReadyList::default();
        (0..4).for_each(|slot| list.insert(slot));
        let mut policy = LeastInFlight(Turn::new(0));

        let picks: Vec<_> = (0..4).filter_map(|_| policy.choose(&list, &Busy(vec![3, 2, 0, 5]))).collect();

        assert_eq!(picks, [2, 2, 2, 2]);
    }
}
