//! A request that one key cannot serve is served by another, and the right one is blamed.

use std::{cell::Cell, rc::Rc};

use gemini_balance::{
    balance::breaker::{CoolingReason, ModelReason, StateSnapshot},
    domain::outcome::KeyFault,
};
use serde_json::json;
use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::harness::{MODEL, TestApp, chat, google_error, ms, secs};

#[actix_web::test]
async fn a_rate_limited_key_hands_over_to_the_next() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    app.upstream.on("k1").reply(429).retry_after(secs(30));
    app.upstream.on("k2").reply_with("gemini/hello.response.json");

    let reply = app.client().generate(MODEL, "hello").await;

    assert_eq!(reply.status(), 200);
    assert_eq!(app.upstream.attempts(), ["k1", "k2"]);
    let key = app.settled("k1").await;
    assert_eq!(key.health.state, StateSnapshot::Active);
    assert_eq!(key.health.cooldowns[0].model.as_str(), MODEL);
    assert_eq!(key.health.cooldowns[0].reason, ModelReason::QuotaMinute);
}

#[actix_web::test]
async fn a_rate_limited_key_rests_for_that_model_alone() {
    let app = TestApp::builder().keys(["k1", "k2"]).setting("BALANCE_POLICY", "round_robin").start().await;
    app.upstream.on("k1").reply(429).retry_after(secs(30));

    for _ in 0..4 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    }
    assert_eq!(app.upstream.attempts(), ["k1", "k2", "k2", "k2", "k2"]);

    app.upstream.on("k1").answers_as_usual();
    for _ in 0..2 {
        assert_eq!(app.client().generate("gemini-2.5-pro", "hello").await.status(), 200);
    }
    assert!(app.upstream.attempts()[5..].contains(&"k1".to_owned()), "{:?}", app.upstream.attempts());
}

#[actix_web::test]
async fn a_rate_limited_key_is_used_again_when_its_time_has_come() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply(429).retry_after(secs(1)).answers_as_usual();

    let refused = app.client().generate(MODEL, "hello").await;
    assert_eq!((refused.status(), refused.header("retry-after")), (429, Some("1")));

    assert_eq!(app.settled("k1").await.health.cooldowns.len(), 1);
    app.pool_becomes("the key recovers", |pool| pool.partly_cooling == 0).await;
    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
}

#[actix_web::test]
async fn an_invalid_key_is_tried_once_and_never_again() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    app.upstream.on("k1").reply_with("gemini/invalid-key.error.json");

    for _ in 0..6 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    }

    assert_eq!(app.upstream.attempts(), ["k1", "k2", "k2", "k2", "k2", "k2", "k2"]);
    let key = app.settled("k1").await;
    assert_eq!(key.health.state, StateSnapshot::Invalid { reason: KeyFault::NotFound });
}

#[actix_web::test]
async fn max_retries_is_the_total_of_attempts() {
    for (setting, attempts) in [("1", 1), ("2", 2), ("5", 5)] {
        let keys: Vec<_> = (1..=8).map(|n| format!("k{n}")).collect();
        let app = TestApp::builder().keys(keys.clone()).setting("MAX_RETRIES", setting).start().await;
        for key in &keys {
            app.upstream.on(key).reply(503);
        }

        let reply = app.client().generate(MODEL, "hello").await;

        assert_eq!(reply.status(), 503);
        assert_eq!(app.upstream.attempts(), keys[..attempts]);
    }
}

#[actix_web::test]
async fn a_fault_of_googles_moves_on_after_a_pause_and_blames_nobody() {
    let app = TestApp::with_keys(["k1", "k2", "k3"]).await;
    app.upstream.on("k1").reply(503);
    app.upstream.on("k2").reply(503);
    let begun = std::time::Instant::now();

    let reply = app.client().generate(MODEL, "hello").await;

    assert_eq!(reply.status(), 200);
    assert_eq!(app.upstream.attempts(), ["k1", "k2", "k3"]);
    assert!(begun.elapsed() >= ms(50 + 100), "{:?}", begun.elapsed());
    for key in ["k1", "k2"] {
        let key = app.settled(key).await;
        assert_eq!((key.health.state, key.health.consecutive_failures), (StateSnapshot::Active, 0));
        assert_eq!((key.tally.failures, key.in_flight), (0, 0));
    }
}

