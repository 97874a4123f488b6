//! What works beside the requests: the list of models, the re-check of keys, and what each actor tells of itself.

use gemini_balance::{
    actors::{Observe, logger::LoggerSnapshot},
    balance::breaker::StateSnapshot,
    domain::{outcome::KeyFault, time::Now},
    services::{
        catalog::{CatalogSnapshot, Refresh},
        recheck::{RecheckSnapshot, RecheckSuspects},
        scheduler::TaskSnapshot,
    },
};

use serde_json::json;

use crate::harness::{MODEL, TestApp, google_error};

#[actix_web::test]
async fn an_invalid_key_that_is_well_again_serves_again_and_a_dead_one_does_not() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    app.catalogue_is_fetched().await;
    for key in ["k1", "k2"] {
        app.upstream.on(key).reply_with("gemini/invalid-key.error.json");
    }
    app.client().generate(MODEL, "hello").await;
    for key in ["k1", "k2"] {
        assert!(matches!(app.settled(key).await.health.state, StateSnapshot::Invalid { .. }));
    }
    app.upstream.on("k1").answers_as_usual();

    app.recheck().send(RecheckSuspects).await.expect("the re-check lives");

    app.pool_becomes("one key may be probed", |pool| pool.states.half_open == 1).await;
    assert_eq!(app.observe_key("k1").await.health.state, StateSnapshot::HalfOpen);
    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    app.key_becomes("k1", "is active", |key| key.health.state == StateSnapshot::Active).await;
    let dead = app.observe_key("k2").await.health.state;
    assert_eq!(dead, StateSnapshot::Invalid { reason: KeyFault::NotFound });
    let found = app.recheck().send(Observe::<RecheckSnapshot>::new()).await.expect("the re-check lives");
    assert_eq!((found.checked, found.found_well, found.found_invalid), (2, 1, 1));
}

/// Keys that one odd answer has made suspects.
async fn make_suspect(app: &TestApp, keys: &[&str]) {
    for key in keys {
        let odd = google_error(403, "PERMISSION_DENIED", "The caller does not have permission");
        app.upstream.on(key).reply_json(403, &odd).answers_as_usual();
    }
    app.client().generate(MODEL, "hello").await;
    for key in keys {
        app.key_becomes(key, "is a suspect", |key| key.health.consecutive_failures == 1).await;
        app.upstream.on(key).reply_with("gemini/invalid-key.error.json");
    }
}

#[actix_web::test]
async fn where_every_key_is_refused_at_once_the_question_is_and_no_key_changes() {
    let keys = ["k1", "k2", "k3"];
    let app = TestApp::with_keys(keys).await;
    app.catalogue_is_fetched().await;
    make_suspect(&app, &keys).await;

    app.recheck().send(RecheckSuspects).await.expect("the re-check lives");

    let found = app.recheck().send(Observe::<RecheckSnapshot>::new()).await.expect("the re-check lives");
    assert_eq!((found.checked, found.found_invalid, found.distrusted), (3, 0, 2));
    assert_eq!(app.observe_pool().await.states.active, 3);
}

#[actix_web::test]
async fn where_a_healthy_key_is_accepted_those_that_are_refused_are_dead() {
    let app = TestApp::builder().keys(["k1", "k2", "k3", "k4"]).setting("MAX_RETRIES", "4").start().await;
    app.catalogue_is_fetched().await;
    make_suspect(&app, &["k1", "k2", "k3"]).await;

    app.recheck().send(RecheckSuspects).await.expect("the re-check lives");

    let found = app.recheck().send(Observe::<RecheckSnapshot>::new()).await.expect("the re-check lives");
    assert_eq!((found.checked, found.found_invalid, found.distrusted), (3, 3, 0));
    app.pool_becomes("three are out", |pool| (pool.states.invalid, pool.states.active) == (3, 1)).await;
}

#[actix_web::test]
async fn when_a_project_is_suspended_its_other_keys_are_looked_at_without_a_client_meeting_them() {
    let app = TestApp::with_keys(["k1 project=p", "k2", "k3 project=p"]).await;
    let mut suspended =
        google_error(403, "PERMISSION_DENIED", "Permission denied: Consumer has been suspended.");
    let info = "type.googleapis.com/google.rpc.ErrorInfo";
    suspended["error"]["details"] = json!([{"@type": info, "reason": "CONSUMER_SUSPENDED"}]);
    for key in ["k1", "k3"] {
        app.upstream.on(key).reply_json(403, &suspended);
    }

    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);

    let is_out = |state: &StateSnapshot| *state == StateSnapshot::Invalid { reason: KeyFault::Suspended };
    let sibling = app.key_becomes("k3", "is out", |key| is_out(&key.health.state)).await;
    assert_eq!(sibling.tally.failures, 0, "no request of a client found it out");
    assert!(is_out(&app.observe_key("k1").await.health.state));
    assert_eq!(app.observe_key("k2").await.health.state, StateSnapshot::Active);
}

