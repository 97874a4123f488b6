//! Wrong admin tokens, counted per address, so that nobody can try many.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{api::admin::error::AdminError, domain::network::neighbourhood};

/// So many wrong tokens at once are human.
const AT_ONCE: u32 = 10;
/// Then one in so long: at most 8,640 a day.
const ONE_IN: Duration = Duration::from_secs(10);
/// Addresses that are remembered; with more of them the one that will be forgotten first is forgotten now.
const CAPACITY: usize = 10_000;

/// For each address the time at which all its attempts are forgotten: each one moves it on by `ONE_IN`.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<Option<IpAddr>, Instant>>);

impl Attempts {
    /// Refuses an address that has tried too often.
    pub fn require(&self, address: Option<IpAddr>) -> Result<(), AdminError> {
        let now = Instant::now();
        let free_at = self.lock().get(&address.map(neighbourhood)).copied().unwrap_or(now);
        let wait = free_at.saturating_duration_since(now).saturating_sub(ONE_IN * (AT_ONCE - 1));
        if wait.is_zero() { Ok(()) } else { Err(AdminError::TooManyAttempts { retry_after: wait }) }
    }

    /// Counts a wrong token.
    pub fn failed(&self, address: Option<IpAddr>) {
        let (now, address) = (Instant::now(), address.map(neighbourhood));
        let mut known = self.lock();
        if known.len() >= CAPACITY && !known.contains_key(&address) {
            known.retain(|_, free_at| *free_at > now);
            let first = known.iter().min_by_key(|(_, free_at)| **free_at).map(|(address, _)| *address);
            if let Some(first) = first.filter(|_| known.len() >= CAPACITY) {
                known.remove(&first);
            }
        }
        let free_at = known.entry(address).or_insert(now);
        *free_at = (*free_at).max(now) + ONE_IN;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Option<IpAddr>, Instant>> {
        // Nothing panics while it is held, and a map is whole after each of its calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> Option<IpAddr> {
        Some(IpAddr::from(n.to_be_bytes()))
    }

    #[tokio::test(start_paused = true)]
    async fn after_ten_wrong_tokens_an_address_may_try_one_every_ten_seconds() {
        let attempts = Attempts::default();
        for _ in 0..AT_ONCE {
            assert!(attempts.require(address(1)).is_ok());
            attempts.failed(address(1));
        }

        let refused = attempts.require(address(1)).expect_err("it has tried too often");
        assert_eq!(refused.retry_after(), Some(ONE_IN));
        assert!(attempts.require(address(2)).is_ok(), "others may");
        tokio::time::advance(ONE_IN).await;
        assert!(attempts.require(address(1)).is_ok());
        attempts.failed(address(1));
        assert!(attempts.require(address(1)).is_err());
        tokio::time::advance(ONE_IN * AT_ONCE).await;
        for _ in 0..AT_ONCE {
            assert!(attempts.require(address(1)).is_ok(), "it is forgotten in the end");
            attempts.failed(address(1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_of_addresses_is_bounded() {
        let attempts = Attempts::default();
        for n in 0..CAPACITY as u32 + 100 {
            attempts.failed(address(n));
        }

        assert_eq!(attempts.lock().len(), CAPACITY);
    }
}
