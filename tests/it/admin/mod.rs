//! What the administrator sees: why a request went as it did, how long the pool will last, what to look at.

mod events;
mod history;
mod idempotency;
mod keys;
mod live;
mod openapi;
mod session;
mod transfer;
mod updates;

use serde_json::{Value, json};

use crate::harness::{Answer, MODEL, TestApp, eventually, google_error, ms, secs};

const ADMIN: &str = "sk-administrator-6d1f";
const FORECAST: &str = "/api/admin/stats/forecast";

/// Limits of a free project: ten requests a minute and fifty a day.
const FREE: [(&str, &str); 2] = [("AUTH_TOKEN", ADMIN), ("DEFAULT_TIER", "free")];

async fn app(keys: &[&str], settings: &[(&str, &str)]) -> TestApp {
    let builder = TestApp::builder().keys(keys.iter().copied());
    settings.iter().fold(builder, |builder, (name, value)| builder.setting(name, value)).start().await
}

async fn ask(app: &TestApp, path: &str) -> Answer {
    let request = app.client().anonymous().get(path);
    request.header("authorization", &format!("Bearer {ADMIN}")).send().await
}

/// What is foretold of a model, once that is so.
async fn foretold(app: &TestApp, model: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    eventually("the forecast tells of it", async || {
        let reply = ask(app, FORECAST).await.json();
        let items = reply["items"].as_array().expect("a list");
        items.iter().find(|told| told["model"] == model && is_so(told)).cloned()
    })
    .await
}

#[actix_web::test]
async fn only_the_administrators_token_opens_it() {
    let app = app(&["k1"], &FREE).await;

    for path in [FORECAST, "/api/admin/stats/attention", "/api/admin/requests/1"] {
        let without = app.client().anonymous().get(path).send().await;
        let clients = app.client().get(path).send().await;
        let in_url = app.client().anonymous().get(&format!("{path}?key={ADMIN}")).send().await;
        for refused in [without, clients, in_url] {
            assert_eq!((refused.status(), &refused.json()["error"]["code"]), (401, &json!("not_admin")));
            assert!(refused.text().contains("AUTH_TOKEN"), "{}", refused.text());
        }
    }
    assert_eq!(ask(&app, FORECAST).await.status(), 200);
    let unknown = ask(&app, "/api/admin/nothing").await;
    assert_eq!((unknown.status(), &unknown.json()["error"]["code"]), (404, &json!("unknown_path")));
}

#[actix_web::test]
async fn without_auth_token_the_kept_one_opens_it() {
    let app = app(&["k1"], &[]).await;
    let kept = app.data_file("admin_token");

    let request = app.client().anonymous().get(FORECAST);
    let reply = request.header("authorization", &format!("Bearer {}", kept.trim())).send().await;

    assert_eq!(reply.status(), 200, "{}", reply.text());
}

#[actix_web::test]
async fn a_request_tells_every_attempt_and_why_it_was_that_key() {
    let app = app(&["key-one-abcdefgh-1111", "key-two-abcdefgh-2222"], &[("AUTH_TOKEN", ADMIN)]).await;
    app.upstream.on("key-one-abcdefgh-1111").reply(429).retry_after(secs(30));
    let reply = app.client().generate(MODEL, "a secret").await;
    app.log_of(&reply).await;

    let told = ask(&app, &format!("/api/admin/requests/{}", reply.request_id())).await;

    let detail = told.json();
    assert_eq!((&detail["id"], &detail["status"]), (&json!(reply.request_id()), &json!(200)));
    let [first, second] = &detail["attempts"].as_array().expect("attempts")[..] else { panic!("{detail}") };
    assert_eq!((&first["masked"], &first["outcome"]), (&json!("key-…1111"), &json!("quota_minute")));
    assert_eq!((&first["reason"], &first["quota"]["limit"]), (&json!("RESOURCE_EXHAUSTED"), &json!(10)));
    assert_eq!((&second["masked"], &second["choice"]["reason"]), (&json!("key-…2222"), &json!("policy")));
    assert_eq!(second["choice"]["others"], json!({"keys": 2, "ready": 1, "cooling": 1, "tried": 1}));
    for secret in ["abcdefgh", "a secret"] {
        assert!(!told.text().contains(secret), "{}", told.text());
    }
    let unknown = ask(&app, "/api/admin/requests/0192f00d").await;
    assert_eq!((unknown.status(), &unknown.json()["error"]["code"]), (404, &json!("not_found")));
}

