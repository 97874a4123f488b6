//! Streams: held until there is content, alive while Google is silent, and ended honestly.

use serde_json::{Value, json};

use crate::harness::{MODEL, TestApp, event, google_error, last_event, ms, prompt, secs};

const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";

fn overloaded() -> Value {
    google_error(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")
}

fn strings<const N: usize>(strings: [&str; N]) -> Vec<String> {
    strings.map(str::to_owned).into()
}

/// An event that shows nothing yet.
fn silent_event() -> Value {
    json!({"candidates": [{"content": {"role": "model"}, "index": 0}], "modelVersion": MODEL})
}

/// A gateway that gives a sign of life after a tenth of a second.
async fn lively(keys: &[&str]) -> TestApp {
    TestApp::builder().keys(keys.iter().copied()).setting("STREAM_HEARTBEAT_SECONDS", "0.1").start().await
}

#[actix_web::test]
async fn a_stream_arrives_as_it_was_sent() {
    const ODD: &str = r#"{"candidates" : [{"content":{"parts":[{"text":"a"}]}}], "x":1.0}"#;
    let app = TestApp::with_keys(["k1"]).await;
    let sent = format!("data: {ODD}\r\n\r\ndata: {}\r\n\r\n", last_event("b"));
    app.upstream.on("k1").stream().bytes(sent.clone());

    let reply = app.client().stream(MODEL, "hello").await;

    assert_eq!(reply.status(), 200);
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    assert_eq!(reply.header("cache-control"), Some("no-cache"));
    assert_eq!(reply.header("x-accel-buffering"), Some("no"));
    assert_eq!(reply.rest().await.text(), sent);
}

#[actix_web::test]
async fn every_event_leaves_at_once() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").stream().text("one").hang();

    for mut reply in
        [app.client().stream(MODEL, "hello").await, app.client().chat_stream(MODEL, "hello").await]
    {
        reply.until("\"one\"").await;
    }
}

#[actix_web::test]
async fn an_error_before_the_first_content_moves_on_unseen() {
    for failing in ["bare", "event", "status", "cut"] {
        let app = TestApp::with_keys(["k1", "k2"]).await;
        let script = app.upstream.on("k1");
        match failing {
            "bare" => script.stream().event(&silent_event()).bytes(format!("{:#}", overloaded())),
            "event" => script.stream().event(&silent_event()).event(&overloaded()),
            "status" => script.reply(503),
            _ => script.stream().event(&silent_event()).cut(),
        };
        app.upstream.on("k2").stream().text("well").finish(" done");

        let reply = app.client().stream(MODEL, "hello").await.rest().await;

        assert_eq!((reply.status(), &*reply.said()), (200, "well done"), "{failing}");
        assert_eq!(reply.events().len(), 2, "{failing}");
        assert_eq!(app.upstream.attempts(), ["k1", "k2"], "{failing}");
    }
}

#[actix_web::test]
async fn an_empty_stream_moves_on_unseen() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    app.upstream.on("k1").stream().event(&silent_event()).finish("");
    app.upstream.on("k2").stream().text("well").finish(" done");

    let gemini = app.client().stream(MODEL, "hello").await.rest().await;
    assert_eq!(gemini.said(), "well done");
    assert_eq!(app.upstream.attempts(), ["k1", "k2"]);

    let openai = app.client().chat_stream(MODEL, "hello").await.rest().await;
    assert_eq!(openai.chatted(), "well done");
}

#[actix_web::test]
async fn a_stream_that_is_empty_with_every_key_ends_as_google_ended_it() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    for key in ["k1", "k2"] {
        app.upstream.on(key).stream().finish("");
    }

    let reply = app.client().stream(MODEL, "hello").await.rest().await;

    assert_eq!((reply.status(), reply.events()), (200, vec![last_event("")]));
    assert_eq!(app.upstream.attempts(), ["k1", "k2"]);
}

#[actix_web::test]
async fn a_stream_that_just_ends_is_tried_elsewhere_and_never_taken_for_an_answer() {
    for silence in ["", "\r\n\r\n", &format!("data: {}\r\n\r\n", silent_event())] {
        let app = TestApp::with_keys(["k1", "k2"]).await;
        app.upstream.on("k1").stream().bytes(silence.to_owned());
        let helped = app.client().stream(MODEL, "hello").await.rest().await;
        assert_eq!(
            (helped.said(), app.upstream.attempts()),
            ("Hello there".to_owned(), strings(["k1", "k2"]))
        );
        assert_eq!(app.settled("k1").await.tally.failures, 0, "{silence:?}");

        app.upstream.on("k2").stream().bytes(silence.to_owned());
        let gemini = app.client().stream(MODEL, "hello").await.rest().await;
        assert_eq!((gemini.status(), &gemini.json()["error"]["code"]), (502, &json!(502)), "{silence:?}");
        let openai = app.client().chat_stream(MODEL, "hello").await.rest().await;
        assert_eq!((openai.status(), &openai.json()["error"]["type"]), (502, &json!("server_error")));
        assert_eq!(app.log_of(&openai).await.error.as_deref(), Some("empty"));
    }
}

