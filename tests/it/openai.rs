//! OpenAI's dialect by conversion: what its SDKs send and what they get back.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::harness::{Answer, MODEL, TOKEN, TestApp, chat, prompt};

const CHAT: &str = "/v1/chat/completions";

/// A chat of one turn with more fields.
fn chat_with(more: Value) -> Value {
    let mut body = chat(MODEL, "hello");
    let (Some(fields), Value::Object(more)) = (body.as_object_mut(), more) else {
        panic!("these are objects")
    };
    fields.extend(more);
    body
}

async fn ask(app: &TestApp, body: &Value) -> Answer {
    app.client().post(CHAT).json(body).send().await
}

#[actix_web::test]
async fn a_chat_is_answered_as_openai_would() {
    let app = TestApp::with_keys(["k1"]).await;

    for path in [CHAT, "/hf/v1/chat/completions"] {
        let reply = app.client().post(path).json(&chat(MODEL, "hello")).send().await;

        assert_eq!((reply.status(), reply.header("content-type")), (200, Some("application/json")));
        let answer = reply.json();
        assert_eq!((&answer["object"], &answer["model"]), (&json!("chat.completion"), &json!(MODEL)));
        assert!(answer["id"].as_str().is_some_and(|id| id.starts_with("chatcmpl-")), "{answer}");
        let choice = &answer["choices"][0];
        assert_eq!(
            (&choice["message"]["role"], &choice["message"]["content"]),
            (&json!("assistant"), &json!("Hello there"))
        );
        assert_eq!(choice["finish_reason"], "stop");
        let usage = &answer["usage"];
        assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(5), &json!(3)));
    }
    let sent = app.upstream.last_request();
    assert_eq!(sent.target, "/v1beta/models/gemini-2.5-flash:generateContent");
    assert_eq!(sent.json()["contents"], prompt("hello")["contents"]);
}

#[actix_web::test]
async fn what_a_client_sets_reaches_gemini_in_its_own_words() {
    let app = TestApp::with_keys(["k1"]).await;
    let body = json!({
        "model": MODEL, "temperature": 0.5, "top_p": 0.25, "seed": 7,
        "max_completion_tokens": 50, "stop": ["END"],
        "response_format": {"type": "json_object"}, "reasoning_effort": "low",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        ]}],
    });

    assert_eq!(ask(&app, &body).await.status(), 200);

    let sent = app.upstream.last_request().json();
    assert_eq!(sent["systemInstruction"]["parts"][0]["text"], "Be brief.");
    assert_eq!(
        sent["contents"][0]["parts"][1]["inlineData"],
        json!({"mimeType": "image/png", "data": "iVBORw0KGgo="})
    );
    let config = &sent["generationConfig"];
    assert_eq!((&config["temperature"], &config["topP"]), (&json!(0.5), &json!(0.25)));
    assert_eq!((&config["maxOutputTokens"], &config["seed"]), (&json!(50), &json!(7)));
    assert_eq!(
        (&config["stopSequences"], &config["responseMimeType"]),
        (&json!(["END"]), &json!("application/json"))
    );
    assert!(config["thinkingConfig"].is_object(), "{config}");
}

