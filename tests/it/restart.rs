//! What a restart over the same data folder remembers.

use gemini_balance::{
    balance::breaker::{CoolingReason, ModelReason, StateSnapshot},
    domain::outcome::KeyFault,
};

use crate::harness::{MODEL, TestApp, secs};

#[actix_web::test]
async fn cooldowns_survive_a_restart() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    app.upstream.on("k1").reply(429).retry_after(secs(120));
    app.client().generate(MODEL, "hello").await;
    let before = app.settled("k1").await.health;

    let app = app.stop().await.start().await;

    let after = app.observe_key("k1").await.health;
    let [old, new] = [&before.cooldowns[0], &after.cooldowns[0]];
    assert_eq!((new.model.as_str(), new.reason), (MODEL, ModelReason::QuotaMinute));
    assert!((new.until_ms - old.until_ms).abs() <= 5, "{old:?} {new:?}");
    for _ in 0..3 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    }
    assert_eq!(app.upstream.attempts(), ["k1", "k2", "k2", "k2", "k2"]);
}

#[actix_web::test]
async fn a_cooldown_that_ended_meanwhile_is_over() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply(429).retry_after(secs(1)).answers_as_usual();
    app.client().generate(MODEL, "hello").await;
    assert_eq!(app.settled("k1").await.health.cooldowns.len(), 1);

    let stopped = app.stop().await;
    tokio::time::sleep(secs(1)).await;
    let app = stopped.start().await;

    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
}

#[actix_web::test]
async fn invalid_keys_stay_invalid_and_are_not_tried_again() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    app.upstream.on("k1").reply_with("gemini/invalid-key.error.json");
    app.client().generate(MODEL, "hello").await;
    app.settled("k1").await;

    let app = app.stop().await.start().await;

    let key = app.observe_key("k1").await;
    assert_eq!(key.health.state, StateSnapshot::Invalid { reason: KeyFault::NotFound });
    for _ in 0..3 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    }
    assert_eq!(app.upstream.attempts(), ["k1", "k2", "k2", "k2", "k2"]);
}

#[actix_web::test]
async fn a_tripped_key_stays_out_after_a_restart() {
    let app = TestApp::builder().keys(["k1", "k2"]).setting("MAX_FAILURES", "1").start().await;
    app.upstream.on("k1").reply(500);
    app.client().generate(MODEL, "hello").await;
    let is_tripped = |state| matches!(state, StateSnapshot::Cooling { reason: CoolingReason::Failures, .. });
    app.key_becomes("k1", "is tripped", |key| is_tripped(key.health.state.clone())).await;

    let app = app.stop().await.start().await;

    assert!(is_tripped(app.observe_key("k1").await.health.state));
}

#[actix_web::test]
async fn keys_keep_their_ids_and_those_that_left_api_keys_are_gone() {
    let app = TestApp::with_keys(["k1", "k2", "k3"]).await;
    let (first, third) = (app.key_id("k1").await, app.key_id("k3").await);

    let app = app.stop().await.keys(["k4", "k3", "k1"]).start().await;

    assert_eq!((app.key_id("k1").await, app.key_id("k3").await), (first, third));
    let stored = app.stored_keys().await;
    assert_eq!(stored.iter().map(|(key, _)| &**key).collect::<Vec<_>>(), ["k1", "k3", "k4"]);
    for _ in 0..6 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    }
    let mut attempts = app.upstream.attempts();
    attempts.sort_unstable();
    attempts.dedup();
    assert_eq!(attempts, ["k1", "k3", "k4"]);
}

#[actix_web::test]
async fn request_logs_survive_a_restart() {
    let app = TestApp::with_keys(["k1"]).await;
    let reply = app.client().generate(MODEL, "hello").await;

    let app = app.stop().await.start().await;

    assert_eq!(app.log_of(&reply).await.status, 200);
}

#[actix_web::test]
async fn stored_keys_are_not_readable_in_the_data_folder() {
    let app = TestApp::with_keys(["AIzaSyA-a-key-that-must-not-be-found"]).await;
    app.client().generate(MODEL, "hello").await;

    let stopped = app.stop().await;

    for (path, content) in stopped.data_files() {
        let is_found = content.windows(8).any(|window| window == b"AIzaSyA-");
        assert!(!is_found, "{}", path.display());
    }
}
