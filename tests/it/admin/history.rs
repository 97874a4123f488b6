//! The life of a key as an admin reads it: what happened to it, what it has done, and what was taken back.

use actix_web::http::Method;
use gemini_balance::{actors::logger::Flush, db::keys::purge_deleted};
use serde_json::{Value, json};

use super::{ADMIN, app};
use crate::harness::{Answer, MODEL, TestApp, eventually, secs};

const KEYS: &str = "/api/admin/keys";

async fn start(keys: &[&str], settings: &[(&str, &str)]) -> TestApp {
    let settings: Vec<_> = settings.iter().copied().chain([("AUTH_TOKEN", ADMIN)]).collect();
    let app = app(keys, &settings).await;
    app.catalogue_is_fetched().await;
    app
}

async fn get(app: &TestApp, path: &str) -> Answer {
    app.client_with(ADMIN).get(path).send().await
}

async fn send(app: &TestApp, method: Method, path: &str, body: Value) -> Answer {
    app.client_with(ADMIN).request(method, path).json(&body).send().await
}

async fn path_of(app: &TestApp, key: &str) -> String {
    format!("{KEYS}/{}", app.key_id(key).await)
}

/// The history of a key, oldest first, once there are so many events.
async fn history(app: &TestApp, path: &str, events: usize) -> Vec<Value> {
    eventually("it is written", async || {
        app.logger().send(Flush).await.expect("the logger lives");
        let page = get(app, &format!("{path}/events")).await.json();
        let mut items = page["items"].as_array().expect("a list").clone();
        items.reverse();
        (items.len() == events).then_some(items)
    })
    .await
}

fn told(event: &Value) -> [&str; 5] {
    ["kind", "from", "to", "reason", "by"].map(|name| event[name].as_str().unwrap_or("-"))
}

async fn ended(app: &TestApp, started: &Answer) -> Value {
    let job = started.json();
    let path = format!("/api/admin/jobs/{}", job["job"]["id"].as_str().expect("a job"));
    eventually("the job ends", async || {
        let job = get(app, &path).await.json();
        (job["state"] != "running").then_some(job)
    })
    .await
}

#[actix_web::test]
async fn a_key_tells_what_has_happened_to_it_and_why_also_after_a_restart() {
    let app = start(&["k1", "k2"], &[]).await;
    let path = path_of(&app, "k1").await;
    app.upstream.on("k1").reply_with("gemini/invalid-key.error.json").answers_as_usual();
    app.client().generate(MODEL, "hello").await;
    app.key_becomes("k1", "is invalid", |key| key.health.name().eq(&invalid())).await;

    send(&app, Method::PATCH, &path, json!({"state": "disabled"})).await;
    send(&app, Method::PATCH, &path, json!({"state": "active"})).await;
    send(&app, Method::POST, &format!("{path}/verify"), json!({})).await;
    let app = app.stop().await.start().await;

    let events = history(&app, &path, 5).await;
    let expected = [
        ["added", "-", "-", "-", "config"],
        ["state", "active", "invalid", "not_found", "traffic"],
        ["state", "invalid", "disabled", "by_hand", "operator"],
        ["state", "disabled", "invalid", "not_found", "operator"],
        ["state", "invalid", "active", "-", "operator"],
    ];
    assert_eq!(events.iter().map(told).collect::<Vec<_>>(), expected);
    assert_eq!((&events[1]["cause"], &events[4]["cause"]), (&json!("key_invalid"), &json!("verify")));
    assert!(events.iter().all(|event| event["at_ms"].as_i64() > Some(1_700_000_000_000)), "{events:?}");
}

fn invalid() -> gemini_balance::domain::key_event::StateName {
    gemini_balance::domain::key_event::StateName::Invalid
}

#[actix_web::test]
async fn what_concerns_one_model_names_it_and_its_end() {
    let app = start(&["k1"], &[]).await;
    app.upstream.on("k1").reply(429).retry_after(secs(50));
    app.client().generate(MODEL, "hello").await;

    let events = history(&app, &path_of(&app, "k1").await, 2).await;

    let cooling = &events[1];
    assert_eq!(told(cooling), ["model_cooling", "-", "-", "quota_minute", "traffic"]);
    assert_eq!((&cooling["model"], &cooling["times"]), (&json!(MODEL), &json!(1)));
    assert!(cooling["until_ms"].as_i64() > cooling["at_ms"].as_i64(), "{cooling}");
}

