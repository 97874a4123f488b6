//! `/openai/v1`: Google's own OpenAI layer, untouched in both directions.

use actix_web::http::Method;
use serde_json::json;

use crate::harness::{MODEL, TOKEN, TestApp, chat, fixture, google_error, ms, secs};

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
