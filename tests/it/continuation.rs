//! A text that is cut goes on with another key, as one stream and one answer; everything else ends with an error.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::harness::{
    Answer, MODEL, Recorded, Reply, TestApp, chat, event, eventually, google_error, ms, prompt,
    recorded_streams, secs, usual_error,
};

const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

async fn continuing(keys: &[&str]) -> TestApp {
    let builder = TestApp::builder().keys(keys.iter().copied()).setting("STREAM_CONTINUATION", "on");
    builder.setting("RETRY_BUDGET_PERCENT", "1000").setting("IDLE_TIMEOUT_SECONDS", "0.4").start().await
}

/// All text of an answer in Gemini's dialect, thoughts left out or alone.
fn text_of(reply: &Answer, is_thought: bool) -> String {
    let events = reply.events();
    assert!(events.iter().all(|event| event.get("error").is_none()), "{}", reply.text());
    let parts = events.iter().filter_map(|event| event["candidates"][0]["content"]["parts"].as_array());
    let wanted = parts.flatten().filter(|part| (part["thought"] == true) == is_thought);
    wanted.filter_map(|part| part["text"].as_str()).collect()
}

#[actix_web::test]
async fn a_text_that_is_cut_goes_on_with_another_key_in_both_dialects() {
    for how in ["broken", "unfinished", "error", "bare error", "silent"] {
        let app = continuing(&["k1", "k2"]).await;
        let script = app.upstream.on("k1").stream().text("Once upon a time ").text("there was ");
        let overloaded = google_error(503, "UNAVAILABLE", "The model is overloaded.");
        match how {
            "broken" => script.cut(),
            "error" => script.event(&overloaded),
            "bare error" => script.bytes(overloaded.to_string()),
            "silent" => script.hang(),
            _ => script,
        };
        app.upstream.on("k2").stream().text("Once upon a time there").text(" was a fox").finish(" who ran.");

        let gemini = app.client().stream(MODEL, "Tell me.").await.rest().await;
        assert_eq!(text_of(&gemini, false), "Once upon a time there was a fox who ran.", "{how}");
        assert_eq!(app.upstream.attempts(), ["k1", "k2"], "{how}");
        let asked = app.upstream.last_request().json();
        assert_eq!(asked["contents"][0], prompt("Tell me.")["contents"][0]);
        assert_eq!(asked["contents"][1]["parts"][0]["text"], "Once upon a time there was ");
        assert_eq!(asked["contents"][2]["role"], "user");

        // What the log says is what the client was told, of both parts together.
        let row = app.log_of(&gemini).await;
        let last = gemini.events().pop().expect("there are events");
        assert_eq!(last["usageMetadata"]["totalTokenCount"], 6 + 8);
        assert_eq!((row.prompt_tokens, row.output_tokens), (5 + 5, 1 + 3), "{how}");
        assert_eq!((row.status, row.error.as_deref(), row.attempts), (200, None, 2), "{how}");
        let trail: Value = serde_json::from_str(&row.trail).expect("it is JSON");
        assert_eq!((&trail[1]["outcome"], &trail[1]["extra"]), (&json!("success"), &json!("continuation")));

        app.upstream.on("k1").stream().text("Once upon a time ").text("there was ").cut();
        let openai = app.client().chat_stream(MODEL, "Tell me.").await.rest().await;
        assert_eq!(openai.chatted(), "Once upon a time there was a fox who ran.", "{how}");
        assert!(openai.text().ends_with("data: [DONE]\n\n"), "{how}");
        assert!(!openai.text().contains("error"), "{how}");
        for key in ["k1", "k2"] {
            assert_eq!(app.settled(key).await.in_flight, 0, "{how}");
        }
    }
}

#[actix_web::test]
async fn what_is_no_plain_text_ends_with_the_error_and_is_not_continued() {
    let call = json!({"candidates": [{"content": {"role": "model", "parts": [
        {"functionCall": {"name": "look", "args": {}}},
    ]}, "index": 0}]});
    let tools = json!([{"functionDeclarations": [{"name": "look"}]}]);
    for (extra, first) in [
        (json!({"tools": tools}), event("I look.")),
        (json!({}), call),
        (json!({"generationConfig": {"responseMimeType": "application/json"}}), event("{\"a\":")),
    ] {
        let app = continuing(&["k1", "k2"]).await;
        app.upstream.on("k1").stream().event(&first).cut();
        let mut body = prompt("Tell me.");
        body.as_object_mut().expect("it is one").extend(extra.as_object().expect("it is one").clone());

        let reply = app.client().post(STREAM).json(&body).send().await;

        let events = reply.events();
        assert_eq!(
            (events.len(), &events[0], &events[1]["error"]["code"]),
            (2, &first, &json!(502)),
            "{extra}"
        );
        assert_eq!(app.upstream.attempts(), ["k1"], "{extra}");
    }
    let app = continuing(&["k1", "k2"]).await;
    app.upstream.on("k1").stream().text("I look.").cut();
    let mut body = chat(MODEL, "hello");
    (body["stream"], body["tools"]) =
        (json!(true), json!([{"type": "function", "function": {"name": "look"}}]));
    let openai = app.client().post("/v1/chat/completions").json(&body).send().await;
    assert_eq!(openai.events().pop().expect("there are events")["error"]["type"], "server_error");
    assert_eq!(app.upstream.attempts(), ["k1"]);
}

