//! Requests that real client libraries sent, replayed.

use actix_web::http::Method;

use super::names;
use crate::{
    harness::{TOKEN, TestApp, client_requests},
    media::pictures,
};

/// The answers that recorded requests must get: status, and the beginning of the message of an error.
fn expected(call: &str) -> (u16, &'static str) {
    match call {
        "models.retrieve" => (404, "the model `m` does not exist"),
        "batches.create" => (404, "unknown path"),
        _ => (200, ""),
    }
}

#[actix_web::test]
async fn recorded_requests_of_real_clients_are_answered() {
    // A picture by its address is fetched from here.
    let picture = format!("http://127.0.0.1:{}/picture", pictures().await);
    let app = TestApp::builder()
        .setting("MEDIA_FETCH_PRIVATE_HOSTS", "127.0.0.1")
        .token(TOKEN)
        .token("test-key")
        .token("test-token")
        .start()
        .await;
    for file in ["anthropic-python-2.12.0.json", "anthropic-js-1.12.0.json"] {
        for recorded in client_requests(file).unwrap_or_default() {
            let text = |name: &str| recorded[name].as_str().unwrap_or_default().to_owned();
            let (method, call) = (text("method").parse::<Method>().expect("a method"), text("call"));
            let mut request = app.client().anonymous().request(method, &text("target"));
            for name in ["authorization", "anthropic-version", "anthropic-beta", "content-type"] {
                if let Some(value) = recorded["headers"][name].as_str() {
                    request = request.header(name, value);
                }
            }
            if !recorded["body"].is_null() {
                let body = recorded["body"].to_string().replace("https://example.com/a.png", &picture);
                request = request.body(body);
            }

            let reply = request.send().await;

            let (status, beginning) = expected(&call);
            assert_eq!(reply.status(), status, "{file} {call}: {}", reply.text());
            if recorded["body"]["stream"] == true {
                assert_eq!(names(&reply).last().map(String::as_str), Some("message_stop"), "{file} {call}");
            } else if status != 200 {
                let told = reply.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
                assert!(told.starts_with(beginning), "{file} {call}: {told}");
            }
        }
    }
}
