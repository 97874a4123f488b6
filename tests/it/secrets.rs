//! Google quotes the key in some refusals; whatever its shape, nobody gets to see it.

use serde_json::{Value, json};

use crate::harness::{MODEL, TestApp, google_error};

/// Of a shape that no rule knows, with characters that Google escapes.
const KEY: &str = "odd/key=of.no.known+shape";

fn refusal() -> Value {
    let mut refusal = google_error(403, "PERMISSION_DENIED", &format!("Consumer ({KEY}) may not do this."));
    refusal["error"]["details"] = json!([{"metadata": {"consumer": KEY}}]);
    refusal
}

/// The refusal as Google writes it.
fn escaped() -> String {
    refusal().to_string().replace('=', "\\u003d").replace('/', "\\/")
}

/// Claims that neither the answer nor the logs show the key, and that there was something to show.
async fn is_hidden(app: &TestApp, answer: &str) {
    app.logs("the request is logged", |rows| !rows.is_empty()).await;
    let errors = app.error_logs().await;
    let logged = errors.iter().map(|error| &*error.message).collect::<Vec<_>>().join("\n");
    assert!(logged.contains("Consumer ([redacted]) may not"), "{logged}");
    for text in [answer, &*logged] {
        assert!(!text.contains("known+shape"), "{text}");
    }
}

#[actix_web::test]
async fn a_refusal_that_quotes_the_key_does_not_show_it() {
    for body in [refusal().to_string(), escaped()] {
        let app = TestApp::with_keys([KEY]).await;
        app.upstream.on(KEY).reply_body(403, "application/json", body);
        is_hidden(&app, app.client().generate(MODEL, "hello").await.text()).await;

        let stream = app.client().stream(MODEL, "hello").await.rest().await;
        is_hidden(&app, stream.text()).await;
        let passed = json!({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]});
        let openai = app.client().post("/openai/v1/chat/completions").json(&passed).send().await;
        is_hidden(&app, openai.text()).await;
    }
}

#[actix_web::test]
async fn a_refusal_of_the_client_is_passed_on_without_the_key() {
    let app = TestApp::with_keys([KEY]).await;
    let mut body = refusal();
    body["error"]["code"] = json!(400);
    body["error"]["status"] = json!("INVALID_ARGUMENT");
    app.upstream.on(KEY).reply_json(400, &body);

    let reply = app.client().generate(MODEL, "hello").await;

    assert_eq!(reply.json()["error"]["message"], "Consumer ([redacted]) may not do this.");
    assert_eq!(reply.json()["error"]["details"][0]["metadata"]["consumer"], "[redacted]");
    is_hidden(&app, reply.text()).await;
}

#[actix_web::test]
async fn an_error_inside_a_stream_that_quotes_the_key_does_not_show_it() {
    let app = TestApp::with_keys([KEY]).await;
    app.upstream.on(KEY).stream().text("one").event(&refusal());
    let gemini = app.client().stream(MODEL, "hello").await.rest().await;
    assert_eq!(gemini.events()[1]["error"]["message"], "Consumer ([redacted]) may not do this.");
    is_hidden(&app, gemini.text()).await;

    let app = TestApp::with_keys([KEY]).await;
    app.upstream.on(KEY).stream().text("one").bytes(format!("data: {}\r\n\r\n", escaped()));
    let openai = app.client().chat_stream(MODEL, "hello").await.rest().await;
    assert!(openai.text().contains("Consumer ([redacted]) may not do this."), "{}", openai.text());
    is_hidden(&app, openai.text()).await;

    let app = TestApp::with_keys([KEY]).await;
    app.upstream.on(KEY).stream().event(&json!({"choices": []})).event(&refusal());
    let passed = json!({"model": MODEL, "stream": true, "messages": [{"role": "user", "content": "hello"}]});
    let passthrough = app.client().post("/openai/v1/chat/completions").json(&passed).send().await;
    is_hidden(&app, passthrough.text()).await;
}

#[actix_web::test]
async fn an_error_inside_a_whole_answer_does_not_show_the_key() {
    let app = TestApp::with_keys([KEY]).await;
    app.upstream.on(KEY).reply_body(200, "application/json", escaped());

    let reply = app.client().generate(MODEL, "hello").await;

    assert!(reply.status() >= 400);
    is_hidden(&app, reply.text()).await;
}
