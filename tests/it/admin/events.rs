//! The stream of events that the dashboard follows.

use actix_web::http::Method;
use serde_json::json;

use super::{ADMIN, app, ask};
use crate::harness::{MODEL, Open, TestApp};

const EVENTS: &str = "/api/admin/events";

async fn start() -> TestApp {
    app(&["k1", "k2"], &[("AUTH_TOKEN", ADMIN)]).await
}

async fn listen(app: &TestApp, topics: &str) -> Open {
    app.client_with(ADMIN).get(&format!("{EVENTS}?topics={topics}")).open().await
}

#[actix_web::test]
async fn the_first_look_tells_how_the_pool_is() {
    let app = start().await;

    let mut events = listen(&app, "figures,settings").await;

    assert_eq!((events.status(), events.header("content-type")), (200, Some("text/event-stream")));
    events.until("event: settings").await;
    assert!(events.so_far().contains("\"active\":"), "{}", events.so_far());
}

#[actix_web::test]
async fn a_key_that_is_switched_off_is_told_of_at_once() {
    let app = start().await;
    let mut events = listen(&app, "keys,settings").await;
    // With the version comes the first look, from which on changes are news.
    events.until("event: settings").await;

    let off = json!({"state": "disabled"});
    app.client_with(ADMIN).request(Method::PATCH, "/api/admin/keys/1").json(&off).send().await;
    events.until("\"to\":\"disabled\"").await;

    let told = events.so_far();
    assert!(told.contains("event: keys") && told.contains("\"reason\":\"by_hand\""), "{told}");
    assert!(!told.contains("\"k1\""), "the secret is told: {told}");
}

#[actix_web::test]
async fn requests_are_told_of_as_they_end_and_to_those_alone_who_ask() {
    let app = start().await;
    let mut events = listen(&app, "requests").await;

    let id = app.client().generate(MODEL, "hello").await.request_id().to_owned();
    events.until(&id).await;

    assert!(events.so_far().starts_with("event: requests"), "{}", events.so_far());
    assert!(!events.so_far().contains("event: figures"));
}

#[actix_web::test]
async fn a_change_of_the_settings_is_told_by_its_version() {
    let app = start().await;
    let mut events = listen(&app, "settings").await;
    events.until("event: settings").await;
    let before = events.so_far().matches("event: settings").count();

    let body = json!({"MAX_RETRIES": 5});
    let changed =
        app.client_with(ADMIN).request(Method::PATCH, "/api/admin/settings").json(&body).send().await;
    let version = changed.json()["version"].clone();

    assert_eq!((changed.status(), before), (200, 1));
    events.until(&format!("{{\"version\":{version}}}")).await;
}

#[actix_web::test]
async fn who_may_not_look_hears_nothing() {
    let app = start().await;

    assert_eq!(app.client().get(EVENTS).send().await.status(), 401);
    let wrong = ask(&app, &format!("{EVENTS}?topics=secrets")).await;
    assert_eq!(wrong.status(), 400);
    assert!(wrong.text().contains("topics"), "{}", wrong.text());
}

#[actix_web::test]
async fn a_page_that_listens_holds_up_no_stop() {
    let app = app(&["k1"], &[("AUTH_TOKEN", ADMIN), ("SHUTDOWN_TIMEOUT_SECONDS", "20")]).await;
    let mut events = listen(&app, "figures").await;
    events.until("event: figures").await;
    let began = std::time::Instant::now();

    app.stop().await;

    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
}
