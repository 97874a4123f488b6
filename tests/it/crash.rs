//! A key's actor that dies takes nothing with it: not a request, not a cooldown, not a verdict.

use std::time::Instant;

use futures_util::future::join_all;
use gemini_balance::{
    actors::key::Crash,
    balance::breaker::{ModelReason, StateSnapshot},
    domain::outcome::KeyFault,
    sim::{self, Plan},
};

use crate::harness::{MODEL, TestApp, secs};

#[actix_web::test]
async fn no_client_notices_that_a_keys_actor_crashed_under_200_streams() {
    const STREAMS: usize = 200;
    let keys = ["k1", "k2", "k3"];
    let sim = sim::start(Plan::healthy(keys)).await.expect("the simulation starts");
    let base_url = format!("{}/v1beta", sim.base_url);
    let app = TestApp::builder().keys(keys).setting("BASE_URL", &base_url).start().await;
    let client = app.client();
    let expected: String = (1..=20).map(|n| format!("e{n} ")).collect();

    let stream = async || {
        let mut stream = client.stream(MODEL, "[[events=20 gap_ms=25]]").await;
        stream.until("data:").await;
        stream.rest().await
    };
    let streams = join_all((0..STREAMS).map(|_| stream()));
    let crashes = async {
        // In the middle of it all, and again when the actor is back.
        for crashes in 1..=2 {
            app.key_becomes("k1", "is busy", |key| key.in_flight > 10).await;
            app.key_actor("k1").await.do_send(Crash);
            app.pool_becomes("the actor has died", |pool| pool.respawned_after_panic == crashes).await;
        }
    };
    let (answers, ()) = futures_util::future::join(streams, crashes).await;

    for answer in answers {
        assert_eq!((answer.status(), answer.said().trim()), (200, expected.trim()));
        assert!(!answer.is_broken);
    }
    let rows = app.logs("all requests are logged", |rows| rows.len() == STREAMS).await;
    assert!(rows.iter().all(|row| row.status == 200 && row.error.is_none() && row.attempts == 1));
    for key in keys {
        app.key_becomes(key, "is free", |key| {
            key.in_flight == 0 && key.health.state == StateSnapshot::Active
        })
        .await;
    }
    sim.stop().await;
}

#[actix_web::test]
async fn a_key_is_back_within_a_second_with_its_cooldown() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    app.catalogue_is_fetched().await;
    app.upstream.on("k1").reply(429).retry_after(secs(60));
    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    let before = app.settled("k1").await.health;
    assert_eq!(before.cooldowns.len(), 1);
    let crashed = Instant::now();

    app.key_actor("k1").await.do_send(Crash);

    let after = app.key_becomes("k1", "is new", |key| key.incarnation == 1).await.health;
    println!("the key was back after {:?}", crashed.elapsed());
    assert!(crashed.elapsed() < secs(1), "{:?}", crashed.elapsed());
    let [old, new] = [&before.cooldowns[0], &after.cooldowns[0]];
    assert_eq!((new.model.as_str(), new.reason), (MODEL, ModelReason::QuotaMinute));
    assert!((new.until_ms - old.until_ms).abs() <= 5, "{before:?} {after:?}");

    for _ in 0..3 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    }
    assert_eq!(app.upstream.attempts(), ["k1", "k2", "k2", "k2", "k2"]);
}

#[actix_web::test]
async fn an_invalid_key_stays_invalid_after_a_crash() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    app.catalogue_is_fetched().await;
    app.upstream.on("k1").reply_with("gemini/invalid-key.error.json");
    app.client().generate(MODEL, "hello").await;
    app.settled("k1").await;

    app.key_actor("k1").await.do_send(Crash);

    let key = app.key_becomes("k1", "is new", |key| key.incarnation == 1).await;
    assert_eq!(key.health.state, StateSnapshot::Invalid { reason: KeyFault::NotFound });
}

#[actix_web::test]
async fn a_verdict_that_finds_no_actor_reaches_its_successor() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    app.catalogue_is_fetched().await;
    app.upstream.on("k1").reply(429).retry_after(secs(60));
    let actor = app.key_actor("k1").await;

    // The respawn takes at least as long as its backoff, and the answer arrives within it.
    actor.do_send(Crash);
    let reply = app.client().generate(MODEL, "hello").await;

    assert_eq!((reply.status(), app.upstream.attempts()), (200, vec!["k1".to_owned(), "k2".to_owned()]));
    let key = app.key_becomes("k1", "has heard of it", |key| !key.health.cooldowns.is_empty()).await;
    assert_eq!(key.health.cooldowns[0].reason, ModelReason::QuotaMinute);
    assert_eq!(key.in_flight, 0);
}

#[actix_web::test]
async fn a_key_serves_while_its_actor_is_away() {
    let app = TestApp::with_keys(["k1"]).await;
    app.catalogue_is_fetched().await;

    app.key_actor("k1").await.do_send(Crash);
    let reply = app.client().generate(MODEL, "hello").await;

    assert_eq!(reply.status(), 200);
    let key = app.key_becomes("k1", "has heard of it", |key| key.tally.successes > 0).await;
    assert_eq!((key.health.state, key.in_flight), (StateSnapshot::Active, 0));
}
