//! What the simulation knows while it runs: behaviour of each key, use of quotas, and counters for tests.
//!
//! One lock guards all of it. It is held for a few map look-ups at a time and never across an await.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

use super::{
    attempt::{Attempt, Circumstances},
    errors::{GoogleError, Refusal},
    plan::{Behaviour, Fault, Pace, Plan, Spell},
    quota::QuotaBook,
    request::GenerateRequest,
    resources::Resources,
};

/// Cancellations that are remembered.
const MAX_CANCELLATIONS: usize = 1_000;

/// The running simulation.
#[derive(Debug)]
pub struct World {
    started: Instant,
    is_open: bool,
    pace: Pace,
    record_last: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    keys: HashMap<String, Key>,
    weather: Vec<Spell>,
    quotas: QuotaBook,
    resources: Resources,
    attempts: u64,
    cancelled: VecDeque<Cancellation>,
    requests: VecDeque<Recorded>,
}

#[derive(Debug, Default)]
struct Key {
    behaviour: Behaviour,
    counters: KeyCounters,
}

/// Counters of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KeyCounters {
    /// Generations and embeddings that were asked for.
    pub attempts: u64,
    /// Calls that cost no quota: models, counting of tokens.
    pub free_calls: u64,
    /// How attempts ended, by HTTP status; a cancelled one is not among them.
    pub statuses: BTreeMap<u16, u64>,
    /// Attempts that are not over.
    pub in_flight: u64,
    pub open_streams: u64,
    pub cancelled: u64,
}

/// A connection that its peer closed before the answer was complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cancellation {
    pub key: String,
    pub model: String,
    /// Unix time.
    pub at_ms: u64,
    /// Since the attempt began.
    pub after_ms: u64,
    pub events_sent: usize,
}

/// A request as it came, kept when the plan asks for it.
#[derive(Debug, Clone, Serialize)]
pub struct Recorded {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    /// Bytes that are not UTF-8 are replaced.
    pub body: String,
}

/// What `GET /_sim/state` shows.
#[derive(Debug, Clone, Serialize)]
pub struct Snapshot {
    /// Unix time.
    pub now_ms: u64,
    pub attempts: u64,
    pub in_flight: u64,
    pub open_streams: u64,
    pub keys: BTreeMap<String, KeyCounters>,
    pub cancelled: Vec<Cancellation>,
}

impl World {
    pub fn new(plan: &Plan) -> Self {
        let new = |behaviour: &Behaviour| Key { behaviour: behaviour.clone(), ..Key::default() };
        let keys = plan.keys.iter().map(|plan| (plan.key.clone(), new(&plan.behaviour))).collect();
        Self {
            started: Instant::now(),
            is_open: plan.is_open,
            pace: plan.pace,
            record_last: plan.record_last,
            inner: Mutex::new(Inner {
                keys,
                weather: plan.weather.clone(),
                quotas: QuotaBook::new(plan.minutes, plan.minute_ms),
                ..Inner::default()
            }),
        }
    }

    /// A panic while the lock was held cannot leave more than a wrong counter behind.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Admits a call that costs no quota, such as a list of models.
    pub fn admit_free_call(&self, key: &str) -> Result<(), GoogleError> {
        let elapsed_ms = self.elapsed_ms();
        let mut inner = self.lock();
        let key = inner.key(key, self.is_open)?;
        key.counters.free_calls += 1;
        let strikes = |spell: &&Spell| spell.strikes("", elapsed_ms, key.counters.free_calls);
        match key.behaviour.faults.iter().find(strikes).map(|spell| spell.fault) {
            Some(Fault::Refuse(refusal)) if refusal.concerns_the_key() => Err(refusal.error("")),
            _ => Ok(()),
        }
    }