#[actix_web::test]
async fn an_answer_goes_on_twice_at_most_and_never_with_a_key_that_it_had() {
    let app = continuing(&["k1", "k2", "k3", "k4"]).await;
    for (key, text) in [("k1", "one "), ("k2", "one two "), ("k3", "one two three "), ("k4", "never")] {
        app.upstream.on(key).stream().text(text).cut();
    }

    let reply = app.client().stream(MODEL, "Count.").await.rest().await;

    assert_eq!(reply.said(), "one two three ");
    assert_eq!(reply.events().pop().expect("there are events")["error"]["code"], 502);
    assert_eq!(app.upstream.attempts(), ["k1", "k2", "k3"]);
    let row = app.log_of(&reply).await;
    assert_eq!((row.status, row.error.as_deref(), row.attempts), (200, Some("server_fault"), 3));
}

#[actix_web::test]
async fn where_no_other_key_can_go_on_the_client_hears_of_the_cut() {
    let app = continuing(&["k1", "k2"]).await;
    app.upstream.on("k1").stream().text("one").cut();
    app.upstream.on("k2").reply(429).retry_after(secs(30));

    let reply = app.client().stream(MODEL, "Count.").await.rest().await;

    let events = reply.events();
    assert_eq!((events.len(), &events[0], &events[1]["error"]["code"]), (2, &event("one"), &json!(502)));
    let row = app.log_of(&reply).await;
    assert_eq!((row.error.as_deref(), row.attempts), (Some("server_fault"), 2));
}

#[actix_web::test]
async fn no_key_that_failed_before_the_cut_is_asked_again() {
    let app = continuing(&["k1", "k2", "k3"]).await;
    app.upstream.on("k1").reply(503);
    app.upstream.on("k2").stream().text("one ").cut();
    app.upstream.on("k3").reply(503);

    let reply = app.client().stream(MODEL, "Count.").await.rest().await;

    assert_eq!(app.upstream.attempts(), ["k1", "k2", "k3"], "{}", reply.text());
}

#[actix_web::test]
async fn a_client_that_hangs_up_meanwhile_ends_the_new_attempt_as_well() {
    let app = continuing(&["k1", "k2"]).await;
    app.upstream.on("k1").stream().text("one").silence(ms(50)).cut();
    app.upstream.on("k2").never_answers();
    let mut caller = app.client().call(STREAM, &prompt("Count.")).await;
    caller.until("one").await;
    let is_asked = async || (app.upstream.requests().len() == 2).then_some(());
    eventually("the second key is asked", is_asked).await;

    caller.hang_up();

    app.upstream.is_left(1).await;
    let row = &app.logs("it is logged", |rows| !rows.is_empty()).await[0];
    assert_eq!((row.status, row.attempts), (499, 2));
    assert!(row.trail.contains("\"abandoned\",\"extra\":\"continuation\""), "{}", row.trail);
    for key in ["k1", "k2"] {
        assert_eq!(app.settled(key).await.in_flight, 0);
    }
}

/// A Google whose first answer to each prompt `name/cut` is cut at that byte, and that goes on as models do: repeating
/// the words it is asked to repeat, more of them, the whole text, or nothing; now and then it is late, busy, or cut again.
struct Torn {
    streams: Vec<String>,
    calls: HashMap<String, usize>,
}

impl Torn {
    fn reply(&mut self, request: &Recorded) -> Option<Reply> {
        // A question about a key that looks ill has no body.
        let body: Value = serde_json::from_slice(&request.body).ok()?;
        let contents = body["contents"].as_array()?;
        let asked = contents[0]["parts"][0]["text"].as_str()?.to_owned();
        let (at, cut) = asked.split_once('/')?;
        let (at, cut): (usize, usize) = (at.parse().ok()?, cut.parse().ok()?);
        let stream = &self.streams[at];
        let nth = self.calls.entry(asked).or_default();
        *nth += 1;
        Some(match (*nth, contents.len()) {
            (1, _) => {
                let late = if cut % 40 == 3 { ms(300) } else { ms(0) };
                Reply::cut_off(stream.as_bytes()[..cut].to_vec()).after(late)
            }
            (2, _) if cut % 7 == 0 => Reply::whole(503, "application/json", usual_error(503).to_string()),
            (_, 1) => Reply::stream(stream.clone()),
            (nth, _) => {
                let said = contents[1]["parts"][0]["text"].as_str()?;
                let wish = contents[2]["parts"][0]["text"].as_str()?;
                let (_, words) = wish.split_once("\n\n").expect("the wish ends with the last words");
                let text = recorded_text(stream);
                let events = go_on(&text, said, words, cut);
                if nth == 2 && cut % 5 == 0 {
                    Reply::cut_off(events[..events.floor_char_boundary(events.len() / 2)].to_owned())
                } else {
                    Reply::stream(events)
                }
            }
        })
    }
}

