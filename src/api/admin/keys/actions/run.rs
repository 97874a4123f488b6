//! The steps of a job. Each is short, so that requests go on between them and a job that is cancelled ends soon.

use actix_web::{rt::spawn, web::Data};

use super::{Task, Undo};
use crate::{
    actors::{
        directory::KeyRow,
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
            Task::Enable => {
                let disabled = |row: &&KeyRow| row.health.disabled.is_some();
                let was = rows
                    .iter()
                    .filter(disabled)
                    .map(|row| (row.id, row.health.disabled.and_then(|by| by.until_ms)));
                let undo = Undo::Disable(was.collect());
                steer(&gateway, &running, &ids(&rows), Steering::Enable, "enabled").await;
                Some(undo)
            }
            Task::Disable { until_ms } => {
                let was_enabled = rows.iter().filter(|row| row.health.disabled.is_none()).map(|row| row.id);
                let undo = Undo::Enable(was_enabled.collect());
                let steering = Steering::Disable(DisabledUntil { until_ms });
                steer(&gateway, &running, &ids(&rows), steering, "disabled").await;
                Some(undo)
            }
            Task::Delete => delete(&gateway, &running, &rows).await,
            Task::Update(changes) => {
                let changed: Vec<_> = rows.iter().filter_map(|row| changes.applied(row)).collect();
                running.count("unchanged", rows.len() - changed.len());
                let before = |row: &KeyRow| (row.id, (*row.placement).clone(), (*row.about).clone());
                let was = rows.iter().filter(|row| changes.applied(row).is_some()).map(before).collect();
                place(&gateway, &running, changed, "updated").await;
                Some(Undo::Place(was))
            }
        };
        balancer_has_heard(&gateway).await;
        running.end(undo.filter(|undo| undo.count() > 0));
    });
}

/// Takes back what a job has done.
pub fn undo(gateway: Data<Gateway>, running: Running, undo: Undo) {
    spawn(async move {
        match undo {
            Undo::Enable(keys) => {
                steer(&gateway, &running, &keys, Steering::Enable, "enabled").await;
            }
            Undo::Disable(keys) => {
                for (key, until_ms) in keys {
                    let steering = Steering::Disable(DisabledUntil { until_ms });
                    steer(&gateway, &running, &[key], steering, "disabled").await;
                }
            }
            Undo::Restore(keys) => bring_back(&gateway, &running, &keys).await,
            Undo::Place(before) => place(&gateway, &running, before, "restored").await,
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

async fn place(
    gateway: &Gateway,
    running: &Running,
    changed: Vec<(KeyId, KeyPlacement, KeyAbout)>,
    outcome: &str,
) {
    for step in changed.chunks(STEP) {
        if running.is_cancelled() {
            break;
        }
        let stored = step.to_vec();
        if let Err(failure) = gateway.database.write(move |conn| change_keys(conn, &stored)).await {
            fail(running, step.iter().map(|(id, ..)| (*id, String::new())), &failure.to_string());
            continue;
        }
        let _ = gateway.supervisor.send(PlaceKeys(step.to_vec())).await;
        running.count(outcome, step.len());
    }
}

fn fail(running: &Running, keys: impl Iterator<Item = (KeyId, String)>, message: &str) {
    let message = message.to_owned();
    running.fail(keys.map(|(id, masked)| JobError { id, masked, message: message.clone() }));
}
