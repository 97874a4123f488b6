//! Quotas as clients meet them: what takes of them, and what happens while there is none.

use std::time::Instant;

use serde_json::json;

use crate::harness::{MODEL, TestApp, ms, prompt, secs};

const COUNT: &str = "/v1beta/models/gemini-2.5-flash:countTokens";

/// One key, whose project may send so many requests a minute by its operator's word.
async fn limited(requests_per_minute: u64, settings: &[(&str, &str)]) -> (TestApp, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("quotas.toml");
    let limits = format!("[[limits]]\nmodels = \"*\"\nrequests_per_minute = {requests_per_minute}\n");
    std::fs::write(&file, limits).expect("it can be written");
    let file = file.to_str().expect("a plain path");
    let mut builder = TestApp::builder().keys(["k1"]).setting("QUOTA_LIMITS", file);
    for (name, value) in settings {
        builder = builder.setting(name, value);
    }
    (builder.start().await, folder)
}

#[actix_web::test]
async fn counting_tokens_takes_nothing_of_the_quota_for_generation() {
    let (app, _folder) = limited(1, &[("MAX_WAIT_SECONDS", "0")]).await;
    let client = app.client();
    let counted = async || {
        let gemini = client.post(COUNT).json(&prompt("hello")).send().await.status();
        let asked = json!({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]});
        let anthropic = client.post("/v1/messages/count_tokens").header("anthropic-version", "2023-06-01");
        (gemini, anthropic.json(&asked).send().await.status())
    };
    for _ in 0..3 {
        assert_eq!(counted().await, (200, 200));
    }

    assert_eq!(client.generate(MODEL, "hello").await.status(), 200);
    assert_eq!(client.generate(MODEL, "hello").await.status(), 429, "one a minute is all");
    assert_eq!(counted().await, (200, 200), "which keeps nobody from counting");
}

#[actix_web::test]
async fn a_refusal_of_counting_keeps_the_key_from_no_generation() {
    let app = TestApp::builder().keys(["k1"]).setting("MAX_WAIT_SECONDS", "0").start().await;
    app.upstream.on("k1").reply(429).answers_as_usual();

    assert_eq!(app.client().post(COUNT).json(&prompt("hello")).send().await.status(), 429);
    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
}

#[actix_web::test]
async fn a_stream_that_waits_for_a_key_shows_signs_of_life() {
    let app = TestApp::builder()
        .keys(["k1"])
        .setting("STREAM_HEARTBEAT_SECONDS", "0.1")
        .setting("MAX_WAIT_SECONDS", "10")
        .start()
        .await;
    app.upstream.on("k1").reply(429).retry_after(ms(1500)).stream().finish("one");
    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 429, "it has had the only key");
    let asked = app.upstream.attempts().len();

    let begun = Instant::now();
    let mut gemini = app.client().stream(MODEL, "hello").await;
    let mut openai = app.client().chat_stream(MODEL, "hello").await;
    gemini.until("\r\n\r\n").await;
    openai.until(": keep-alive\n\n: keep-alive\n\n").await;
    assert_eq!(app.upstream.attempts().len(), asked, "nothing was sent to Google yet");
    assert!(begun.elapsed() < secs(1), "{:?}", begun.elapsed());

    assert_eq!(gemini.rest().await.said(), "one");
    assert_eq!(openai.rest().await.chatted(), "one");
    assert!(begun.elapsed() > ms(900), "{:?}", begun.elapsed());
}
