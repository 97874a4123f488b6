//! What a large request costs: the memory of a process that answers nothing else.
//!
//! The highest resident size (`VmHWM`) is reset once the program has answered a small request, and read after the large one, so
//! that the difference is what the large one alone held at its worst moment. Linux tells both in `/proc`.
#![cfg(target_os = "linux")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::harness::{CHAT, GENERATE, Place, Program, healthy_sim};

const KEY: &str = "key-one-abcdefgh";
/// Of the picture, before it is base64.
const PICTURE_BYTES: usize = 15_000_000;
/// The most that a request may hold, as a multiple of its own size.
const MOST: f64 = 2.5;

/// Base64 of something that begins like a picture.
fn picture() -> String {
    let mut bytes = vec![7_u8; PICTURE_BYTES];
    bytes[..8].copy_from_slice(b"\x89PNG\r\n\x1a\n");
    STANDARD.encode(bytes)
}

/// A line of the program's `/proc/…/status`, in bytes.
fn memory(program: &Program, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.process_id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells it");
    let kilobytes: usize = line.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number");
    kilobytes * 1024
}

/// From now on the highest size is counted anew. Source: proc(5), `clear_refs`.
fn forget_highest(program: &Program) {
    std::fs::write(format!("/proc/{}/clear_refs", program.process_id()), "5").expect("it is our process");
}

async fn held(path: &str, body: impl Fn(&str) -> Value) -> f64 {
    let sim = healthy_sim(&[KEY]).await;
    let program = Place::empty().serving(&sim, &[KEY]).with("LOG_LEVEL", "INFO").start();
    let small = program.post(path, body("iVBORw0KGgo=").to_string());
    assert_eq!(small.status(), 200, "{small:?}");
    let large = body(&picture()).to_string();
    forget_highest(&program);
    let before = memory(&program, "VmRSS:");

    let reply = program.post(path, &large);

    assert_eq!(reply.status(), 200, "{path}");
    let most = memory(&program, "VmHWM:").saturating_sub(before);
    let times = most as f64 / large.len() as f64;
    println!(
        "{path}: {} MB held {} MB, {times:.2} times its size",
        large.len() / 1_000_000,
        most / 1_000_000
    );
    times
}

fn user(parts: Value) -> Value {
    json!([{"role": "user", "content": parts}])
}

#[actix_web::test]
async fn a_large_picture_is_never_held_much_more_than_twice() {
    const MODEL: &str = "gemini-2.5-flash";
    let url = |data: &str| format!("data:image/png;base64,{data}");
    let chat = |data: &str| {
        let part = json!({"type": "image_url", "image_url": {"url": url(data)}});
        json!({"model": MODEL, "messages": user(json!([part]))})
    };
    let response = |data: &str| {
        let part = json!({"type": "input_image", "image_url": url(data)});
        json!({"model": MODEL, "input": user(json!([part]))})
    };
    let message = |data: &str| {
        let source = json!({"type": "base64", "media_type": "image/png", "data": data});
        json!({"model": MODEL, "max_tokens": 99, "messages": user(json!([{"type": "image", "source": source}]))})
    };
    let native = |data: &str| json!({"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": data}}]}]});

    let times = [
        held(GENERATE, native).await,
        held(CHAT, chat).await,
        held("/v1/responses", response).await,
        held("/v1/messages", message).await,
    ];

    assert!(times.iter().all(|times| *times < MOST), "{times:?}");
}
