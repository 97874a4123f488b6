//! Each ready key in turn, as gemini-balance has always done it.

use super::{Candidates, Policy, ReadyList, Turn};

#[derive(Debug, Default)]
pub struct RoundRobin(Turn);

impl Policy for RoundRobin {
    fn choose(&mut self, ready: &ReadyList, candidates: &dyn Candidates) -> Option<u32> {
        self.0.next(ready.len()).map(|position| ready.at(position)).find(|&slot| candidates.is_allowed(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct All;

    impl Candidates for All {
        fn is_allowed(&self, _: u32) -> bool {
            true
        }
        fn in_flight(&self, _: u32) -> u32 {
            0
        }
    }

    #[test]
    fn keys_take_turns() {
        let mut list = ReadyList::default();
        [7, 8, 9].into_iter().for_each(|slot| list.insert(slot));
        let mut policy = RoundRobin::default();

        let picks: Vec<_> = (0..6).filter_map(|_| policy.choose(&list, &All)).collect();

        assert_eq!(picks, [7, 8, 9, 7, 8, 9]);
    }
}
