//! Keys in the hands of an admin: added, changed, switched off and deleted while the gateway serves.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{ADMIN, app};
use crate::harness::{Answer, MODEL, TestApp, eventually};

const KEYS: &str = "/api/admin/keys";
const ONE: &str = "AIzaSyA-1234567890abcdefghijklmnopqrst1";
const TWO: &str = "AIzaSyA-1234567890abcdefghijklmnopqrst2";

async fn start(keys: &[&str]) -> TestApp {
    app(keys, &[("AUTH_TOKEN", ADMIN)]).await
}

async fn get(app: &TestApp, path: &str) -> Answer {
    app.client_with(ADMIN).get(path).send().await
}

async fn send(app: &TestApp, method: Method, path: &str, body: Value) -> Answer {
    app.client_with(ADMIN).request(method, path).json(&body).send().await
}

/// The list once it has so many keys: the directory hears of them soon.
async fn listed(app: &TestApp, query: &str, total: usize) -> Value {
    eventually("the keys are listed", async || {
        let list = get(app, &format!("{KEYS}{query}")).await.json();
        (list["total"] == total).then_some(list)
    })
    .await
}

async fn ended(app: &TestApp, job: &Value) -> Value {
    let path = format!("/api/admin/jobs/{}", job["job"]["id"].as_str().expect("a job"));
    eventually("the job ends", async || {
        let job = get(app, &path).await.json();
        (job["state"] != "running").then_some(job)
    })
    .await
}

#[actix_web::test]
async fn keys_pasted_in_any_text_serve_at_once_and_again_are_duplicates() {
    let app = start(&[]).await;
    let text = format!("my keys:\n{ONE} project=alpha, and \"{TWO}\"\nAIzaSyB…wxyz");
    let dry = send(&app, Method::POST, KEYS, json!({"keys": text, "dry_run": true})).await;
    assert_eq!((dry.status(), &dry.json()["added"]), (200, &json!(2)), "{}", dry.text());
    assert_eq!(get(&app, KEYS).await.json()["total"], 0, "nothing was added");

    let added = send(&app, Method::POST, KEYS, json!({"keys": text, "tags": ["new"], "tier": "free"})).await;

    let told = added.json();
    assert_eq!((added.status(), &told["added"], &told["rejected"]), (201, &json!(2), &json!(1)), "{told}");
    assert!(!added.text().contains("1234567890"), "{}", added.text());
    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    let again = send(&app, Method::POST, KEYS, json!({"keys": [ONE, TWO]})).await;
    assert_eq!((again.status(), &again.json()["duplicate"]), (200, &json!(2)));
    let list = listed(&app, "?tag=new&project=alpha", 1).await;
    assert_eq!((&list["items"][0]["tier"], &list["counts"]["all"]), (&json!("free"), &json!(2)));
}

#[actix_web::test]
async fn a_disabled_key_gets_no_request_until_it_is_enabled() {
    let app = start(&["k1", "k2"]).await;
    listed(&app, "", 2).await;
    app.catalogue_is_fetched().await;
    let path = format!("{KEYS}/{}", app.key_id("k1").await);

    let off = send(&app, Method::PATCH, &path, json!({"state": "disabled"})).await;

    assert_eq!((off.status(), &off.json()["state"]), (200, &json!("disabled")), "{}", off.text());
    let before = app.upstream.calls_with("k1");
    for _ in 0..4 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    }
    assert_eq!(app.upstream.calls_with("k1"), before);
    let app = app.stop().await.start().await;
    assert_eq!(
        listed(&app, "?state=disabled", 1).await["items"][0]["reason"],
        "by_hand",
        "it outlives a restart"
    );
    let on = send(&app, Method::PATCH, &path, json!({"state": "active", "label": "<b>=1+1</b>"})).await;
    assert_eq!(
        (on.status(), &on.json()["state"], &on.json()["label"]),
        (200, &json!("active"), &json!("<b>=1+1</b>"))
    );
    for _ in 0..2 {
        app.client().generate(MODEL, "hello").await;
    }
    assert!(app.upstream.calls_with("k1") > before);
}

#[actix_web::test]
async fn a_deleted_key_is_gone_also_after_a_restart_with_the_same_configuration() {
    let app = start(&["k1", "k2"]).await;
    listed(&app, "", 2).await;
    app.catalogue_is_fetched().await;
    let path = format!("{KEYS}/{}", app.key_id("k1").await);

    assert_eq!(app.client_with(ADMIN).request(Method::DELETE, &path).send().await.status(), 204);

    assert_eq!(get(&app, &path).await.status(), 404);
    let before = app.upstream.calls_with("k1");
    for _ in 0..3 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    }
    assert_eq!(app.upstream.calls_with("k1"), before);
    let app = app.stop().await.start().await;
    listed(&app, "", 1).await;
}

