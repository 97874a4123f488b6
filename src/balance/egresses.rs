//! All addresses that requests leave by: the machine's own, or one for each proxy; and which one an attempt takes.

use std::{
    cell::RefCell,
    cmp::Reverse,
    hash::{DefaultHasher, Hash, Hasher},
    iter,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::time::Instant;

use super::{
    egress::Egress,
    storm::{Admission, Attempt, FEWEST, Reading, Sign},
};
use crate::domain::{key::ApiKey, model::ModelName, outcome::Outcome, time::Now};

/// At least one address, shared by all workers.
#[derive(Debug)]
pub struct Egresses {
    all: Vec<Arc<Egress>>,
    /// A key always has the same one; otherwise they take turns.
    by_key: bool,
    turn: AtomicUsize,
    /// Of all addresses as one, where each has too few keys to tell a storm by itself.
    together: Egress,
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
        Self { all, by_key, turn: AtomicUsize::new(0), together: Egress::named("all proxies".to_owned()) }
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
        if let Admission::PausedUntil(at) = self.together.admit(model, now.instant) {
            return Err(at);
        }
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

    /// Takes in what an attempt by that egress came to, and says whose that is. `parties` is the number of those that have
    /// a usable key; where keys are bound to addresses, each address has a share of them.
    pub fn record(
        &self,
        egress: &Egress,
        attempt: Attempt<'_>,
        outcome: &Outcome,
        parties: usize,
        now: Instant,
    ) -> Reading {
        let share = if self.by_key { parties.div_ceil(self.all.len()) } else { parties };
        if self.all.len() > 1 && share < FEWEST {
            self.together.record(attempt, outcome, parties, now)
        } else {
            egress.record(attempt, outcome, share, now)
        }
    }

    /// Whether such an outcome by that egress has to be recorded.
    pub fn is_concerned(&self, egress: &Egress, outcome: &Outcome) -> bool {
        egress.is_concerned(outcome) || self.together.is_concerned(outcome)
    }

    /// Those that may pause, each by itself or together.
    fn weather(&self) -> impl Iterator<Item = &Egress> {
        iter::once(&self.together).chain(self.all.iter().map(|egress| &**egress))
    }

    /// Until when nothing leaves for this model, if that is so now, and how the storm shows. An address that is open is
    /// enough for everybody.
    pub fn pause(&self, model: &ModelName, now: Instant) -> Option<(Instant, Sign)> {
        if let Some(pause) = self.together.pause(model, now) {
            return Some(pause);
        }
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
        self.weather().filter_map(|egress| egress.calm_at(now)).min()
    }

    /// Does anything pause now?
    pub fn is_paused(&self, now: Instant) -> bool {
        self.calm_at(now).is_some()
    }

    /// Storms since they are known.
    pub fn storms(&self) -> u64 {
        self.weather().map(Egress::storms).sum()
    }

    /// Is there one that neither rests nor is paused for this model?
    pub fn has_open(&self, model: &ModelName, now: Now) -> bool {
        let now_ms = now.unix_ms();
        self.pause(model, now.instant).is_none()
            && self
                .all
                .iter()
                .any(|egress| !egress.is_resting(now_ms) && egress.pause(model, now.instant).is_none())
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
    use crate::{balance::storm::Party, domain::key::KeyId};

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
    fn where_each_has_too_few_keys_to_tell_a_storm_they_tell_it_together() {
        let (egresses, now, model) = (egresses(&["a", "b", "c", "d", "e"], true), Now::read(), model());
        let refuse = |number: i64| {
            let attempt = Attempt {
                key: KeyId(number),
                party: Party::Key(KeyId(number)),
                model: &model,
                leased_at: now.instant,
            };
            let egress = egresses.choose(&key(number as usize), None, &model, now).unwrap();
            egresses.record(&egress, attempt, &Outcome::KeySuspect, 15, now.instant)
        };

        let readings: Vec<_> = (0..5).map(refuse).collect();

        assert!(matches!(&readings[4], Reading::Begins(storm) if storm.keys.len() == 5), "{readings:?}");
        assert!(egresses.choose(&key(9), None, &model, now).is_err() && !egresses.has_open(&model, now));
        assert_eq!((egresses.storms(), egresses.is_paused(now.instant)), (1, true));
        let later = now.after(Duration::from_secs(5));
        assert!(egresses.choose(&key(9), None, &model, later).is_ok(), "one probes");
        assert!(egresses.choose(&key(9), None, &model, later).is_err());
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
