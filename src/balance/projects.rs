//! Which keys seem to belong to one project?
//!
//! Google counts by project, so twins add no capacity, and an operator who does not know it wonders. Two things give
//! them away: errors that name the same consumer, which is proof; and keys that run dry together, again and again,
//! long before either has sent what the limit allows, which is a good guess. What is found is proposed and never
//! acted upon.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use serde::Serialize;
use tokio::time::Instant;

use crate::domain::{key::KeyId, model::ModelName, outcome::QuotaWindow};

/// Keys that run dry within this span did so together.
const TOGETHER: Duration = Duration::from_secs(5);
/// How often in a row they must have done so.
const TIMES: u8 = 3;
/// More keys at once are no family but a busy minute of everybody.
const MAX_FAMILY: usize = 16;
/// Bounds of what is remembered; whoever comes later is not looked at.
const MAX_KEYS: usize = 100_000;
const MAX_PAIRS: usize = 4096;
/// A pair of which nothing was seen for so long is forgotten: days, as it may be the limit of the day that shows it.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const MAX_EPISODES: usize = 64;

/// Keys that seem to share a project, two or more, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub keys: Vec<KeyId>,
    pub evidence: Evidence,
}

/// How well a proposal is founded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Their errors name the same consumer.
    Consumer,
    /// They keep running dry together.
    Together,
}

/// Google refused a key whose quota is spent.
#[derive(Debug, Clone)]
pub struct Exhaustion {
    pub key: KeyId,
    pub model: ModelName,
    pub window: QuotaWindow,
    /// What this key alone had sent in the window.
    pub used: u64,
    /// The limit that Google named.
    pub limit: Option<u64>,
}

#[derive(Debug, Default)]
pub struct ProjectFinder {
    consumers: HashMap<KeyId, u64>,
    /// In order of their keys.
    pairs: HashMap<(KeyId, KeyId), Pair>,
    episodes: HashMap<(ModelName, QuotaWindow), Episode>,
}

/// Two keys that ran dry together once.
#[derive(Debug, Clone, Copy)]
struct Pair {
    /// How often in a row they did so; `None` once one was seen to have a limit of its own.
    row: Option<u8>,
    seen: Instant,
}

impl Pair {
    /// How much would be lost with it: of pairs that are worth the same, the one seen last is kept.
    fn worth(&self) -> (u8, Instant) {
        (self.row.map_or(1, |row| row.min(TIMES)), self.seen)
    }
}

/// Keys that run dry just now.
#[derive(Debug)]
struct Episode {
    began: Instant,
    keys: BTreeSet<KeyId>,
}

impl ProjectFinder {
    /// An error named the consumer, a project's number, that a key belongs to. True when that is news.
    pub fn saw_consumer(&mut self, key: KeyId, consumer: u64) -> bool {
        let has_room = self.consumers.len() < MAX_KEYS || self.consumers.contains_key(&key);
        has_room && self.consumers.insert(key, consumer) != Some(consumer)
    }

    /// A key ran dry. Only one that did so early tells something: whoever could send all of its limit shares with
    /// nobody.
    pub fn ran_dry(&mut self, exhaustion: &Exhaustion, now: Instant) {
        let Exhaustion { key, used, limit: Some(limit), .. } = *exhaustion else { return };
        self.conclude(now);
        if used.saturating_mul(4) > limit.saturating_mul(3) {
            self.seen_alone(key);
            return;
        }
        let place = (exhaustion.model.clone(), exhaustion.window);
        if self.episodes.len() < MAX_EPISODES || self.episodes.contains_key(&place) {
            let episode =
                self.episodes.entry(place).or_insert_with(|| Episode { began: now, keys: BTreeSet::new() });
            if episode.keys.len() <= MAX_FAMILY {
                episode.keys.insert(key);
            }
        }
    }

    /// These keys are gone.
    pub fn forget(&mut self, gone: &BTreeSet<KeyId>) {
        self.consumers.retain(|key, _| !gone.contains(key));
        self.pairs.retain(|(one, other), _| !gone.contains(one) && !gone.contains(other));
        for episode in self.episodes.values_mut() {
            episode.keys.retain(|key| !gone.contains(key));
        }
    }