#[actix_web::test]
async fn a_whole_answer_that_breaks_off_moves_on_too() {
    for path in [
        "/v1beta/models/gemini-2.5-flash:generateContent",
        "/v1beta/models/gemini-2.5-flash:countTokens",
        "/v1/chat/completions",
        "/openai/v1/chat/completions",
    ] {
        let app = TestApp::with_keys(["k1", "k2"]).await;
        app.upstream.on("k1").stream().typed("application/json").bytes("{\"candidates\":").cut();

        let reply = app.client().post(path).json(&chat(MODEL, "hello")).send().await;

        assert_eq!((reply.status(), app.upstream.attempts().len()), (200, 2), "{path}: {}", reply.text());
        reply.json();
    }
}

#[actix_web::test]
async fn an_error_of_googles_is_passed_on_as_it_is_when_every_key_meets_it() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply(500);

    let reply = app.client().generate(MODEL, "hello").await;
    assert_eq!(reply.json(), google_error(500, "INTERNAL", "An internal error has occurred."));

    let reply = app.client().chat(MODEL, "hello").await;
    assert_eq!(reply.status(), 500);
    let error = json!({"error": {
        "message": "An internal error has occurred.", "type": "server_error", "param": null, "code": null,
    }});
    assert_eq!(reply.json(), error);
}

#[actix_web::test]
async fn a_fault_of_the_client_is_told_at_once_and_blames_nobody() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    let error = google_error(400, "INVALID_ARGUMENT", "Unknown name \"foo\": Cannot find field.");
    app.upstream.on("k1").reply_json(400, &error);

    let reply = app.client().generate(MODEL, "hello").await;

    assert_eq!((reply.status(), reply.json()), (400, error));
    assert_eq!(app.upstream.attempts(), ["k1"]);
    let key = app.settled("k1").await;
    assert_eq!((key.health.state, key.health.consecutive_failures), (StateSnapshot::Active, 0));
    assert_eq!(key.tally.failures, 0);
}

#[actix_web::test]
async fn when_all_keys_cool_the_client_is_told_the_soonest_recovery() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    app.upstream.on("k1").reply(429).retry_after(secs(40));
    app.upstream.on("k2").reply(429).retry_after(secs(25));

    for _ in 0..2 {
        let reply = app.client().generate(MODEL, "hello").await;

        assert_eq!((reply.status(), reply.header("retry-after")), (429, Some("25")));
        assert_eq!(reply.header("x-should-retry"), None);
        let error = &reply.json()["error"];
        assert_eq!((&error["code"], &error["status"]), (&json!(429), &json!("RESOURCE_EXHAUSTED")));
        assert_eq!(error["details"][0]["retryDelay"], "25s");
    }
    let reply = app.client().chat(MODEL, "hello").await;
    assert_eq!((reply.status(), reply.header("retry-after")), (429, Some("25")));
    let error = &reply.json()["error"];
    assert_eq!((&error["type"], &error["code"]), (&json!("rate_limit_error"), &json!("rate_limit_exceeded")));

    assert_eq!(app.upstream.attempts(), ["k1", "k2"], "nobody asks a key that is known to cool");
}

#[actix_web::test]
async fn with_more_than_a_minute_to_wait_clients_are_told_not_to() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply(429).retry_after(secs(90));

    let reply = app.client().chat(MODEL, "hello").await;

    assert_eq!((reply.header("retry-after"), reply.header("x-should-retry")), (Some("90"), Some("false")));
}

#[actix_web::test]
async fn more_cooling_keys_than_attempts_still_tell_the_soonest_recovery() {
    let app = TestApp::builder().keys(["k1", "k2", "k3"]).setting("MAX_RETRIES", "2").start().await;
    for (key, wait) in [("k1", 40), ("k2", 30), ("k3", 20)] {
        app.upstream.on(key).reply(429).retry_after(secs(wait));
    }

    let first = app.client().generate(MODEL, "hello").await;
    let second = app.client().generate(MODEL, "hello").await;

    assert_eq!((first.status(), second.status()), (429, 429));
    assert_eq!(first.header("retry-after"), Some("1"), "k3 was not asked and may well be ready");
    assert_eq!(second.header("retry-after"), Some("20"));
}

#[actix_web::test]
async fn a_pool_of_as_many_keys_as_attempts_tells_the_soonest_recovery_at_once() {
    let app = TestApp::builder().keys(["k1", "k2", "k3"]).setting("MAX_RETRIES", "3").start().await;
    for (key, wait) in [("k1", 40), ("k2", 30), ("k3", 50)] {
        app.upstream.on(key).reply(429).retry_after(secs(wait));
    }

    let reply = app.client().generate(MODEL, "hello").await;

    assert_eq!((reply.status(), reply.header("retry-after")), (429, Some("30")));
}

