//! Which keys exist. Spawns their actors, respawns those that die, tells the balancer what has changed, and writes
//! the health of keys to the database so that a restart forgets neither a cooldown nor an invalid key.

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use actix::prelude::*;
use serde::Serialize;
use tokio::time::Instant;

use super::{Observe, card::KeyCard, cluster::News, directory::Listed, key::KeyActor};
use crate::{
    balance::{
        breaker::{self, Availability, Cause, HealthSnapshot, KeyHealth, Routing, StateSnapshot},
        forecast::SAMPLED_EVERY,
        gauge::Gauge,
        tally::Tally,
    },
    db::{Database, keys::StoredKey},
    domain::{
        key::{ApiKey, KeyAbout, KeyFigures, KeyId, KeySwitches},
        placement::KeyPlacement,
        time::Now,
    },
};

mod delivery;
mod failures;
mod following;
mod forecasts;
mod history;
mod labels;
mod listing;
mod operations;
mod projects;
mod restarts;
mod routes;
mod saving;
mod siblings;
mod suspects;
mod twins;

use delivery::Undelivered;
pub use delivery::{ForgiveKeys, SettleKeys};
pub use following::{KeysFound, Sought};
use forecasts::Forecasts;
use history::History;
pub use labels::{KeyLabel, MaskKeys};
pub use listing::ListTo;
pub use operations::{AddKeys, PlaceKeys, PurgeKeys, RemoveKeys, SteerKeys, purged_before_ms};
use projects::{LEDGERS_SAVED_EVERY, Projects};
pub use projects::{LimitProjects, ProjectSettings, PruneLedgers};
use restarts::Restarts;
pub use restarts::{BalancerDown, KeyDown};
pub use routes::Subscribe;
pub use saving::Checkpoint;
use saving::{FIGURES_SAVED_EVERY, Saving};
pub use siblings::ReportTo;
use siblings::Siblings;
pub use suspects::{FindSuspects, RecheckNow, Suspect, Suspects};
use twins::Twins;
pub use twins::{Attention, AttentionItem, ProjectSeen};

/// How many keys are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct StateCounts {
    pub active: usize,
    pub cooling: usize,
    pub half_open: usize,
    pub invalid: usize,
    /// By hand, whatever state they are in.
    pub disabled: usize,
}

impl StateCounts {
    pub fn count(&mut self, health: &HealthSnapshot) {
        match health.state {
            _ if health.disabled.is_some() => self.disabled += 1,
            StateSnapshot::Active => self.active += 1,
            StateSnapshot::Cooling { .. } => self.cooling += 1,
            StateSnapshot::HalfOpen => self.half_open += 1,
            StateSnapshot::Invalid { .. } => self.invalid += 1,
        }
    }
}

/// Snapshot: what the supervisor holds.
#[derive(Debug, Clone, Serialize)]
pub struct PoolSnapshot {
    pub states: StateCounts,
    /// Keys that cool for at least one model while they serve others.
    pub partly_cooling: usize,
    pub in_flight: u64,
    /// Actors that were started again since this process started, by cause.
    pub respawned_after_panic: u64,
    pub respawned_after_stop: u64,
    /// Settlements that wait for the successor of a dead actor.
    pub undelivered: usize,
    /// Health changes that are not in the database yet.
    pub unsaved: usize,
    /// Sets of keys that seem to share a project.
    pub projects_proposed: usize,
}

/// A key as it comes from the database.
#[derive(Debug, Clone)]
pub struct PoolKey {
    pub id: KeyId,
    pub secret: ApiKey,
    pub placement: KeyPlacement,
    pub about: KeyAbout,
    pub health: Option<HealthSnapshot>,
    pub switches: KeySwitches,
    pub figures: KeyFigures,
}

impl From<StoredKey> for PoolKey {
    fn from(stored: StoredKey) -> Self {
        let is_forgotten = stored.switches.reset_at_ms > stored.health_at_ms;
        Self {
            id: stored.id,
            secret: stored.key,
            placement: stored.placement,
            about: stored.about,
            // A newer version may have written what this one does not understand.
            health: stored.health.filter(|_| !is_forgotten).and_then(|json| serde_json::from_str(&json).ok()),
            switches: stored.switches,
            figures: stored.figures,
        }
    }
}

