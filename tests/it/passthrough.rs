//! `/openai/v1`: Google's own OpenAI layer, untouched in both directions.

use actix_web::http::Method;
use serde_json::json;

use crate::harness::{MODEL, Reply, TOKEN, TestApp, chat, fixture, google_error, ms, secs};

const CHAT: &str = "/openai/v1/chat/completions";

#[actix_web::test]
async fn bodies_pass_byte_by_byte_both_ways() {
    const ODD: &str =
        "{ \"model\":\"gemini-2.5-flash\",\r\n \"messages\" :[],\"new\":1.0,\"stream\":false }\n";
    let app = TestApp::with_keys(["k1"]).await;

    let reply = app.client().post(CHAT).header("content-type", "application/json").body(ODD).send().await;

    assert_eq!(reply.body, fixture("openai/chat.response.json"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let sent = app.upstream.last_request();
    assert_eq!((&*sent.method, &*sent.target), ("POST", "/v1beta/openai/chat/completions"));
    assert_eq!(sent.body, ODD);
}

#[actix_web::test]
async fn streams_pass_event_by_event() {
    let app = TestApp::with_keys(["k1"]).await;
    let body = json!({"model": MODEL, "stream": true, "messages": []});

    let whole = app.client().post(CHAT).json(&body).send().await;
    assert_eq!(whole.header("content-type"), Some("text/event-stream"));
    assert_eq!(whole.body, fixture("openai/chat.chunks.txt"));

    app.upstream.on("k1").stream().bytes("data: {\"choices\":[]}\n\n").hang();
    let mut begun = app.client().post(CHAT).json(&body).open().await;
    begun.until("choices").await;
}

#[actix_web::test]
async fn the_key_is_the_only_credential_and_openais_own_headers_stay_here() {
    let app = TestApp::with_keys(["k1"]).await;

    let reply = app
        .client()
        .post(CHAT)
        .header("openai-organization", "org-1")
        .header("openai-project", "proj-1")
        .header("x-api-key", TOKEN)
        .header("accept", "application/json")
        .json(&chat(MODEL, "hello"))
        .send()
        .await;

    assert_eq!(reply.status(), 200);
    let sent = app.upstream.last_request();
    assert_eq!(sent.header("authorization"), Some("Bearer k1"));
    assert_eq!(sent.header("accept"), Some("application/json"));
    for name in ["openai-organization", "openai-project", "x-goog-api-key", "x-api-key"] {
        assert_eq!(sent.header(name), None, "{name}");
    }
    assert!(!format!("{sent:?}").contains(TOKEN), "{sent:?}");
}

#[actix_web::test]
async fn no_credential_of_the_client_passes_in_the_query() {
    let app = TestApp::with_keys(["k1"]).await;

    app.client().post(&format!("{CHAT}?key={TOKEN}&x=1")).json(&chat(MODEL, "hello")).send().await;

    assert_eq!(app.upstream.last_request().target, "/v1beta/openai/chat/completions?x=1");
}

#[actix_web::test]
async fn escaped_characters_of_a_path_stay_escaped() {
    let app = TestApp::with_keys(["k1"]).await;

    for path in ["/files/a%20b", "/files/a%3Fx=1", "/files/a%2Fb?y=%20", "/files/%41"] {
        app.client().get(&format!("/openai/v1{path}")).send().await;
        assert_eq!(app.upstream.last_request().target, format!("/v1beta/openai{path}"));
    }
}

#[actix_web::test]
async fn no_path_leads_out_of_googles_openai_layer() {
    let app = TestApp::with_keys(["k1"]).await;

    for path in ["/../files", "/a/%2e%2E/../files", "/./x"] {
        let reply = app.client().get(&format!("/openai/v1{path}")).send().await;
        assert_eq!((reply.status(), &reply.json()["error"]["code"]), (404, &json!("unknown_url")), "{path}");
    }

    assert_eq!(app.upstream.attempts().len(), 0);
}

#[actix_web::test]
async fn a_hidden_model_is_refused_here_too() {
    let app = TestApp::builder().setting("FILTERED_MODELS", "hidden-1").start().await;

    let call = |name: &str| app.client().post(CHAT).json(&chat(name, "hello"));
    for request in [
        call("hidden-1"),
        call("models/hidden-1"),
        call("google/hidden-1"),
        app.client().get("/openai/v1/models/hidden-1"),
    ] {
        let reply = request.send().await;
        assert_eq!((reply.status(), &reply.json()["error"]["code"]), (404, &json!("model_not_found")));
    }

    assert_eq!(app.upstream.attempts().len(), 0);
}

#[actix_web::test]
async fn any_path_and_method_passes() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply_body(200, "application/json", "{\"object\":\"list\"}");

    for (method, path) in
        [(Method::GET, "/models"), (Method::DELETE, "/files/f-1"), (Method::POST, "/embeddings?x=1")]
    {
        let reply = app.client().request(method.clone(), &format!("/openai/v1{path}")).send().await;

        assert_eq!(reply.text(), "{\"object\":\"list\"}", "{path}");
        let sent = app.upstream.last_request();
        assert_eq!((sent.method, sent.target), (method.to_string(), format!("/v1beta/openai{path}")));
    }
}

#[actix_web::test]
async fn a_rate_limited_key_hands_over_here_too() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    app.upstream.on("k1").reply(429).retry_after(secs(30));

    for stream in [false, true] {
        let mut body = chat(MODEL, "hello");
        body["stream"] = json!(stream);
        let reply = app.client().post(CHAT).json(&body).send().await;
        assert_eq!(reply.status(), 200);
    }

    assert_eq!(app.upstream.attempts(), ["k1", "k2", "k2"]);
}