#[actix_web::test]
async fn dead_keys_do_not_use_up_the_attempts_of_a_request() {
    let app = TestApp::builder().keys(["k1", "k2", "k3", "k4"]).setting("MAX_RETRIES", "1").start().await;
    for key in ["k1", "k2", "k3"] {
        app.upstream.on(key).reply_with("gemini/invalid-key.error.json");
    }

    let reply = app.client().generate(MODEL, "hello").await;

    assert_eq!(reply.status(), 200);
    assert_eq!(app.upstream.attempts().last().map(String::as_str), Some("k4"));
}

#[actix_web::test]
async fn a_model_that_is_open_to_no_key_is_not_found_rather_than_out_of_quota() {
    let app = TestApp::with_keys(["k1"]).await;
    let closed = json!({"error": {"code": 404, "status": "NOT_FOUND",
        "message": "This model models/old is no longer available to new users. Please use a newer model."}});
    app.upstream.on("k1").reply_json(404, &closed);

    for _ in 0..2 {
        let reply = app.client().chat(MODEL, "hello").await;
        assert_eq!((reply.status(), &reply.json()["error"]["code"]), (404, &json!("model_not_found")));
    }
    assert_eq!(app.upstream.attempts(), ["k1"]);
}

#[actix_web::test]
async fn without_a_usable_key_the_answer_is_503_in_both_dialects() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    for key in ["k1", "k2"] {
        app.upstream.on(key).reply_with("gemini/invalid-key.error.json");
    }

    for _ in 0..2 {
        let reply = app.client().generate(MODEL, "hello").await;
        assert_eq!((reply.status(), &reply.json()["error"]["status"]), (503, &json!("UNAVAILABLE")));
        assert_eq!(reply.header("retry-after"), None);
    }
    let reply = app.client().chat(MODEL, "hello").await;
    assert_eq!((reply.status(), &reply.json()["error"]["type"]), (503, &json!("server_error")));
    assert_eq!(app.upstream.attempts(), ["k1", "k2"]);
}

#[actix_web::test]
async fn no_error_of_a_key_reaches_a_client() {
    let app = TestApp::with_keys(["k1"]).await;
    let leaked =
        google_error(403, "PERMISSION_DENIED", "Your API key was reported as leaked. Please use another.");
    app.upstream.on("k1").reply_json(403, &leaked);

    let reply = app.client().generate(MODEL, "hello").await;

    assert_eq!(reply.status(), 503);
    assert!(!reply.text().contains("leaked"), "{}", reply.text());
}

/// An upstream that closes each connection after its first bytes, and how many there were.
async fn impatient_upstream() -> (String, Rc<Cell<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let origin = format!("http://{}", listener.local_addr().expect("it is bound"));
    let uploads = Rc::new(Cell::new(0));
    let counted = uploads.clone();
    actix_web::rt::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = [0; 64];
            let read = socket.read(&mut head).await;
            counted.set(counted.get() + usize::from(read.is_ok() && head.starts_with(b"POST")));
        }
    });
    (origin, uploads)
}

#[actix_web::test]
async fn a_large_body_that_google_does_not_read_is_not_sent_again() {
    let (origin, uploads) = impatient_upstream().await;
    let builder = TestApp::builder().keys(["k1", "k2", "k3"]);
    let app = builder.setting("BASE_URL", &format!("{origin}/v1beta")).start().await;

    let large = app.client().generate(MODEL, &"x".repeat(16 << 20)).await;

    assert_eq!((large.status(), &large.json()["error"]["code"]), (502, &json!(502)));
    assert_eq!(uploads.get(), 1);
    let small = app.client().generate(MODEL, "hello").await;
    assert_eq!((small.status(), uploads.get()), (502, 4));
}

#[actix_web::test]
async fn an_empty_answer_is_tried_elsewhere_and_blames_nobody() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    app.upstream.on("k1").reply_with("gemini/empty.response.json");
    app.upstream.on("k2").says("at last");

    let reply = app.client().generate(MODEL, "hello").await;

    assert_eq!(reply.json()["candidates"][0]["content"]["parts"][0]["text"], "at last");
    assert_eq!(app.upstream.attempts(), ["k1", "k2"]);
    let key = app.settled("k1").await;
    assert_eq!((key.health.state, key.tally.failures), (StateSnapshot::Active, 0));
}