struct Entry {
    card: Arc<KeyCard>,
    /// None while operators have set nothing by hand, as of most keys.
    switches: Option<Box<KeySwitches>>,
    actor: Addr<KeyActor>,
    health: Arc<HealthSnapshot>,
    routing: Arc<Routing>,
    /// None of an actor that has never died.
    restarts: Option<Box<Restarts>>,
}

pub struct Supervisor {
    max_failures: u32,
    database: Database,
    projects: Projects,
    forecasts: Forecasts,
    twins: Twins,
    siblings: Siblings,
    /// Told of every key, for whoever looks at them.
    directory: Option<Recipient<Listed>>,
    /// Keys to spawn when this actor starts, until there are no more.
    initial: Option<Box<dyn Iterator<Item = PoolKey> + Send>>,
    /// In the order of their ids, which is how policies that take turns begin.
    keys: BTreeMap<KeyId, Box<Entry>>,
    /// Of the key that was spawned last.
    last_about: Arc<KeyAbout>,
    balancer: Option<Subscribe>,
    balancer_restarts: Restarts,
    saving: Saving,
    history: History,
    /// For other nodes, if there may be any.
    news: Option<Arc<News>>,
    undelivered: Undelivered,
    respawned_after_panic: u64,
    respawned_after_stop: u64,
}

impl Supervisor {
    /// Takes its keys when it starts, and waits for those that are still read.
    pub fn new<K>(keys: K, max_failures: u32, projects: ProjectSettings, database: Database) -> Self
    where
        K: IntoIterator<Item = PoolKey, IntoIter: Send + 'static>,
    {
        Self {
            max_failures,
            database,
            projects: Projects::new(projects),
            forecasts: Forecasts::default(),
            twins: Twins::default(),
            siblings: Siblings::default(),
            directory: None,
            initial: Some(Box::new(keys.into_iter())),
            keys: BTreeMap::new(),
            last_about: Arc::default(),
            balancer: None,
            balancer_restarts: Restarts::new(Instant::now()),
            saving: Saving::default(),
            history: History::default(),
            news: None,
            undelivered: Undelivered::new(),
            respawned_after_panic: 0,
            respawned_after_stop: 0,
        }
    }

    fn spawn_key(&mut self, key: PoolKey, ctx: &mut Context<Self>) {
        let now = Now::read();
        let before = key.known_health(self.max_failures, now);
        let mut health = match &before {
            Some(snapshot) => KeyHealth::restore(snapshot, self.max_failures, now),
            None => KeyHealth::new(self.max_failures),
        };
        // What ended while nobody watched must not turn the first request away.
        health.expire(now.instant);
        let gauge = Arc::new(Gauge::counting(Tally::restore(key.figures)));
        let place = self.projects.place(key.id, &key.placement, gauge, now);
        let (routing, snapshot) = (health.routing(), health.snapshot(now));
        let actor = KeyActor::new(key.id, 0, health, place.gauge.clone(), ctx.address()).start();
        let (about, placement) = (self.share_about(key.about), key.placement.shared());
        let card = KeyCard { id: key.id, secret: key.secret, about, placement, place };
        let mut entry = Entry {
            card: Arc::new(card),
            switches: None,
            actor,
            health: snapshot.shared(),
            routing: routing.shared(),
            restarts: None,
        };
        entry.switch(key.switches);
        // Whoever listens already hears of it from here, as a new actor does not speak up by itself.
        if self.balancer.is_some() {
            self.announce(&[entry.route()]);
        }
        self.keys.insert(key.id, Box::new(entry));
        if let Some(before) = before {
            self.tell_what_ended(key.id, &before, now, ctx);
        }
    }

    /// Of keys that were added together mostly the same is known.
    fn share_about(&mut self, about: KeyAbout) -> Arc<KeyAbout> {
        if *self.last_about != about {
            self.last_about = about.into();
        }
        self.last_about.clone()
    }

    /// What ended while the key was not looked at belongs to its history.
    fn tell_what_ended(&mut self, key: KeyId, before: &HealthSnapshot, now: Now, ctx: &mut Context<Self>) {
        let Some(entry) = self.keys.get(&key) else { return };
        let events = breaker::history(key, before, &entry.health, Cause::Time, now.unix_ms());
        if !events.is_empty() {
            self.note(events, ctx);
            self.save_soon(key, ctx);
        }
    }