fn weather_tool() -> Value {
    json!([{"type": "function", "function": {
        "name": "weather", "description": "of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }}])
}

#[actix_web::test]
async fn tools_go_round() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply_with("gemini/tool-call.response.json").says("Rain in both.");
    let question = json!({"role": "user", "content": "Weather in Oslo and Rome?"});

    let asked =
        ask(&app, &json!({"model": MODEL, "messages": [question], "tools": weather_tool()})).await.json();

    let choice = &asked["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let calls = choice["message"]["tool_calls"].as_array().expect("there are calls");
    let arguments: Vec<Value> = calls
        .iter()
        .map(|call| call["function"]["arguments"].as_str().expect("arguments are text"))
        .map(|text| serde_json::from_str(text).expect("the text is JSON"))
        .collect();
    assert_eq!(arguments, [json!({"city": "Oslo"}), json!({"city": "Rome"})]);
    assert_ne!(calls[0]["id"], calls[1]["id"]);

    // Parallel results come back in the other order.
    let result =
        |call: &Value, text: &str| json!({"role": "tool", "tool_call_id": call["id"], "content": text});
    let messages =
        json!([question, choice["message"], result(&calls[1], "rain"), result(&calls[0], "more rain")]);
    let told = ask(&app, &json!({"model": MODEL, "messages": messages, "tools": weather_tool()})).await;

    assert_eq!(told.json()["choices"][0]["message"]["content"], "Rain in both.");
    let sent = app.upstream.last_request().json();
    let model_turn = sent["contents"][1]["parts"].as_array().expect("a turn has parts");
    assert_eq!(model_turn[0]["functionCall"]["args"]["city"], "Oslo");
    assert_eq!(model_turn[0]["thoughtSignature"], "c2lnbmVk", "signatures come back: {sent}");
    let results = sent["contents"][2]["parts"].as_array().expect("a turn has parts");
    assert_eq!(results.len(), 2);
    assert_eq!(results[0]["functionResponse"]["name"], "weather");
    assert_eq!(
        results[0]["functionResponse"]["response"]["result"], "more rain",
        "in the order of the calls"
    );
    assert_eq!(results[1]["functionResponse"]["response"]["result"], "rain");
}

#[actix_web::test]
async fn several_candidates_are_several_requests() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    app.upstream.on("k1").says("one");
    app.upstream.on("k2").says("two");

    let answer = ask(&app, &chat_with(json!({"n": 2}))).await.json();

    let choices = answer["choices"].as_array().expect("there are choices");
    let mut said: Vec<_> = choices.iter().map(|choice| choice["message"]["content"].as_str()).collect();
    said.sort_unstable();
    assert_eq!(said, [Some("one"), Some("two")]);
    assert_eq!((&choices[0]["index"], &choices[1]["index"]), (&json!(0), &json!(1)));
    let usage = &answer["usage"];
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(5), &json!(6)));
    let mut attempts = app.upstream.attempts();
    attempts.sort_unstable();
    assert_eq!(attempts, ["k1", "k2"]);
}

#[actix_web::test]
async fn several_candidates_are_streamed_side_by_side() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    app.upstream.on("k1").stream().text("one ").finish("a");
    app.upstream.on("k2").stream().text("two ").finish("b");

    let body = chat_with(json!({"n": 2, "stream": true, "stream_options": {"include_usage": true}}));
    let reply = ask(&app, &body).await;

    let events = reply.events();
    let (usage, chunks) = events.split_last().expect("there are chunks");
    let mut said = [String::new(), String::new()];
    let mut ends = [0, 0];
    for chunk in chunks {
        let choice = &chunk["choices"][0];
        let index = usize::try_from(choice["index"].as_u64().expect("an index")).expect("a small one");
        said[index] += choice["delta"]["content"].as_str().unwrap_or_default();
        ends[index] += usize::from(choice["finish_reason"] == "stop");
    }
    said.sort_unstable();
    assert_eq!((said, ends), (["one a".to_owned(), "two b".to_owned()], [1, 1]));
    assert_eq!((&usage["choices"], &usage["usage"]["completion_tokens"]), (&json!([]), &json!(6)));
    assert!(reply.text().ends_with("data: [DONE]\n\n") && reply.text().matches("[DONE]").count() == 1);
}

#[actix_web::test]
async fn when_one_of_several_candidates_fails_the_request_does() {
    let app = TestApp::builder().keys(["k1", "k2"]).setting("MAX_RETRIES", "1").start().await;
    app.upstream.on("k2").reply(500);

    for body in [chat_with(json!({"n": 2})), chat_with(json!({"n": 2, "stream": true}))] {
        let reply = ask(&app, &body).await;

        assert_eq!((reply.status(), &reply.json()["error"]["type"]), (500, &json!("server_error")));
    }
    assert_eq!(app.settled("k1").await.in_flight, 0);
}

#[actix_web::test]
async fn what_cannot_be_honoured_is_refused_by_name() {
    let app = TestApp::with_keys(["k1"]).await;

    for (name, value) in [("logit_bias", json!({"50256": -100})), ("modalities", json!(["audio"]))] {
        let reply =
            ask(&app, &chat_with(json!({name: value, "audio": {"voice": "alloy", "format": "wav"}}))).await;

        assert_eq!(reply.status(), 400, "{name}");
        let error = &reply.json()["error"];
        assert_eq!((&error["type"], &error["param"]), (&json!("invalid_request_error"), &json!(name)));
        assert_eq!(error["code"], "unsupported_parameter", "{name}");
        assert!(error["message"].as_str().is_some_and(|message| message.contains(name)), "{error}");
    }
    assert_eq!(app.upstream.attempts().len(), 0);
}

#[actix_web::test]
async fn bad_requests_get_the_errors_of_openais_server() {
    let app = TestApp::with_keys(["k1"]).await;
    let json_type = |path: &str| app.client().post(path).header("content-type", "application/json");
    let cases = [
        ("malformed", json_type(CHAT).body("{\"model\":"), 400, Value::Null),
        ("no messages", json_type(CHAT).body("{\"model\":\"m\"}"), 400, json!("missing_required_parameter")),
        (
            "content type",
            app.client().post(CHAT).header("content-type", "text/plain").body("{}"),
            415,
            json!("unsupported_content_type"),
        ),
        ("method", app.client().get(CHAT), 405, json!("method_not_supported")),
        ("path", app.client().get("/v1/nothing"), 404, json!("unknown_url")),
        (
            "model name",
            json_type(CHAT).body("{\"model\":\"a b\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"),
            400,
            Value::Null,
        ),
        ("hidden model", app.client().get("/v1/models/gemini-pro-vision"), 404, json!("model_not_found")),
        ("unknown model", app.client().get("/v1/models/gemini-9"), 404, json!("model_not_found")),
        ("no token", app.client().anonymous().post(CHAT).json(&chat(MODEL, "x")), 401, Value::Null),
        (
            "wrong token",
            app.client()
                .anonymous()
                .post(CHAT)
                .header("authorization", "Bearer sk-no")
                .json(&chat(MODEL, "x")),
            401,
            json!("invalid_api_key"),
        ),
    ];
    for (what, request, status, code) in cases {
        let reply = request.send().await;

        assert_eq!((reply.status(), &reply.json()["error"]["code"]), (status, &code), "{what}");
        assert_eq!(reply.json()["error"]["type"], "invalid_request_error", "{what}");
        assert!(!reply.request_id().is_empty(), "{what}");
    }
    assert_eq!(app.upstream.attempts().len(), 0);
}

