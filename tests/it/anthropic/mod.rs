//! Anthropic's dialect by conversion: what its SDKs and coding agents send and what they get back.

mod errors;
mod recorded;

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, MODEL, TOKEN, TestApp, event, last_event, ms, prompt};

const MESSAGES: &str = "/v1/messages";
const COUNT: &str = "/v1/messages/count_tokens";
const SIGNING_MODEL: &str = "gemini-3.5-flash";

/// A message of one turn with more fields.
fn message(more: Value) -> Value {
    let mut body =
        json!({"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "hello"}]});
    let (Some(fields), Value::Object(more)) = (body.as_object_mut(), more) else {
        panic!("these are objects")
    };
    fields.extend(more);
    body
}

async fn ask(app: &TestApp, body: &Value) -> Answer {
    app.client().post(MESSAGES).json(body).send().await
}

/// The names of a stream's events, which are also in their data.
fn names(answer: &Answer) -> Vec<String> {
    let names: Vec<_> = answer.text().lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let told: Vec<_> =
        answer.events().iter().map(|event| event["type"].as_str().map(str::to_owned)).collect();
    assert_eq!(told, names.iter().map(|name| Some((*name).to_owned())).collect::<Vec<_>>());
    names.into_iter().map(str::to_owned).collect()
}

/// All text of a stream.
fn said(answer: &Answer) -> String {
    let text = |event: &Value| event["delta"]["text"].as_str().map(str::to_owned);
    answer.events().iter().filter_map(text).collect()
}

#[actix_web::test]
async fn a_message_is_answered_as_anthropic_would() {
    let app = TestApp::with_keys(["k1"]).await;

    for path in [MESSAGES, "/anthropic/v1/messages", "/v1/messages?beta=true"] {
        let reply = app.client().post(path).json(&message(json!({}))).send().await;

        assert_eq!((reply.status(), reply.header("content-type")), (200, Some("application/json")));
        let answer = reply.json();
        assert_eq!((&answer["type"], &answer["role"]), (&json!("message"), &json!("assistant")));
        assert!(answer["id"].as_str().is_some_and(|id| id.starts_with("msg_")), "{answer}");
        assert_eq!(answer["model"], MODEL);
        assert_eq!(answer["content"], json!([{"type": "text", "text": "Hello there", "citations": null}]));
        assert_eq!((&answer["stop_reason"], &answer["stop_sequence"]), (&json!("end_turn"), &Value::Null));
        let usage = &answer["usage"];
        assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(5), &json!(3)));
        assert_eq!(reply.header("request-id"), Some(&*format!("req_{}", reply.request_id())));
    }
    let sent = app.upstream.last_request();
    assert_eq!(sent.target, "/v1beta/models/gemini-2.5-flash:generateContent");
    assert_eq!(sent.json()["contents"], prompt("hello")["contents"]);
    assert_eq!(sent.json()["generationConfig"], json!({"maxOutputTokens": 64}));
    let logged = app.log_of(&ask(&app, &message(json!({}))).await).await;
    assert_eq!((&*logged.dialect, &*logged.endpoint, &*logged.model), ("anthropic", "messages", MODEL));
}

#[actix_web::test]
async fn a_token_may_come_in_either_header() {
    let app = TestApp::with_keys(["k1"]).await;
    let body = message(json!({}));
    let anonymous = || app.client().anonymous().post(MESSAGES).json(&body);

    for request in [
        anonymous().header("x-api-key", TOKEN).header("anthropic-version", "2023-06-01"),
        anonymous()
            .header("authorization", &format!("Bearer {TOKEN}"))
            .header("anthropic-version", "2026-10-21"),
        anonymous()
            .header("x-api-key", TOKEN)
            .header("anthropic-beta", "interleaved-thinking-2025-05-14,other"),
    ] {
        assert_eq!(request.send().await.status(), 200);
    }
    assert!(!format!("{:?}", app.upstream.last_request()).contains(TOKEN));
}

