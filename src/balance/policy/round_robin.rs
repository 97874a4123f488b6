//! Each ready key in turn, as gemini-balance has always done it.

use super::{Candidates, Policy, ReadyList, Turn};

#[derive(Debug)]
pub struct RoundRobin(pub Turn);

impl Policy for RoundRobin {
    fn choose(&mut self, ready: &ReadyList, candidates: &dyn Candidates) -> Option<u32> {
        self.0.take(ready, candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct AllBut(u32);

    impl Candidates for AllBut {
        fn is_allowed(&self, slot: u32) -> bool {
            slot != self.0
        }
        fn in_flight(&self, _: u32) -> u32 {
            0
        }
        fn share(&self, _: u32) -> f32 {
            1.0
        }
        fn cost(&self, _: u32) -> f32 {
            1.0
        }
    }

    fn picks(candidates: &AllBut) -> Vec<u32> {
        let mut list = ReadyList::default();
        [7, 8, 9].into_iter().for_each(|slot| list.insert(slot));
        let mut policy = RoundRobin(Turn::new(0));
        (0..6).filter_map(|_| policy.choose(&list, candidates)).collect()
    }

    #[test]
    fn keys_take_turns_and_nobody_gets_the_turn_of_another() {
        assert_eq!(picks(&AllBut(0)), [7, 8, 9, 7, 8, 9]);
        assert_eq!(picks(&AllBut(8)), [7, 9, 7, 9, 7, 9]);
    }
}
