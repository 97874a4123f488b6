//! An address that requests leave by, and how it fares.

use std::{
    iter,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::storm::{Admission, Attempt, Reading, Scope, Sign, StormDetector};
use crate::domain::{model::ModelName, outcome::Outcome};

/// Models that are watched by themselves at one time; further ones are part of the whole alone.
const MODELS: usize = 32;

/// The weather of one address, and whether it works at all.
///
/// While nothing is wrong, a request costs one look at an atomic, and no lock.
#[derive(Debug, Default)]
pub struct Egress {
    /// Of the proxy, without its password; blank for the machine's own address.
    name: String,
    /// Unix milliseconds; 0 while it is well.
    rests_until_ms: AtomicI64,
    /// Unix milliseconds; until then Gemini is taken not to be offered there, whatever connects.
    abroad_until_ms: AtomicI64,
    watch: Mutex<Watch>,
    /// There are failures or a pause to think of.
    is_watching: AtomicBool,
    storms: AtomicU64,
}

/// The whole address, and models that were refused through it.
#[derive(Debug, Default)]
struct Watch {
    all: StormDetector,
    models: Vec<(ModelName, StormDetector)>,
}

impl Watch {
    fn of(&mut self, model: &ModelName) -> Option<&mut StormDetector> {
        self.models.iter_mut().find(|(known, _)| known == model).map(|(_, detector)| detector)
    }

    /// Begins to watch a model, if there is room for another.
    fn attend(&mut self, model: &ModelName, now: Instant) {
        self.models.retain(|(known, detector)| known == model || !detector.is_idle(now));
        if self.models.len() < MODELS && self.of(model).is_none() {
            self.models.push((model.clone(), StormDetector::new(Scope::Model)));
        }
    }

    /// What speaks for this model: the address, and the model's own.
    fn concerning(&self, model: &ModelName) -> impl Iterator<Item = &StormDetector> {
        let own = self.models.iter().find(|(known, _)| known == model).map(|(_, detector)| detector);
        iter::once(&self.all).chain(own)
    }

    fn detectors(&self) -> impl Iterator<Item = &StormDetector> {
        iter::once(&self.all).chain(self.models.iter().map(|(_, detector)| detector))
    }
}

impl Egress {
    pub fn named(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// It is passed over for so long where another one works. True if it was well before.
    pub fn rest(&self, now_ms: i64, span: Duration) -> bool {
        let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        self.rests_until_ms.swap(now_ms.saturating_add(span_ms), Ordering::Relaxed) == 0
    }

    /// It works. True if that is news.
    pub fn rested(&self) -> bool {
        // Asked for each request, so that the common case is only read.
        self.rests_until_ms.load(Ordering::Relaxed) != 0
            && self.rests_until_ms.swap(0, Ordering::Relaxed) != 0
    }

    /// Gemini is not offered there: it is passed over for so long where there is another one.
    pub fn found_abroad(&self, now_ms: i64, span: Duration) {
        let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        self.abroad_until_ms.store(now_ms.saturating_add(span_ms), Ordering::Relaxed);
    }

    pub fn is_resting(&self, now_ms: i64) -> bool {
        let until_ms = self.rests_until_ms.load(Ordering::Relaxed);
        until_ms.max(self.abroad_until_ms.load(Ordering::Relaxed)) > now_ms
    }

    /// May an attempt leave now? To be asked once there is a key for it.
    pub fn admit(&self, model: &ModelName, now: Instant) -> Admission {
        if !self.is_watching.load(Ordering::Acquire) {
            return Admission::Open;
        }
        let mut watch = self.watch();
        // No probe is claimed that another pause holds back.
        let longest = watch.concerning(model).filter_map(|detector| detector.paused_until(now)).max();
        if let Some(until) = longest {
            return Admission::PausedUntil(until);
        }
        let of_all = watch.all.admit(now);
        let of_model = watch.of(model).map_or(Admission::Open, |detector| detector.admit(now));
        if of_all == Admission::Open { of_model } else { of_all }
    }

    /// Until when nothing leaves for this model, if that is so now, and how the storm shows.
    pub fn pause(&self, model: &ModelName, now: Instant) -> Option<(Instant, Sign)> {
        if !self.is_watching.load(Ordering::Acquire) {
            return None;
        }
        let watch = self.watch();
        let pauses =
            watch.concerning(model).filter_map(|detector| Some((detector.paused_until(now)?, detector)));
        pauses.max_by_key(|(until, _)| *until).map(|(until, detector)| (until, detector.sign()))
    }

    /// When the first pause ends, if there is one now.
    pub fn calm_at(&self, now: Instant) -> Option<Instant> {
        if !self.is_watching.load(Ordering::Acquire) {
            return None;
        }
        self.watch().detectors().filter_map(|detector| detector.paused_until(now)).min()
    }

    /// The longest pause that is on, and of which model, if it is one model's alone.
    pub fn longest_pause(&self, now: Instant) -> Option<(Instant, Option<ModelName>)> {
        if !self.is_watching.load(Ordering::Acquire) {
            return None;
        }
        let watch = self.watch();
        let of_all = watch.all.paused_until(now).map(|until| (until, None));
        let of_models = watch.models.iter();
        let of_models = of_models
            .filter_map(|(model, detector)| Some((detector.paused_until(now)?, Some(model.clone()))))
            .max_by_key(|(until, _)| *until);
        of_all.or(of_models)
    }

    /// Does anything pause now?
    pub fn is_paused(&self, now: Instant) -> bool {
        self.calm_at(now).is_some()
    }

    /// Storms since the process started.
    pub fn storms(&self) -> u64 {
        self.storms.load(Ordering::Relaxed)
    }

    /// Whether such an outcome has to be recorded.
    pub fn is_concerned(&self, outcome: &Outcome) -> bool {
        self.is_watching.load(Ordering::Acquire) || Sign::of(outcome).is_some()
    }

    /// Takes in what an attempt came to, and says whose that is. `in_use` is the number of parties that have a usable
    /// key.
    pub fn record(&self, attempt: Attempt<'_>, outcome: &Outcome, in_use: usize, now: Instant) -> Reading {
        if !self.is_concerned(outcome) {
            return Reading::OfKey;
        }
        let mut watch = self.watch();
        if Sign::of(outcome) == Some(Sign::BareLimit) {
            watch.attend(attempt.model, now);
        }
        let of_all = watch.all.record(&attempt, outcome, in_use, now);
        let own = watch.of(attempt.model);
        let of_model = own.map_or(Reading::OfKey, |own| own.record(&attempt, outcome, in_use, now));
        self.is_watching.store(watch.detectors().any(|detector| !detector.is_quiet()), Ordering::Release);
        drop(watch);
        let reading = match (of_all, of_model) {
            (begins @ Reading::Begins(_), _) | (_, begins @ Reading::Begins(_)) => begins,
            (Reading::OfStorm, _) | (_, Reading::OfStorm) => Reading::OfStorm,
            (Reading::OfKey, Reading::OfKey) => Reading::OfKey,
        };
        if matches!(reading, Reading::Begins(_)) {
            self.storms.fetch_add(1, Ordering::Relaxed);
        }
        reading
    }

    /// A thread that panicked with the lock leaves a detector that is still sound: every step of it is.
    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        balance::storm::Party,
        domain::{
            key::KeyId,
            outcome::{QuotaExceeded, QuotaMetric, QuotaWindow},
        },
    };

    fn model(name: &str) -> ModelName {
        ModelName::parse(name).unwrap()
    }

    fn attempt(key: i64, model: &ModelName, leased_at: Instant) -> Attempt<'_> {
        Attempt { key: KeyId(key), party: Party::Key(KeyId(key)), model, leased_at }
    }

    fn bare() -> Outcome {
        let window = QuotaWindow::Unknown;
        Outcome::Quota(QuotaExceeded { window, metric: QuotaMetric::Unknown, retry_after: None, limit: None })
    }

    #[test]
    fn only_one_of_many_workers_sees_a_storm_begin_and_only_one_probes() {
        let (egress, flash, now) = (Egress::default(), model("flash"), Instant::now());
        let fail = |key: i64| {
            let reading = egress.record(attempt(key, &flash, now), &Outcome::KeySuspect, 40, now);
            matches!(reading, Reading::Begins(_))
        };
        let begun: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..40).map(|key| scope.spawn(move || fail(key))).collect();
            workers.into_iter().map(|worker| usize::from(worker.join().unwrap())).sum()
        });
        assert_eq!((begun, egress.storms()), (1, 1));

        let later = now + Duration::from_secs(5);
        let admissions: Vec<_> = (0..8).map(|_| egress.admit(&flash, later)).collect();
        assert_eq!(admissions.iter().filter(|admission| **admission == Admission::Probe).count(), 1);
    }

    #[test]
    fn failures_that_came_to_nothing_are_over_with_the_next_success() {
        let (egress, flash, now) = (Egress::default(), model("flash"), Instant::now());

        egress.record(attempt(1, &flash, now), &Outcome::KeySuspect, 40, now);
        assert!(egress.is_watching.load(Ordering::Acquire));
        egress.record(attempt(1, &flash, now), &Outcome::Success, 40, now);

        assert!(!egress.is_watching.load(Ordering::Acquire));
        assert_eq!(egress.admit(&flash, now), Admission::Open);
    }

    #[test]
    fn a_limit_of_one_model_on_every_key_pauses_that_model_alone() {
        let (egress, flash, pro, now) = (Egress::default(), model("flash"), model("pro"), Instant::now());
        for key in 0..12 {
            egress.record(attempt(key, &flash, now), &bare(), 40, now);
        }

        assert!(egress.pause(&flash, now).is_some() && egress.is_paused(now));
        assert_eq!((egress.admit(&pro, now), egress.pause(&pro, now)), (Admission::Open, None));
        // It is served all along, and the other model is probed all the same.
        egress.record(attempt(20, &pro, now), &Outcome::Success, 40, now);
        let later = now + Duration::from_secs(5);
        assert_eq!(egress.admit(&flash, later), Admission::Probe);
        egress.record(attempt(3, &flash, later), &Outcome::Success, 40, later);
        assert_eq!((egress.admit(&flash, later), egress.is_paused(later)), (Admission::Open, false));
    }

    #[test]
    fn a_limit_of_more_than_one_model_is_the_address_s() {
        let (egress, now) = (Egress::default(), Instant::now());
        let (flash, pro, gemma) = (model("flash"), model("pro"), model("gemma"));
        for key in 0..12 {
            egress.record(attempt(key, if key % 2 == 0 { &flash } else { &pro }, now), &bare(), 40, now);
        }

        assert!(egress.pause(&gemma, now).is_some(), "a model that nobody asked for yet");
        assert_eq!(egress.storms(), 1);
    }

    #[test]
    fn names_that_clients_make_up_fill_no_memory() {
        let (egress, now) = (Egress::default(), Instant::now());
        for key in 0..1000 {
            egress.record(attempt(key, &model(&format!("made-up-{key}")), now), &bare(), 100_000, now);
        }
        assert!(egress.watch().models.len() <= MODELS);
    }
}