#[actix_web::test]
async fn an_unknown_model_is_told_as_openai_would() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply(404);

    let reply = app.client().chat("gemini-9", "hello").await;

    assert_eq!((reply.status(), &reply.json()["error"]["code"]), (404, &json!("model_not_found")));
}

#[actix_web::test]
async fn embeddings_come_as_floats_or_as_base64() {
    let app = TestApp::with_keys(["k1"]).await;
    let embed = async |more: Value| {
        let mut body = json!({"model": "gemini-embedding-2", "input": ["3", "4"]});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        app.client().post("/v1/embeddings").json(&body).send().await.json()
    };

    let floats = embed(json!({"encoding_format": "float"})).await;
    assert_eq!((&floats["object"], &floats["model"]), (&json!("list"), &json!("gemini-embedding-2")));
    assert_eq!(
        (&floats["data"][1]["index"], &floats["data"][1]["embedding"]),
        (&json!(1), &json!([4.0, 1.0]))
    );

    let base64 = embed(json!({"encoding_format": "base64"})).await;
    let text = base64["data"][0]["embedding"].as_str().expect("base64 is text");
    let bytes = STANDARD.decode(text).expect("it is base64");
    assert_eq!(bytes, [3.0f32.to_le_bytes(), 1.0f32.to_le_bytes()].concat());

    embed(json!({"dimensions": 256})).await;
    assert_eq!(app.upstream.last_request().json()["requests"][0]["outputDimensionality"], 256);
}

#[actix_web::test]
async fn many_embeddings_are_split_into_batches_and_joined_in_order() {
    let app = TestApp::with_keys(["k1", "k2"]).await;
    let texts: Vec<_> = (0..250).map(|n| n.to_string()).collect();
    let body = json!({"model": "gemini-embedding-2", "input": texts, "encoding_format": "float"});

    let answer = app.client().post("/v1/embeddings").json(&body).send().await.json();

    let data = answer["data"].as_array().expect("there is data");
    assert_eq!(data.len(), 250);
    for (n, entry) in data.iter().enumerate() {
        assert_eq!((&entry["index"], &entry["embedding"]), (&json!(n), &json!([n as f64, 1.0])));
    }
    let mut sizes: Vec<_> = app
        .upstream
        .requests()
        .iter()
        .map(|sent| sent.json()["requests"].as_array().map_or(0, Vec::len))
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [50, 100, 100]);
}

#[actix_web::test]
async fn token_ids_cannot_be_embedded() {
    let app = TestApp::with_keys(["k1"]).await;
    let body = json!({"model": "gemini-embedding-001", "input": [[1, 2, 3]]});

    let reply = app.client().post("/v1/embeddings").json(&body).send().await;

    assert_eq!((reply.status(), &reply.json()["error"]["param"]), (400, &json!("input")));
}

#[actix_web::test]
async fn models_are_listed_in_the_dialect_of_who_asks() {
    let app = TestApp::with_keys(["k1"]).await;

    for path in ["/v1/models", "/hf/v1/models"] {
        let list = app.client().get(path).send().await.json();
        let ids: Vec<_> = list["data"].as_array().expect("a list").iter().map(|model| &model["id"]).collect();
        assert_eq!(list["object"], "list");
        for model in ["gemini-2.5-flash", "gemini-2.5-pro", "gemini-embedding-001"] {
            assert!(ids.contains(&&json!(model)), "{ids:?}");
        }
    }
    let one = app.client().get("/v1/models/gemini-2.5-pro").send().await.json();
    assert_eq!(
        (&one["id"], &one["object"], &one["owned_by"]),
        (&json!("gemini-2.5-pro"), &json!("model"), &json!("google"))
    );

    let client = app.client().anonymous();
    for request in [
        client.get("/v1/models").header("x-goog-api-key", TOKEN),
        client.get(&format!("/v1/models?key={TOKEN}")),
    ] {
        assert_eq!(request.send().await.json()["models"][0]["name"], "models/gemini-2.5-flash");
    }
    let found = client.get("/v1/models/gemini-2.5-pro").header("x-goog-api-key", TOKEN).send().await.json();
    assert_eq!(found["displayName"], "Gemini 2.5 Pro");
}

#[actix_web::test]
async fn a_token_may_come_as_an_api_key_header() {
    let app = TestApp::with_keys(["k1"]).await;

    let reply =
        app.client().anonymous().post(CHAT).header("x-api-key", TOKEN).json(&chat(MODEL, "x")).send().await;

    assert_eq!(reply.status(), 200);
    assert!(!format!("{:?}", app.upstream.last_request()).contains(TOKEN));
}