fn recorded_text(stream: &str) -> String {
    let events =
        stream.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    let parts =
        |event: Value| event["candidates"][0]["content"]["parts"].as_array().cloned().unwrap_or_default();
    let told = events.flat_map(parts).filter(|part| part["thought"] != true);
    told.filter_map(|part| part["text"].as_str().map(str::to_owned)).collect()
}

/// Vertex once wrote `STOP` into every event, and an answer that stops there is whole by all that anybody can tell.
fn with_one_end(stream: &str) -> String {
    const STOP: &str = "\"finishReason\": \"STOP\",";
    match stream.rfind(STOP) {
        Some(last) => stream[..last].replace(STOP, "") + &stream[last..],
        None => stream.to_owned(),
    }
}

/// The rest of `text` as a stream, in pieces of a size that depends on `cut`.
fn go_on(text: &str, said: &str, words: &str, cut: usize) -> String {
    assert!(text.starts_with(said), "the text so far is as it was: {said:?} of {text:?}");
    let repeated = match cut % 4 {
        0 => said.rfind(words).expect("the last words were said"),
        1 => 0,
        2 => said.floor_char_boundary(said.rfind(words).expect("the last words were said") / 2),
        _ => said.len(),
    };
    let mut rest = &text[repeated..];
    let mut parts = vec![json!([{"text": "Where was I?", "thought": true}])];
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.ceil_char_boundary((cut % 13 + 1).min(rest.len())));
        parts.push(json!([{ "text": piece }]));
        rest = after;
    }
    let mut events: String = parts
        .iter()
        .map(|parts| format!("data: {}\r\n\r\n", json!({"candidates": [{"content": {"parts": parts}}]})))
        .collect();
    let end = json!({"candidates": [{"content": {"role": "model"}, "finishReason": "STOP"}]});
    events.push_str(&format!("data: {end}\r\n\r\n"));
    events
}

/// Every byte of recorded streams as the place of a cut, with retries, hedging and continuation at work.
#[actix_web::test]
async fn wherever_a_stream_is_cut_the_client_gets_all_of_its_text_once() {
    let names = [
        "firebase/googleai/streaming-success-basic-reply-short.txt",
        "firebase/vertexai/streaming-success-basic-reply-long.txt",
        "firebase/vertexai/streaming-success-utf8.txt",
        "firebase/googleai/streaming-success-thinking-reply-thought-summary.txt",
    ];
    let Some(streams) = recorded_streams(&names) else { return };
    let streams: Vec<_> = streams.iter().map(|stream| with_one_end(stream)).collect();
    let app = TestApp::builder()
        .keys((0..12).map(|n| format!("k{n}")))
        .setting("STREAM_CONTINUATION", "on")
        .setting("HEDGING", "on")
        .setting("HEDGING_MAX_PERCENT", "50")
        .setting("RETRY_BUDGET_PERCENT", "1000")
        // A key whose answer is cut where another one's is not counts a failure.
        .setting("MAX_FAILURES", "100")
        .start()
        .await;
    // Its question has no body that the script could read.
    app.catalogue_is_fetched().await;
    let mut torn = Torn { streams: streams.clone(), calls: HashMap::new() };
    app.upstream.replies(move |request| torn.reply(request));
    let client = app.client();
    let cuts: Vec<_> = streams
        .iter()
        .enumerate()
        .flat_map(|(at, stream)| (0..=stream.len()).map(move |cut| (at, cut)))
        .collect();

    let all = stream::iter(&cuts).map(async |(at, cut)| {
        let reply = client.stream(MODEL, &format!("{at}/{cut}")).await.rest().await;
        assert_eq!(reply.status(), 200, "{at}/{cut}: {}", reply.text());
        assert_eq!(text_of(&reply, false), recorded_text(&streams[*at]), "{at}/{cut}: {}", reply.text());
        assert!(!text_of(&reply, true).contains("Where was I?"), "{at}/{cut}");
    });
    all.buffer_unordered(16).count().await;

    println!("{} cuts, {} calls to the upstream", cuts.len(), app.upstream.requests().len());
    let metrics = client.get("/metrics").send().await;
    assert!(metrics.text().contains("extra_attempts_total{kind=\"hedge\",outcome=\"success\"}"));
    assert!(app.upstream.requests().len() > 2 * cuts.len() - streams.len());
}
