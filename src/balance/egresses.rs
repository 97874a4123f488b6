//! All addresses that requests leave by: the machine's own, or one for each proxy; and which one an attempt takes.

use std::{
    cell::RefCell,
    cmp::Reverse,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::time::Instant;

use super::{
    egress::Egress,
    storm::{Admission, Sign},
};
use crate::domain::{key::ApiKey, model::ModelName, time::Now};

/// At least one address, shared by all workers.
#[derive(Debug)]
pub struct Egresses {
    all: Vec<Arc<Egress>>,
    /// A key always has the same one; otherwise they take turns.
    by_key: bool,
    turn: AtomicUsize,
}

/// The machine's own address.
impl Default for Egresses {
    fn default() -> Self {
        Self::new(vec![Arc::default()], false)
    }
}

impl Egresses {
    /// # Panics
    /// Without any.
    pub fn new(all: Vec<Arc<Egress>>, by_key: bool) -> Self {
        assert!(!all.is_empty(), "nothing could leave");
        Self { all, by_key, turn: AtomicUsize::new(0) }
    }

    pub fn all(&self) -> &[Arc<Egress>] {
        &self.all
    }

    /// The address for an attempt with that key, as far as one is open to this model: those that rest come last. The
    /// attempt may be the probe that ends a pause. `other_than` is taken when there is no other. Otherwise when the first
    /// pause ends.
    pub fn choose(
        &self,
        key: &ApiKey,
        other_than: Option<&Arc<Egress>>,
        model: &ModelName,
        now: Now,
    ) -> Result<Arc<Egress>, Instant> {
        let mut earliest: Option<Instant> = None;
        let mut admit = |egress: &Arc<Egress>| match egress.admit(model, now.instant) {
            Admission::Open | Admission::Probe => Some(egress.clone()),
            Admission::PausedUntil(at) => {
                earliest = Some(earliest.map_or(at, |known| known.min(at)));
                None
            }
        };
        let found = match self.all.as_slice() {
            [only] => admit(only),
            _ => {
                let mut order = self.order(key, now);
                order.sort_by_key(|egress| other_than.is_some_and(|left| Arc::ptr_eq(left, egress)));
                order.into_iter().find_map(admit)
            }
        };
        found.ok_or_else(|| earliest.unwrap_or(now.instant))
    }

    /// All of them, in the order in which they are to be tried with that key.
    pub fn order(&self, key: &ApiKey, now: Now) -> Vec<&Arc<Egress>> {
        let mut order: Vec<_> = self.all.iter().collect();
        if self.by_key {
            order.sort_by_cached_key(|egress| Reverse(score(egress, key)));
        } else {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % order.len();
            order.rotate_left(turn);
        }
        let now_ms = now.unix_ms();
        order.sort_by_key(|egress| egress.is_resting(now_ms));
        order
    }

    /// Of so many parties, those that an egress has to itself in the mean; it speaks for no others.
    pub fn share(&self, parties: usize) -> usize {
        parties.div_ceil(self.all.len())
    }

    /// Until when nothing leaves for this model, if that is so now, and how the storm shows. An address that is open is
    /// enough for everybody.
    pub fn pause(&self, model: &ModelName, now: Instant) -> Option<(Instant, Sign)> {
        let mut earliest: Option<(Instant, Sign)> = None;
        for egress in &self.all {
            let pause = egress.pause(model, now)?;
            if earliest.is_none_or(|(until, _)| pause.0 < until) {
                earliest = Some(pause);
            }
        }
        earliest
    }

    /// When the first pause ends, if there is one now.
    pub fn calm_at(&self, now: Instant) -> Option<Instant> {
        self.all.iter().filter_map(|egress| egress.calm_at(now)).min()
    }

    /// Does anything pause now?
    pub fn is_paused(&self, now: Instant) -> bool {
        self.calm_at(now).is_some()
    }

    /// Storms since they are known.
    pub fn storms(&self) -> u64 {
        self.all.iter().map(|egress| egress.storms()).sum()
    }

    /// Is there one that neither rests nor is paused for this model?
    pub fn has_open(&self, model: &ModelName, now: Now) -> bool {
        let now_ms = now.unix_ms();
        self.all.iter().any(|egress| !egress.is_resting(now_ms) && egress.pause(model, now.instant).is_none())
    }
}

/// Rendezvous hashing: a key stays with its egress when others come and go.
fn score(egress: &Egress, key: &ApiKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    (egress.name(), key.expose()).hash(&mut hasher);
    hasher.finish()
}

/// The address that an attempt leaves by; another one once that does not connect.
#[derive(Debug, Clone)]
pub struct Exit(RefCell<Arc<Egress>>);

impl Exit {
    pub fn new(egress: Arc<Egress>) -> Self {
        Self(RefCell::new(egress))
    }

    pub fn get(&self) -> Arc<Egress> {
        self.0.borrow().clone()
    }

    pub fn set(&self, egress: Arc<Egress>) {
        self.0.replace(egress);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        balance::storm::{Attempt, Party},
        domain::{key::KeyId, outcome::Outcome},
    };

    fn egresses(names: &[&str], by_key: bool) -> Egresses {
        Egresses::new(names.iter().map(|name| Arc::new(Egress::named((*name).to_owned()))).collect(), by_key)
    }

    fn key(number: usize) -> ApiKey {
        ApiKey::parse(&format!("AIzaSy-{number}")).unwrap()
    }

    fn model() -> ModelName {
        ModelName::parse("flash").unwrap()
    }

    fn order(egresses: &Egresses, number: usize) -> Vec<&str> {
        egresses.order(&key(number), Now::read()).into_iter().map(|egress| egress.name()).collect()
    }

    /// Keys of five projects are refused through it.
    fn storm(egress: &Egress, now: Now) {
        let model = model();
        for key in (0..5).map(KeyId) {
            let attempt = Attempt { key, party: Party::Key(key), model: &model, leased_at: now.instant };
            egress.record(attempt, &Outcome::KeySuspect, 5, now.instant);
        }
    }

    #[test]
    fn a_key_stays_with_its_egress_when_others_come_and_go() {
        let (three, four) = (egresses(&["a", "b", "c"], true), egresses(&["d", "c", "b", "a"], true));
        let moved = (0..300).filter(|number| order(&three, *number)[0] != order(&four, *number)[0]);

        let to: Vec<_> = moved.map(|number| order(&four, number)[0]).collect();

        assert!((40..120).contains(&to.len()), "about a quarter: {}", to.len());
        assert!(to.iter().all(|name| *name == "d"));
    }

    #[test]
    fn without_keys_they_take_turns() {
        let egresses = egresses(&["a", "b"], false);

        let firsts: Vec<_> = (0..4).map(|_| order(&egresses, 1)[0]).collect();

        assert_eq!(firsts, ["a", "b", "a", "b"]);
    }

    #[test]
    fn one_that_rests_comes_last_and_is_taken_when_there_is_no_other() {
        let (egresses, now) = (egresses(&["a", "b"], true), Now::read());
        let usual = order(&egresses, 1)[0].to_owned();
        let (own, other) = match usual.as_str() {
            "a" => (&egresses.all[0], &egresses.all[1]),
            _ => (&egresses.all[1], &egresses.all[0]),
        };
        let chosen = || egresses.choose(&key(1), None, &model(), now).unwrap().name().to_owned();

        own.rest(now.unix_ms(), Duration::from_secs(30));
        assert_eq!(chosen(), other.name());
        assert!(egresses.has_open(&model(), now));
        other.rest(now.unix_ms(), Duration::from_secs(30));
        assert_eq!(chosen(), usual);
        assert!(!egresses.has_open(&model(), now));
        own.rested();
        other.rested();
        assert_eq!(chosen(), usual);
        own.found_abroad(now.unix_ms(), Duration::from_secs(600));
        own.rested();
        assert_eq!(chosen(), other.name(), "that it connects does not make it another place");
    }

    #[test]
    fn whoever_was_refused_by_one_leaves_by_another_if_there_is_one() {
        let (two, one, now) = (egresses(&["a", "b"], true), egresses(&["a"], true), Now::read());
        let first = two.choose(&key(1), None, &model(), now).unwrap();

        let next = two.choose(&key(1), Some(&first), &model(), now).unwrap();

        assert!(!Arc::ptr_eq(&first, &next));
        assert!(one.choose(&key(1), Some(&one.all[0]), &model(), now).is_ok());
    }

    #[test]
    fn a_storm_of_one_is_left_to_the_others_and_all_pause_only_together() {
        let (egresses, now) = (egresses(&["a", "b"], false), Now::read());
        let names = |now| -> Vec<String> {
            let chosen = (0..4).map(|_| egresses.choose(&key(1), None, &model(), now));
            chosen.map(|chosen| chosen.unwrap().name().to_owned()).collect()
        };

        storm(&egresses.all[0], now);
        assert_eq!(names(now), ["b"; 4]);
        assert_eq!(egresses.pause(&model(), now.instant), None);
        assert!(egresses.is_paused(now.instant));

        storm(&egresses.all[1], now);
        let until = now.instant + Duration::from_secs(5);
        assert_eq!(egresses.choose(&key(1), None, &model(), now).unwrap_err(), until);
        assert_eq!(egresses.pause(&model(), now.instant).unwrap().0, until);
        assert_eq!(egresses.storms(), 2);

        // Then each of them is probed once.
        let later = Now { instant: until, ..now };
        let mut probed =
            [(); 2].map(|()| egresses.choose(&key(1), None, &model(), later).unwrap().name().to_owned());
        probed.sort();
        assert_eq!(probed, ["a", "b"]);
        assert!(egresses.choose(&key(1), None, &model(), later).is_err());
    }
}
