//! What is known of keys on its way to the database: their health soon after each change, what they have done now and
//! then.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use actix::prelude::*;
use tracing::error;

use super::Supervisor;
use crate::{
    balance::{breaker::HealthSnapshot, gauge::Gauge},
    db::{
        DbError,
        keys::{Checkpoint as Row, save_checkpoints},
    },
    domain::{key::KeyId, time::Now},
};

/// Changes of health are written together, at most this long after the first of them.
const CHECKPOINT_AFTER: Duration = Duration::from_millis(250);
/// How long the database is left in peace after a failed write.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// What keys have done is written this often; a process that is killed forgets no more than that.
pub(super) const FIGURES_SAVED_EVERY: Duration = Duration::from_secs(15);

/// What is to be saved of a key.
#[derive(Debug, Clone)]
struct Unsaved {
    /// None while only its figures have changed.
    health: Option<Arc<HealthSnapshot>>,
    gauge: Arc<Gauge>,
}

impl Unsaved {
    fn row(&self, key: KeyId) -> Row {
        let health = self.health.as_deref().map(health_json);
        Row { key, health, figures: self.gauge.tally.figures() }
    }
}

fn health_json(health: &HealthSnapshot) -> String {
    serde_json::to_string(health).expect("a snapshot of plain fields is JSON")
}

#[derive(Debug, Default)]
pub(super) struct Saving {
    changed: HashMap<KeyId, Unsaved>,
    /// Keys that were used since their figures were saved.
    used: HashSet<KeyId>,
    /// On its way to the database.
    under_way: Option<HashMap<KeyId, Unsaved>>,
    is_due: bool,
}

impl Saving {
    /// Keys whose health is not in the database yet.
    pub fn len(&self) -> usize {
        self.changed.len()
    }

    /// Attempts with that key were counted.
    pub fn used(&mut self, key: KeyId) {
        self.used.insert(key);
    }
}

impl Supervisor {
    /// That key's health is to be saved as it is now.
    pub(super) fn save_soon(&mut self, key: KeyId, ctx: &mut Context<Self>) {
        let Some(entry) = self.keys.get(&key) else { return };
        let unsaved = Unsaved { health: Some(entry.health.clone()), gauge: entry.place.gauge.clone() };
        self.saving.changed.insert(key, unsaved);
        self.saving.used.remove(&key);
        self.save_after(CHECKPOINT_AFTER, ctx);
    }

    /// Saves what the keys have done that were used.
    pub(super) fn save_figures(&mut self, ctx: &mut Context<Self>) {
        self.collect_figures();
        self.save(ctx);
    }

    fn collect_figures(&mut self) {
        for key in std::mem::take(&mut self.saving.used) {
            if let Some(entry) = self.keys.get(&key) {
                let figures = || Unsaved { health: None, gauge: entry.place.gauge.clone() };
                self.saving.changed.entry(key).or_insert_with(figures);
            }
        }
    }

    fn save_after(&mut self, pause: Duration, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.saving.is_due, true) {
            ctx.run_later(pause, Self::save);
        }
    }

    /// Writes what has changed; one write at a time, and again later when it fails.
    fn save(&mut self, ctx: &mut Context<Self>) {
        self.saving.is_due = false;
        if self.saving.under_way.is_some() || self.saving.changed.is_empty() {
            return;
        }
        let taken = std::mem::take(&mut self.saving.changed);
        let writing = self.write(&taken);
        self.saving.under_way = Some(taken);
        ctx.spawn(writing.into_actor(self).map(|result, supervisor, ctx| {
            let taken = supervisor.saving.under_way.take().unwrap_or_default();
            let mut pause = CHECKPOINT_AFTER;
            if let Err(failure) = result {
                error!(error = %failure, keys = taken.len(), "the health of keys could not be saved, trying again");
                pause = RETRY_AFTER;
                for (key, older) in taken {
                    let newer = supervisor.saving.changed.entry(key).or_insert_with(|| older.clone());
                    newer.health = newer.health.take().or(older.health);
                }
            }
            if !supervisor.saving.changed.is_empty() {
                supervisor.save_after(pause, ctx);
            }
        }));
    }

    fn write(
        &self,
        unsaved: &HashMap<KeyId, Unsaved>,
    ) -> impl Future<Output = Result<(), DbError>> + Send + use<> {
        let rows: Vec<Row> = unsaved.iter().map(|(key, unsaved)| unsaved.row(*key)).collect();
        let now_ms = Now::read().unix_ms();
        self.database.write(move |conn| save_checkpoints(conn, &rows, now_ms))
    }
}

/// Command: write what is unsaved, and answer when that is done; the last one before the process ends.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Checkpoint;

impl Handler<Checkpoint> for Supervisor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Checkpoint, _: &mut Context<Self>) -> Self::Result {
        self.tell_all();
        self.collect_figures();
        // What is on its way might not arrive.
        let mut all = self.saving.under_way.clone().unwrap_or_default();
        for (key, newer) in self.saving.changed.drain() {
            let health = newer.health.or_else(|| all.get(&key).and_then(|older| older.health.clone()));
            all.insert(key, Unsaved { health, ..newer });
        }
        let writing = self.write(&all);
        let writing = async move {
            if let Err(failure) = writing.await {
                error!(error = %failure, "the health of keys could not be saved");
            }
        };
        Box::pin(writing.into_actor(self).then(|(), supervisor, _| supervisor.save_ledgers()))
    }
}