#[actix_web::test]
async fn of_two_admins_the_later_sees_that_somebody_was_faster() {
    let app = start(&["k1"]).await;
    listed(&app, "", 1).await;
    let path = format!("{KEYS}/{}", app.key_id("k1").await);
    let tag = get(&app, &path).await.header("etag").expect("a version").to_owned();
    let change = async |label: &str| {
        let request = app.client_with(ADMIN).request(Method::PATCH, &path).header("if-match", &tag);
        request.json(&json!({"label": label})).send().await.status()
    };

    assert_eq!(change("first").await, 200);
    assert_eq!(change("second").await, 412);
    assert_eq!(get(&app, &path).await.json()["label"], "first");
}

#[actix_web::test]
async fn changes_at_the_same_moment_lose_nothing() {
    let app = start(&["k1"]).await;
    listed(&app, "", 1).await;
    let path = format!("{KEYS}/{}", app.key_id("k1").await);
    let actions = format!("{KEYS}/actions");
    for round in 0..5 {
        let tag = format!("round-{round}");
        let tagged = json!({"action": "update", "filter": {}, "changes": {"tags_add": [tag]}});
        let (label, weight) = (json!({"label": tag}), json!({"weight": round + 1}));

        let (labelled, weighted, job) = tokio::join!(
            send(&app, Method::PATCH, &path, label),
            send(&app, Method::PATCH, &path, weight),
            send(&app, Method::POST, &actions, tagged),
        );

        assert_eq!((labelled.status(), weighted.status()), (200, 200));
        assert_eq!(ended(&app, &job.json()).await["summary"]["updated"], 1);
        let key = get(&app, &path).await.json();
        assert_eq!((&key["label"], &key["weight"]), (&json!(tag), &json!(round + 1)), "{key}");
        assert_eq!(key["tags"].as_array().map(Vec::len), Some(round + 1), "{key}");
    }
    let version = get(&app, &path).await.header("etag").expect("a version").to_owned();
    let change = async |label: &str| {
        let request = app.client_with(ADMIN).request(Method::PATCH, &path).header("if-match", &version);
        request.json(&json!({"label": label})).send().await.status()
    };
    let (one, other) = tokio::join!(change("one"), change("other"));
    assert_eq!([one.min(other), one.max(other)], [200, 412]);
}

#[actix_web::test]
async fn a_rest_by_hand_never_shortens_a_longer_one_and_is_taken_back_as_it_was() {
    let app = start(&["k1", "k2"]).await;
    listed(&app, "", 2).await;
    let path = format!("{KEYS}/{}", app.key_id("k1").await);
    send(&app, Method::PATCH, &path, json!({"state": "disabled"})).await;
    let actions = format!("{KEYS}/actions");
    let hour = gemini_balance::domain::time::Now::read().unix_ms() + 3_600_000;
    let rest = json!({"action": "disable", "until_ms": hour, "filter": {"state": ["active", "disabled"]}});

    let started = send(&app, Method::POST, &actions, rest).await;
    let job = ended(&app, &started.json()).await;

    assert_eq!((&job["summary"]["disabled"], &job["summary"]["unchanged"]), (&json!(1), &json!(1)), "{job}");
    assert_eq!(get(&app, &path).await.json()["until_ms"], json!(null));

    let for_good = json!({"action": "disable", "filter": {"state": ["disabled"]}});
    let job = ended(&app, &send(&app, Method::POST, &actions, for_good).await.json()).await;
    let undo = format!("/api/admin/jobs/{}/undo", job["id"].as_str().expect("an id"));
    ended(&app, &send(&app, Method::POST, &undo, json!({})).await.json()).await;
    let other = format!("{KEYS}/{}", app.key_id("k2").await);
    let until = get(&app, &other).await.json()["until_ms"].as_i64().expect("it is back by itself");
    // Two clocks are read for it.
    assert!((until - hour).abs() < 1000, "{until} {hour}");
    assert_eq!(get(&app, &path).await.json()["state"], "disabled");
}

