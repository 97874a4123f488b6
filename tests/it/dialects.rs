//! What holds in every dialect that is converted: recordings, broken streams, and what is refused.

mod rules;
mod streams;

use actix_web::http::Method;
use gemini_balance::services::catalog::Refresh;
use serde_json::{Value, json};

use crate::{
    harness::{Answer, MODEL, TestApp, exchanged_requests, exchanged_stream},
    media::{gateway, pictures},
};

const SIGNING_MODEL: &str = "gemini-3.8-flash";

/// One way to ask for an answer.
struct Dialect {
    path: &'static str,
    /// The field of the history.
    history: &'static str,
    usual: fn() -> Value,
    /// What an error names.
    place: fn(&Value) -> String,
    /// Whether that is the event of an error.
    is_error: fn(&Value) -> bool,
    /// How a stream that has ended well ends.
    end: &'static str,
    /// A sign of life in a stream.
    heartbeat: &'static str,
    /// The text that an event of a stream adds to the answer.
    text: fn(&Value) -> &Value,
    /// Tools of that schema.
    tool: fn(&str) -> Value,
}

const CHAT: Dialect = Dialect {
    path: "/v1/chat/completions",
    history: "messages",
    usual: || json!({"messages": [{"role": "user", "content": "hello"}]}),
    place: |error| error["error"]["param"].as_str().unwrap_or_default().to_owned(),
    is_error: |event| event["error"]["message"].is_string(),
    end: "data: [DONE]\n\n",
    heartbeat: ": keep-alive\n\n",
    text: |event| &event["choices"][0]["delta"]["content"],
    tool: |name| json!({"type": "function", "function": {"name": name}}),
};

const RESPONSES: Dialect = Dialect {
    path: "/v1/responses",
    history: "input",
    usual: || json!({"input": "hello"}),
    is_error: |event| event["type"] == "response.failed",
    end: "}}\n\n",
    text: |event| if event["type"] == "response.output_text.delta" { &event["delta"] } else { &Value::Null },
    tool: |name| json!({"type": "function", "name": name}),
    ..CHAT
};

const ANTHROPIC: Dialect = Dialect {
    path: "/v1/messages",
    history: "messages",
    usual: || json!({"max_tokens": 2000, "messages": [{"role": "user", "content": "hello"}]}),
    place: |error| {
        let message = error["error"]["message"].as_str().unwrap_or_default();
        message.split(':').next().unwrap_or_default().to_owned()
    },
    is_error: |event| event["type"] == "error",
    end: "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    heartbeat: "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    text: |event| &event["delta"]["text"],
    tool: |name| json!({"name": name, "input_schema": {"type": "object"}}),
};

const ALL: [Dialect; 3] = [CHAT, RESPONSES, ANTHROPIC];

impl Dialect {
    fn body(&self, model: &str, more: Value) -> Value {
        let mut body = (self.usual)();
        body["model"] = model.into();
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    }

    async fn ask(&self, app: &TestApp, model: &str, more: Value) -> Answer {
        app.client().post(self.path).json(&self.body(model, more)).send().await
    }

    async fn stream(&self, app: &TestApp, model: &str) -> Answer {
        self.ask(app, model, json!({"stream": true, "tools": [(self.tool)("f")]})).await
    }

    /// All text of a stream.
    fn said(&self, answer: &Answer) -> String {
        answer.events().iter().filter_map(|event| (self.text)(event).as_str().map(str::to_owned)).collect()
    }

    async fn say(&self, app: &TestApp, history: Value) -> Answer {
        self.ask(app, MODEL, json!({ self.history: history })).await
    }

    /// The events of a stream without what differs from one answer to the next.
    async fn events(&self, app: &TestApp) -> Vec<String> {
        let mut more = match self.path {
            "/v1/messages" => json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}),
            "/v1/responses" => json!({"reasoning": {"summary": "auto"}, "store": false}),
            _ => json!({}),
        };
        more["stream"] = true.into();
        let reply = self.ask(app, SIGNING_MODEL, more).await;
        assert_eq!(reply.status(), 200, "{}", reply.text());
        reply.events().iter().map(|event| anonymous(event.clone())).collect()
    }
}