#[actix_web::test]
async fn a_stream_has_anthropics_events_in_their_order() {
    let app = TestApp::with_keys(["k1"]).await;

    let reply = ask(&app, &message(json!({"stream": true}))).await;

    assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(
        names(&reply),
        [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
    );
    let events = reply.events();
    assert_eq!(
        (events[0]["message"]["usage"]["input_tokens"].as_u64(), said(&reply).as_str()),
        (Some(5), "Hello there")
    );
    assert_eq!(events[5]["delta"]["stop_reason"], "end_turn");
    assert_eq!(events[5]["usage"]["output_tokens"], 3);
    assert_eq!(
        app.upstream.last_request().target,
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    );
}

#[actix_web::test]
async fn however_the_bytes_come_the_stream_is_the_same() {
    let parts = json!([
        {"text": "Grüße", "thought": true}, {"text": "Hé 😀"},
        {"functionCall": {"name": "f", "args": {"a": "b c"}, "id": "c1"}, "thoughtSignature": "c2ln"},
    ]);
    let mut bytes = String::new();
    for part in parts.as_array().expect("a list") {
        let content = json!({"role": "model", "parts": [part]});
        bytes += &format!("data: {}\r\n\r\n", json!({"candidates": [{"content": content, "index": 0}]}));
    }
    bytes += &format!("data: {}\r\n\r\n", last_event(""));
    let app = TestApp::with_keys(["k1"]).await;
    let thinking = json!({"type": "enabled", "budget_tokens": 1024});
    let body = message(json!({"stream": true, "max_tokens": 2000, "thinking": thinking}));

    let mut told = Vec::new();
    for size in [bytes.len(), 1, 2, 7, 64] {
        let script = app.upstream.on("k1").stream();
        bytes.as_bytes().chunks(size).fold(script, |script, piece| script.bytes(piece.to_vec()));
        let mut events = ask(&app, &body).await.events();
        assert_eq!(events[0]["message"]["id"].take().as_str().map(|id| id.starts_with("msg_")), Some(true));
        told.push(events);
    }

    assert_eq!(told[0].len(), 16, "{:?}", told[0]);
    assert!(told.iter().all(|events| *events == told[0]));
}

#[actix_web::test]
async fn a_silent_stream_is_kept_alive_by_pings() {
    let app = TestApp::builder().setting("STREAM_HEARTBEAT_SECONDS", "0.1").start().await;
    app.upstream.on("k1").stream().text("one").silence(ms(350)).finish(" two").after(ms(250));

    let reply = ask(&app, &message(json!({"stream": true}))).await;

    let names = names(&reply);
    let start = names.iter().position(|name| name == "message_start").expect("it starts");
    let pings = |names: &[String]| names.iter().filter(|name| *name == "ping").count();
    assert!(pings(&names[..start]) >= 1 && pings(&names[start..]) >= 2, "{names:?}");
    assert_eq!(said(&reply), "one two");
}

fn weather_tool() -> Value {
    json!([{"name": "weather", "description": "of a city", "input_schema": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
    }}])
}

#[actix_web::test]
async fn tools_go_round_with_their_signature_for_the_model_that_signed() {
    for model in [MODEL, SIGNING_MODEL] {
        let app = TestApp::with_keys(["k1"]).await;
        app.upstream.on("k1").reply_with("gemini/tool-call.response.json").says("Rain in both.");
        let question = json!({"role": "user", "content": "Weather in Oslo and Rome?"});
        let with =
            |messages: Value| message(json!({"model": model, "messages": messages, "tools": weather_tool()}));

        let asked = ask(&app, &with(json!([question]))).await.json();

        assert_eq!(asked["stop_reason"], "tool_use");
        let content = asked["content"].as_array().expect("there is content");
        let calls: Vec<_> = content.iter().filter(|block| block["type"] == "tool_use").collect();
        assert_eq!(
            [&calls[0]["input"], &calls[1]["input"]],
            [&json!({"city": "Oslo"}), &json!({"city": "Rome"})]
        );
        assert_ne!(calls[0]["id"], calls[1]["id"]);

        // Parallel results come back in the other order, with a word behind them.
        let result = |call: &Value, text: &str| json!({"type": "tool_result", "tool_use_id": call["id"], "content": text});
        let results = json!([result(calls[1], "rain"), result(calls[0], "more rain"), {"type": "text", "text": "Be brief."}]);
        let messages = json!([question, {"role": "assistant", "content": content}, {"role": "user", "content": results}]);
        let told = ask(&app, &with(messages)).await.json();

        assert_eq!(told["content"][0]["text"], "Rain in both.");
        let sent = app.upstream.last_request().json();
        let model_turn = sent["contents"][1]["parts"].as_array().expect("a turn has parts");
        assert_eq!(model_turn[0]["functionCall"]["args"]["city"], "Oslo");
        assert_eq!(model_turn[0]["thoughtSignature"], "c2lnbmVk", "signatures come back: {sent}");
        assert!(model_turn[1].get("thoughtSignature").is_none());
        let results = sent["contents"][2]["parts"].as_array().expect("a turn has parts");
        assert_eq!((results.len(), &results[0]["text"]), (3, &json!("Be brief.")));
        assert_eq!(
            results[1]["functionResponse"]["response"]["result"], "more rain",
            "in the order of the calls"
        );
        assert_eq!(results[2]["functionResponse"]["response"]["result"], "rain");
    }
}

