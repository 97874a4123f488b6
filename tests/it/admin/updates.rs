//! The look for a newer release: off unless it is wanted, and bounded.

use std::io::{Read, Write};

use actix_web::http::Method;
use serde_json::{Value, json};

use super::ADMIN;
use crate::harness::{Answer, TestApp, eventually};

/// A server of releases that gives everybody this answer; its address.
fn releases(answer: String) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it listens");
    std::thread::spawn(move || {
        for socket in listener.incoming().take(20) {
            let Ok(mut socket) = socket else { return };
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}/repos/o/n/releases/latest")
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

async fn update(app: &TestApp, is_so: impl Fn(&Value) -> bool) -> Value {
    eventually("the look is done", async || {
        let system = app.client_with(ADMIN).get("/api/admin/system").send().await.json();
        Some(system["update"].clone()).filter(&is_so)
    })
    .await
}

async fn set(app: &TestApp, changes: &Value) -> Answer {
    app.client_with(ADMIN).request(Method::PATCH, "/api/admin/settings").json(changes).send().await
}

fn was_checked(update: &Value) -> bool {
    !update["checked_at_ms"].is_null()
}

#[actix_web::test]
async fn a_newer_release_is_told_where_somebody_wants_to_know() {
    let url = releases(ok(r#"{"tag_name": "v999.1.0", "draft": false}"#));
    let app = TestApp::builder().setting("AUTH_TOKEN", ADMIN).setting("UPDATE_CHECK_URL", &url).start().await;
    let off = update(&app, |_| true).await;
    assert_eq!((&off["enabled"], &off["latest"], was_checked(&off)), (&json!(false), &Value::Null, false));

    assert_eq!(set(&app, &json!({"UPDATE_CHECK": true})).await.status(), 200);

    let told = update(&app, was_checked).await;
    assert_eq!((&told["latest"], &told["is_newer"]), (&json!("999.1.0"), &json!(true)), "{told}");
    let old = releases(ok(r#"[{"tag_name": "v0.0.1"}]"#));
    assert_eq!(set(&app, &json!({"UPDATE_CHECK_URL": old})).await.status(), 200);
    let told = update(&app, |update| update["latest"] == "0.0.1").await;
    assert_eq!(told["is_newer"], false);
}

#[actix_web::test]
async fn what_cannot_be_looked_up_is_said_and_harms_nothing() {
    let large = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 50_000_000);
    let elsewhere = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.2:8080/x\r\ncontent-length: 0\r\n\r\n";
    for (answer, problem) in [
        (large, "larger than the 2 MB"),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(), "answered 404"),
        (ok("<html>"), "tells of no release"),
        (elsewhere.to_owned(), "not on the public internet"),
    ] {
        let app = TestApp::builder().setting("AUTH_TOKEN", ADMIN).setting("UPDATE_CHECK", "true");
        let app = app.setting("UPDATE_CHECK_URL", &releases(answer)).start().await;

        let told = update(&app, was_checked).await;

        assert!(told["error"].as_str().is_some_and(|error| error.contains(problem)), "{told}");
        assert_eq!(told["is_newer"], false);
    }
}

#[actix_web::test]
async fn without_an_address_it_cannot_be_switched_on() {
    let app = TestApp::builder().setting("AUTH_TOKEN", ADMIN).start().await;

    let refused = set(&app, &json!({"UPDATE_CHECK": true})).await;

    assert_eq!(refused.status(), 422);
    assert_eq!(refused.json()["error"]["fields"], json!({"UPDATE_CHECK_URL": "is needed for UPDATE_CHECK"}));
}