#[actix_web::test]
async fn errors_are_told_as_openai_would() {
    let app = TestApp::with_keys(["k1"]).await;
    let refusal = json!([google_error(400, "INVALID_ARGUMENT", "Invalid value at 'messages'.")]);
    app.upstream.on("k1").reply_json(400, &refusal);

    let reply = app.client().post(CHAT).json(&chat(MODEL, "hello")).send().await;

    let error = &reply.json()["error"];
    assert_eq!((reply.status(), &error["type"]), (400, &json!("invalid_request_error")));
    assert_eq!(error["message"], "Invalid value at 'messages'.");
}

#[actix_web::test]
async fn a_stream_that_is_cut_ends_with_an_error() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").stream().bytes("data: {\"choices\":[]}\n\n").cut();

    let reply = app.client().post(CHAT).json(&json!({"model": MODEL, "stream": true})).send().await;

    let events = reply.events();
    assert_eq!((events.len(), &events[1]["error"]["type"]), (2, &json!("server_error")));
    assert!(!reply.text().contains("[DONE]"), "{}", reply.text());
}

#[actix_web::test]
async fn silence_is_filled_with_comments() {
    let app = TestApp::builder().setting("STREAM_HEARTBEAT_SECONDS", "0.1").start().await;
    app.upstream.on("k1").stream().bytes(fixture("openai/chat.chunks.txt")).after(ms(350));

    let reply = app.client().post(CHAT).json(&json!({"model": MODEL, "stream": true})).send().await;

    assert!(reply.text().starts_with(": keep-alive\n\n"), "{}", reply.text());
    assert_eq!(reply.data().len(), 3);
}

/// Google's OpenAI layer takes no key; the rest of Google is well.
fn refuse_the_layer(app: &TestApp) {
    let words = "Multiple authentication credentials received. Please pass only one.";
    app.upstream.replies(move |request| {
        let refusal = google_error(400, "INVALID_ARGUMENT", words);
        request.target.contains("/openai/").then(|| Reply::json(400, &refusal))
    });
}

fn layers_calls(app: &TestApp) -> usize {
    app.upstream.requests().iter().filter(|request| request.target.contains("/openai/")).count()
}

#[actix_web::test]
async fn where_the_layer_takes_no_key_the_gateway_converts_and_nobody_is_blamed() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    refuse_the_layer(&app);
    for stream in [true, false] {
        let mut body = chat(MODEL, "hello");
        body["stream"] = stream.into();

        let reply = app.client().post(CHAT).json(&body).send().await;

        assert_eq!(reply.status(), 200, "{}", reply.text());
        assert!(reply.text().contains("Hello"), "{}", reply.text());
        let row = app.log_of(&reply).await;
        assert_eq!((row.status, &*row.endpoint, row.error), (200, "pass-through", None));
    }
    assert_eq!(layers_calls(&app), 2, "one look with each key, and then it is left alone");

    let embedded = json!({"model": "gemini-embedding-2", "input": "3", "encoding_format": "float"});
    let embedded = app.client().post("/openai/v1/embeddings").json(&embedded).send().await;
    assert_eq!(embedded.json()["data"][0]["embedding"], json!([3.0, 1.0]));
    assert_eq!(app.client().get("/openai/v1/models").send().await.json()["object"], "list");
    let one = app.client().get(&format!("/openai/v1/models/{MODEL}")).send().await;
    assert_eq!(one.json()["id"], MODEL);
    assert_eq!(layers_calls(&app), 2);
    // What only Google can do is still its own.
    assert!(app.client().get("/openai/v1/files").send().await.status() >= 400);
    assert!(layers_calls(&app) > 2);
    for key in ["k1", "k2"] {
        assert_eq!(app.settled(key).await.tally.failures, 0);
    }
}

#[actix_web::test]
async fn the_operator_may_forward_always_or_never() {
    let forward = TestApp::builder().setting("OPENAI_PASSTHROUGH", "forward").start().await;
    refuse_the_layer(&forward);
    let convert = TestApp::builder().setting("OPENAI_PASSTHROUGH", "convert").start().await;

    let forwarded = forward.client().post(CHAT).json(&chat(MODEL, "hello")).send().await;
    let converted = convert.client().post(CHAT).json(&chat(MODEL, "hello")).send().await;

    assert!(forwarded.status() >= 400 && forwarded.json()["error"]["message"].is_string());
    assert_eq!(converted.json()["choices"][0]["message"]["content"], "Hello there");
    assert_eq!(layers_calls(&convert), 0);
    assert!(convert.upstream.last_request().target.ends_with(":generateContent"));
    convert.client().get("/openai/v1/files").send().await;
    assert_eq!(layers_calls(&convert), 1);
}