    /// Begins an attempt on `model`; the fault that strikes it, if any, comes with it.
    pub fn begin(self: &Arc<Self>, key: &str, model: &str) -> Result<Attempt, GoogleError> {
        let elapsed_ms = self.elapsed_ms();
        let mut inner = self.lock();
        inner.attempts += 1;
        let number = inner.attempts;
        let found = inner.key(key, self.is_open)?;
        found.counters.attempts += 1;
        found.counters.in_flight += 1;
        let nth = found.counters.attempts;
        let strikes = |spell: &&Spell| spell.strikes(model, elapsed_ms, nth);
        let own_fault = found.behaviour.faults.iter().find(strikes).map(|spell| spell.fault);
        let pace = found.behaviour.pace.unwrap_or(self.pace);
        let fault = own_fault.or_else(|| {
            let strikes = |spell: &&Spell| spell.strikes(model, elapsed_ms, number);
            inner.weather.iter().find(strikes).map(|spell| spell.fault)
        });
        drop(inner);
        let circumstances = Circumstances { number, fault, pace, first_byte_ms: pace.first_byte_of(nth) };
        Ok(Attempt::new(Arc::clone(self), key, model, circumstances))
    }

    /// Takes one request of so many tokens from the quota of the key's project.
    pub fn spend(&self, key: &str, model: &str, tokens: u64) -> Result<(), GoogleError> {
        let mut inner = self.lock();
        let Inner { keys, quotas, .. } = &mut *inner;
        let Some(Key { behaviour, .. }) = keys.get(key) else {
            return Ok(());
        };
        let project = behaviour.project.as_deref().unwrap_or(key);
        quotas
            .take(project, model, &behaviour.quota, tokens, unix_ms())
            .map_err(|exceeded| exceeded.error(model))
    }

    /// The project that a key belongs to.
    pub fn project_of(&self, key: &str) -> String {
        let project = self.lock().keys.get(key).and_then(|key| key.behaviour.project.clone());
        project.unwrap_or_else(|| key.to_owned())
    }

    /// Looks at or changes files and caches.
    pub fn resources<T>(&self, work: impl FnOnce(&mut Resources) -> T) -> T {
        work(&mut self.lock().resources)
    }

    /// Whether the key may use everything that a generation names.
    pub fn check_resources(&self, key: &str, request: &GenerateRequest) -> Result<(), GoogleError> {
        let project = self.project_of(key);
        self.resources(|resources| resources.check(&project, request))
    }

    /// Changes the counters of a key that is still there.
    pub fn count(&self, key: &str, change: impl FnOnce(&mut KeyCounters)) {
        if let Some(key) = self.lock().keys.get_mut(key) {
            change(&mut key.counters);
        }
    }

    pub fn remember(&self, cancellation: Cancellation) {
        let mut inner = self.lock();
        inner.cancelled.push_back(cancellation);
        if inner.cancelled.len() > MAX_CANCELLATIONS {
            inner.cancelled.pop_front();
        }
    }

    pub fn set_behaviour(&self, key: &str, behaviour: Behaviour) {
        self.lock().keys.entry(key.to_owned()).or_default().behaviour = behaviour;
    }

    pub fn behaviour(&self, key: &str) -> Option<Behaviour> {
        self.lock().keys.get(key).map(|key| key.behaviour.clone())
    }

    pub fn remove_key(&self, key: &str) -> bool {
        self.lock().keys.remove(key).is_some()
    }

    pub fn set_weather(&self, weather: Vec<Spell>) {
        self.lock().weather = weather;
    }

    pub fn weather(&self) -> Vec<Spell> {
        self.lock().weather.clone()
    }

    /// Forgets counters, use of quotas and recorded requests; behaviour stays. What is in flight stays counted.
    pub fn reset(&self) {
        let mut inner = self.lock();
        inner.attempts = 0;
        inner.quotas.clear();
        inner.cancelled.clear();
        inner.requests.clear();
        for key in inner.keys.values_mut() {
            let KeyCounters { in_flight, open_streams, .. } = key.counters;
            key.counters = KeyCounters { in_flight, open_streams, ..KeyCounters::default() };
        }
    }

    pub fn is_recording(&self) -> bool {
        self.record_last > 0
    }

