//! The simulation over HTTP, as a client sees it.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use awc::{Client, http::StatusCode};
use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{Either, select},
};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::*;

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";

struct Caller {
    sim: Sim,
    client: Client,
}

impl Caller {
    async fn new(plan: Plan) -> Self {
        Self { sim: start(plan).await.unwrap(), client: Client::default() }
    }

    fn post(&self, path: &str) -> awc::ClientRequest {
        self.client.post(format!("{}{path}", self.sim.base_url)).insert_header(("x-goog-api-key", "k"))
    }

    async fn ask(&self, path: &str, prompt: &str) -> (StatusCode, Bytes) {
        let mut answer = self.post(path).send_json(&asked(prompt)).await.unwrap();
        let body = answer.body().limit(10 << 20).await.unwrap();
        (answer.status(), body)
    }

    async fn ask_json(&self, path: &str, prompt: &str) -> (StatusCode, Value) {
        let (status, body) = self.ask(path, prompt).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// Everything that the socket gives, head included: awc takes a body that breaks off for one that ends.
    fn receive(&self, target: &str, prompt: &str) -> String {
        let mut peer = TcpStream::connect(self.sim.base_url.trim_start_matches("http://")).unwrap();
        let body = asked(prompt).to_string();
        let length = body.len();
        let head = format!("POST {target}&key=k HTTP/1.1\r\nhost: sim\r\ncontent-length: {length}\r\n\r\n");
        peer.write_all((head + &body).as_bytes()).unwrap();
        let mut received = String::new();
        peer.read_to_string(&mut received).unwrap();
        received
    }

    /// Waits until the counters are as they should be; fails after two seconds.
    async fn eventually(&self, holds: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            let snapshot = self.sim.snapshot();
            if holds(&snapshot) {
                return snapshot;
            }
            assert!(Instant::now() < deadline, "still {snapshot:?}");
            sleep(Duration::from_millis(2)).await;
        }
    }
}

fn asked(prompt: &str) -> Value {
    json!({"contents": [{"parts": [{"text": prompt}]}]})
}

async fn healthy() -> Caller {
    Caller::new(Plan::healthy(["k"])).await
}

#[actix_web::test]
async fn every_version_generates() {
    let caller = healthy().await;

    for version in ["v1", "v1beta", "v1alpha"] {
        let path = format!("/{version}/models/gemini-2.5-flash:generateContent");
        let (status, body) = caller.ask_json(&path, "hello").await;

        assert_eq!(status, 200);
        assert_eq!(body["candidates"][0]["content"]["parts"][0]["text"], "You wrote: \"hello\".");
    }
}