    fn snapshot(&self) -> PoolSnapshot {
        let mut states = StateCounts::default();
        for entry in self.keys.values() {
            states.count(&entry.health);
        }
        let is_partly_cooling = |entry: &Entry| {
            entry.routing.availability == Availability::Ready && !entry.routing.cooldowns.is_empty()
        };
        PoolSnapshot {
            states,
            partly_cooling: self.keys.values().filter(|entry| is_partly_cooling(entry)).count(),
            in_flight: self.keys.values().map(|entry| u64::from(entry.place.gauge.in_flight())).sum(),
            respawned_after_panic: self.respawned_after_panic,
            respawned_after_stop: self.respawned_after_stop,
            undelivered: self.undelivered.values().map(Vec::len).sum(),
            unsaved: self.saving.len(),
            projects_proposed: self.twins.len(),
        }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        for key in self.initial.take().into_iter().flatten() {
            self.spawn_key(key, ctx);
        }
        ctx.run_interval(LEDGERS_SAVED_EVERY, |supervisor, ctx| {
            let saving = supervisor.save_ledgers();
            ctx.spawn(saving);
        });
        ctx.run_interval(FIGURES_SAVED_EVERY, Self::save_figures);
        ctx.run_interval(SAMPLED_EVERY, |supervisor, ctx| {
            supervisor.sample_pace();
            supervisor.review_twins(ctx);
        });
    }
}

impl Entry {
    fn switches(&self) -> KeySwitches {
        self.switches.as_deref().copied().unwrap_or_default()
    }

    fn switch(&mut self, switches: KeySwitches) {
        self.switches = (switches != KeySwitches::default()).then(|| Box::new(switches));
    }

    /// Which life of its actor this is.
    fn incarnation(&self) -> u32 {
        self.restarts.as_ref().map_or(0, |restarts| restarts.incarnation)
    }

    fn route(&self) -> KeyRoute {
        KeyRoute::Changed { card: self.card.clone(), routing: self.routing.clone() }
    }
}

impl Deref for Entry {
    type Target = KeyCard;

    fn deref(&self) -> &KeyCard {
        &self.card
    }
}

/// What a balancer has to know of one key.
#[derive(Debug, Clone)]
pub enum KeyRoute {
    Changed {
        card: Arc<KeyCard>,
        routing: Arc<Routing>,
    },
    Removed {
        key: KeyId,
    },
    /// Of all keys: what their projects may do is otherwise now.
    LimitsChanged,
}

impl KeyRoute {
    /// The key that there is.
    pub fn present(&self) -> Option<KeyId> {
        match self {
            Self::Changed { card, .. } => Some(card.id),
            Self::Removed { .. } | Self::LimitsChanged => None,
        }
    }
}

/// Event, to the balancer: these keys are to be used so from now on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct KeysRouted(pub Vec<KeyRoute>);

/// Event: the actor of a key has judged.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct KeyStateChanged {
    pub key: KeyId,
    pub routing: Routing,
    pub health: HealthSnapshot,
    /// Of what is different in it.
    pub cause: Cause,
}

impl Handler<KeyStateChanged> for Supervisor {
    type Result = ();

    fn handle(&mut self, changed: KeyStateChanged, ctx: &mut Context<Self>) {
        let KeyStateChanged { key, routing, health, cause } = changed;
        let Some(entry) = self.keys.get_mut(&key) else { return };
        entry.routing = routing.shared();
        let fault = health.state.project_fault().filter(|_| entry.health.state != health.state);
        let before = std::mem::replace(&mut entry.health, health.shared());
        let now_ms = Now::read().unix_ms();
        let events = breaker::history(key, &before, &entry.health, cause, now_ms);
        let is_unsaved = entry.health != before;
        let (route, listing) = (entry.route(), entry.listing());
        self.announce(&[route]);
        self.list(listing);
        self.note(events, ctx);
        if is_unsaved {
            self.save_soon(key, ctx);
        }
        if let Some(fault) = fault {
            self.warn_siblings(key, fault, ctx);
        }
    }
}

/// Question: the actor of one key, for drills and for looking at it.
#[derive(Debug, Message)]
#[rtype(result = "Option<Addr<KeyActor>>")]
pub struct FindKey(pub KeyId);

impl Handler<FindKey> for Supervisor {
    type Result = MessageResult<FindKey>;

    fn handle(&mut self, FindKey(key): FindKey, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.keys.get(&key).map(|entry| entry.actor.clone()))
    }
}

impl Handler<Observe<PoolSnapshot>> for Supervisor {
    type Result = MessageResult<Observe<PoolSnapshot>>;

    fn handle(&mut self, _: Observe<PoolSnapshot>, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.snapshot())
    }
}
