//! Streams that are made to look otherwise, in every dialect, and requests that are mended.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ALL, Dialect};
use crate::harness::{MODEL, TestApp, google_error, last_event, ms};

const CALL: &str = "\"name\":\"f\"";

async fn app(settings: &[(&str, &str)]) -> TestApp {
    let builder = TestApp::builder().keys(["k1"]);
    settings.iter().fold(builder, |builder, (name, value)| builder.setting(name, value)).start().await
}

async fn faking() -> TestApp {
    app(&[("FAKE_STREAM_ENABLED", "true"), ("FAKE_STREAM_EMPTY_DATA_INTERVAL_SECONDS", "0.1")]).await
}

#[actix_web::test]
async fn a_fake_stream_lives_until_its_answer_is_there_and_loses_nothing() {
    let app = faking().await;
    let parts = json!([{"text": "hm", "thought": true}, {"text": "one"}, {"functionCall": {"name": "f", "args": {}}},
        {"text": " two"}]);
    let answer = json!({"candidates": [{"finishReason": "STOP", "content": {"parts": parts}}],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 4, "totalTokenCount": 11}});
    for dialect in ALL {
        app.upstream.on("k1").reply_json(200, &answer).after(ms(450));

        let reply = dialect.stream(&app, MODEL).await;

        let (what, text) = (dialect.path, reply.text());
        assert!(text.starts_with(dialect.heartbeat), "{what}: {text}");
        assert!(text.matches(dialect.heartbeat).count() >= 3, "{what}: {text}");
        assert_eq!(dialect.said(&reply), "one two", "{what}");
        assert!(text.contains(CALL) && text.ends_with(dialect.end), "{what}: {text}");
        assert!(app.upstream.last_request().target.ends_with(":generateContent"), "{what}");
        let row = app.log_of(&reply).await;
        assert_eq!((row.status, row.stream, row.prompt_tokens), (200, true, 7), "{what}");
    }
}

#[actix_web::test]
async fn a_fake_stream_whose_answer_fails_ends_with_an_error_of_the_dialect() {
    let app = faking().await;
    for dialect in ALL {
        app.upstream.on("k1").reply(400).after(ms(300));

        let reply = dialect.stream(&app, MODEL).await;

        assert_eq!(reply.status(), 200, "{}", dialect.path);
        assert!(reply.events().last().is_some_and(dialect.is_error), "{}: {}", dialect.path, reply.text());
        assert!(!reply.text().ends_with(super::CHAT.end), "{}", dialect.path);
    }
}

#[actix_web::test]
async fn a_fake_stream_that_nobody_reads_any_more_is_cancelled_at_google() {
    for dialect in ALL {
        let app = faking().await;
        app.upstream.on("k1").never_answers();

        let body = dialect.body(MODEL, json!({"stream": true}));
        let mut open = app.client().post(dialect.path).json(&body).open().await;
        open.until(dialect.heartbeat).await;
        drop(open);

        app.upstream.is_left(1).await;
        let key = app.settled("k1").await;
        assert_eq!((key.in_flight, key.tally.failures), (0, 0), "{}", dialect.path);
    }
}

