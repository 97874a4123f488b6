//! Requests that are sent again under the same `Idempotency-Key`.

use serde_json::{Value, json};

use super::{ADMIN, app};
use crate::harness::{Answer, TestApp};

const KEYS: &str = "/api/admin/keys";
const TOKENS: &str = "/api/admin/tokens";
const ONE: &str = "AIzaSyA-1234567890abcdefghijklmnopqrst1";

async fn start() -> TestApp {
    app(&["k1"], &[("AUTH_TOKEN", ADMIN)]).await
}

async fn post(app: &TestApp, path: &str, key: &str, body: &Value) -> Answer {
    app.client_with(ADMIN).post(path).header("idempotency-key", key).json(body).send().await
}

#[actix_web::test]
async fn an_import_that_is_sent_again_gets_its_first_answer() {
    let app = start().await;
    let body = json!({"keys": ONE});

    let (first, second) = (post(&app, KEYS, "a", &body).await, post(&app, KEYS, "a", &body).await);

    assert_eq!((first.status(), second.status()), (201, 201), "{}", second.text());
    assert_eq!(first.text(), second.text());
    assert_eq!(
        (first.header("idempotency-replayed"), second.header("idempotency-replayed")),
        (None, Some("true"))
    );
    let fresh = post(&app, KEYS, "b", &body).await;
    assert_eq!((fresh.status(), &fresh.json()["duplicate"]), (200, &json!(1)));
}

#[actix_web::test]
async fn a_token_is_made_once_and_an_action_started_once() {
    let app = start().await;
    let spec = json!({"name": "a"});
    let (first, second) = (post(&app, TOKENS, "a", &spec).await, post(&app, TOKENS, "a", &spec).await);
    assert_eq!((first.status(), first.json()), (201, second.json()));
    let listed = app.client_with(ADMIN).get(&format!("{TOKENS}?q=a")).send().await.json();
    let made =
        listed["items"].as_array().expect("tokens").iter().filter(|token| token["name"] == "a").count();
    assert_eq!(made, 1);

    let (actions, body) = (format!("{KEYS}/actions"), json!({"action": "reset", "filter": {}}));
    let (first, second) = (post(&app, &actions, "a", &body).await, post(&app, &actions, "a", &body).await);
    assert_eq!((first.status(), &first.json()["job"]["id"]), (202, &second.json()["job"]["id"]));
    let jobs = app.client_with(ADMIN).get("/api/admin/jobs").send().await.json();
    assert_eq!(jobs["total"], 1);
}

#[actix_web::test]
async fn with_another_body_it_is_refused_and_nothing_is_done() {
    let app = start().await;
    post(&app, KEYS, "a", &json!({"keys": ONE})).await;

    let other = post(&app, KEYS, "a", &json!({"keys": format!("{ONE}2")})).await;

    let error = &other.json()["error"];
    assert_eq!((other.status(), &error["code"]), (422, &json!("invalid")));
    assert!(error["fields"]["Idempotency-Key"].is_string(), "{error}");
    let again = post(&app, KEYS, "b", &json!({"keys": format!("{ONE}2")})).await;
    assert_eq!(again.json()["added"], 1, "it was not there yet");
    for key in ["", "a b", &"x".repeat(256)] {
        assert_eq!(post(&app, KEYS, key, &json!({"keys": ONE})).await.status(), 400, "{key:?}");
    }
}

#[actix_web::test]
async fn a_request_that_was_refused_may_be_mended_under_its_key() {
    let app = start().await;

    assert_eq!(post(&app, TOKENS, "a", &json!({"name": "a", "surprise": 1})).await.status(), 422);
    assert_eq!(
        post(&app, TOKENS, "a", &json!({"name": "a", "time_zone": "Mars/Olympus"})).await.status(),
        422
    );
    assert_eq!(post(&app, TOKENS, "a", &json!({"name": "a"})).await.status(), 201);
}

#[actix_web::test]
async fn an_answer_is_for_those_alone_who_may_ask() {
    let app = start().await;
    let spec = json!({"name": "a"});
    post(&app, TOKENS, "a", &spec).await;

    let stranger = app.client().post(TOKENS).header("idempotency-key", "a").json(&spec).send().await;

    assert_eq!(stranger.status(), 401);
    assert!(!stranger.text().contains("sk-"), "{}", stranger.text());
}
