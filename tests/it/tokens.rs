//! Client tokens that were made while the gateway runs: who comes in, what they may use, and what they are told.

mod admin;
mod limits;

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, MODEL, TestApp};

const ADMIN: &str = "sk-administrator-6d1f";

async fn app(settings: &[(&str, &str)]) -> TestApp {
    let builder = TestApp::builder().keys(["k1"]).setting("AUTH_TOKEN", ADMIN);
    settings.iter().fold(builder, |builder, (name, value)| builder.setting(name, value)).start().await
}

/// Asks as the administrator.
async fn ask(app: &TestApp, method: Method, path: &str, body: Option<&Value>) -> Answer {
    let request = app.client_with(ADMIN).request(method, &format!("/api/admin/{path}"));
    match body {
        Some(body) => request.json(body).send().await,
        None => request.send().await,
    }
}

/// A token with these wishes, and its id.
async fn make(app: &TestApp, mut spec: Value) -> (String, String) {
    if spec.get("name").is_none() {
        spec["name"] = json!("team");
    }
    let made = ask(app, Method::POST, "tokens", Some(&spec)).await;
    assert_eq!(made.status(), 201, "{}", made.text());
    let text = |name: &str| made.json()[name].as_str().expect("a text").to_owned();
    (text("token"), text("id"))
}

async fn change(app: &TestApp, id: &str, changes: Value) -> Answer {
    ask(app, Method::PATCH, &format!("tokens/{id}"), Some(&changes)).await
}

async fn view(app: &TestApp, id: &str) -> Value {
    ask(app, Method::GET, &format!("tokens/{id}"), None).await.json()
}

/// The same question in each dialect.
async fn each_dialect(app: &TestApp, token: &str) -> [Answer; 4] {
    let client = app.client_with(token);
    let messages = json!({
        "model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}],
    });
    let chat = json!({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]});
    [
        client.chat(MODEL, "hello").await,
        client.generate(MODEL, "hello").await,
        client.post("/v1/messages").json(&messages).send().await,
        client.post("/openai/v1/chat/completions").json(&chat).send().await,
    ]
}