#[actix_web::test]
async fn siblings_that_fall_together_are_each_asked_about_once() {
    const SIBLINGS: usize = 20;
    let mut keys: Vec<_> = (1..=SIBLINGS).map(|n| format!("p{n} project=p")).collect();
    keys.insert(1, "well".to_owned());
    let app = TestApp::builder().keys(keys).setting("MAX_RETRIES", "3").start().await;
    let mut suspended =
        google_error(403, "PERMISSION_DENIED", "Permission denied: Consumer has been suspended.");
    let info = "type.googleapis.com/google.rpc.ErrorInfo";
    suspended["error"]["details"] = json!([{"@type": info, "reason": "CONSUMER_SUSPENDED"}]);
    for number in 1..=SIBLINGS {
        app.upstream.on(&format!("p{number}")).reply_json(403, &suspended);
    }

    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    let asked = app.upstream.requests().into_iter().filter(|request| request.method == "POST").count();
    assert!(asked <= 2, "after one of a project the next is another project's: {asked}");

    app.pool_becomes("all of them are out", |pool| pool.states.invalid == SIBLINGS).await;
    let probes = app.upstream.requests().into_iter().filter(|request| request.method == "GET").count();
    assert!(probes <= SIBLINGS + 2 * 3, "each once, and a few keys that are well beside them: {probes}");
}

#[actix_web::test]
async fn a_list_of_models_that_cannot_be_used_leaves_the_old_one() {
    let app = TestApp::with_keys(["k1"]).await;
    app.catalogue_is_fetched().await;
    let before = app.client().get("/v1beta/models").send().await.json();
    let useless = ["<html>", "{\"models\":{}}", "{\"models\":[]}", "{}"];

    for body in useless {
        app.upstream.catalogue_is(body);
        let refreshed = app.catalog().send(Refresh).await.expect("the catalogue lives");
        assert!(refreshed.is_err(), "{body}");
    }

    assert_eq!(app.client().get("/v1beta/models").send().await.json(), before);
    let catalog = app.catalog().send(Observe::<CatalogSnapshot>::new()).await.expect("the catalogue lives");
    assert_eq!((catalog.models, catalog.failures), (3, useless.len() as u64));
}

#[actix_web::test]
async fn every_actor_beside_the_requests_tells_what_it_holds() {
    let app = TestApp::with_keys(["k1"]).await;
    let reply = app.client().generate(MODEL, "hello").await;
    app.log_of(&reply).await;
    app.catalog().send(Refresh).await.expect("the catalogue lives").expect("there is a list");

    let logger = app.logger().send(Observe::<LoggerSnapshot>::new()).await.expect("the logger lives");
    assert_eq!((logger.queued, logger.written, logger.dropped, logger.failures), (0, 1, 0, 0));

    let catalog = app.catalog().send(Observe::<CatalogSnapshot>::new()).await.expect("the catalogue lives");
    assert_eq!((catalog.models, catalog.failures), (3, 0));
    assert!(catalog.refreshes > 0);

    let found = app.recheck().send(Observe::<RecheckSnapshot>::new()).await.expect("the re-check lives");
    assert_eq!((found.checked, found.found_well, found.found_invalid), (0, 0, 0));

    let now_ms = Now::read().unix_ms();
    let tasks = app.scheduler().send(Observe::<Vec<TaskSnapshot>>::new()).await.expect("the scheduler lives");
    let names: Vec<_> = tasks.iter().map(|task| task.name).collect();
    assert_eq!(
        names,
        [
            "deletion of old log rows",
            "states of keys",
            "deletion of old responses",
            "forgetting of ended resources",
            "deletion of ended resources",
            "purging of deleted keys",
            "forgetting of projects without keys",
            "re-check of suspect keys",
            "look for a newer release"
        ]
    );
    // A minute may have begun meanwhile.
    let every_minute = ["states of keys", "purging of deleted keys"];
    assert!(tasks.iter().all(|task| task.runs == 0 || every_minute.contains(&task.name)), "{tasks:?}");
    assert!(tasks.iter().all(|task| task.next_at_ms.is_some_and(|next| next > now_ms)), "{tasks:?}");
}