#[actix_web::test]
async fn tokens_are_counted_by_gemini() {
    let app = TestApp::with_keys(["k1"]).await;
    let body = json!({"model": MODEL, "system": "Be brief.", "messages": [{"role": "user", "content": "hello"}], "tools": weather_tool()});

    for path in [COUNT, "/anthropic/v1/messages/count_tokens"] {
        let reply = app.client().post(path).json(&body).send().await;

        assert_eq!((reply.status(), reply.json()), (200, json!({"input_tokens": 7})));
    }
    let sent = app.upstream.last_request();
    assert_eq!(sent.target, "/v1beta/models/gemini-2.5-flash:countTokens");
    let counted = &sent.json()["generateContentRequest"];
    assert_eq!(
        (&counted["model"], &counted["contents"]),
        (&json!("models/gemini-2.5-flash"), &prompt("hello")["contents"])
    );
    assert!(counted["systemInstruction"].is_object() && counted["tools"].is_array());
}

#[actix_web::test]
async fn models_are_listed_in_anthropics_form_to_who_shows_its_version() {
    let app = TestApp::with_keys(["k1"]).await;
    let get =
        async |path: &str| app.client().get(path).header("anthropic-version", "2026-10-21").send().await;

    for path in ["/v1/models?limit=1000", "/anthropic/v1/models"] {
        let list = get(path).await.json();
        let ids: Vec<_> = list["data"].as_array().expect("a list").iter().map(|model| &model["id"]).collect();
        let derived = "gemini-2.5-flash-image-chat";
        let search = ["gemini-2.5-flash-search", "gemini-2.5-pro-search"];
        let answering = ["gemini-2.5-flash", search[0], "gemini-2.5-pro", search[1], derived];
        assert_eq!(ids, answering, "those that answer messages, and what is made of them");
        assert_eq!((&list["has_more"], &list["last_id"]), (&json!(false), &json!(derived)));
    }
    let page = get("/v1/models?limit=1&after_id=gemini-2.5-flash").await.json();
    assert_eq!((&page["first_id"], &page["has_more"]), (&json!("gemini-2.5-flash-search"), &json!(true)));
    let one = get("/v1/models/gemini-2.5-pro").await.json();
    assert_eq!((&one["type"], &one["display_name"]), (&json!("model"), &json!("Gemini 2.5 Pro")));
    assert_eq!(get("/v1/models?limit=0").await.json()["error"]["type"], "invalid_request_error");

    let openai = app.client().get("/v1/models").send().await.json();
    assert_eq!(openai["object"], "list");
    let bearer = app
        .client()
        .anonymous()
        .get("/anthropic/v1/models")
        .header("authorization", &format!("Bearer {TOKEN}"));
    assert_eq!(bearer.send().await.json()["data"][0]["type"], "model");
}

#[actix_web::test]
async fn what_agents_ask_first_is_answered() {
    let app = TestApp::with_keys(["k1"]).await;

    for path in ["/api/hello", "/anthropic/api/hello"] {
        let reply = app.client().anonymous().request(Method::HEAD, path).send().await;

        assert_eq!((reply.status(), &reply.body[..]), (200, &b""[..]), "{path}");
    }
}

#[actix_web::test]
async fn thoughts_are_blocks_for_those_who_ask_for_them() {
    let app = TestApp::with_keys(["k1"]).await;
    let mut thought = event("hm");
    thought["candidates"][0]["content"]["parts"][0]["thought"] = json!(true);
    app.upstream.on("k1").stream().event(&thought).text("so").finish("");
    let enabled = json!({"type": "enabled", "budget_tokens": 1024});
    let kinds = |reply: &Answer| -> Vec<Value> {
        reply
            .events()
            .iter()
            .filter_map(|event| event.get("content_block").map(|block| block["type"].clone()))
            .collect()
    };

    let asked = ask(&app, &message(json!({"stream": true, "max_tokens": 2000, "thinking": enabled}))).await;
    let config = app.upstream.last_request().json()["generationConfig"]["thinkingConfig"].clone();
    let unasked = ask(&app, &message(json!({"stream": true}))).await;

    assert_eq!(kinds(&asked), ["thinking", "text"]);
    assert_eq!(config, json!({"includeThoughts": true, "thinkingBudget": 1024}));
    assert_eq!(kinds(&unasked), ["text"]);
}

