//! A stop in good order: running answers finish, idle clients hold nothing up.

use std::time::Instant;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{MODEL, TestApp, ms, secs};

#[actix_web::test]
async fn running_answers_finish_and_are_logged() {
    let app = TestApp::builder().setting("SHUTDOWN_TIMEOUT_SECONDS", "10").start().await;
    app.upstream.on("k1").stream().text("one").silence(ms(600)).finish("two");
    let mut stream = app.client().stream(MODEL, "hello").await;
    stream.until("one").await;

    let (answer, stopped) = futures_util::future::join(stream.rest(), app.stop()).await;

    assert_eq!((&*answer.said(), answer.is_broken), ("onetwo", false));
    let app = stopped.start().await;
    let row = app.log_of(&answer).await;
    assert_eq!((row.status, row.error, row.attempts), (200, None, 1));
}

#[actix_web::test]
async fn an_answer_that_does_not_end_is_cut_when_its_time_is_over_and_logged() {
    let app = TestApp::builder().setting("SHUTDOWN_TIMEOUT_SECONDS", "1").start().await;
    app.upstream.on("k1").stream().text("one").hang();
    let mut stream = app.client().stream(MODEL, "hello").await;
    stream.until("one").await;
    let begun = Instant::now();

    let (answer, stopped) = futures_util::future::join(stream.rest(), app.stop()).await;

    assert!(begun.elapsed() < secs(5), "{:?}", begun.elapsed());
    assert_eq!(answer.said(), "one");
    let app = stopped.start().await;
    assert_eq!(app.log_of(&answer).await.status, 499);
}

#[actix_web::test]
async fn clients_that_are_idle_do_not_hold_up_the_stop() {
    let app = TestApp::builder().setting("SHUTDOWN_TIMEOUT_SECONDS", "20").start().await;
    let mut idle = TcpStream::connect(app.address()).await.expect("the gateway listens");
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it reads");
    idle.read_buf(&mut Vec::new()).await.expect("it answers");
    let begun = Instant::now();

    app.stop().await;

    assert!(begun.elapsed() < secs(5), "{:?}", begun.elapsed());
}