    /// What is found by now; the proven first, and no key in two proposals of a kind.
    pub fn proposals(&mut self, now: Instant) -> Vec<Proposal> {
        self.conclude(now);
        let mut by_consumer = BTreeMap::<u64, Vec<KeyId>>::new();
        for (key, consumer) in &self.consumers {
            by_consumer.entry(*consumer).or_default().push(*key);
        }
        let proven = by_consumer.into_values().map(|keys| (keys, Evidence::Consumer));
        let guessed = self.families().into_iter().map(|keys| (keys, Evidence::Together));
        let proposal = |(mut keys, evidence): (Vec<KeyId>, _)| {
            keys.sort();
            Proposal { keys, evidence }
        };
        let mut proposals: Vec<_> = proven.chain(guessed).map(proposal).collect();
        proposals.retain(|proposal| proposal.keys.len() > 1);
        proposals.sort_by(|a, b| (a.evidence, &a.keys).cmp(&(b.evidence, &b.keys)));
        proposals
    }

    /// Counts the episodes that are over.
    fn conclude(&mut self, now: Instant) {
        let is_over = |episode: &Episode| now.saturating_duration_since(episode.began) > TOGETHER;
        let over: Vec<_> = self.episodes.extract_if(|_, episode| is_over(episode)).collect();
        for (_, Episode { keys, .. }) in over {
            if keys.len() <= MAX_FAMILY {
                self.count(&keys, now);
            }
        }
    }

    fn count(&mut self, keys: &BTreeSet<KeyId>, now: Instant) {
        for ((one, other), pair) in &mut self.pairs {
            if keys.contains(one) != keys.contains(other)
                && let Some(row) = &mut pair.row
            {
                *row = 0;
            }
        }
        self.make_room(keys.len() * keys.len().saturating_sub(1) / 2, now);
        for one in keys {
            for other in keys.range((std::ops::Bound::Excluded(*one), std::ops::Bound::Unbounded)) {
                // Two projects that Google numbers differently are not one, whatever they do.
                let differ = matches!(
                    (self.consumers.get(one), self.consumers.get(other)),
                    (Some(one), Some(other)) if one != other
                );
                if !differ {
                    let pair = self.pairs.entry((*one, *other)).or_insert(Pair { row: Some(0), seen: now });
                    pair.row = pair.row.map(|row| row.saturating_add(1));
                    pair.seen = now;
                }
            }
        }
    }

    /// Forgets what is old, and of the rest what is worth least, until there is room for so many pairs.
    fn make_room(&mut self, wanted: usize, now: Instant) {
        if self.pairs.len() + wanted <= MAX_PAIRS {
            return;
        }
        self.pairs.retain(|_, pair| now.saturating_duration_since(pair.seen) < REMEMBERED);
        let surplus = (self.pairs.len() + wanted).saturating_sub(MAX_PAIRS);
        let mut worths: Vec<_> = self.pairs.iter().map(|(keys, pair)| (pair.worth(), *keys)).collect();
        worths.sort_unstable();
        for (_, keys) in worths.into_iter().take(surplus) {
            self.pairs.remove(&keys);
        }
    }

    /// It has a project for itself, so none of its pairs is one.
    fn seen_alone(&mut self, key: KeyId) {
        for ((one, other), pair) in &mut self.pairs {
            if *one == key || *other == key {
                pair.row = None;
            }
        }
    }