/// Ids, and all that is made of them, and times are left out.
fn anonymous(mut event: Value) -> String {
    fn clean(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for name in ["id", "item_id", "call_id", "created", "created_at", "completed_at"] {
                    fields.remove(name);
                }
                fields.values_mut().for_each(clean);
            }
            Value::Array(list) => list.iter_mut().for_each(clean),
            _ => {}
        }
    }
    clean(&mut event);
    event.to_string()
}

#[actix_web::test]
async fn more_tokens_than_a_model_writes_are_as_many_as_it_writes() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream
        .catalogue_is(r#"{"models": [{"name": "models/gemini-2.5-flash", "outputTokenLimit": 100}]}"#);
    app.catalog().send(Refresh).await.expect("it lives").expect("there is a list");
    for (dialect, field) in [
        (CHAT, "max_tokens"),
        (CHAT, "max_completion_tokens"),
        (RESPONSES, "max_output_tokens"),
        (ANTHROPIC, "max_tokens"),
    ] {
        let reply = dialect.ask(&app, MODEL, json!({ field: 5000 })).await;

        assert_eq!(reply.status(), 200, "{}", reply.text());
        let sent = app.upstream.last_request().json();
        assert_eq!(sent["generationConfig"]["maxOutputTokens"], 100, "{} {field}", dialect.path);
    }
}

#[actix_web::test]
async fn requests_that_the_real_services_were_sent_are_answered() {
    let app = TestApp::builder().setting("MEDIA_FETCH_ENABLED", "false").start().await;
    for (dialect, served) in
        [("openai", &["/v1/responses", "/v1/embeddings"][..]), ("anthropic", &["/v1/messages"][..])]
    {
        let mut count = 0;
        for (name, request) in exchanged_requests(dialect) {
            let url = request["url"].as_str().expect("an address");
            let path = &url[url.find("/v1/").expect("a version")..];
            if !served.iter().any(|served| path.starts_with(served)) {
                continue;
            }
            // The one was wrong in its key, the other longer than that model's window, which is Google's to tell.
            let method: Method = request["method"].as_str().expect("a method").parse().expect("a method");
            let reply = app.client().request(method, path).json(&request["body"]).send().await;

            assert_eq!(reply.status(), 200, "{name}: {}", reply.text());
            count += 1;
        }
        let is_recorded = !exchanged_requests(dialect).is_empty();
        assert!(count >= 7 || !is_recorded, "{dialect}: {count}");
    }
}

#[actix_web::test]
async fn every_split_of_recorded_streams_tells_the_same() {
    let app = TestApp::with_keys(["k1"]).await;
    for name in
        ["tools-stream-3-pro-signature", "thinking-3-flash-stream", "grounding-search-stream", "stream-text"]
    {
        let Some(recorded) = exchanged_stream(name) else { return };
        let bytes = recorded.as_bytes();
        for dialect in ALL {
            let mut told: Vec<Vec<String>> = Vec::new();
            // In one piece, byte by byte where that is not too long, and across lines and letters.
            let smallest = if bytes.len() < 4000 { 1 } else { 13 };
            for size in [bytes.len(), smallest, 37, 1000] {
                let script = app.upstream.on("k1").stream();
                bytes.chunks(size).fold(script, |script, piece| script.bytes(piece.to_vec()));
                told.push(dialect.events(&app).await);
            }
            assert!(told[0].len() > 2, "{name} {}: {:?}", dialect.path, told[0]);
            for (index, events) in told.iter().enumerate() {
                assert_eq!(events, &told[0], "{name} {} {index}", dialect.path);
            }
        }
    }
}