#[actix_web::test]
async fn an_error_with_every_key_has_its_true_status() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply(503);

    let gemini = app.client().stream(MODEL, "hello").await.rest().await;
    assert_eq!((gemini.status(), gemini.json()), (503, overloaded()));

    let openai = app.client().chat_stream(MODEL, "hello").await.rest().await;
    assert_eq!((openai.status(), &openai.json()["error"]["type"]), (503, &json!("server_error")));
}

#[actix_web::test]
async fn a_stream_that_no_key_can_serve_now_is_told_when_to_come_back() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply(429).retry_after(secs(30));

    let gemini = app.client().stream(MODEL, "hello").await.rest().await;
    let openai = app.client().chat_stream(MODEL, "hello").await.rest().await;

    for reply in [gemini, openai] {
        assert_eq!((reply.status(), reply.header("retry-after")), (429, Some("30")));
    }
}

#[actix_web::test]
async fn silence_is_filled_with_blank_lines_for_clients_of_gemini() {
    let app = lively(&["k1"]).await;
    app.upstream.on("k1").stream().text("one").silence(ms(450)).finish("two").after(ms(450));

    let reply = app.client().stream(MODEL, "hello").await.rest().await;

    let (before, after) = reply.text().split_once("data:").expect("an event came");
    assert!(before.len() >= 2 * "\r\n".len() && before.trim().is_empty(), "{before:?}");
    let (_, between) = after.split_once("\r\n\r\n").expect("the event ended");
    assert!(between.starts_with("\r\n\r\n"), "{between:?}");
    assert_eq!(reply.events(), [event("one"), last_event("two")]);
    assert!(!reply.text().lines().any(|line| line.starts_with(':') || line.starts_with("event")));
}

#[actix_web::test]
async fn silence_is_filled_with_comments_for_clients_of_openai() {
    let app = lively(&["k1"]).await;
    app.upstream.on("k1").stream().text("one").silence(ms(450)).finish("two").after(ms(450));

    let reply = app.client().chat_stream(MODEL, "hello").await.rest().await;

    assert!(reply.text().starts_with(": keep-alive\n\n: keep-alive\n\n"), "{}", reply.text());
    let (_, after) = reply.text().split_once("one").expect("an event came");
    assert!(after.contains("\n\n: keep-alive\n\ndata: "), "{after}");
    assert_eq!(reply.chatted(), "onetwo");
    assert_eq!(reply.data().last(), Some(&"[DONE]"));
}

#[actix_web::test]
async fn silence_is_filled_with_white_space_in_a_json_array() {
    let app = lively(&["k1"]).await;
    app.upstream.on("k1").stream().text("one").silence(ms(350)).finish("two").after(ms(350));

    let reply = app.client().post(STREAM).json(&prompt("hello")).send().await;

    assert!(reply.text().starts_with("\r\n"), "{}", reply.text());
    assert_eq!(reply.json(), json!([event("one"), last_event("two")]));
}

#[actix_web::test]
async fn no_heartbeat_comes_when_they_are_off() {
    let app = TestApp::builder().setting("STREAM_HEARTBEAT_SECONDS", "0").start().await;
    app.upstream.on("k1").stream().text("one").silence(ms(200)).finish("two").after(ms(200));

    let reply = app.client().stream(MODEL, "hello").await.rest().await;

    assert_eq!(reply.text(), format!("data: {}\r\n\r\ndata: {}\r\n\r\n", event("one"), last_event("two")));
}

#[actix_web::test]
async fn a_failure_after_a_heartbeat_still_moves_on() {
    let app = lively(&["k1", "k2"]).await;
    app.upstream.on("k1").reply(503).after(ms(300));

    let reply = app.client().stream(MODEL, "hello").await.rest().await;

    assert_eq!((reply.status(), &*reply.said()), (200, "Hello there"));
    assert_eq!(app.upstream.attempts(), ["k1", "k2"]);
}

#[actix_web::test]
async fn a_failure_of_every_key_after_a_heartbeat_is_an_error_event() {
    let app = lively(&["k1"]).await;
    app.upstream.on("k1").reply(503).after(ms(300));

    let gemini = app.client().stream(MODEL, "hello").await.rest().await;
    assert_eq!((gemini.status(), gemini.events()), (200, vec![overloaded()]));

    let openai = app.client().chat_stream(MODEL, "hello").await.rest().await;
    assert_eq!((openai.status(), &openai.events()[0]["error"]["type"]), (200, &json!("server_error")));

    let array = app.client().post(STREAM).json(&prompt("hello")).send().await;
    assert_eq!((array.status(), array.json()), (200, json!([overloaded()])));
}

