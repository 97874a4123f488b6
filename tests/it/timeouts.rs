//! How long the gateway waits for Google: to connect, for the first byte, between bytes, and in all.

use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};
use tokio::time::sleep;

use crate::harness::{Caller, MODEL, TestApp, event, ms, prompt, secs};

/// Far less than the timeouts that are not under test, which are minutes.
const SOON: Duration = secs(4);

#[actix_web::test]
async fn a_key_that_gives_no_first_byte_is_passed_over() {
    let app =
        TestApp::builder().keys(["k1", "k2"]).setting("FIRST_BYTE_TIMEOUT_SECONDS", "0.3").start().await;
    app.upstream.on("k1").never_answers().never_answers().answers_as_usual();

    let unary = app.client().generate(MODEL, "hello").await;
    assert_eq!((unary.status(), app.upstream.attempts()), (200, vec!["k1".to_owned(), "k2".to_owned()]));
    let row = app.log_of(&unary).await;
    assert!(row.trail.contains("timed_out"), "{}", row.trail);

    let stream = app.client().stream(MODEL, "hello").await.rest().await;
    assert_eq!(stream.said(), "Hello there");
}

#[actix_web::test]
async fn a_stream_that_begins_without_content_is_passed_over_too() {
    let app =
        TestApp::builder().keys(["k1", "k2"]).setting("FIRST_BYTE_TIMEOUT_SECONDS", "0.3").start().await;
    app.upstream.on("k1").stream().bytes("\r\n").hang();

    let reply = app.client().stream(MODEL, "hello").await.rest().await;

    assert_eq!(reply.said(), "Hello there");
    assert_eq!(app.upstream.attempts(), ["k1", "k2"]);
}

#[actix_web::test]
async fn when_no_key_gives_a_first_byte_the_status_is_504() {
    let app = TestApp::builder().setting("FIRST_BYTE_TIMEOUT_SECONDS", "0.3").start().await;
    app.upstream.on("k1").never_answers();

    let gemini = app.client().generate(MODEL, "hello").await;
    assert_eq!((gemini.status(), &gemini.json()["error"]["status"]), (504, &json!("DEADLINE_EXCEEDED")));

    let openai = app.client().chat(MODEL, "hello").await;
    assert_eq!((openai.status(), &openai.json()["error"]["type"]), (504, &json!("server_error")));
}

#[actix_web::test]
async fn an_answer_that_falls_silent_is_given_up() {
    let app = TestApp::builder().keys(["k1", "k2"]).setting("IDLE_TIMEOUT_SECONDS", "0.3").start().await;
    app.upstream.on("k1").stream().bytes("{\"candidates\":").hang();

    let unary = app.client().generate(MODEL, "hello").await;
    assert_eq!((unary.status(), app.upstream.attempts()), (200, vec!["k1".to_owned(), "k2".to_owned()]));

    app.upstream.on("k1").stream().text("one").hang();
    app.upstream.on("k2").stream().text("one").hang();
    let stream = app.client().stream(MODEL, "hello").await.rest().await;
    let events = stream.events();
    assert_eq!((&events[0], &events[1]["error"]["code"]), (&event("one"), &json!(504)));
    assert_eq!(app.log_of(&stream).await.error.as_deref(), Some("timed_out"));
}

#[actix_web::test]
async fn a_stream_that_thinks_long_before_its_first_byte_is_not_silent() {
    let app = TestApp::builder().keys(["k1", "k2"]).setting("IDLE_TIMEOUT_SECONDS", "0.3").start().await;
    app.upstream.on("k1").stream().silence(ms(900)).text("well").finish(" thought");

    let reply = app.client().stream(MODEL, "hello").await.rest().await;

    assert_eq!((&*reply.said(), app.upstream.attempts()), ("well thought", vec!["k1".to_owned()]));
}

#[actix_web::test]
async fn a_slow_answer_that_keeps_coming_is_not_silent() {
    let app = TestApp::builder().setting("IDLE_TIMEOUT_SECONDS", "1.5").start().await;
    let script = app.upstream.on("k1").stream();
    (0..9).fold(script, |script, _| script.text("on").silence(ms(200))).finish(" done");

    let reply = app.client().stream(MODEL, "hello").await.rest().await;

    assert_eq!(reply.said(), "ononononononononon done");
}

#[actix_web::test]
async fn no_answer_takes_longer_than_in_all() {
    let app = TestApp::builder().setting("TIME_OUT", "1").start().await;
    let begun = Instant::now();

    let script = app.upstream.on("k1").stream();
    (0..50).fold(script, |script, _| script.text("on").silence(ms(100)));
    let stream = app.client().stream(MODEL, "hello").await.rest().await;
    let last = stream.events().pop().expect("there are events");
    assert_eq!(last["error"]["code"], 504);

    app.upstream.on("k1").never_answers();
    let unary = app.client().generate(MODEL, "hello").await;
    assert_eq!(unary.status(), 504);

    app.upstream.on("k1").stream().bytes("{\"candidates\":").hang();
    let stalled = app.client().generate(MODEL, "hello").await;
    assert_eq!(stalled.status(), 504);
    assert!(begun.elapsed() >= secs(3) && begun.elapsed() < secs(3) + SOON, "{:?}", begun.elapsed());
}

