//! What the administrator learns from the past: figures and both logs, over HTTP.

mod logs;
mod stats;

use gemini_balance::actors::logger::Flush;
use serde_json::Value;

use crate::harness::{Answer, TestApp};

const ADMIN: &str = "sk-administrator-6d1f";

async fn start(keys: &[&str]) -> TestApp {
    TestApp::builder().keys(keys.iter().copied()).setting("AUTH_TOKEN", ADMIN).start().await
}

/// Of the admin API, once everything that was asked of the gateway is in the log.
async fn ask(app: &TestApp, path: &str) -> Answer {
    app.logger().send(Flush).await.expect("the logger lives");
    let request = app.client().anonymous().get(&format!("/api/admin/{path}"));
    request.header("authorization", &format!("Bearer {ADMIN}")).send().await
}

async fn told(app: &TestApp, path: &str) -> Value {
    let answer = ask(app, path).await;
    assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
    answer.json()
}

async fn delete(app: &TestApp, path: &str) -> Answer {
    let path = format!("/api/admin/{path}");
    let request = app.client().anonymous().request(actix_web::http::Method::DELETE, &path);
    request.header("authorization", &format!("Bearer {ADMIN}")).send().await
}

fn items(list: &Value) -> &Vec<Value> {
    list["items"].as_array().unwrap_or_else(|| panic!("no list: {list}"))
}