#[actix_web::test]
async fn a_wait_for_a_key_is_told_and_measured() {
    let app = app(&["k1"], &[("AUTH_TOKEN", ADMIN)]).await;
    app.upstream.on("k1").reply(429).retry_after(secs(1));
    let refused = app.client().generate(MODEL, "one").await;
    app.settled("k1").await;
    app.upstream.on("k1").answers_as_usual();

    let waited = if refused.status() == 200 { refused } else { app.client().generate(MODEL, "two").await };

    assert_eq!(waited.status(), 200);
    app.log_of(&waited).await;
    let detail = ask(&app, &format!("/api/admin/requests/{}", waited.request_id())).await.json();
    let waited_ms = detail["attempts"][0]["waited_ms"].as_u64().unwrap_or_else(|| panic!("{detail}"));
    assert!((300..2_000).contains(&waited_ms), "{detail}");
    let metrics = app.client().get("/metrics").send().await;
    assert!(metrics.text().contains(r#"key_wait_seconds_count{result="served"} 1"#), "{}", metrics.text());
    assert!(metrics.text().contains("\ngemini_balance_waiting_requests 0\n"), "{}", metrics.text());
}

#[actix_web::test]
async fn the_forecast_tells_what_is_left_and_when_more_comes() {
    let app = app(&["k1", "k2 project=alpha", "k3 project=alpha"], &FREE).await;
    for _ in 0..3 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    }

    let told = foretold(&app, MODEL, |told| told["requests_per_minute"] == 3.0).await;

    assert_eq!((&told["projects"], &told["ready_projects"]), (&json!(2), &json!(2)), "{told}");
    let minute = &told["minute"]["requests"];
    let limit = minute["limit"].as_u64().expect("it is known of the tier");
    let sources = json!({"preset": 2, "observed": 0, "learnt": 0, "hand": 0});
    let expected = json!({"left": limit - 3, "limit": limit, "unknown_projects": 0, "sources": sources});
    assert_eq!(minute, &expected);
    assert_eq!(told["day"]["requests"]["unknown_projects"], 0);
    assert!(told["day"]["resets_at_ms"].as_i64().is_some_and(|at| at > 1_790_000_000_000), "{told}");
    assert_eq!((&told["next_recovery_at_ms"], &told["minute"]["dry_in_ms"]), (&json!(null), &json!(null)));

    app.upstream.on("k1").reply(429).retry_after(secs(40));
    for _ in 0..3 {
        app.client().generate(MODEL, "hello").await;
    }
    let told = foretold(&app, MODEL, |told| told["ready_projects"] == 1).await;
    assert!(told["next_recovery_at_ms"].as_i64().is_some(), "{told}");

    // Google has named its limit meanwhile.
    let sources = &told["minute"]["requests"]["sources"];
    assert_eq!((&sources["preset"], &sources["learnt"]), (&json!(1), &json!(1)), "{told}");

    let metrics = eventually("the model is listed", async || {
        let metrics = app.client().get("/metrics").send().await;
        metrics.text().contains(MODEL).then_some(metrics)
    })
    .await;
    for line in [
        format!(r#"gemini_balance_quota_ready_projects{{model="{MODEL}"}} 1"#),
        format!(
            r#"gemini_balance_quota_unknown_projects{{model="{MODEL}",window="day",metric="requests"}} 0"#
        ),
        format!(r#"gemini_balance_quota_left{{model="{MODEL}",window="minute",metric="requests"}}"#),
        format!(r#"gemini_balance_quota_recovery_seconds{{model="{MODEL}"}}"#),
        "gemini_balance_storms 0".to_owned(),
        "gemini_balance_turned_away 0".to_owned(),
    ] {
        assert!(metrics.text().contains(&line), "{line} is not in {}", metrics.text());
    }
}

#[actix_web::test]
async fn keys_whose_errors_name_the_same_project_are_proposed_once_and_shown() {
    let app = app(&["k1", "k2", "k3"], &[("AUTH_TOKEN", ADMIN)]).await;
    let denied = |consumer: &str| {
        let mut error =
            google_error(403, "PERMISSION_DENIED", "Permission denied: Consumer has been suspended.");
        error["error"]["details"] = json!([{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "CONSUMER_SUSPENDED",
            "domain": "googleapis.com",
            "metadata": {"consumer": consumer, "service": "generativelanguage.googleapis.com"},
        }]);
        error
    };
    for (key, consumer) in [("k1", "projects/700"), ("k2", "projects/800"), ("k3", "projects/700")] {
        app.upstream.on(key).reply_json(403, &denied(consumer));
    }
    app.client().generate(MODEL, "hello").await;

    let told = eventually("the keys are proposed", async || {
        let told = ask(&app, "/api/admin/stats/attention").await.json();
        let items = told["items"].as_array().expect("a list");
        let mut proposals = items.iter().filter(|item| item["kind"] == "shared_project");
        let first = proposals.next().cloned()?;
        assert_eq!(proposals.next(), None);
        Some(first)
    })
    .await;

    let item = &told;
    assert_eq!(item["evidence"], "consumer");
    let ids: Vec<_> = item["keys"].as_array().expect("keys").iter().map(|key| key["id"].clone()).collect();
    assert_eq!(ids, [json!(app.key_id("k1").await.0), json!(app.key_id("k3").await.0)]);
    assert!(item["message"].as_str().is_some_and(|message| message.contains("project=")), "{item}");
    let metrics = app.client().get("/metrics").send().await;
    assert!(metrics.text().contains("\ngemini_balance_projects_proposed 1\n"), "{}", metrics.text());
}

#[actix_web::test]
async fn models_that_clients_make_up_are_no_labels() {
    let app = app(&["k1"], &FREE).await;
    app.catalogue_is_fetched().await;
    app.client().generate("made-up-by-a-client", "hello").await;
    foretold(&app, "made-up-by-a-client", |_| true).await;
    app.client().generate(MODEL, "hello").await;

    let metrics = eventually("the model has its figures", async || {
        tokio::time::sleep(ms(100)).await;
        let metrics = app.client().get("/metrics").send().await;
        metrics.text().contains(MODEL).then_some(metrics)
    })
    .await;

    assert!(!metrics.text().contains("made-up-by-a-client"), "{}", metrics.text());
}