/// A gateway of which a client has asked more than the network holds on its way.
async fn asked_for_more_than_fits() -> (TestApp, Caller) {
    let app = TestApp::builder().setting("TIME_OUT", "2").start().await;
    let large = "x".repeat(1 << 20);
    let script = app.upstream.on("k1").stream();
    (0..24).fold(script, |script, _| script.text(&large)).hang();
    let path = format!("/v1beta/models/{MODEL}:streamGenerateContent?alt=sse");
    let caller = app.client().call(&path, &prompt("hello")).await;
    app.key_becomes("k1", "is asked", |key| key.in_flight == 1).await;
    (app, caller)
}

#[actix_web::test]
async fn a_client_that_does_not_read_holds_no_key_for_longer() {
    let begun = Instant::now();
    let (app, caller) = asked_for_more_than_fits().await;

    let key = app.settled("k1").await;

    assert!(begun.elapsed() >= secs(2) && begun.elapsed() < secs(3) + SOON, "{:?}", begun.elapsed());
    assert_eq!(key.tally.failures, 0);
    app.upstream.is_left(1).await;
    let row = app.logs("the request is logged", |rows| !rows.is_empty()).await.remove(0);
    assert!(row.error.is_some() && row.trail.contains("abandoned"), "{row:?}");
    drop(caller);
}

#[actix_web::test]
async fn a_client_that_reads_slowly_holds_no_key_for_longer_and_hears_why() {
    let begun = Instant::now();
    let (app, mut caller) = asked_for_more_than_fits().await;

    let mut key = app.observe_key("k1").await;
    while key.in_flight > 0 {
        assert!(begun.elapsed() < secs(3) + SOON, "the key is still held");
        caller.read_up_to(64 << 10).await;
        sleep(ms(50)).await;
        key = app.observe_key("k1").await;
    }

    assert!(begun.elapsed() >= secs(2));
    let row = app.logs("the request is logged", |rows| !rows.is_empty()).await.remove(0);
    assert_eq!((row.status, row.error.as_deref()), (200, Some("timed_out")));
    caller.until("the answer took longer than").await;
    caller.until("\r\n0\r\n\r\n").await;
}

#[actix_web::test]
async fn all_attempts_of_a_request_share_its_time() {
    let app = TestApp::builder()
        .keys(["k1", "k2", "k3"])
        .setting("TIME_OUT", "2")
        .setting("FIRST_BYTE_TIMEOUT_SECONDS", "1.2")
        .start()
        .await;
    for key in ["k1", "k2", "k3"] {
        app.upstream.on(key).never_answers();
    }
    let begun = Instant::now();

    let reply = app.client().generate(MODEL, "hello").await;

    assert_eq!((reply.status(), app.upstream.attempts()), (504, vec!["k1".to_owned(), "k2".to_owned()]));
    assert!(begun.elapsed() >= secs(2) && begun.elapsed() < 3 * ms(1200), "{:?}", begun.elapsed());
}

#[actix_web::test]
async fn an_upstream_that_is_not_there_is_told_as_502() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = nobody.local_addr().expect("it is bound");
    drop(nobody);
    let app = TestApp::builder().setting("BASE_URL", &format!("http://{address}/v1beta")).start().await;

    let reply = app.client().generate(MODEL, "hello").await;

    assert_eq!((reply.status(), &reply.json()["error"]["status"]), (502, &json!("UNAVAILABLE")));
}

/// A listener that takes no connection: its queue is full, so the kernel drops what knocks.
fn deaf_listener() -> (Socket, Vec<std::net::TcpStream>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("a free port");
    socket.listen(0).expect("it listens");
    let address = socket.local_addr().expect("it is bound").as_socket().expect("of the internet");
    let knock = |_| std::net::TcpStream::connect_timeout(&address, ms(200)).ok();
    let queued = (0..4).map_while(knock).collect();
    (socket, queued)
}

#[actix_web::test]
async fn an_upstream_that_takes_no_connection_is_given_up() {
    let (socket, _queued) = deaf_listener();
    let address = socket.local_addr().expect("it is bound").as_socket().expect("of the internet");
    let app = TestApp::builder()
        .setting("BASE_URL", &format!("http://{address}/v1beta"))
        .setting("CONNECT_TIMEOUT_SECONDS", "0.3")
        .start()
        .await;
    let begun = Instant::now();

    let reply = app.client().generate(MODEL, "hello").await;

    assert_eq!((reply.status(), &reply.json()["error"]["status"]), (502, &json!("UNAVAILABLE")));
    assert!(begun.elapsed() >= ms(300) && begun.elapsed() < SOON, "{:?}", begun.elapsed());
}