#[actix_web::test]
async fn a_stream_that_is_cut_ends_with_an_error_event_and_is_not_repeated() {
    for how in ["broken", "unfinished"] {
        let app = TestApp::with_keys(["k1", "k2"]).await;
        let script = app.upstream.on("k1").stream().text("one");
        if how == "broken" {
            script.cut();
        }

        let reply = app.client().stream(MODEL, "hello").await.rest().await;

        assert!(!reply.is_broken, "{how}");
        let events = reply.events();
        assert_eq!((events.len(), &events[0]), (2, &event("one")), "{how}");
        assert_eq!(events[1]["error"]["code"], 502, "{how}");
        assert_eq!(events[1]["error"]["status"], "UNAVAILABLE", "{how}");
        assert_eq!(app.upstream.attempts(), ["k1"], "{how}");

        let row = app.log_of(&reply).await;
        assert_eq!((row.status, row.error.as_deref()), (200, Some("server_fault")), "{how}");
        assert_eq!((row.attempts, row.stream), (1, true), "{how}");
    }
}

#[actix_web::test]
async fn a_chat_that_is_cut_ends_with_an_error_and_without_done() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    app.upstream.on("k1").stream().text("one").cut();

    let reply = app.client().chat_stream(MODEL, "hello").await.rest().await;

    assert_eq!(reply.chatted(), "one");
    let last = reply.events().pop().expect("there are events");
    assert_eq!(last["error"]["type"], "server_error");
    assert!(!reply.text().contains("[DONE]"), "{}", reply.text());
    assert!(!reply.text().contains("\"stop\""), "{}", reply.text());
}

#[actix_web::test]
async fn a_bare_error_within_a_stream_becomes_an_event() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").stream().text("one").bytes(format!("{:#}", overloaded()));

    let gemini = app.client().stream(MODEL, "hello").await.rest().await;
    assert_eq!(gemini.events(), [event("one"), overloaded()]);
    assert!(gemini.text().ends_with("\r\n\r\n"), "{}", gemini.text());

    let openai = app.client().chat_stream(MODEL, "hello").await.rest().await;
    let last = openai.events().pop().expect("there are events");
    assert_eq!(last["error"]["message"], overloaded()["error"]["message"]);

    let row = app.log_of(&gemini).await;
    assert_eq!((row.status, row.error.as_deref()), (200, Some("overloaded")));
}

#[actix_web::test]
async fn without_alt_sse_the_events_are_the_elements_of_an_array() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").stream().text("one").finish("two").stream().text("one").cut();

    let whole = app.client().post(STREAM).json(&prompt("hello")).send().await;
    assert!(whole.header("content-type").is_some_and(|kind| kind.starts_with("application/json")));
    assert_eq!(whole.json(), json!([event("one"), last_event("two")]));
    assert!(app.upstream.last_request().target.ends_with("?alt=sse"));

    let cut = app.client().post(STREAM).json(&prompt("hello")).send().await.json();
    assert_eq!((&cut[0], &cut[1]["error"]["code"]), (&event("one"), &json!(502)));
}

#[actix_web::test]
async fn the_elements_of_an_array_leave_one_by_one() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").stream().text("one").hang();

    let mut reply = app.client().post(STREAM).json(&prompt("hello")).open().await;

    reply.until("\"one\"").await;
}

#[actix_web::test]
async fn chunks_of_a_chat_come_in_openais_order() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").stream().text("Hel").text("lo").finish("!");
    let body = json!({
        "model": MODEL, "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "hello"}],
    });

    let reply = app.client().post("/v1/chat/completions").json(&body).send().await;

    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    let chunks = reply.events();
    let (usage, choices) = chunks.split_last().expect("there are chunks");
    assert_eq!(choices[0]["choices"][0]["delta"]["role"], "assistant");
    let said: Vec<_> = choices[1..4].iter().map(|chunk| &chunk["choices"][0]["delta"]["content"]).collect();
    assert_eq!(said, ["Hel", "lo", "!"]);
    assert_eq!(choices[4]["choices"][0]["finish_reason"], "stop");
    assert_eq!(choices.len(), 5);
    assert!(choices[..4].iter().all(|chunk| chunk["choices"][0]["finish_reason"].is_null()));
    assert!(choices.iter().all(|chunk| chunk["usage"].is_null()));
    assert_eq!((&usage["choices"], &usage["usage"]["total_tokens"]), (&json!([]), &json!(8)));
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["id"] == chunks[0]["id"] && chunk["object"] == "chat.completion.chunk")
    );
    assert!(reply.text().ends_with("data: [DONE]\n\n"));
}

#[actix_web::test]
async fn without_being_asked_no_usage_is_told() {
    let app = TestApp::with_keys(["k1"]).await;

    let reply = app.client().chat_stream(MODEL, "hello").await.rest().await;

    assert!(!reply.text().contains("usage"), "{}", reply.text());
    assert_eq!(reply.chatted(), "Hello there");
}