#[actix_web::test]
async fn a_smoothed_stream_says_everything_once_and_ends_within_its_bound() {
    const LAG: Duration = Duration::from_millis(500);
    // By its pauses alone, this text would take minutes.
    let app = app(&[
        ("STREAM_OPTIMIZER_ENABLED", "true"),
        ("STREAM_MIN_DELAY", "0.05"),
        ("STREAM_MAX_DELAY", "0.05"),
        ("STREAM_CHUNK_SIZE", "1"),
        ("STREAM_MAX_LAG_SECONDS", "0.5"),
    ])
    .await;
    let long = "All work and no play. ".repeat(300);
    let call = json!({"candidates": [{"content": {"parts": [{"functionCall": {"name": "f"}}]}}]});
    for dialect in ALL {
        app.upstream.on("k1").stream().text("hello ").event(&call).text(&long).finish("!");
        let body = dialect.body(MODEL, json!({"stream": true, "tools": [(dialect.tool)("f")]}));

        let mut open = app.client().post(dialect.path).json(&body).open().await;
        open.until("\"h\"").await;
        let began = Instant::now();
        let reply = open.rest().await;
        let took = began.elapsed();

        let what = dialect.path;
        assert_eq!(dialect.said(&reply), format!("hello {long}!"), "{what}");
        let pieces = reply.events().iter().filter(|event| (dialect.text)(event).is_string()).count();
        assert!(pieces > 8, "{what}: {pieces}");
        assert!(took >= LAG / 2 && took < LAG + ms(700), "{what}: {took:?}");
        assert!(reply.text().ends_with(dialect.end), "{what}: {}", reply.text());
        assert_eq!(calls(&reply.events()), 1, "{what}");
    }
}

/// How often a call of the function is begun.
fn calls(events: &[Value]) -> usize {
    let begins = |event: &&Value| {
        let item = event["type"] == "response.output_item.added" && event["item"]["type"] == "function_call";
        item || event["content_block"]["type"] == "tool_use"
            || event["choices"][0]["delta"]["tool_calls"].is_array()
    };
    events.iter().filter(begins).count()
}

#[actix_web::test]
async fn links_of_a_search_end_the_answer_whole_or_streamed() {
    let app = app(&[]).await;
    app.catalogue_is_fetched().await;
    let mut grounded = last_event("Rain.");
    grounded["candidates"][0]["groundingMetadata"] = json!({
        "groundingChunks": [{"web": {"uri": "https://a.example", "title": "A"}}],
        "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 5, "text": "Rain."}, "groundingChunkIndices": [0]}],
    });
    for dialect in ALL {
        let model = "gemini-2.5-flash-search";
        app.upstream.on("k1").reply_json(200, &grounded).stream().text("It will: ").event(&grounded);

        let whole = dialect.ask(&app, model, json!({})).await;
        let streamed = dialect.ask(&app, model, json!({"stream": true})).await;

        let links = "**Sources**\\n\\n- [A](https://a.example)";
        assert!(whole.text().contains(links), "{}: {}", dialect.path, whole.text());
        assert!(dialect.said(&streamed).ends_with("- [A](https://a.example)"), "{}", streamed.text());
    }
}

async fn mended(dialect: &Dialect, is_stream: bool, refusal: &str, more: Value) -> [Value; 2] {
    let app = TestApp::with_keys(["k1"]).await;
    let script = app.upstream.on("k1").reply_json(400, &google_error(400, "INVALID_ARGUMENT", refusal));
    if is_stream {
        script.stream().text("mended").finish("");
    } else {
        script.says("mended");
    }
    let mut more = more;
    more["stream"] = is_stream.into();

    let reply = dialect.ask(&app, super::SIGNING_MODEL, more).await;

    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert!(reply.text().contains("mended"), "{}", reply.text());
    assert_eq!(app.settled("k1").await.tally.failures, 0);
    let sent = app.upstream.requests();
    assert_eq!(sent.len(), 2);
    [sent[0].json(), sent[1].json()]
}

#[actix_web::test]
async fn a_refusal_with_a_cure_is_mended_in_every_dialect() {
    let level = "Thinking level LOW is not supported for this model.";
    let efforts = [
        json!({"reasoning_effort": "low"}),
        json!({"reasoning": {"effort": "low"}}),
        json!({"output_config": {"effort": "low"}}),
    ];
    for (dialect, effort) in ALL.iter().zip(efforts) {
        for is_stream in [false, true] {
            let sent = mended(dialect, is_stream, level, effort.clone()).await;

            let levels = sent.map(|sent| sent["generationConfig"]["thinkingConfig"]["thinkingLevel"].clone());
            assert_eq!(levels, [json!("LOW"), json!("MEDIUM")], "{} {is_stream}", dialect.path);
        }
    }
}
