//! What other nodes may have let in without this one having heard of it yet.
//!
//! A word takes a moment. Whoever sends many requests at once through a proxy sends them to all nodes, so what this node
//! has let in within that moment is taken for a sample of what the others have. Nothing is assumed of tokens that one
//! node alone sees.

use std::time::Duration;

use tokio::time::Instant;

use crate::balance::allowance::Used;

/// Use is told within this time, or there is nobody to tell it to.
const TOLD_WITHIN: Duration = Duration::from_millis(20);
/// How long a word is on its way.
const HEARD_WITHIN: Duration = Duration::from_millis(3);

/// What this node has let in of late.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unheard {
    untold: Burst,
    told: Burst,
}

#[derive(Debug, Clone, Copy, Default)]
struct Burst {
    since: Option<Instant>,
    used: Used,
}

impl Burst {
    fn within(self, span: Duration, now: Instant) -> Used {
        let is_young = self.since.is_some_and(|since| now.saturating_duration_since(since) <= span);
        if is_young { self.used } else { Used::default() }
    }
}

impl Unheard {
    pub fn add(&mut self, used: Used, now: Instant) {
        let before = self.untold.within(TOLD_WITHIN, now);
        let since = if before.is_nothing() { Some(now) } else { self.untold.since };
        self.untold = Burst { since, used: before.plus(used) };
    }

    pub fn tell(&mut self, now: Instant) {
        self.told = Burst { since: Some(now), used: self.untold.used };
        self.untold = Burst::default();
    }

    /// What all others together may have let in meanwhile: as much as this node, in the proportion in which they and
    /// it had it before. Where little is known, all nodes count alike.
    pub fn elsewhere(&self, here: u64, elsewhere: u64, others: u32, now: Instant) -> Used {
        if others == 0 {
            return Used::default();
        }
        let sample = self.untold.within(TOLD_WITHIN, now).plus(self.told.within(HEARD_WITHIN, now));
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
    fn it_counts_until_the_others_must_have_told() {
        let (mut unheard, now) = (Unheard::default(), Instant::now());
        let guess =
            |unheard: &Unheard, ms| unheard.elsewhere(1, 0, 1, now + Duration::from_millis(ms)).requests;
        unheard.add(requests(1), now);
        assert_eq!(
            (guess(&unheard, 20), guess(&unheard, 21)),
            (1, 0),
            "nobody is told while there is no way"
        );

        unheard.tell(now + Duration::from_millis(5));

        assert_eq!((guess(&unheard, 8), guess(&unheard, 9)), (1, 0));
    }
}