#[actix_web::test]
async fn an_action_over_a_filter_runs_as_a_job_and_can_be_undone() {
    let app = start(&["k1", "k2", "k3"]).await;
    listed(&app, "", 3).await;
    let actions = format!("{KEYS}/actions");

    let started = send(&app, Method::POST, &actions, json!({"action": "disable", "filter": {}})).await;
    assert_eq!(started.status(), 202, "{}", started.text());
    let job = ended(&app, &started.json()).await;
    assert_eq!(
        (&job["done"], &job["summary"]["disabled"], &job["can_undo"]),
        (&json!(3), &json!(3), &json!(true)),
        "{job}"
    );
    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 503);

    let undo = format!("/api/admin/jobs/{}/undo", job["id"].as_str().expect("an id"));
    let undone = send(&app, Method::POST, &undo, json!({})).await;
    assert_eq!(ended(&app, &undone.json()).await["summary"]["enabled"], 3);
    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    assert_eq!(send(&app, Method::POST, &undo, json!({})).await.status(), 409);
    for body in [
        json!({"action": "disable"}),
        json!({"action": "fly", "filter": {}}),
        json!({"action": "update", "filter": {}}),
    ] {
        assert_eq!(send(&app, Method::POST, &actions, body.clone()).await.status(), 422, "{body}");
    }
}

#[actix_web::test]
async fn a_check_asks_google_and_acts_on_the_answer() {
    let app = start(&["k1", "k2"]).await;
    listed(&app, "", 2).await;
    app.catalogue_is_fetched().await;
    let verify = async |key: &str| {
        let path = format!("{KEYS}/{}/verify", app.key_id(key).await);
        app.client_with(ADMIN).post(&path).send().await.json()
    };

    assert_eq!(verify("k1").await["outcome"], "accepted");
    app.upstream.on("k2").reply_with("gemini/invalid-key.error.json");
    let refused = verify("k2").await;
    assert_eq!((&refused["ok"], &refused["outcome"]), (&json!(false), &json!("refused")), "{refused}");
    assert_eq!(listed(&app, "?state=invalid", 1).await["items"][0]["id"], refused["key"]["id"]);
}

#[actix_web::test]
async fn a_secret_is_told_to_whoever_asks_for_it_alone_and_no_cell_is_a_formula() {
    let app = start(&[ONE]).await;
    listed(&app, "", 1).await;
    let path = format!("{KEYS}/{}", app.key_id(ONE).await);
    send(&app, Method::PATCH, &path, json!({"label": "=HYPERLINK(\"http://evil\")"})).await;

    for shown in [
        get(&app, &path).await,
        get(&app, KEYS).await,
        get(&app, &format!("{KEYS}/export?masked=true")).await,
    ] {
        assert!(shown.status() == 200 && !shown.text().contains(ONE), "{}", shown.text());
    }
    let revealed = app.client_with(ADMIN).post(&format!("{path}/reveal")).send().await;
    assert_eq!(revealed.json(), json!({"key": ONE}));
    let csv = get(&app, &format!("{KEYS}/export?format=csv")).await;
    assert!(csv.text().contains("\"'=HYPERLINK(\"\"http://evil\"\")\""), "{}", csv.text());
    assert_eq!(csv.header("content-disposition"), Some("attachment; filename=\"keys.csv\""));
    assert_eq!(get(&app, &format!("{KEYS}/export")).await.text(), format!("{ONE}\n"));
}

#[actix_web::test]
async fn what_cannot_be_read_is_refused_by_its_name() {
    let app = start(&["k1"]).await;
    for (query, name) in [
        ("limit=501", "limit"),
        ("sort=colour", "sort"),
        ("nonsense=1", "nonsense"),
        ("cursor=x", "cursor"),
        ("state=gone", "state"),
    ] {
        let reply = get(&app, &format!("{KEYS}?{query}")).await;
        let error = &reply.json()["error"];
        assert_eq!((reply.status(), &error["code"]), (400, &json!("invalid_request")), "{query}");
        assert!(error["fields"][name].is_string(), "{error}");
    }
    assert_eq!(get(&app, &format!("{KEYS}/none")).await.status(), 404);
    assert_eq!(get(&app, "/api/admin/jobs/none").await.status(), 404);
    let huge = vec![b' '; 20_000_000];
    let reply =
        app.client_with(ADMIN).post(KEYS).header("content-type", "application/json").body(huge).send().await;
    assert_eq!((reply.status(), &reply.json()["error"]["code"]), (413, &json!("too_large")));
    listed(&app, "", 1).await;
    let path = format!("{KEYS}/{}", app.key_id("k1").await);
    for body in [
        json!({"weight": 0}),
        json!({"label": "x".repeat(101)}),
        json!({"tags": ["a,b"]}),
        json!({"until_ms": 5}),
        json!({"models": {"only": ["a b"]}}),
        json!({"project": "a/b"}),
    ] {
        assert_eq!(send(&app, Method::PATCH, &path, body.clone()).await.status(), 422, "{body}");
    }
}
