//! Failures in a row that nothing explains. One that is half an hour old no longer counts, so that rare bad luck
//! with a key that is seldom used never adds up.

use std::time::Duration;

use tokio::time::Instant;

/// A failure counts for this long, unless a success ends the row before.
const COUNTS_FOR: Duration = Duration::from_secs(30 * 60);

/// When each failure of the row happened, oldest first; a few.
#[derive(Debug, Default)]
pub(super) struct Failures(Vec<Instant>);

impl Failures {
    /// A row of so many, all of them now.
    pub fn restore(count: u32, now: Instant) -> Self {
        Self((0..count).map(|_| now).collect())
    }

    pub fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// One more. Only the newest `limit` are kept; more of them would say nothing new.
    pub fn add(&mut self, now: Instant, limit: u32) {
        self.expire(now);
        self.0.push(now);
        let surplus = self.len().saturating_sub(limit);
        self.0.drain(..surplus as usize);
    }

    /// Ends the row; true when there was one.
    pub fn clear(&mut self) -> bool {
        !std::mem::take(&mut self.0).is_empty()
    }

    /// Drops what no longer counts; true when something was dropped.
    pub fn expire(&mut self, now: Instant) -> bool {
        let over = self.0.partition_point(|at| *at + COUNTS_FOR <= now);
        self.0.drain(..over).len() > 0
    }

    /// When [`expire`](Self::expire) has something to drop next.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.0.first().map(|at| *at + COUNTS_FOR)
    }

    /// Takes back what was counted from that instant on; true when something was.
    pub fn forgive_since(&mut self, since: Instant) -> bool {
        let before = self.0.len();
        self.0.retain(|at| *at < since);
        self.0.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_counts_for_half_an_hour_of_its_own() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        failures.add(now, 3);
        failures.add(now + Duration::from_secs(60), 3);

        assert!(!failures.expire(now + COUNTS_FOR - Duration::from_secs(1)));
        assert_eq!((failures.len(), failures.next_expiry()), (2, Some(now + COUNTS_FOR)));
        assert!(failures.expire(now + COUNTS_FOR));
        assert_eq!(failures.len(), 1);
        assert!(failures.expire(now + COUNTS_FOR + Duration::from_secs(60)));
        assert_eq!((failures.len(), failures.next_expiry()), (0, None));
    }

    #[test]
    fn no_more_than_the_limit_are_remembered() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        for second in 0..1000 {
            failures.add(now + Duration::from_secs(second), 3);
        }

        assert_eq!(failures.len(), 3);
        assert_eq!(failures.next_expiry(), Some(now + Duration::from_secs(997) + COUNTS_FOR), "the newest");
    }

    #[test]
    fn forgiving_leaves_what_happened_before() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        failures.add(now, 3);
        failures.add(now + Duration::from_secs(5), 3);

        assert!(failures.forgive_since(now + Duration::from_secs(5)));
        assert!(!failures.forgive_since(now + Duration::from_secs(5)));
        assert_eq!(failures.len(), 1);
    }
}
