//! A client that hangs up costs nothing more: its call to Google ends, its key is free, its row says 499.

use std::time::{Duration, Instant};

use gemini_balance::balance::breaker::StateSnapshot;
use serde_json::{Value, json};

use crate::harness::{Caller, MODEL, TestApp, chat, eventually, ms, prompt};

/// The call to Google is closed so soon after its client has hung up.
const PROMISED: Duration = ms(100);
/// How often each situation is tried. A busy machine may hold up any one try, but not most of them.
const TRIES: usize = 3;

const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
const UNARY: &str = "/v1beta/models/gemini-2.5-flash:generateContent";

/// Waits until the upstream works on `calls` answers.
async fn upstream_works(app: &TestApp, calls: usize) {
    eventually("the upstream is asked", async || (app.upstream.requests().len() == calls).then_some(()))
        .await;
}

/// Claims of a situation, which answers with the time that the closing took, that it usually keeps the promise.
async fn keeps_the_promise(situation: impl AsyncFn() -> Duration) {
    let mut took = Vec::new();
    for _ in 0..TRIES {
        took.push(situation().await);
    }
    took.sort();
    assert!(took[TRIES / 2] < PROMISED, "the upstream calls were closed after {took:?}");
}

/// Claims what is true once a client has hung up that had `calls` upstream calls under way, and answers how long after
/// that the last of these was closed.
async fn nothing_is_left(app: &TestApp, hung_up: Instant, calls: usize, what: &str) -> Duration {
    let closings = app.upstream.is_left(calls).await;
    let last = closings.into_iter().max().expect("there are closings");

    let key = app.settled("k1").await;
    assert_eq!((key.in_flight, key.tally.failures), (0, 0), "{what}");
    assert_eq!((key.health.state, key.health.consecutive_failures), (StateSnapshot::Active, 0), "{what}");

    let rows = app.logs("the request is logged", |rows| !rows.is_empty()).await;
    assert_eq!(rows.len(), 1, "{what}");
    assert_eq!((rows[0].status, rows[0].error.as_deref()), (499, Some("client_closed_request")), "{what}");
    assert!(rows[0].attempts >= 1, "{what}: the attempt is written down");
    last.saturating_duration_since(hung_up)
}

async fn call(app: &TestApp, path: &str, body: &Value) -> Caller {
    app.client().call(path, body).await
}

#[actix_web::test]
async fn in_the_middle_of_a_stream() {
    keeps_the_promise(async || {
        let app = TestApp::with_keys(["k1"]).await;
        app.upstream.on("k1").stream().text("one").hang();
        let mut caller = call(&app, STREAM, &prompt("hello")).await;
        caller.until("one").await;

        let hung_up = caller.hang_up();

        let took = nothing_is_left(&app, hung_up, 1, "mid-stream").await;
        let row = &app.logs("the request is logged", |rows| !rows.is_empty()).await[0];
        assert_eq!(row.attempts, 1);
        assert!(row.trail.contains("abandoned") && row.first_byte_ms.is_some(), "{row:?}");
        took
    })
    .await;
}

#[actix_web::test]
async fn in_the_middle_of_a_chat_stream() {
    keeps_the_promise(async || {
        let app = TestApp::with_keys(["k1"]).await;
        app.upstream.on("k1").stream().text("one").hang();
        let mut body = chat(MODEL, "hello");
        body["stream"] = json!(true);
        let mut caller = call(&app, "/v1/chat/completions", &body).await;
        caller.until("one").await;

        let hung_up = caller.hang_up();

        nothing_is_left(&app, hung_up, 1, "mid-chat").await
    })
    .await;
}

#[actix_web::test]
async fn before_the_first_byte_of_a_stream() {
    keeps_the_promise(async || {
        let app = TestApp::with_keys(["k1"]).await;
        app.upstream.on("k1").never_answers();
        let caller = call(&app, STREAM, &prompt("hello")).await;
        upstream_works(&app, 1).await;

        let hung_up = caller.hang_up();

        nothing_is_left(&app, hung_up, 1, "before the first byte").await
    })
    .await;
}

#[actix_web::test]
async fn while_only_heartbeats_have_come() {
    keeps_the_promise(async || {
        let app = TestApp::builder().setting("STREAM_HEARTBEAT_SECONDS", "0.1").start().await;
        app.upstream.on("k1").never_answers();
        let mut caller = call(&app, STREAM, &prompt("hello")).await;
        caller.until("\r\n\r\n2\r\n\r\n").await;

        let hung_up = caller.hang_up();

        nothing_is_left(&app, hung_up, 1, "after a heartbeat").await
    })
    .await;
}

#[actix_web::test]
async fn while_a_whole_answer_is_awaited() {
    keeps_the_promise(async || {
        let app = TestApp::with_keys(["k1"]).await;
        app.upstream.on("k1").never_answers();
        let caller = call(&app, UNARY, &prompt("hello")).await;
        upstream_works(&app, 1).await;

        let hung_up = caller.hang_up();

        nothing_is_left(&app, hung_up, 1, "unary").await
    })
    .await;
}

#[actix_web::test]
async fn while_a_whole_answer_arrives() {
    keeps_the_promise(async || {
        let app = TestApp::with_keys(["k1"]).await;
        app.upstream.on("k1").stream().bytes("{\"candidates\":").hang();
        let caller = call(&app, "/v1/chat/completions", &chat(MODEL, "hello")).await;
        upstream_works(&app, 1).await;

        let hung_up = caller.hang_up();

        nothing_is_left(&app, hung_up, 1, "unary chat").await
    })
    .await;
}

#[actix_web::test]
async fn with_several_candidates_under_way() {
    keeps_the_promise(async || {
        let app = TestApp::with_keys(["k1"]).await;
        app.upstream.on("k1").stream().text("one").hang();
        let mut body = chat(MODEL, "hello");
        (body["stream"], body["n"]) = (json!(true), json!(2));
        let mut caller = call(&app, "/v1/chat/completions", &body).await;
        caller.until("\"index\":1").await;

        let hung_up = caller.hang_up();

        nothing_is_left(&app, hung_up, 2, "two candidates").await
    })
    .await;
}

#[actix_web::test]
async fn between_two_attempts() {
    keeps_the_promise(async || {
        let app = TestApp::with_keys(["k1", "k2"]).await;
        app.upstream.on("k1").reply(503);
        app.upstream.on("k2").never_answers();
        let caller = call(&app, UNARY, &prompt("hello")).await;
        upstream_works(&app, 2).await;

        let hung_up = caller.hang_up();

        let took = nothing_is_left(&app, hung_up, 1, "second attempt").await;
        let row = &app.logs("the request is logged", |rows| !rows.is_empty()).await[0];
        assert!(row.trail.contains("overloaded"), "{row:?}");
        assert_eq!(app.settled("k2").await.in_flight, 0);
        took
    })
    .await;
}

#[actix_web::test]
async fn a_client_that_waits_is_not_taken_for_one_that_hung_up() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").stream().text("one").silence(ms(300)).finish("two");
    let mut caller = call(&app, STREAM, &prompt("hello")).await;

    caller.until("two").await;

    assert_eq!(app.upstream.closings().len(), 0);
}