#[actix_web::test]
async fn one_bad_event_ends_the_stream_with_an_error_of_the_dialect() {
    for bad in ["{\"candidates\": 7}", "{oops", "[]", "\"text\""] {
        for dialect in ALL {
            let app = TestApp::with_keys(["k1"]).await;
            app.upstream.on("k1").stream().text("one").bytes(format!("data: {bad}\r\n\r\n")).finish("never");

            let reply = dialect.ask(&app, MODEL, json!({"stream": true})).await;

            let what = format!("{} {bad}", dialect.path);
            let events = reply.events();
            assert!(events.last().is_some_and(dialect.is_error), "{what}: {}", reply.text());
            assert!(reply.text().contains("one") && !reply.text().contains("never"), "{what}");
            assert!(!reply.text().contains("[DONE]") && !reply.text().contains("message_stop"), "{what}");
            assert_eq!(app.settled("k1").await.in_flight, 0, "{what}");
        }
    }
}

/// A request of each dialect that is wrong in the same way, and the place that its error names.
async fn assert_refused(app: &TestApp, what: &str, wrong: [(Value, &str); 3]) {
    for (dialect, (fields, place)) in ALL.iter().zip(wrong) {
        let reply = dialect.ask(app, MODEL, fields).await;

        let error = reply.json();
        assert_eq!((reply.status(), (dialect.place)(&error).as_str()), (400, place), "{what}: {error}");
        assert_eq!(error["error"]["type"], "invalid_request_error", "{what}: {error}");
        let words = error["error"]["message"].as_str().unwrap_or_default().len();
        assert!((10..600).contains(&words), "{what}: {error}");
    }
    assert_eq!(app.upstream.requests().len(), 0, "{what}");
}

/// Tools with that schema.
fn tools(count: usize, schema: &Value) -> [Value; 3] {
    let list = |tool: &dyn Fn(String) -> Value| json!({"tools": (0..count).map(|n| tool(format!("f{n}"))).collect::<Vec<_>>()});
    [
        list(&|name| json!({"type": "function", "function": {"name": name, "parameters": schema}})),
        list(&|name| json!({"type": "function", "name": name, "parameters": schema})),
        list(&|name| json!({"name": name, "input_schema": schema})),
    ]
}

fn named(wrong: [Value; 3], places: [&'static str; 3]) -> [(Value, &'static str); 3] {
    let [chat, responses, anthropic] = wrong;
    [(chat, places[0]), (responses, places[1]), (anthropic, places[2])]
}

#[actix_web::test]
async fn tools_beyond_measure_are_refused_by_their_place() {
    let app = TestApp::with_keys(["k1"]).await;
    let empty = json!({"type": "object", "properties": {}});
    let nested = |levels: usize| {
        let inner = json!({"type": "string"});
        (0..levels).fold(inner, |inner, _| json!({"type": "object", "properties": {"a": inner}}))
    };
    let tree = json!({"type": "object", "properties": {"t": {"$ref": "#/$defs/T"}},
        "$defs": {"T": {"properties": {"t": {"$ref": "#/$defs/T"}}}}});
    let schemas = ["tools[0].function.parameters", "tools[0].parameters", "tools.0.input_schema"];

    assert_refused(&app, "1,000 tools", named(tools(1000, &empty), ["tools"; 3])).await;
    assert_refused(&app, "50 levels", named(tools(1, &nested(50)), schemas)).await;
    assert_refused(&app, "a recursive $ref", named(tools(1, &tree), schemas)).await;
    let format = |schema: &Value| {
        [
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}),
            json!({"text": {"format": {"type": "json_schema", "name": "x", "schema": schema}}}),
            json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}),
        ]
    };
    let formats = ["response_format.json_schema.schema", "text.format.schema", "output_config.format.schema"];
    assert_refused(&app, "an answer of 50 levels", named(format(&nested(50)), formats)).await;
    assert_refused(&app, "a recursive answer", named(format(&tree), formats)).await;

    for (dialect, usual) in ALL.iter().zip(tools(200, &nested(20))) {
        assert_eq!(dialect.ask(&app, MODEL, usual).await.status(), 200, "{}", dialect.path);
    }
}

