//! Requests that begin alike go to the same key, so that Google's own cache is of use; and what that brings is shown.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::harness::{MODEL, TestApp, prompt};

const KEYS: [&str; 4] = ["k1", "k2", "k3", "k4"];
const PATH: &str = "/v1beta/models/gemini-2.5-flash:generateContent";

async fn balanced() -> TestApp {
    TestApp::builder().keys(KEYS).setting("BALANCE_POLICY", "p2c").start().await
}

/// An answer whose prompt came from the cache by so many of its thousand tokens.
fn cached(tokens: u64) -> Value {
    json!({
        "candidates": [{"content": {"role": "model", "parts": [{"text": "Yes."}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": 1000, "cachedContentTokenCount": tokens, "candidatesTokenCount": 3,
            "totalTokenCount": 1003,
        },
    })
}

/// A question behind long instructions.
fn instructed(question: &str) -> Value {
    let mut body = prompt(question);
    body["systemInstruction"] =
        json!({"parts": [{"text": "The rules of this house are as follows. ".repeat(200)}]});
    body
}

async fn metric(app: &TestApp, name: &str, group: &str) -> f64 {
    let metrics = app.client().get("/metrics").send().await;
    let line = format!("gemini_balance_{name}{{model=\"{MODEL}\",group=\"{group}\"}} ");
    let found = metrics.text().lines().find_map(|known| known.strip_prefix(&line).map(str::to_owned));
    found
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("{line} is not in {}", metrics.text()))
}

#[actix_web::test]
async fn requests_that_begin_alike_share_a_key_and_the_hit_rate_is_shown() {
    let app = balanced().await;
    app.catalogue_is_fetched().await;
    let before = app.upstream.attempts().len();
    for key in KEYS {
        app.upstream.on(key).reply_json(200, &cached(800));
    }

    for number in 0..64 {
        let reply = app.client().post(PATH).json(&instructed(&format!("question {number}"))).send().await;
        assert_eq!(reply.status(), 200);
    }

    let mut calls = HashMap::<_, usize>::new();
    for key in app.upstream.attempts().split_off(before) {
        *calls.entry(key).or_default() += 1;
    }
    let most = calls.values().max().copied().unwrap_or(0);
    assert!(most >= 60, "one in sixteen goes elsewhere, for comparison: {calls:?}");
    let (prompt, cached) = (
        metric(&app, "affinity_prompt_tokens", "preferring").await,
        metric(&app, "affinity_cached_tokens", "preferring").await,
    );
    assert_eq!((prompt, cached / prompt), (60_000.0, 0.8));
    assert_eq!(metric(&app, "affinity_prompt_tokens", "control").await, 4_000.0);
}

#[actix_web::test]
async fn every_turn_of_a_conversation_with_signatures_stays_with_its_key() {
    let app = balanced().await;
    app.catalogue_is_fetched().await;
    let before = app.upstream.attempts().len();
    for key in KEYS {
        app.upstream.on(key).reply_json(200, &cached(0));
    }
    let signed = |text: &str| json!({"role": "model", "parts": [{"text": text, "thoughtSignature": "c2ln"}]});
    let mut contents = vec![prompt("Why?")["contents"][0].clone()];

    for turn in 0..48 {
        contents.push(signed("Because."));
        contents.push(prompt(&format!("And {turn}?"))["contents"][0].clone());
        let reply = app.client().post(PATH).json(&json!({"contents": contents})).send().await;
        assert_eq!(reply.status(), 200);
    }

    let asked = app.upstream.attempts().split_off(before);
    assert!(asked.iter().all(|key| *key == asked[0]), "none serves as a control: {asked:?}");
    assert_eq!(metric(&app, "affinity_prompt_tokens", "conversation").await, 48_000.0);
}

#[actix_web::test]
async fn short_questions_spread() {
    let app = balanced().await;
    app.catalogue_is_fetched().await;
    let before = app.upstream.attempts().len();
    for number in 0..32 {
        assert_eq!(app.client().generate(MODEL, &format!("question {number}")).await.status(), 200);
    }

    let asked = app.upstream.attempts().split_off(before);
    for key in KEYS {
        assert!(asked.iter().filter(|asked| *asked == key).count() >= 2, "{asked:?}");
    }
}
