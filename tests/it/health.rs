//! What load balancers, orchestrators and Prometheus see.

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::harness::{MODEL, TestApp, secs};

/// Whether some problem that `/ready` tells has that text.
fn tells(ready: &Value, text: &str) -> bool {
    let problems = ready["problems"].as_array().expect("problems are told");
    problems.iter().any(|problem| problem.as_str().is_some_and(|problem| problem.contains(text)))
}

#[actix_web::test]
async fn a_gateway_with_keys_and_tokens_is_healthy_and_ready() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    let client = app.client().anonymous();

    let health = client.get("/health").send().await;
    assert_eq!((health.status(), health.json()), (200, json!({"status": "healthy"})));

    let ready = client.get("/ready").send().await;
    assert_eq!((ready.status(), &ready.json()["status"]), (200, &json!("ready")));
    assert_eq!(ready.json()["keys"]["active"], 2);

    for path in ["/health", "/ready"] {
        let reply = client.request(Method::HEAD, path).send().await;
        assert_eq!((reply.status(), reply.text()), (200, ""), "{path}");
    }
}

#[actix_web::test]
async fn without_keys_it_runs_and_says_what_is_missing() {
    let app = TestApp::with_keys::<String>([]).await;

    assert_eq!(app.client().get("/health").send().await.status(), 200);
    let ready = app.client().get("/ready").send().await;
    assert_eq!((ready.status(), &ready.json()["status"]), (503, &json!("not ready")));
    assert!(tells(&ready.json(), "API_KEYS"), "{}", ready.text());
    let reply = app.client().generate(MODEL, "hello").await;
    assert_eq!((reply.status(), reply.header("retry-after")), (503, None));
}

#[actix_web::test]
async fn without_tokens_it_runs_and_says_what_is_missing() {
    let app = TestApp::builder().without_tokens().start().await;

    let ready = app.client().get("/ready").send().await;

    assert_eq!(ready.status(), 503);
    assert!(tells(&ready.json(), "ALLOWED_TOKENS"), "{}", ready.text());
    let anonymous = app.client().anonymous();
    assert_eq!(anonymous.generate(MODEL, "hello").await.status(), 403);
    let refused = anonymous.get("/v1beta/models").header("x-goog-api-key", "sk-anything").send().await;
    assert_eq!(refused.status(), 400);
}

#[actix_web::test]
async fn with_invalid_keys_alone_it_is_not_ready() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply_with("gemini/invalid-key.error.json");
    app.client().generate(MODEL, "hello").await;
    app.settled("k1").await;

    let ready = app.client().get("/ready").send().await;

    assert_eq!((ready.status(), &ready.json()["keys"]["invalid"]), (503, &json!(1)));
    assert!(tells(&ready.json(), "invalid"), "{}", ready.text());
}

#[actix_web::test]
async fn the_first_request_after_the_start_is_served_however_many_keys_there_are() {
    let app = TestApp::with_keys((1..=3_000).map(|n| format!("k{n}"))).await;

    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
}

#[actix_web::test]
async fn metrics_tell_of_requests_attempts_keys_and_the_log() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    app.catalogue_is_fetched().await;
    app.upstream.on("k1").reply(429).retry_after(secs(30));
    let gemini = app.client().generate(MODEL, "hello").await;
    app.client().chat_stream(MODEL, "hello").await.rest().await;
    app.log_of(&gemini).await;
    app.settled("k1").await;
    app.settled("k2").await;

    let reply = app.client().anonymous().get("/metrics").send().await;

    assert!(reply.header("content-type").is_some_and(|kind| kind.contains("openmetrics")));
    for line in [
        r#"gemini_balance_requests_total{dialect="gemini",endpoint="generateContent",status="200"} 1"#,
        r#"gemini_balance_requests_total{dialect="openai",endpoint="chat/completions",status="200"} 1"#,
        r#"gemini_balance_attempts_total{outcome="quota_minute"} 1"#,
        r#"gemini_balance_attempts_total{outcome="success"} 2"#,
        r#"gemini_balance_tokens_total{kind="prompt"} 10"#,
        r#"gemini_balance_keys{state="active"} 2"#,
        r#"gemini_balance_keys{state="invalid"} 0"#,
        "gemini_balance_keys_partly_cooling 1",
        "gemini_balance_in_flight 0",
        r#"gemini_balance_request_duration_seconds_count{dialect="gemini"} 1"#,
        r#"gemini_balance_first_byte_seconds_count{dialect="openai"} 1"#,
        r#"gemini_balance_overhead_seconds_count{dialect="gemini"} 1"#,
        r#"gemini_balance_key_actor_respawns{cause="panic"} 0"#,
        r#"gemini_balance_log_rows{state="dropped"} 0"#,
    ] {
        assert!(reply.text().lines().any(|known| known == line), "{line} is not in {}", reply.text());
    }
    for name in ["gemini_balance_log_queue_rows", "gemini_balance_log_rows{state=\"written\"}"] {
        assert!(reply.text().contains(name), "{name}");
    }
    assert!(reply.text().ends_with("# EOF\n"));
}

#[actix_web::test]
async fn an_unknown_path_is_told_in_openais_words() {
    let app = TestApp::with_keys(["k1"]).await;

    let reply = app.client().get("/nothing").send().await;

    assert_eq!((reply.status(), &reply.json()["error"]["code"]), (404, &json!("unknown_url")));
}