    /// Keys that hang together by pairs.
    fn families(&self) -> Vec<Vec<KeyId>> {
        let mut families: Vec<BTreeSet<KeyId>> = Vec::new();
        let twins = self.pairs.iter().filter(|(_, pair)| pair.row.is_some_and(|row| row >= TIMES));
        for ((one, other), _) in twins {
            let mut family = BTreeSet::from([*one, *other]);
            families.retain(|known| {
                let is_apart = known.is_disjoint(&family);
                if !is_apart {
                    family.extend(known);
                }
                is_apart
            });
            families.push(family);
        }
        families.into_iter().map(|family| family.into_iter().collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn keys(ids: impl IntoIterator<Item = i64>) -> Vec<KeyId> {
        ids.into_iter().map(KeyId).collect()
    }

    fn dry(key: i64, used: u64) -> Exhaustion {
        let model = ModelName::parse("gemini-3.8-flash").unwrap();
        Exhaustion { key: KeyId(key), model, window: QuotaWindow::Minute, used, limit: Some(10) }
    }

    /// These run dry within two seconds, having sent five of ten each.
    fn together(finder: &mut ProjectFinder, ids: &[i64], at: Instant) {
        for (id, seconds) in ids.iter().zip([0, 1, 2].into_iter().cycle()) {
            finder.ran_dry(&dry(*id, 5), at + Duration::from_secs(seconds));
        }
    }

    fn guessed(finder: &mut ProjectFinder, at: Instant) -> Vec<Vec<KeyId>> {
        let proposals = finder.proposals(at + MINUTE).into_iter();
        proposals.filter(|found| found.evidence == Evidence::Together).map(|found| found.keys).collect()
    }

    #[test]
    fn keys_of_one_consumer_are_one_project_at_once() {
        let mut finder = ProjectFinder::default();
        for (key, consumer) in [(1, 700), (2, 800), (3, 700), (4, 900)] {
            finder.saw_consumer(KeyId(key), consumer);
        }

        let expected = Proposal { keys: keys([1, 3]), evidence: Evidence::Consumer };
        assert_eq!(finder.proposals(Instant::now()), [expected]);
        finder.forget(&[KeyId(3)].into());
        assert_eq!(finder.proposals(Instant::now()), []);
    }

    #[test]
    fn keys_that_run_dry_together_three_times_in_a_row_are_proposed() {
        let (mut finder, start) = (ProjectFinder::default(), Instant::now());
        for round in 0..3 {
            assert_eq!(guessed(&mut finder, start + MINUTE * (2 * round)), [[]; 0]);
            together(&mut finder, &[1, 2, 3], start + MINUTE * (2 * round + 2));
        }

        assert_eq!(guessed(&mut finder, start + MINUTE * 6), [keys([1, 2, 3])]);
    }

    #[test]
    fn once_apart_the_row_begins_anew() {
        let (mut finder, start) = (ProjectFinder::default(), Instant::now());
        for (round, ids) in [(1, &[1, 2][..]), (2, &[1, 2]), (3, &[1]), (4, &[1, 2]), (5, &[1, 2])] {
            together(&mut finder, ids, start + MINUTE * round);
        }

        assert_eq!(guessed(&mut finder, start + MINUTE * 5), [[]; 0]);
        together(&mut finder, &[1, 2], start + MINUTE * 8);
        assert_eq!(guessed(&mut finder, start + MINUTE * 8), [keys([1, 2])]);
    }

    #[test]
    fn keys_under_equal_load_that_use_up_limits_of_their_own_are_no_twins() {
        let (mut finder, start) = (ProjectFinder::default(), Instant::now());
        for round in 0..10 {
            for key in 1..=5 {
                finder.ran_dry(&dry(key, 10), start + MINUTE * round);
            }
        }
        assert_eq!(guessed(&mut finder, start + MINUTE * 10), [[]; 0]);

        // And whoever was seen to have a limit of its own stays apart.
        for round in 20..23 {
            together(&mut finder, &[1, 2], start + MINUTE * round);
        }
        finder.ran_dry(&dry(1, 9), start + MINUTE * 30);
        for round in 40..50 {
            together(&mut finder, &[1, 2], start + MINUTE * round);
        }
        assert_eq!(guessed(&mut finder, start + MINUTE * 50), [[]; 0]);
    }

    #[test]
    fn keys_of_different_consumers_are_never_guessed_to_be_one() {
        let (mut finder, start) = (ProjectFinder::default(), Instant::now());
        finder.saw_consumer(KeyId(1), 700);
        finder.saw_consumer(KeyId(2), 800);
        for round in 0..5 {
            together(&mut finder, &[1, 2], start + MINUTE * round);
        }

        assert_eq!(finder.proposals(start + MINUTE * 9), []);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_a_crowd_proves_nothing() {
        let (mut finder, start) = (ProjectFinder::default(), Instant::now());
        for round in 0..5 {
            let crowd: Vec<i64> = (0..200).collect();
            together(&mut finder, &crowd, start + MINUTE * round);
        }
        assert!(finder.pairs.is_empty());

        for round in 0..2000_i64 {
            let at = start + MINUTE * (10 + round as u32);
            together(&mut finder, &(round * 10..round * 10 + 10).collect::<Vec<_>>(), at);
        }
        assert!(finder.pairs.len() <= MAX_PAIRS);
        // However many it has seen, it goes on learning.
        for round in 0..3 {
            together(&mut finder, &[100_001, 100_002], start + MINUTE * (3000 + 2 * round));
        }
        assert_eq!(guessed(&mut finder, start + MINUTE * 3006), [keys([100_001, 100_002])]);
    }
}