#[actix_web::test]
async fn a_client_that_interleaves_thoughts_may_have_a_budget_beyond_one_answer() {
    let app = TestApp::with_keys(["k1"]).await;
    let body = message(json!({"max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 16_000}}));

    let refused = ask(&app, &body).await;
    let betas = "fine-grained-tool-streaming-2025-05-14,interleaved-thinking-2025-05-14";
    let taken = app.client().post(MESSAGES).header("anthropic-beta", betas).json(&body).send().await;

    assert_eq!(refused.status(), 400);
    assert!(refused.text().contains("`max_tokens` must be greater"), "{}", refused.text());
    assert_eq!(taken.status(), 200, "{}", taken.text());
    let config = &app.upstream.last_request().json()["generationConfig"];
    assert_eq!(
        (&config["maxOutputTokens"], &config["thinkingConfig"]["thinkingBudget"]),
        (&json!(4000), &json!(2000)),
        "the answer has room"
    );
}

#[actix_web::test]
async fn a_request_that_only_fills_the_cache_is_answered_with_its_counts_alone() {
    let app = TestApp::with_keys(["k1"]).await;

    let whole = ask(&app, &message(json!({"max_tokens": 0}))).await;
    let streamed = ask(&app, &message(json!({"max_tokens": 0, "stream": true}))).await;

    let told = whole.json();
    assert_eq!((&told["content"], &told["stop_reason"]), (&json!([]), &json!("max_tokens")));
    assert_eq!(told["usage"]["input_tokens"], 5);
    assert_eq!(names(&streamed), ["message_start", "message_delta", "message_stop"]);
    assert_eq!(app.upstream.last_request().json()["generationConfig"]["maxOutputTokens"], 1);
}

#[actix_web::test]
async fn signatures_of_calls_are_remembered_for_clients_that_drop_the_blocks_that_carry_them() {
    let app = TestApp::with_keys(["k1"]).await;
    let call = json!({"functionCall": {"name": "weather", "args": {"city": "Oslo"}}, "thoughtSignature": "c2lnbmVk"});
    let called =
        json!({"candidates": [{"content": {"role": "model", "parts": [call]}, "finishReason": "STOP"}]});
    let tools = json!([{"name": "weather", "input_schema": {"type": "object"}}]);
    for stream in [false, true] {
        if stream {
            app.upstream.on("k1").stream().event(&called).says("Rain.");
        } else {
            app.upstream.on("k1").reply_json(200, &called).says("Rain.");
        }
        let reply =
            ask(&app, &message(json!({"model": SIGNING_MODEL, "tools": tools, "stream": stream}))).await;
        let id = if stream {
            let is_call = |event: &Value| event["content_block"]["type"] == "tool_use";
            let events = reply.events();
            events.iter().find(|event| is_call(event)).expect("a call")["content_block"]["id"].clone()
        } else {
            reply.json()["content"].as_array().expect("blocks").last().expect("a call")["id"].clone()
        };

        let call = json!({"type": "tool_use", "id": id, "name": "weather", "input": {"city": "Oslo"}});
        let result = json!({"type": "tool_result", "tool_use_id": id, "content": "rain"});
        let history = json!([{"role": "user", "content": "?"}, {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result]}]);
        ask(&app, &message(json!({"model": SIGNING_MODEL, "tools": tools, "messages": history}))).await;

        let sent = app.upstream.last_request().json();
        assert_eq!(sent["contents"][1]["parts"][0]["thoughtSignature"], "c2lnbmVk", "stream: {stream}");
    }
}

#[actix_web::test]
async fn models_that_only_exist_here_are_listed_and_found() {
    let aliases = r#"{"claude-sonnet": "gemini-2.5-pro"}"#;
    let app = TestApp::builder().setting("MODEL_ALIASES", aliases).start().await;
    let get = async |path: &str| {
        app.client().get(path).header("anthropic-version", "2023-06-01").send().await.json()
    };

    let list = get("/v1/models?limit=1000").await;
    let ids: Vec<_> = list["data"].as_array().expect("a list").iter().map(|model| &model["id"]).collect();

    assert!(
        ids.contains(&&json!("claude-sonnet")) && ids.contains(&&json!("gemini-2.5-flash-search")),
        "{ids:?}"
    );
    let found = get("/v1/models/claude-sonnet").await;
    assert_eq!((&found["id"], &found["type"]), (&json!("claude-sonnet"), &json!("model")));
}