#[actix_web::test]
async fn histories_that_do_not_fit_together_are_refused_by_their_place() {
    let app = TestApp::with_keys(["k1"]).await;
    let user = json!({"role": "user", "content": "x"});
    let of = |chat: Value, responses: Value, anthropic: Value| {
        [json!({ "messages": chat }), json!({ "input": responses }), json!({ "messages": anthropic })]
    };

    let nothing = of(json!([]), json!([]), json!([]));
    assert_refused(&app, "nothing", named(nothing, ["messages", "input", "messages"])).await;

    let empty = json!([{"role": "user", "content": []}]);
    let places = ["messages[0].content", "input[0].content", "messages.0"];
    assert_refused(&app, "an empty message", named(of(empty.clone(), empty.clone(), empty), places)).await;

    let result = |id: &str| {
        [
            json!({"role": "tool", "tool_call_id": id, "content": "y"}),
            json!({"type": "function_call_output", "call_id": id, "output": "y"}),
            json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "y"}]}),
        ]
    };
    let [chat, responses, anthropic] = result("call_1");
    let orphans = of(json!([user, chat]), json!([user, responses]), json!([user, anthropic]));
    let places = ["messages[1].tool_call_id", "input", "messages.1.content.0"];
    assert_refused(&app, "a result without a call", named(orphans, places)).await;

    let call = [
        json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}),
        json!({"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}),
        json!({"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "f", "input": {}}]}),
    ];
    let ([chat, responses, anthropic], [c, r, a]) = (result("call_2"), call);
    let unknown = of(json!([user, c, chat]), json!([user, r, responses]), json!([user, a, anthropic]));
    let places = ["messages[2].tool_call_id", "input", "messages.2.content.0"];
    assert_refused(&app, "a result of an unknown call", named(unknown, places)).await;
}

/// A message that shows a picture: base64 of a type, or an address.
fn shown(source: Result<(&str, &str), &str>) -> [Value; 3] {
    let url = match source {
        Ok((kind, data)) => format!("data:{kind};base64,{data}"),
        Err(url) => url.to_owned(),
    };
    let anthropic = match source {
        Ok((kind, data)) => json!({"type": "base64", "media_type": kind, "data": data}),
        Err(url) => json!({"type": "url", "url": url}),
    };
    let user = |part: Value| json!([{"role": "user", "content": [part]}]);
    [
        json!({"messages": user(json!({"type": "image_url", "image_url": {"url": url}}))}),
        json!({"input": user(json!({"type": "input_image", "image_url": url}))}),
        json!({"messages": user(json!({"type": "image", "source": anthropic}))}),
    ]
}

#[actix_web::test]
async fn pictures_that_are_none_are_refused_by_their_place() {
    let app = TestApp::with_keys(["k1"]).await;
    let places = |field| ["messages[0].content[0].image_url", "input[0].content[0].image_url", field];
    for (kind, data, field) in [
        ("image/png", "PGh0bWw+PC9odG1sPg==", "messages.0.content.0.source.data"),
        ("image/png", "not base64 at all", "messages.0.content.0.source.data"),
        ("image/png", "", "messages.0.content.0.source.data"),
        ("image/png", "R0lGODlhAQABAAAAACw=", "messages.0.content.0.source.media_type"),
        ("image/gif", "R0lGODlhAQABAAAAACw=", "messages.0.content.0.source.media_type"),
    ] {
        assert_refused(&app, data, named(shown(Ok((kind, data))), places(field))).await;
    }

    // The bytes say what it is.
    for (dialect, body) in ALL.iter().zip(shown(Ok(("image/png", "/9j/4AAQSkZJRg==")))) {
        assert_eq!(dialect.ask(&app, MODEL, body).await.status(), 200);
        let sent = app.upstream.last_request().json();
        assert_eq!(
            sent["contents"][0]["parts"][0]["inlineData"]["mimeType"], "image/jpeg",
            "{}",
            dialect.path
        );
    }
}

#[actix_web::test]
async fn private_addresses_are_refused_by_number_name_and_redirect_in_every_dialect() {
    let (allowing, guarded, port) = (gateway("127.0.0.1").await, gateway("").await, pictures().await);
    let places = [
        "messages[0].content[0].image_url",
        "input[0].content[0].image_url",
        "messages.0.content.0.source.url",
    ];
    for (app, url) in [
        (&guarded, format!("http://127.0.0.1:{port}/picture")),
        (&guarded, format!("http://localhost:{port}/picture")),
        (&guarded, "http://169.254.169.254/latest/meta-data/".to_owned()),
        (&guarded, "http://168.63.129.16/metadata/instance".to_owned()),
        (&allowing, format!("http://127.0.0.1:{port}/by-name")),
        (&allowing, format!("http://127.0.0.1:{port}/metadata")),
        (&allowing, format!("http://127.0.0.1:{port}/file")),
        (&allowing, format!("http://127.0.0.1:{port}/mail")),
    ] {
        assert_refused(app, &url, named(shown(Err(&url)), places)).await;
    }
}

#[actix_web::test]
async fn what_the_model_signed_comes_back_signed_for_the_same_client_alone() {
    let app = TestApp::builder().keys(["k1"]).token("sk-one-7d2e9a").token("sk-two-81c0f4").start().await;
    let ask_as = async |dialect: &Dialect, token: &str, history: Value| {
        let mut body = (dialect.usual)();
        body["model"] = SIGNING_MODEL.into();
        body[dialect.history] = history;
        let request = app.client().anonymous().post(dialect.path).header("x-api-key", token);
        let request = match dialect.path {
            "/v1/messages" => request.header("anthropic-version", "2023-06-01"),
            _ => request,
        };
        request.json(&body).send().await
    };
    let user = |text: &str| json!({"role": "user", "content": text});
    for (index, dialect) in ALL.iter().enumerate() {
        let text = format!("The answer is {index}.");
        let said = json!({"candidates": [{"content": {"role": "model", "parts": [
            {"text": &text[..4]}, {"text": &text[4..], "thoughtSignature": "c2lnbmVk"}]}, "finishReason": "STOP"}]});
        app.upstream.on("k1").reply_json(200, &said).says("ok");
        ask_as(dialect, "sk-one-7d2e9a", json!([user("?")])).await;
        let next = json!([user("?"), {"role": "assistant", "content": text}, user("sure?")]);

        assert_eq!(ask_as(dialect, "sk-one-7d2e9a", next.clone()).await.status(), 200);
        let parts = app.upstream.last_request().json()["contents"][1]["parts"].clone();
        assert_eq!(
            parts,
            json!([{"text": "The "}, {"text": text[4..], "thoughtSignature": "c2lnbmVk"}]),
            "{}",
            dialect.path
        );
        ask_as(dialect, "sk-two-81c0f4", next).await;
        let parts = app.upstream.last_request().json()["contents"][1]["parts"].clone();
        assert_eq!(parts, json!([{"text": text}]), "{}", dialect.path);
    }
}

#[actix_web::test]
async fn an_empty_history_is_not_one_that_says_nothing() {
    let app = TestApp::with_keys(["k1"]).await;

    for dialect in [CHAT, RESPONSES] {
        let reply = dialect
            .say(&app, json!([{"role": "system", "content": ""}, {"role": "user", "content": ""}]))
            .await;

        assert_eq!(reply.status(), 200, "{}", reply.text());
        let sent = app.upstream.last_request().json();
        assert_eq!(sent["contents"], json!([{"role": "user", "parts": [{"text": " "}]}]));
        assert!(sent.get("systemInstruction").is_none(), "{sent}");
    }
}
