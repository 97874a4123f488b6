//! The steps of a job. Each is short, so that requests go on between them and a job that is cancelled ends soon.

use actix_web::{rt::spawn, web::Data};

use super::{ManyChanges, Task, Undo};
use crate::{
    actors::{
        directory::{KeyRow, LookUpAll},
        supervisor::{PlaceKeys, SteerKeys},
    },
    api::{
        admin::{
            jobs::{JobError, Running},
            keys::{balancer_has_heard, deletion},
        },
        gateway::Gateway,
    },
    db::keys::change_keys,
    domain::{
        key::{DisabledUntil, KeyAbout, KeyId, Steering},
        placement::KeyPlacement,
    },
    services::recheck::VerifyKeys,
};

/// Keys of one step.
const STEP: usize = 500;
/// Keys of one step where Google is asked about each.
const ASKED_STEP: usize = 50;

/// Runs the job beside the requests of the worker that was asked.
pub fn start(gateway: Data<Gateway>, running: Running, task: Task, rows: Vec<KeyRow>) {
    spawn(async move {
        let undo = match task {
            Task::Verify => verify(&gateway, &running, &rows).await,
            Task::Reset => steer(&gateway, &running, &ids(&rows), Steering::Reset, "reset").await,
            Task::Enable => switch(&gateway, &running, &rows, Steering::Enable, "enabled").await,
            Task::Disable { until_ms } => {
                let disabled = DisabledUntil { until_ms };
                let rests_longer =
                    |row: &KeyRow| row.health.disabled.is_some_and(|known| known.outlasts(disabled));
                let (resting, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(rests_longer);
                running.count("unchanged", resting.len());
                switch(&gateway, &running, &rows, Steering::Disable(disabled), "disabled").await
            }
            Task::Delete => delete(&gateway, &running, &rows).await,
            Task::Update(changes) => update(&gateway, &running, &rows, &changes).await,
        };
        balancer_has_heard(&gateway).await;
        running.end(undo.filter(|undo| undo.count() > 0));
    });
}

/// Takes back what a job has done.
pub fn undo(gateway: Data<Gateway>, running: Running, undo: Undo) {
    spawn(async move {
        match undo {
            Undo::Switch(keys) => {
                for alike in keys.chunk_by(|(_, one), (_, next)| one == next) {
                    let (keys, steering): (Vec<_>, _) =
                        (alike.iter().map(|(key, _)| *key).collect(), alike[0].1);
                    let outcome = if steering == Steering::Enable { "enabled" } else { "disabled" };
                    steer(&gateway, &running, &keys, steering, outcome).await;
                }
            }
            Undo::Restore(keys) => bring_back(&gateway, &running, &keys).await,
            Undo::Place(before) => {
                for step in before.chunks(STEP) {
                    if running.is_cancelled() {
                        break;
                    }
                    let _editing = gateway.admin.key_edits.lock().await;
                    place(&gateway, &running, step.to_vec(), "restored").await;
                }
            }
        }
        balancer_has_heard(&gateway).await;
        running.end(None);
    });
}

fn ids(rows: &[KeyRow]) -> Vec<KeyId> {
    rows.iter().map(|row| row.id).collect()
}

async fn verify(gateway: &Gateway, running: &Running, rows: &[KeyRow]) -> Option<Undo> {
    for step in rows.chunks(ASKED_STEP) {
        if running.is_cancelled() {
            break;
        }
        let Ok(result) = gateway.recheck.send(VerifyKeys(ids(step))).await else { break };
        running.count("accepted", result.found_well);
        running.count("refused", result.found_invalid);
        running.count("unclear", step.len().saturating_sub(result.found_well + result.found_invalid));
    }
    None
}

async fn steer(
    gateway: &Gateway,
    running: &Running,
    keys: &[KeyId],
    steering: Steering,
    outcome: &str,
) -> Option<Undo> {
    for step in keys.chunks(STEP) {
        if running.is_cancelled() {
            break;
        }
        match gateway.supervisor.send(SteerKeys { keys: step.to_vec(), steering }).await {
            Ok(Ok(steered)) => {
                running.count(outcome, steered);
                running.count("gone", step.len() - steered);
            }
            Ok(Err(failure)) => {
                fail(running, step.iter().map(|id| (*id, String::new())), &failure.to_string());
            }
            Err(_) => running.count("gone", step.len()),
        }
    }
    None
}

/// Enables or disables all of them.
async fn switch(
    gateway: &Gateway,
    running: &Running,
    rows: &[KeyRow],
    steering: Steering,
    outcome: &str,
) -> Option<Undo> {
    let before = |row: &KeyRow| row.health.disabled.map_or(Steering::Enable, Steering::Disable);
    let was = rows.iter().map(|row| (row.id, before(row))).filter(|(_, before)| *before != steering);
    let undo = Undo::Switch(was.collect());
    steer(gateway, running, &ids(rows), steering, outcome).await;
    Some(undo)
}

/// Changes what is said of them, each as it is when its step comes.
async fn update(
    gateway: &Gateway,
    running: &Running,
    rows: &[KeyRow],
    changes: &ManyChanges,
) -> Option<Undo> {
    let mut was = Vec::new();
    for step in rows.chunks(STEP) {
        if running.is_cancelled() {
            break;
        }
        let _editing = gateway.admin.key_edits.lock().await;
        let Ok(known) = gateway.directory.send(LookUpAll(ids(step))).await else { break };
        running.count("gone", step.len() - known.len());
        let changed: Vec<_> = known.values().filter_map(|row| changes.applied(row)).collect();
        running.count("unchanged", known.len() - changed.len());
        let before = |(key, ..): &(KeyId, KeyPlacement, KeyAbout)| {
            let row = known.get(key)?;
            Some((row.id, (*row.placement).clone(), (*row.about).clone()))
        };
        was.extend(changed.iter().filter_map(before));
        place(gateway, running, changed, "updated").await;
    }
    Some(Undo::Place(was))
}

async fn delete(gateway: &Gateway, running: &Running, rows: &[KeyRow]) -> Option<Undo> {
    let mut gone = Vec::new();
    for step in rows.chunks(STEP) {
        if running.is_cancelled() {
            break;
        }
        match deletion::remove(gateway, ids(step)).await {
            Ok(deleted) => {
                running.count("deleted", deleted);
                running.count("gone", step.len() - deleted);
                gone.extend(ids(step));
            }
            Err(failure) => {
                fail(running, step.iter().map(|row| (row.id, row.masked())), &failure.to_string());
            }
        }
    }
    Some(Undo::Restore(gone))
}

async fn bring_back(gateway: &Gateway, running: &Running, keys: &[KeyId]) {
    for step in keys.chunks(STEP) {
        if running.is_cancelled() {
            break;
        }
        match deletion::restore(gateway, step.to_vec()).await {
            Ok(restored) => {
                running.count("restored", restored);
                running.count("gone", step.len() - restored);
            }
            Err(failure) => fail(running, step.iter().map(|id| (*id, String::new())), &failure.to_string()),
        }
    }
}

/// Writes one step.
async fn place(
    gateway: &Gateway,
    running: &Running,
    changed: Vec<(KeyId, KeyPlacement, KeyAbout)>,
    outcome: &str,
) {
    let stored = changed.clone();
    if let Err(failure) = gateway.database.write(move |conn| change_keys(conn, &stored)).await {
        return fail(running, changed.iter().map(|(id, ..)| (*id, String::new())), &failure.to_string());
    }
    running.count(outcome, changed.len());
    let _ = gateway.supervisor.send(PlaceKeys(changed)).await;
}

fn fail(running: &Running, keys: impl Iterator<Item = (KeyId, String)>, message: &str) {
    let message = message.to_owned();
    running.fail(keys.map(|(id, masked)| JobError { id, masked, message: message.clone() }));
}
