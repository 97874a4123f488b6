//! One row per request, written soon, kept as long as configured, and never lost on a stop.

use futures_util::future::join_all;
use gemini_balance::{
    actors::logger::{Flush, Prune},
    db::{error_logs::NewErrorLog, request_logs::RequestLog},
};
use serde_json::{Value, json};

use crate::harness::{MODEL, TOKEN, TestApp, chat, ms, prompt, secs};

#[actix_web::test]
async fn a_request_has_one_row_that_tells_all_of_it() {
    let app = TestApp::builder()
        .keys(["k1", "k2"])
        .token("sk-first-9c2e")
        .token("sk-second-77ab")
        .setting("NODE_NAME", "node-7")
        .start()
        .await;
    app.upstream.on("k1").reply(429).retry_after(secs(30));
    app.upstream.on("k2").says("well").after(ms(60));
    let path = "/v1beta/models/gemini-2.5-flash:generateContent";

    let client = app.client().anonymous();
    let reply =
        client.post(path).header("x-goog-api-key", "sk-second-77ab").json(&prompt("a secret")).send().await;

    let row = app.log_of(&reply).await;
    assert_eq!((&*row.dialect, &*row.endpoint, &*row.model), ("gemini", "generateContent", MODEL));
    assert_eq!((row.stream, row.status, row.error.as_deref()), (false, 200, None));
    assert_eq!(row.token_id.as_deref(), Some("allowed-2"));
    assert_eq!(row.key_id, Some(app.key_id("k2").await.0));
    assert_eq!((row.client_ip.as_deref(), row.node.as_deref()), (Some("127.0.0.1"), Some("node-7")));
    assert_eq!((row.prompt_tokens, row.output_tokens, row.thoughts_tokens), (5, 3, 0));
    let first_byte = row.first_byte_ms.expect("an answer was sent");
    assert!((60..=row.duration_ms).contains(&first_byte), "{row:?}");

    let trail: Value = serde_json::from_str(&row.trail).expect("the trail is JSON");
    assert_eq!(row.attempts, 2);
    assert_eq!(trail[0]["key_id"], app.key_id("k1").await.0);
    assert_eq!((&trail[0]["outcome"], &trail[0]["status"]), (&json!("quota_minute"), &json!(429)));
    assert_eq!(trail[0]["reason"], "RESOURCE_EXHAUSTED");
    let quota = json!({"window": "minute", "metric": "requests", "limit": 10, "retry_after_ms": 30_000});
    assert_eq!(trail[0]["quota"], quota, "{trail}");
    assert_eq!(
        trail[0]["choice"],
        json!({"reason": "policy", "cost": 1.0, "others": {"keys": 2, "ready": 2}})
    );
    let others = json!({"keys": 2, "ready": 1, "cooling": 1, "tried": 1});
    assert_eq!(trail[1]["choice"]["others"], others, "{trail}");
    assert_eq!((&trail[1]["outcome"], &trail[1]["status"]), (&json!("success"), &json!(200)));
    assert!(trail[1]["duration_ms"].as_u64().is_some_and(|spent| spent >= 60), "{trail}");

    let all = format!("{row:?} {:?}", app.error_logs().await);
    for secret in ["sk-second", "a secret", "\"k1\"", "\"k2\""] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[actix_web::test]
async fn a_stream_is_logged_with_its_last_count_of_tokens() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").stream().text("one").silence(ms(150)).finish("two");

    let gemini = app.client().stream(MODEL, "hello").await.rest().await;
    let openai = app.client().chat_stream(MODEL, "hello").await.rest().await;

    for (reply, dialect, endpoint) in
        [(gemini, "gemini", "streamGenerateContent"), (openai, "openai", "chat/completions")]
    {
        let row = app.log_of(&reply).await;
        assert_eq!((&*row.dialect, &*row.endpoint, row.stream, row.status), (dialect, endpoint, true, 200));
        assert_eq!((row.prompt_tokens, row.output_tokens), (5, 3));
        let first_byte = row.first_byte_ms.expect("an answer was sent");
        assert!(first_byte + 100 <= row.duration_ms, "the first byte came long before the last: {row:?}");
    }
}