#[actix_web::test]
async fn an_answer_that_is_empty_with_every_key_is_what_the_client_gets() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    for key in ["k1", "k2"] {
        app.upstream.on(key).reply_with("gemini/empty.response.json");
    }

    let reply = app.client().generate(MODEL, "hello").await;

    assert_eq!(reply.status(), 200);
    assert_eq!(reply.json()["candidates"][0]["finishReason"], "STOP");
    assert_eq!(app.upstream.attempts(), ["k1", "k2"]);
}

#[actix_web::test]
async fn an_answer_that_is_empty_for_a_reason_is_not_repeated() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    let blocked =
        json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}});
    app.upstream.on("k1").reply_json(200, &blocked);

    let reply = app.client().generate(MODEL, "hello").await;

    assert_eq!((reply.status(), reply.json()), (200, blocked));
    assert_eq!(app.upstream.attempts(), ["k1"]);
}

#[actix_web::test]
async fn a_key_that_fails_where_others_succeed_is_taken_out_after_max_failures() {
    let app = TestApp::builder()
        .keys(["k1", "k2"])
        .setting("MAX_FAILURES", "2")
        .setting("BALANCE_POLICY", "round_robin")
        .start()
        .await;
    // A success in between would clear the key.
    app.catalogue_is_fetched().await;
    app.upstream.on("k1").reply(500);

    for failures in 1..=2 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
        app.key_becomes("k1", "has failed", |key| key.health.consecutive_failures == failures).await;
    }
    app.pool_becomes("the key is out", |pool| pool.states.cooling == 1).await;
    for _ in 0..4 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
        // The verdict travels between threads while the client already has its answer.
        app.settled("k1").await;
    }

    assert_eq!(app.upstream.attempts(), ["k1", "k2", "k1", "k2", "k2", "k2", "k2", "k2"]);
    let key = app.settled("k1").await;
    assert!(
        matches!(key.health.state, StateSnapshot::Cooling { reason: CoolingReason::Failures, .. }),
        "{key:?}"
    );
}

#[actix_web::test]
async fn a_fault_that_all_keys_meet_takes_none_of_them_out() {
    let app = TestApp::builder().keys(["k1", "k2"]).setting("MAX_FAILURES", "1").start().await;
    for key in ["k1", "k2"] {
        app.upstream.on(key).reply(500);
    }

    for _ in 0..3 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 500);
    }

    for key in ["k1", "k2"] {
        let key = app.settled(key).await;
        assert_eq!((key.health.state, key.health.consecutive_failures), (StateSnapshot::Active, 0));
    }
}

#[actix_web::test]
async fn when_the_retry_budget_is_spent_the_error_comes_at_once_with_its_status_and_a_time() {
    let app = TestApp::builder()
        .keys(["k1", "k2"])
        .setting("RETRY_BUDGET_PERCENT", "0")
        .setting("MAX_RETRIES", "2")
        .start()
        .await;
    for key in ["k1", "k2"] {
        app.upstream.on(key).reply(503);
    }
    let client = app.client();
    let asking = (0..40).map(|_| client.generate(MODEL, "hello"));

    let replies = futures_util::future::join_all(asking).await;

    let told: Vec<_> = replies.iter().map(|reply| reply.header("retry-after")).collect();
    assert!(replies.iter().all(|reply| reply.status() == 503 && reply.json()["error"]["code"] == 503));
    assert_eq!(told.iter().filter(|told| **told == Some("5")).count(), 20, "{told:?}");
    assert_eq!(app.upstream.attempts().len(), 40 + 20, "two retries a second are free, for ten seconds");
    let metrics = client.get("/metrics").send().await;
    assert!(metrics.text().contains("gemini_balance_retries_refused_total 20"), "{}", metrics.text());
    let chat = client.chat(MODEL, "hello").await;
    assert_eq!((chat.status(), chat.header("retry-after")), (503, Some("5")));
}

#[actix_web::test]
async fn keys_that_are_found_out_cost_nothing_of_the_retry_budget() {
    let keys: Vec<_> = (0..60).map(|n| format!("k{n}")).collect();
    let app = TestApp::builder().keys(keys.clone()).setting("RETRY_BUDGET_PERCENT", "0").start().await;
    for key in &keys[..59] {
        app.upstream.on(key).reply(429).retry_after(secs(60));
    }

    for _ in 0..30 {
        app.client().generate(MODEL, "hello").await;
    }

    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
}
