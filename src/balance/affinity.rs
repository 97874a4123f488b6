//! Which key a request would rather have: the one that owns what it names, or the one that served its like before.
//!
//! Google's implicit cache belongs to a project. Requests that begin alike are therefore sent to the same key as long as
//! nothing speaks against it. Which key that is follows from hashes alone, so that all nodes agree without a word and
//! a restart forgets nothing.

use std::collections::BTreeMap;

use crate::domain::key::KeyId;

mod benefit;

pub use benefit::{CacheBenefit, Group, Hits, ModelBenefit};

/// Keys that are weighed against each other for one request.
const CONTENDERS: usize = 8;

/// Which key a request should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preference {
    /// This one or none: the resource that the request names exists nowhere else.
    Owner(KeyId),
    /// The same for requests that begin alike, as long as that pays.
    Prefix(u64),
    /// The same for all turns of a conversation, whether that pays or not: what the model signed may be of no use
    /// elsewhere.
    Conversation(u64),
    /// The same, also where another would be the better choice: what they bring is to be used together.
    Together(u64),
}

impl Preference {
    /// What requests that prefer the same key have in common; none of one that has to have a certain key.
    pub fn hash(self) -> Option<u64> {
        match self {
            Self::Owner(_) => None,
            Self::Prefix(hash) | Self::Conversation(hash) | Self::Together(hash) => Some(hash),
        }
    }
}

/// The keys on a ring of hashes. Adding or removing one moves the preferences of its neighbours only.
///
/// Rendezvous hashing weighs every key for every request; here it weighs the few that follow the request's hash on the
/// ring, so that its cost does not grow with the pool.
#[derive(Debug, Default)]
pub struct Ring(BTreeMap<u64, u32>);

impl Ring {
    pub fn insert(&mut self, key: KeyId, slot: u32) {
        self.0.insert(point(key), slot);
    }

    pub fn remove(&mut self, key: KeyId) {
        self.0.remove(&point(key));
    }

    /// The slot with the greatest claim on this hash among those that are fit for it.
    pub fn prefer(&self, hash: u64, is_fit: impl Fn(u32) -> bool) -> Option<u32> {
        let from = mix(hash);
        self.0
            .range(from..)
            .chain(self.0.range(..from))
            .take(CONTENDERS)
            .filter(|(_, slot)| is_fit(**slot))
            .max_by_key(|(point, _)| mix(**point ^ hash))
            .map(|(_, slot)| *slot)
    }
}

/// Ids are unique and [`mix`] is a bijection, so no two keys meet.
fn point(key: KeyId) -> u64 {
    mix(key.0.cast_unsigned())
}

/// SplitMix64's finaliser: every bit of the input changes half of the output's.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(keys: impl IntoIterator<Item = i64>) -> Ring {
        let mut ring = Ring::default();
        for key in keys {
            ring.insert(KeyId(key), u32::try_from(key).unwrap());
        }
        ring
    }

    fn preferred(ring: &Ring, hash: u64) -> u32 {
        ring.prefer(hash, |_| true).unwrap()
    }

    #[test]
    fn the_same_request_prefers_the_same_key_and_others_spread() {
        let ring = ring(0..10);
        let mut counts = [0; 10];
        for hash in 0..10_000 {
            assert_eq!(preferred(&ring, hash), preferred(&ring, hash));
            counts[preferred(&ring, hash) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (500..2_000).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_new_key_moves_few_preferences() {
        let (before, after) = (ring(0..100), ring(0..101));

        let moved = (0..10_000).filter(|&hash| preferred(&before, hash) != preferred(&after, hash)).count();

        assert!(moved < 400, "{moved} of 10,000");
    }

    #[test]
    fn without_its_key_a_request_prefers_the_next_best() {
        let ring = ring(0..5);
        for hash in 0..100 {
            let first = preferred(&ring, hash);
            let second = ring.prefer(hash, |slot| slot != first).unwrap();
            assert_ne!(first, second);
            assert_eq!(ring.prefer(hash, |slot| slot != second), Some(first));
        }
        assert_eq!(ring.prefer(1, |_| false), None);
    }
}