#[actix_web::test]
async fn failed_attempts_are_in_the_error_log() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    app.upstream.on("k1").reply_with("gemini/invalid-key.error.json");
    app.upstream.on("k2").reply(503);

    let reply = app.client().generate(MODEL, "a secret").await;

    let row = app.log_of(&reply).await;
    assert_eq!((row.status, row.error.as_deref(), row.key_id), (503, Some("overloaded"), None));
    let errors = app.error_logs().await;
    let told: Vec<_> = errors.iter().map(|error| (&*error.kind, error.status, &*error.message)).collect();
    assert_eq!(
        told,
        [
            ("overloaded", Some(503), "The model is overloaded. Please try again later."),
            ("key_invalid", Some(400), "API key not valid. Please pass a valid API key."),
        ]
    );
    for error in &errors {
        assert_eq!((&*error.request_id, &*error.model), (reply.request_id(), MODEL));
        assert_eq!(error.request_body, None);
    }
    assert_eq!(errors[1].key_id, Some(app.key_id("k1").await.0));
}

#[actix_web::test]
async fn request_bodies_are_kept_only_when_the_operator_wants_them() {
    let app = TestApp::builder().setting("ERROR_LOG_RECORD_REQUEST_BODY", "true").start().await;
    app.upstream.on("k1").reply(400);

    let reply = app.client().generate(MODEL, "hello").await;

    app.log_of(&reply).await;
    assert_eq!(app.error_logs().await[0].request_body.as_deref(), Some(&*prompt("hello").to_string()));
}

#[actix_web::test]
async fn a_request_that_was_refused_for_want_of_keys_is_logged_too() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply(429).retry_after(secs(30));
    app.client().generate(MODEL, "hello").await;

    let reply = app.client().chat(MODEL, "hello").await;

    let row = app.log_of(&reply).await;
    assert_eq!((row.status, row.error.as_deref(), row.attempts), (429, Some("all_cooling"), 0));
    assert_eq!((row.key_id, row.first_byte_ms), (None, None));
    let trail: Value = serde_json::from_str(&row.trail).expect("the trail is JSON");
    let no_key = &trail[0]["no_key"];
    assert_eq!(
        (&no_key["cause"], &no_key["others"]),
        (&json!("quota"), &json!({"keys": 1, "ready": 0, "cooling": 1}))
    );
    let recovers_in_ms = no_key["recovers_in_ms"].as_u64().expect("it is known when");
    assert!((25_000..=30_000).contains(&recovers_in_ms), "{trail}");
}