#[actix_web::test]
async fn a_stream_of_events_says_the_same_as_the_whole_answer() {
    let caller = healthy().await;

    let (_, body) = caller.ask(&format!("{STREAM}?alt=sse"), "one two three four five").await;

    let body = String::from_utf8(body.to_vec()).unwrap();
    let events = body.split_terminator("\r\n\r\n").map(|event| event.strip_prefix("data: ").unwrap());
    let text: String = events
        .map(|event| serde_json::from_str::<Value>(event).unwrap())
        .map(|event| event["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(text, "You wrote: \"one two three four five\".");
}

#[actix_web::test]
async fn an_answer_that_broke_off_goes_on_when_its_last_words_are_quoted() {
    let caller = healthy().await;
    let turn = |role: &str, text: &str| json!({"role": role, "parts": [{"text": text}]});
    let prompt = turn("user", "one two three [[cut=2]]");

    for (said, wish, rest) in [
        ("You wrote: \"one ", "Go on.\n\nwrote: \"one", "wrote: \"one two three\"."),
        ("You wrote: \"one ", "Go on.", "You wrote: \"Go on.\". This is turn 2."),
        ("Something else", "Go on.\n\nelse", "You wrote: \"Go on.\n\nelse\". This is turn 2."),
    ] {
        let body = json!({"contents": [prompt, turn("model", said), turn("user", wish)]});
        let mut answer = caller.post(GENERATE).send_json(&body).await.unwrap();
        let body: Value = serde_json::from_slice(&answer.body().await.unwrap()).unwrap();
        assert_eq!(body["candidates"][0]["content"]["parts"][0]["text"], rest);
    }
}

#[actix_web::test]
async fn without_alt_a_stream_is_a_json_array_and_so_are_its_errors() {
    let caller = healthy().await;

    let (_, body) = caller.ask_json(STREAM, "hello").await;
    assert_eq!(body.as_array().unwrap().last().unwrap()["candidates"][0]["finishReason"], "STOP");

    let (status, body) = caller.ask_json("/v1beta/models/nobody:streamGenerateContent", "hello").await;
    assert_eq!((status.as_u16(), &body[0]["error"]["status"]), (404, &json!("NOT_FOUND")));
}

#[actix_web::test]
async fn events_arrive_one_by_one() {
    let caller = healthy().await;
    let began = Instant::now();

    let request = caller.post(&format!("{STREAM}?alt=sse"));
    let mut answer = request.send_json(&asked("[[events=4 gap_ms=50]]")).await.unwrap();
    let mut chunks = Vec::new();
    while let Some(chunk) = answer.next().await {
        chunks.push((began.elapsed(), chunk.unwrap()));
    }

    assert_eq!(chunks.len(), 4);
    // However late the machine is, the first did not wait for the last.
    let apart = chunks[3].0 - chunks[0].0;
    assert!(apart >= Duration::from_millis(100), "{apart:?}");
}

#[actix_web::test]
async fn a_peer_that_hangs_up_is_noticed_at_once() {
    let caller = healthy().await;

    let request = caller.post(&format!("{STREAM}?alt=sse"));
    let mut answer = request.send_json(&asked("[[events=3 gap_ms=60000]]")).await.unwrap();
    answer.next().await.unwrap().unwrap();
    assert_eq!(caller.sim.snapshot().open_streams, 1);
    drop(answer);
    let hung_up = Instant::now();

    let after = caller.eventually(|snapshot| snapshot.open_streams == 0).await;
    assert!(hung_up.elapsed() < Duration::from_millis(100));
    assert_eq!((after.cancelled.len(), after.cancelled[0].events_sent), (1, 1));
}

#[actix_web::test]
async fn a_peer_that_gives_up_waiting_is_noticed_too() {
    let caller = healthy().await;
    let body = asked("[[hang]]");
    let asking = Box::pin(caller.post(GENERATE).send_json(&body));
    let arrived = Box::pin(caller.eventually(|snapshot| snapshot.in_flight == 1));
    let Either::Right((_, asking)) = select(asking, arrived).await else { panic!("it hangs") };

    drop(asking);

    let after = caller.eventually(|snapshot| snapshot.in_flight == 0).await;
    assert_eq!(after.keys["k"].cancelled, 1);
}

#[actix_web::test]
async fn a_cut_delivers_what_came_before_it_and_no_last_chunk() {
    let caller = healthy().await;
    let received = caller.receive(&format!("{STREAM}?alt=sse"), "[[events=9 cut=3]]");

    assert_eq!(received.matches("data: ").count(), 3, "{received}");
    assert!(!received.ends_with("0\r\n\r\n"), "{received}");
}

#[actix_web::test]
async fn a_cut_before_the_first_event_closes_without_a_byte() {
    let caller = healthy().await;

    assert_eq!(caller.receive(&format!("{STREAM}?alt=sse"), "[[cut=0]]"), "");
    assert_eq!(caller.receive(&format!("{GENERATE}?"), "[[cut=0]]"), "");
}

#[actix_web::test]
async fn an_invalid_key_is_refused_before_the_body_is_read() {
    let caller = Caller::new(Plan::healthy(["other"])).await;

    let mut answer = caller.post(GENERATE).send_body("{").await.unwrap();

    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["details"][0]["reason"], "API_KEY_INVALID");
}

#[actix_web::test]
async fn a_quota_is_spent_and_comes_back() {
    let caller = Caller::new(Plan { minute_ms: 200, ..Plan::healthy(["k"]) }).await;
    let quota = Quota { requests_per_minute: Some(1), ..Quota::default() };
    caller.sim.set_behaviour("k", Behaviour { quota, ..Behaviour::default() });

    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(caller.ask(GENERATE, "hello").await.0.as_u16());
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    let deadline = Instant::now() + Duration::from_secs(2);
    while caller.ask(GENERATE, "hello").await.0 != 200 {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(10)).await;
    }
}

