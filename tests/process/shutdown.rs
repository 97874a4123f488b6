//! Signals: the first lets running answers finish, the second ends at once.

use std::{net::TcpStream, time::Instant};

use crate::harness::{GENERATE, Place, STREAM, TOKEN, eventually, healthy_sim, native, post};

#[actix_web::test]
async fn running_answers_finish_and_nothing_new_is_taken() {
    let sim = healthy_sim(&["key-one-abcdefgh"]).await;
    for signal in ["TERM", "INT"] {
        let mut program = Place::empty().serving(&sim, &["key-one-abcdefgh"]).start();
        let mut stream = program.connect();
        stream.write(&post(STREAM, TOKEN, native("[[events=20 gap_ms=50]] go on").as_bytes()));
        let begun = stream.read_until(|bytes| bytes.windows(5).any(|window| window == b"data:"));

        program.signal(signal);
        program.wait_for("no new requests");
        eventually("refuses connections", || TcpStream::connect(program.address()).is_err());
        let rest = stream.read_until(|bytes| bytes.ends_with(b"0\r\n\r\n"));

        let whole = String::from_utf8_lossy(&[begun, rest].concat()).into_owned();
        assert!(whole.contains("\"finishReason\":\"STOP\""), "{whole}");
        assert_eq!(program.wait().code(), Some(0));
    }
}

#[actix_web::test]
async fn idle_connections_do_not_hold_it_up() {
    let sim = healthy_sim(&["key-one-abcdefgh"]).await;
    let mut program = Place::empty().serving(&sim, &["key-one-abcdefgh"]).start();
    let mut idle = program.connect();
    idle.write(&post(GENERATE, TOKEN, native("hello").as_bytes()));
    assert_eq!(idle.reply().status(), 200);

    let begin = Instant::now();
    program.signal("TERM");

    assert_eq!(program.wait().code(), Some(0));
    assert!(begin.elapsed().as_secs() < 10, "{:?}", begin.elapsed());
}

#[actix_web::test]
async fn a_second_signal_ends_at_once() {
    let sim = healthy_sim(&["key-one-abcdefgh"]).await;
    let mut program = Place::empty().serving(&sim, &["key-one-abcdefgh"]).start();
    let mut stream = program.connect();
    stream.write(&post(STREAM, TOKEN, native("[[events=2000 gap_ms=100]] go on").as_bytes()));
    stream.read_until(|bytes| bytes.windows(5).any(|window| window == b"data:"));

    program.signal("TERM");
    program.wait_for("no new requests");
    program.signal("TERM");

    assert_eq!(program.wait().code(), Some(1));
}

#[actix_web::test]
async fn an_answer_that_takes_too_long_is_cut_off_at_the_deadline() {
    let sim = healthy_sim(&["key-one-abcdefgh"]).await;
    let place = Place::empty().serving(&sim, &["key-one-abcdefgh"]).with("SHUTDOWN_TIMEOUT_SECONDS", 1);
    let mut program = place.start();
    let mut stream = program.connect();
    stream.write(&post(STREAM, TOKEN, native("[[events=2000 gap_ms=100]] go on").as_bytes()));
    stream.read_until(|bytes| bytes.windows(5).any(|window| window == b"data:"));

    program.signal("TERM");

    assert_eq!(program.wait().code(), Some(0));
}
