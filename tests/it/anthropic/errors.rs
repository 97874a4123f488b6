//! What goes wrong, in the words of Anthropic's server.

use serde_json::{Value, json};

use super::{COUNT, MESSAGES, ask, message, names, said};
use crate::harness::{MODEL, TestApp, google_error, secs};

#[actix_web::test]
async fn bad_requests_get_the_errors_of_anthropics_server() {
    let app = TestApp::with_keys(["k1"]).await;
    let post = |path: &str, body: Value| app.client().post(path).json(&body);
    let anonymous = || app.client().anonymous().post(MESSAGES).json(&message(json!({})));
    let result = json!([{"type": "tool_result", "tool_use_id": "toolu_x", "content": "y"}]);
    let cases = [
        (
            app.client().post(MESSAGES).header("content-type", "application/json").body("{"),
            400,
            "invalid_request_error",
            "The request body is not valid JSON",
        ),
        (
            post(MESSAGES, json!({"model": MODEL, "max_tokens": 9})),
            400,
            "invalid_request_error",
            "messages: Field required",
        ),
        (
            post(MESSAGES, json!({"model": MODEL, "messages": []})),
            400,
            "invalid_request_error",
            "messages: at least one message is required",
        ),
        (
            post(MESSAGES, message(json!({"max_tokens": null}))),
            400,
            "invalid_request_error",
            "max_tokens: Field required",
        ),
        (
            post(MESSAGES, message(json!({"messages": [{"role": "user", "content": result}]}))),
            400,
            "invalid_request_error",
            "messages.0.content.0: unexpected `tool_use_id`",
        ),
        (
            post(MESSAGES, message(json!({"mcp_servers": [{"url": "https://x"}]}))),
            400,
            "invalid_request_error",
            "mcp_servers: Not supported by Gemini",
        ),
        (
            post(COUNT, json!({"model": MODEL, "messages": [{"role": "user", "content": 1}]})),
            400,
            "invalid_request_error",
            "messages.0.content: Input should be",
        ),
        (
            post(MESSAGES, message(json!({"model": "a b"}))),
            400,
            "invalid_request_error",
            "model: `a b` is not a model name",
        ),
        (
            post(MESSAGES, message(json!({"model": "gemini-pro-vision"}))),
            404,
            "not_found_error",
            "the model `gemini-pro-vision`",
        ),
        (anonymous(), 401, "authentication_error", "no API key was sent"),
        (
            anonymous().header("x-api-key", "sk-no"),
            401,
            "authentication_error",
            "the API key is not valid here",
        ),
        (app.client().get(MESSAGES), 405, "invalid_request_error", "GET is not allowed"),
        (post("/v1/messages/batches", json!({})), 404, "not_found_error", "unknown path"),
        (post("/anthropic/v1/nothing", json!({})), 404, "not_found_error", "unknown path"),
        (
            app.client().post(MESSAGES).header("content-type", "text/plain").body("{}"),
            415,
            "invalid_request_error",
            "unsupported content type",
        ),
    ];
    for (request, status, kind, beginning) in cases {
        let reply = request.send().await;

        let error = reply.json();
        assert_eq!((reply.status(), &error["type"]), (status, &json!("error")), "{beginning}: {error}");
        assert_eq!(error["error"]["type"], kind, "{error}");
        assert!(
            error["error"]["message"].as_str().is_some_and(|text| text.starts_with(beginning)),
            "{error}"
        );
        assert_eq!(error["request_id"].as_str(), reply.header("request-id"), "{error}");
        assert_eq!(error["request_id"], format!("req_{}", reply.request_id()));
    }
    assert_eq!(app.upstream.attempts().len(), 0);
}

#[actix_web::test]
async fn a_thread_is_refused_so_that_the_sdks_go_on_without() {
    let app = TestApp::with_keys(["k1"]).await;

    let reply = ask(&app, &message(json!({"thread": {"type": "create"}}))).await;

    let details = json!({"error_code": "thread_unsupported_request", "unsupported": ["thread"]});
    assert_eq!((reply.status(), &reply.json()["error"]["details"]), (400, &details));
}