    pub fn record(&self, request: Recorded) {
        let mut inner = self.lock();
        inner.requests.push_back(request);
        while inner.requests.len() > self.record_last {
            inner.requests.pop_front();
        }
    }

    /// The requests that were kept, oldest first.
    pub fn requests(&self) -> Vec<Recorded> {
        self.lock().requests.iter().cloned().collect()
    }

    pub fn snapshot(&self) -> Snapshot {
        let inner = self.lock();
        let keys: BTreeMap<_, _> =
            inner.keys.iter().map(|(name, key)| (name.clone(), key.counters.clone())).collect();
        Snapshot {
            now_ms: unix_ms(),
            attempts: inner.attempts,
            in_flight: keys.values().map(|key| key.in_flight).sum(),
            open_streams: keys.values().map(|key| key.open_streams).sum(),
            keys,
            cancelled: inner.cancelled.iter().cloned().collect(),
        }
    }
}

impl Inner {
    fn key(&mut self, key: &str, is_open: bool) -> Result<&mut Key, GoogleError> {
        if !self.keys.contains_key(key) {
            if !is_open {
                return Err(Refusal::InvalidKey.error(""));
            }
            self.keys.insert(key.to_owned(), Key::default());
        }
        self.keys.get_mut(key).ok_or_else(|| Refusal::Internal.error(""))
    }
}

/// Now, in milliseconds of Unix time.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::{super::quota::Quota, *};

    fn world(keys: &[&str]) -> Arc<World> {
        Arc::new(World::new(&Plan::healthy(keys.iter().copied())))
    }

    #[test]
    fn an_attempt_that_is_dropped_early_was_cancelled() {
        let world = world(&["a"]);

        let mut attempt = world.begin("a", "m").unwrap();
        attempt.open_stream();
        assert_eq!(world.snapshot().open_streams, 1);
        drop(attempt);

        let after = world.snapshot();
        assert_eq!((after.open_streams, after.keys["a"].cancelled), (0, 1));
        assert_eq!(after.cancelled[0].key, "a");
    }

    #[test]
    fn an_attempt_that_ended_counts_by_its_status() {
        let world = world(&["a"]);

        world.begin("a", "m").unwrap().end(200);

        let counters = &world.snapshot().keys["a"];
        assert_eq!(counters.statuses[&200], 1);
        assert_eq!((counters.in_flight, counters.cancelled), (0, 0));
    }

    #[test]
    fn keys_of_one_project_share_its_quota() {
        let world = world(&[]);
        let quota = Quota { requests_per_day: Some(1), ..Quota::default() };
        let twin = Behaviour { project: Some("p".into()), quota, ..Behaviour::default() };
        world.set_behaviour("a", twin.clone());
        world.set_behaviour("b", twin);

        assert!(world.begin("a", "m").unwrap().spend(1).is_ok());
        assert_eq!(world.begin("b", "m").unwrap().spend(1).unwrap_err().http, 429);
        assert!(world.begin("b", "other").unwrap().spend(1).is_ok(), "each model has its own quota");
    }

    #[test]
    fn an_unknown_key_is_invalid_unless_the_plan_is_open() {
        assert_eq!(world(&[]).begin("x", "m").unwrap_err().http, 400);
        assert!(Arc::new(World::new(&Plan::open())).begin("x", "m").is_ok());
    }

    #[test]
    fn a_dead_key_is_refused_for_free_calls_and_a_busy_one_is_not() {
        let world = world(&["dead", "busy"]);
        let refused = |refusal| Behaviour {
            faults: vec![Spell::always(Fault::Refuse(refusal))],
            ..Behaviour::default()
        };
        world.set_behaviour("dead", refused(Refusal::Leaked));
        world.set_behaviour("busy", refused(Refusal::BareLimit));

        assert_eq!(world.admit_free_call("dead").unwrap_err().http, 403);
        assert!(world.admit_free_call("busy").is_ok());
    }
}