#[actix_web::test]
async fn a_key_that_flaps_is_counted_and_does_not_fill_its_history() {
    let app = start(&["k1"], &[]).await;
    let path = path_of(&app, "k1").await;
    for _ in 0..40 {
        send(&app, Method::PATCH, &path, json!({"state": "disabled"})).await;
        send(&app, Method::PATCH, &path, json!({"state": "active"})).await;
    }

    let events = eventually("all of it is written", async || {
        let events = history(&app, &path, 3).await;
        (events[2]["times"] == 40).then_some(events)
    })
    .await;

    assert_eq!(events[1]["times"], 40);
    assert!(events[1]["last_at_ms"].as_i64() >= events[1]["at_ms"].as_i64());
}

#[actix_web::test]
async fn histories_come_by_pages_and_whoever_has_one_is_not_sent_it_again() {
    let app = start(&["k1", "k2"], &[]).await;
    let (one, two) = (path_of(&app, "k1").await, path_of(&app, "k2").await);
    send(&app, Method::PATCH, &one, json!({"state": "disabled"})).await;
    send(&app, Method::PATCH, &two, json!({"state": "disabled"})).await;
    history(&app, &one, 2).await;
    history(&app, &two, 2).await;

    let all = get(&app, &format!("{KEYS}/events?limit=3")).await;
    let first = all.json();
    assert_eq!((&first["total"], first["items"].as_array().map(Vec::len)), (&json!(4), Some(3)));
    let next = first["next_cursor"].as_str().expect("another page");
    let second = get(&app, &format!("{KEYS}/events?limit=3&cursor={next}")).await.json();
    assert_eq!((&second["items"][0]["kind"], &second["next_cursor"]), (&json!("added"), &Value::Null));
    let states = get(&app, &format!("{KEYS}/events?kind=state")).await.json();
    assert_eq!(states["total"], 2);
    assert!(states["items"][0]["masked"].is_string(), "{states}");

    let path = format!("{one}/events");
    let tag = get(&app, &path).await.header("etag").expect("a version").to_owned();
    assert_eq!(app.client_with(ADMIN).get(&path).header("if-none-match", &tag).send().await.status(), 304);
    for (path, status) in [
        (format!("{KEYS}/99/events"), 404),
        (format!("{KEYS}/none/events"), 404),
        (format!("{path}?limit=501"), 400),
        (format!("{path}?cursor=x"), 400),
        (format!("{path}?kind=sung"), 400),
    ] {
        assert_eq!(get(&app, &path).await.status(), status, "{path}");
    }
}

#[actix_web::test]
async fn what_a_key_has_done_is_known_after_a_restart() {
    let app = start(&["k1"], &[]).await;
    let path = path_of(&app, "k1").await;
    app.upstream.on("k1").reply(429).retry_after(secs(1)).answers_as_usual();
    app.client().generate(MODEL, "hello").await;
    app.settled("k1").await;
    let figures = async |app: &TestApp| {
        let key = get(app, &path).await.json();
        ["requests_total", "failures_total", "last_used_at_ms", "last_error"].map(|name| key[name].clone())
    };
    let before =
        eventually("it is counted", async || Some(figures(&app).await).filter(|figures| figures[1] == 1))
            .await;

    let app = app.stop().await.start().await;

    let after =
        eventually("the key is listed", async || Some(figures(&app).await).filter(|f| f[0] != Value::Null))
            .await;
    assert!(after[0].as_u64() >= before[0].as_u64() && before[0].as_u64() >= Some(1), "{before:?} {after:?}");
    assert_eq!((&after[1], &after[3]), (&json!(1), &json!("quota_minute")));
    assert!(after[2].as_i64() >= before[2].as_i64());
}

