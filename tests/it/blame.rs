//! Many requests that go wrong: whose fault they are stays with whose fault they are.

use std::{collections::HashMap, time::Instant};

use gemini_balance::balance::breaker::StateSnapshot;
use serde_json::json;

use crate::harness::{MODEL, TestApp, google_error, prompt, secs};

fn keys(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("k{n}")).collect()
}

#[actix_web::test]
async fn a_client_that_sends_only_bad_requests_poisons_no_key() {
    let keys = keys(5);
    let app = TestApp::with_keys(keys.clone()).await;
    let errors = [
        google_error(400, "INVALID_ARGUMENT", "Unknown name \"API key expired\": Cannot find field."),
        google_error(400, "INVALID_ARGUMENT", "The input token count exceeds the maximum."),
        google_error(404, "NOT_FOUND", "models/gemini-0 is not found for API version v1beta."),
        google_error(403, "PERMISSION_DENIED", "You do not have permission to access the File abc."),
    ];
    for (key, error) in keys.iter().zip(errors.iter().cycle()) {
        app.upstream.on(key).reply_json(error["error"]["code"].as_u64().unwrap() as u16, error);
    }

    let (begun, mut sent) = (Instant::now(), 0);
    while begun.elapsed() < secs(3) || sent < 100 {
        let status = app.client().generate(MODEL, "hello").await.status();
        assert!([400, 403, 404].contains(&status), "{status}");
        sent += 1;
    }

    assert_eq!(app.upstream.attempts().len(), sent, "one attempt each, as no other key helps");
    for key in &keys {
        let key = app.settled(key).await;
        assert_eq!((&key.health.state, key.health.consecutive_failures), (&StateSnapshot::Active, 0));
        assert_eq!((key.health.cooldowns.len(), key.tally.failures), (0, 0));
        // Nothing of it keeps the key from its turn.
        let share = key.tally.attempts as f64 / sent as f64;
        assert!((0.1..0.4).contains(&share), "{share}");
    }
    for key in &keys {
        app.upstream.on(key).answers_as_usual();
    }
    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
}

#[actix_web::test]
async fn of_a_pool_with_dead_keys_each_is_tried_once_and_no_client_notices() {
    let keys = keys(20);
    let app = TestApp::with_keys(keys.clone()).await;
    let dead: Vec<_> = keys.iter().step_by(3).take(6).collect();
    for key in &dead {
        app.upstream.on(key).reply_with("gemini/invalid-key.error.json");
    }

    for _ in 0..100 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    }

    let mut calls = HashMap::<_, usize>::new();
    for key in app.upstream.attempts() {
        *calls.entry(key).or_default() += 1;
    }
    let found: Vec<_> = dead.into_iter().filter(|key| calls.contains_key(*key)).collect();
    assert!(found.len() >= 3, "{found:?}");
    for key in &found {
        assert_eq!(calls[*key], 1, "{key}");
        assert!(matches!(app.settled(key).await.health.state, StateSnapshot::Invalid { .. }));
    }
    assert_eq!(calls.values().sum::<usize>(), 100 + found.len());
    assert_eq!(app.observe_pool().await.states.invalid, found.len());
}

#[actix_web::test]
async fn a_key_that_is_said_to_be_dead_by_words_of_the_client_lives() {
    let app = TestApp::with_keys(["k1"]).await;
    let echo = json!({"error": {"code": 400, "status": "INVALID_ARGUMENT",
        "message": "Invalid value at 'contents': API key not valid. Please pass a valid API key."}});
    app.upstream.on("k1").reply_json(400, &echo);

    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 400);
    assert_eq!(app.settled("k1").await.health.state, StateSnapshot::Active);
}

#[actix_web::test]
async fn an_error_that_a_rule_knows_is_judged_by_the_rule_wherever_it_comes() {
    let rules = r#"[{"status":400,"text":"backend draining","verdict":"overloaded"}]"#;
    let draining = google_error(400, "FAILED_PRECONDITION", "The backend draining, retry.");
    for stream in [false, true] {
        for inside in [false, true] {
            let app = TestApp::builder()
                .keys(["k1", "k2"])
                .setting("ERROR_RULES", rules)
                .setting("BALANCE_POLICY", "round_robin")
                .start()
                .await;
            let k1 = app.upstream.on("k1");
            match (inside, stream) {
                (false, _) => k1.reply_json(400, &draining),
                (true, false) => k1.reply_json(200, &draining),
                (true, true) => k1.stream().event(&draining),
            };
            app.upstream.on("k2").answers_as_usual();

            let method = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
            let path = format!("/v1beta/models/{MODEL}:{method}");
            for _ in 0..2 {
                let reply = app.client().post(&path).json(&prompt("hello")).send().await;
                assert_eq!(reply.status(), 200, "{path} {inside}: {}", reply.text());
            }
            assert_eq!(app.upstream.attempts()[..2], ["k1", "k2"]);
            let key = app.settled("k1").await;
            assert_eq!((key.health.state, key.tally.failures), (StateSnapshot::Active, 0));
        }
    }
}
