//! What other nodes may have let in without this one having heard of it yet.
//!
//! A word takes a moment. Whoever sends many requests at once through a proxy sends them to all nodes, so what this node
//! has let in within that moment is taken for a sample of what the others have. Nothing is assumed of tokens that one
//! node alone sees.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::balance::allowance::Used;

/// A word that takes longer than this has been lost, or there is no way for it.
const UNHEARD_FOR: Duration = Duration::from_millis(250);

/// What this node has let in of late.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    untold: Burst,
    /// By the version of the share that told it. A node hears its own words when the others do, so whatever they let in
    /// at the same moment is known by then as well.
    told: VecDeque<(u64, Burst)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Burst {
    since: Option<Instant>,
    used: Used,
}

impl Burst {
    /// Nothing, once it is too old.
    fn at(self, now: Instant) -> Used {
        let is_young = self.since.is_some_and(|since| now.saturating_duration_since(since) <= UNHEARD_FOR);
        if is_young { self.used } else { Used::default() }
    }
}

impl Unheard {
    pub fn add(&mut self, used: Used, now: Instant) {
        let before = self.untold.at(now);
        let since = if before.is_nothing() { Some(now) } else { self.untold.since };
        self.untold = Burst { since, used: before.plus(used) };
    }

    pub fn tell(&mut self, version: u64, now: Instant) {
        self.told.retain(|(_, burst)| !burst.at(now).is_nothing());
        if !self.untold.at(now).is_nothing() {
            self.told.push_back((version, self.untold));
        }
        self.untold = Burst::default();
    }

    /// Everybody has heard that word by now.
    pub fn hear(&mut self, version: u64) {
        self.told.retain(|(told, _)| *told > version);
    }

    /// What all others together may have let in meanwhile: as much as this node, in the proportion in which they and
    /// it had it before. Where little is known, all nodes count alike.
    pub fn elsewhere(&self, here: u64, elsewhere: u64, others: u32, now: Instant) -> Used {
        if others == 0 {
            return Used::default();
        }
        let told = self.told.iter().map(|(_, burst)| burst.at(now));
        let sample = told.fold(self.untold.at(now), Used::plus);
        let before = here.saturating_sub(sample.requests);
        let scaled = |count: u64| {
            count.saturating_mul(elsewhere.saturating_add(others.into())) / before.saturating_add(1)
        };
        Used {
            requests: scaled(sample.requests),
            tokens: scaled(sample.tokens),
            images: scaled(sample.images),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(requests: u64) -> Used {
        Used { requests, ..Used::default() }
    }

    #[test]
    fn a_burst_is_taken_for_a_part_of_what_comes_to_all() {
        let (mut unheard, now) = (Unheard::default(), Instant::now());
        (0..5).for_each(|_| unheard.add(requests(1), now));

        assert_eq!(unheard.elsewhere(5, 0, 1, now), requests(5), "another node likely has as many");
        assert_eq!(unheard.elsewhere(5, 0, 0, now), requests(0), "there is none");
        assert_eq!(unheard.elsewhere(45, 0, 1, now), requests(0), "it has never had any");
        assert_eq!(unheard.elsewhere(45, 81, 1, now), requests(10), "it has had twice as many");
    }

    #[test]
    fn it_counts_until_its_word_is_heard_or_must_have_been_lost() {
        let (mut unheard, now) = (Unheard::default(), Instant::now());
        let guess =
            |unheard: &Unheard, ms| unheard.elsewhere(3, 0, 1, now + Duration::from_millis(ms)).requests;
        unheard.add(requests(1), now);
        assert_eq!(
            (guess(&unheard, 250), guess(&unheard, 251)),
            (0, 0),
            "two of three are known to have been alone"
        );
        unheard.add(requests(2), now);
        unheard.tell(7, now);
        assert_eq!((guess(&unheard, 250), guess(&unheard, 251)), (3, 0), "it is lost");

        unheard.hear(6);
        assert_eq!(guess(&unheard, 5), 3);
        unheard.hear(7);
        assert_eq!(guess(&unheard, 5), 0);
    }
}