#[actix_web::test]
async fn a_verified_key_is_in_use_as_the_answer_says() {
    let app = start(&["k1", "k2"], &[]).await;
    let path = path_of(&app, "k1").await;
    app.upstream.on("k1").reply_with("gemini/invalid-key.error.json").answers_as_usual();
    app.client().generate(MODEL, "hello").await;
    app.key_becomes("k1", "is invalid", |key| key.health.name() == invalid()).await;

    let verified = send(&app, Method::POST, &format!("{path}/verify"), json!({})).await.json();

    assert_eq!(
        (&verified["ok"], &verified["key"]["state"], &verified["key"]["reason"]),
        (&json!(true), &json!("active"), &Value::Null),
        "{verified}"
    );
    assert!(verified["key"]["warm_at_ms"].is_i64(), "it gets its share little by little: {verified}");
}

#[actix_web::test]
async fn a_deleted_key_comes_back_as_it_was() {
    let app = start(&["k1", "k2"], &[]).await;
    let path = path_of(&app, "k1").await;
    app.upstream.on("k1").reply_with("gemini/invalid-key.error.json");
    app.client().generate(MODEL, "hello").await;
    app.key_becomes("k1", "is invalid", |key| key.health.name() == invalid()).await;
    send(&app, Method::PATCH, &path, json!({"label": "mine", "tags": ["x"]})).await;
    let before = get(&app, &path).await.json();

    assert_eq!(app.client_with(ADMIN).request(Method::DELETE, &path).send().await.status(), 204);
    assert_eq!(get(&app, &path).await.status(), 404);
    assert_eq!(get(&app, &format!("{path}/events")).await.status(), 200, "its history is still told");
    // Also by another process: nothing but the database knows of it.
    let app = app.stop().await.start().await;
    let restored = send(&app, Method::POST, &format!("{path}/restore"), json!({})).await;

    let after = restored.json();
    assert_eq!(restored.status(), 200, "{after}");
    for name in ["id", "label", "tags", "state", "reason", "origin", "created_at_ms", "failures_total"] {
        assert_eq!(after[name], before[name], "{name}");
    }
    assert_eq!(send(&app, Method::POST, &format!("{path}/restore"), json!({})).await.status(), 404);
}

#[actix_web::test]
async fn a_job_that_deleted_keys_can_be_undone_and_the_keys_serve_again() {
    let app = start(&["k1", "k2"], &[]).await;
    let actions = format!("{KEYS}/actions");
    let started = send(&app, Method::POST, &actions, json!({"action": "delete", "filter": {}})).await;
    let job = ended(&app, &started).await;
    assert_eq!((&job["summary"]["deleted"], &job["can_undo"]), (&json!(2), &json!(true)), "{job}");
    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 503);

    let undo = format!("/api/admin/jobs/{}/undo", job["id"].as_str().expect("an id"));
    let undone = ended(&app, &send(&app, Method::POST, &undo, json!({})).await).await;

    assert_eq!(undone["summary"]["restored"], 2, "{undone}");
    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    assert_eq!(get(&app, KEYS).await.json()["total"], 2);
}

#[actix_web::test]
async fn what_was_purged_cannot_be_brought_back_and_its_secret_is_gone() {
    let app = start(&["k1"], &[]).await;
    let added =
        send(&app, Method::POST, KEYS, json!({"keys": "AIzaSyA-1234567890abcdefghijklmnopqrst1"})).await;
    let id = added.json()["items"][0]["id"].as_i64().expect("an id");
    let path = format!("{KEYS}/{id}");
    assert_eq!(app.client_with(ADMIN).request(Method::DELETE, &path).send().await.status(), 204);

    let purged = app.write(|conn| purge_deleted(conn, i64::MAX)).await;

    assert_eq!(purged, 1);
    assert_eq!(send(&app, Method::POST, &format!("{path}/restore"), json!({})).await.status(), 404);
    let again =
        send(&app, Method::POST, KEYS, json!({"keys": "AIzaSyA-1234567890abcdefghijklmnopqrst1"})).await;
    assert_ne!(again.json()["items"][0]["id"], id, "it is a new key");
}