#[actix_web::test]
async fn googles_errors_are_told_as_anthropics() {
    let too_long = google_error(
        400,
        "INVALID_ARGUMENT",
        "The input token count (12) exceeds the maximum number of tokens allowed (10).",
    );
    let cases = [
        (google_error(400, "INVALID_ARGUMENT", "bad"), 400, "invalid_request_error", "bad"),
        (too_long, 400, "invalid_request_error", "prompt is too long: 12 tokens > 10 maximum"),
        (
            google_error(404, "NOT_FOUND", "models/x is not found"),
            404,
            "not_found_error",
            "models/x is not found",
        ),
        (google_error(500, "INTERNAL", "oops"), 500, "api_error", "oops"),
        (google_error(503, "UNAVAILABLE", "busy"), 529, "overloaded_error", "busy"),
        (google_error(504, "DEADLINE_EXCEEDED", "late"), 504, "timeout_error", "late"),
    ];
    for (body, status, kind, text) in cases {
        let app = TestApp::builder().setting("MAX_RETRIES", "1").start().await;
        let googles = body["error"]["code"].as_u64().expect("a status") as u16;
        app.upstream.on("k1").reply_json(googles, &body);

        for stream in [false, true] {
            let reply = ask(&app, &message(json!({"stream": stream}))).await;

            let error = reply.json()["error"].clone();
            assert_eq!((reply.status(), error), (status, json!({"type": kind, "message": text})));
        }
    }
}

#[actix_web::test]
async fn spent_quotas_are_a_rate_limit_with_its_time() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply(429).retry_after(secs(18));

    let reply = ask(&app, &message(json!({}))).await;

    assert_eq!((reply.status(), &reply.json()["error"]["type"]), (429, &json!("rate_limit_error")));
    assert_eq!(reply.header("x-should-retry"), None);
    let wait: u64 = reply.header("retry-after").expect("it says when").parse().expect("in seconds");
    assert!((17..=19).contains(&wait), "{wait}");
}

#[actix_web::test]
async fn a_stream_that_breaks_off_ends_with_an_error_event() {
    let garbage = || "data: {\"candidates\": 7}\r\n\r\n".to_owned();
    let busy = google_error(503, "UNAVAILABLE", "busy");
    for (bytes, kind) in [
        (None, "api_error"),
        (Some(garbage()), "api_error"),
        (Some(format!("data: {busy}\r\n\r\n")), "overloaded_error"),
    ] {
        let app = TestApp::with_keys(["k1"]).await;
        let script = app.upstream.on("k1").stream().text("one");
        match &bytes {
            None => script.cut(),
            Some(bytes) => script.bytes(bytes.clone()).finish("never"),
        };

        let reply = ask(&app, &message(json!({"stream": true}))).await;

        let names = names(&reply);
        assert_eq!((reply.status(), said(&reply).as_str()), (200, "one"), "{bytes:?}");
        assert_eq!(names.last().map(String::as_str), Some("error"), "{names:?}");
        assert!(!names.iter().any(|name| name == "message_stop"));
        let last = reply.events().pop().expect("an event");
        assert_eq!(
            (&last["error"]["type"], &last["request_id"]),
            (&json!(kind), &json!(format!("req_{}", reply.request_id())))
        );
    }
}

#[actix_web::test]
async fn a_failing_key_is_hidden_until_there_is_content() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    app.upstream.on("k1").stream().event(&json!({"candidates": [{"content": {}}]})).cut();

    let reply = ask(&app, &message(json!({"stream": true}))).await;

    assert_eq!(
        (said(&reply).as_str(), app.upstream.attempts()),
        ("Hello there", vec!["k1".to_owned(), "k2".to_owned()])
    );
}

#[actix_web::test]
async fn a_blocked_prompt_is_a_refusal() {
    let app = TestApp::with_keys(["k1"]).await;
    let blocked = json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3}});

    app.upstream.on("k1").reply_json(200, &blocked);
    let whole = ask(&app, &message(json!({}))).await;
    app.upstream.on("k1").stream().event(&blocked);
    let streamed = ask(&app, &message(json!({"stream": true}))).await;

    assert_eq!((whole.status(), &whole.json()["stop_reason"]), (200, &json!("refusal")));
    assert_eq!(whole.json()["stop_details"]["type"], "refusal");
    assert_eq!(names(&streamed), ["message_start", "message_delta", "message_stop"]);
    assert_eq!(streamed.events()[1]["delta"]["stop_reason"], "refusal");
}