#[actix_web::test]
async fn behaviour_and_weather_can_be_changed_by_http() {
    let caller = healthy().await;
    let url = |path: &str| format!("{}/_sim/{path}", caller.sim.base_url);

    let spell = json!([{"fault": {"refuse": "overloaded"}}]);
    let changed = caller.client.put(url("weather")).send_json(&spell).await.unwrap();
    assert_eq!(changed.status(), 204);
    assert_eq!(caller.ask(GENERATE, "hello").await.0, 503);

    let dead = json!({"faults": [{"fault": {"refuse": "leaked"}}]});
    caller.client.put(url("keys/k")).send_json(&dead).await.unwrap();
    assert_eq!(caller.ask(GENERATE, "hello").await.0, 403);

    let state: Value = caller.client.get(url("state")).send().await.unwrap().json().await.unwrap();
    assert_eq!(state["keys"]["k"]["statuses"], json!({"403": 1, "503": 1}));
    let odd = caller.client.put(url("keys/k")).send_json(&json!({"fault": 1})).await.unwrap();
    assert_eq!(odd.status(), 400);
}

#[actix_web::test]
async fn models_are_listed_in_pages_and_found_by_name() {
    let caller = healthy().await;
    let get = |path: &str| {
        let url = format!("{}{path}", caller.sim.base_url);
        caller.client.get(url).insert_header(("x-goog-api-key", "k")).send()
    };

    let page: Value = get("/v1/models?pageSize=2").await.unwrap().json().await.unwrap();
    let model: Value = get("/v1/models/gemini-2.5-flash").await.unwrap().json().await.unwrap();

    assert_eq!((page["models"].as_array().unwrap().len(), &page["nextPageToken"]), (2, &json!("2")));
    assert_eq!(model["name"], "models/gemini-2.5-flash");
    assert_eq!(get("/v1/models/nobody").await.unwrap().status(), 404);
    assert_eq!(get("/nowhere").await.unwrap().status(), 404);
}

#[actix_web::test]
async fn tokens_are_counted_without_an_attempt() {
    let caller = healthy().await;

    let (_, body) = caller.ask_json("/v1beta/models/gemini-2.5-flash:countTokens", "12345678").await;

    assert_eq!(body["totalTokens"], 3);
    assert_eq!(caller.sim.snapshot().attempts, 0);
}

#[actix_web::test]
async fn embeddings_come_in_the_order_and_size_asked_for() {
    let caller = healthy().await;
    let entry = |text: &str| json!({"model": "models/gemini-embedding-001", "content": {"parts": [{"text": text}]}, "outputDimensionality": 8});
    let request = caller.post("/v1beta/models/gemini-embedding-001:batchEmbedContents");

    let body = json!({"requests": [entry("a"), entry("b"), entry("a")]});
    let body: Value = request.send_json(&body).await.unwrap().json().await.unwrap();

    let embeddings = body["embeddings"].as_array().unwrap();
    assert_eq!(embeddings[0], embeddings[2]);
    assert_ne!(embeddings[0], embeddings[1]);
    assert_eq!(embeddings[1]["values"].as_array().unwrap().len(), 8);
}

#[actix_web::test]
async fn the_openai_layer_answers_whole_streamed_and_with_errors_in_an_array() {
    let caller = healthy().await;
    let post = |model: &str, stream: bool| {
        let body = json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
        let url = format!("{}/v1beta/openai/chat/completions", caller.sim.base_url);
        caller.client.post(url).bearer_auth("k").send_json(&body)
    };

    let whole: Value = post("gemini-2.5-flash", false).await.unwrap().json().await.unwrap();
    let streamed = post("gemini-2.5-flash", true).await.unwrap().body().await.unwrap();
    let wrong: Value = post("nobody", false).await.unwrap().json().await.unwrap();

    assert_eq!(whole["choices"][0]["message"]["content"], "You wrote: \"hi\".");
    assert!(streamed.ends_with(b"data: [DONE]\n\n"));
    assert_eq!(wrong[0]["error"]["code"], 404);
}

#[actix_web::test]
async fn requests_are_kept_when_the_plan_says_so() {
    let caller = Caller::new(Plan { record_last: 1, ..Plan::healthy(["k"]) }).await;

    caller.ask(GENERATE, "first").await;
    caller.ask(GENERATE, "second").await;

    let requests = caller.sim.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].body, asked("second").to_string());
    assert_eq!(requests[0].target, GENERATE);
}