#[actix_web::test]
async fn a_request_that_was_refused_for_itself_is_logged_with_what_its_client_got() {
    let app = TestApp::builder().setting("FILTERED_MODELS", "hidden-1").start().await;
    let json_to = |path: &str| app.client().post(path).header("content-type", "application/json");
    let contents = prompt("hello").to_string();
    const CHAT: &str = "/v1/chat/completions";
    for (request, model, stream, status, error) in [
        (json_to(CHAT).body(r#"{"model":"m","stream":true}"#), "m", true, 400, "invalid_request"),
        (json_to(CHAT).body(r#"{"model":"#), "", false, 400, "invalid_request"),
        (
            app.client().post(CHAT).header("content-type", "text/plain").body(r#"{"model":"m"}"#),
            "m",
            false,
            415,
            "content_type",
        ),
        (app.client().post(CHAT).json(&chat("a b", "hi")), "a b", false, 400, "invalid_request"),
        (app.client().post(CHAT).json(&chat("hidden-1", "hi")), "hidden-1", false, 404, "model_not_found"),
        (
            json_to("/openai/v1/chat/completions").body(r#"{"model":"models/hidden-1"}"#),
            "hidden-1",
            false,
            404,
            "model_not_found",
        ),
        (json_to("/v1/embeddings").body(r#"{"model":"e"}"#), "e", false, 400, "invalid_request"),
        (
            json_to("/v1beta/models/hidden-1:streamGenerateContent").body(contents.clone()),
            "hidden-1",
            true,
            404,
            "model_not_found",
        ),
        (app.client().get("/v1beta/models/hidden-1"), "hidden-1", false, 404, "model_not_found"),
        (app.client().get("/v1beta/models?pageSize=x"), "", false, 400, "invalid_request"),
        (app.client().get("/v1/models/unknown-1"), "unknown-1", false, 404, "model_not_found"),
    ] {
        let reply = request.send().await;

        let row = app.log_of(&reply).await;
        assert_eq!((&*row.model, row.stream, row.attempts), (model, stream, 0), "{row:?}");
        assert_eq!((row.status, row.error.as_deref()), (status, Some(error)), "{row:?}");
        assert_eq!(i32::from(reply.status()), status, "{row:?}");
    }
    assert_eq!(app.upstream.attempts().len(), 0);
}

#[actix_web::test]
async fn lists_of_models_are_logged_too() {
    let app = TestApp::with_keys(["k1"]).await;

    for (path, dialect) in [("/v1/models", "openai"), ("/v1beta/models", "gemini")] {
        let reply = app.client().get(path).send().await;
        let row = app.log_of(&reply).await;
        assert_eq!((&*row.dialect, &*row.endpoint, &*row.model), (dialect, "models.list", ""));
        assert_eq!((row.status, row.error), (200, None));
    }
}

#[actix_web::test]
async fn rows_are_written_within_a_second_without_being_asked_for() {
    let app = TestApp::with_keys(["k1"]).await;
    let begun = std::time::Instant::now();

    let id = app.client().generate(MODEL, "hello").await.request_id().to_owned();

    crate::harness::eventually("the row is there", async || {
        let id = id.clone();
        app.read(move |conn| gemini_balance::db::request_logs::find_request_log(conn, &id)).await
    })
    .await;
    assert!(begun.elapsed() < secs(2), "{:?}", begun.elapsed());
}

#[actix_web::test]
async fn nothing_is_lost_when_the_gateway_stops() {
    const REQUESTS: usize = 120;
    // Half of the requests are retried at once.
    let builder = TestApp::builder().keys(["k1", "k2"]).setting("RETRY_BUDGET_PERCENT", "100");
    let app = builder.setting("WORKERS", "2").start().await;
    app.upstream.on("k1").reply(503);
    let client = app.client();
    join_all((0..REQUESTS).map(|_| client.generate(MODEL, "hello"))).await;

    // At once: rows are still on their way from the workers to the logger, and in its buffer.
    let app = app.stop().await.start().await;

    let rows = app.logs("all rows are there", |rows| !rows.is_empty()).await;
    assert_eq!(rows.len(), REQUESTS);
    let failed: i32 = rows.iter().map(|row| row.attempts - 1).sum();
    assert_eq!(app.error_logs().await.len(), failed as usize);
    assert!(failed > 0, "some had to move on");
}

fn request_log(id: usize, started_at_ms: i64) -> RequestLog {
    RequestLog {
        // As the gateway makes them: the time comes first.
        id: format!("{started_at_ms:012x}7000{id:016x}"),
        started_at_ms,
        duration_ms: 1,
        dialect: "gemini".into(),
        endpoint: "generateContent".into(),
        model: MODEL.into(),
        stream: false,
        status: 200,
        key_id: None,
        token_id: None,
        client_ip: None,
        attempts: 1,
        trail: "[]".into(),
        first_byte_ms: None,
        prompt_tokens: 0,
        cached_tokens: 0,
        output_tokens: 0,
        thoughts_tokens: 0,
        error: None,
        node: None,
    }
}

fn error_log(at_ms: i64) -> NewErrorLog {
    NewErrorLog {
        request_id: "r".into(),
        at_ms,
        key_id: None,
        model: MODEL.into(),
        status: None,
        kind: "overloaded".into(),
        message: String::new(),
        request_body: None,
    }
}

#[actix_web::test]
async fn pruning_deletes_what_is_older_than_its_retention_in_small_steps() {
    const OLD: usize = 2_500;
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    let app = TestApp::with_keys(["k1"]).await;
    let now_ms = gemini_balance::domain::time::Now::read().unix_ms();
    let old = (0..OLD).map(|n| request_log(n, now_ms - 31 * DAY_MS));
    let young = (OLD..OLD + 10).map(|n| request_log(n, now_ms - 29 * DAY_MS));
    let requests: Vec<_> = old.chain(young).collect();
    let errors = [now_ms - 8 * DAY_MS, now_ms - 6 * DAY_MS].map(error_log);
    app.write(move |conn| {
        gemini_balance::db::request_logs::insert_request_logs(conn, &requests)?;
        gemini_balance::db::error_logs::insert_error_logs(conn, &errors)
    })
    .await;

    let prune = Prune {
        requests_older_than: Some(secs(30 * 86_400)),
        errors_older_than: Some(secs(7 * 86_400)),
        ..Prune::default()
    };
    let deleted = app.logger().send(prune).await.expect("the logger lives");

    assert_eq!(deleted, OLD + 1);
    assert_eq!(app.logs("rows stay", |_| true).await.len(), 10);
    assert_eq!(app.error_logs().await.len(), 1);

    let never = Prune::default();
    assert_eq!(app.logger().send(never).await.expect("the logger lives"), 0);
    app.logger().send(Flush).await.expect("the logger lives");
}

#[actix_web::test]
async fn every_answer_has_an_id_of_its_own() {
    let app = TestApp::with_keys(["k1"]).await;

    let served = app.client().generate(MODEL, "hello").await;
    let refused = app.client().anonymous().get("/v1/models").send().await;
    let unknown = app.client().get("/nothing").header("authorization", TOKEN).send().await;

    let mut ids = [served.request_id(), refused.request_id(), unknown.request_id()];
    ids.sort_unstable();
    assert!(ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
}
