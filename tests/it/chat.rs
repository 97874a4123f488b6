//! Chats whose conversion needs more than one look: refusals with a cure, signatures that clients drop, old clients.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::harness::{Answer, MODEL, TestApp, chat, google_error};

const CHAT: &str = "/v1/chat/completions";
const GEMINI_3: &str = "gemini-3.8-flash";
/// What stands for a signature that nobody kept.
const PLACEHOLDER: &str = "Y29udGV4dF9lbmdpbmVlcmluZ19pc190aGVfd2F5X3RvX2dv";

async fn ask(app: &TestApp, body: &Value) -> Answer {
    app.client().post(CHAT).json(body).send().await
}

fn refusal(message: &str) -> Value {
    google_error(400, "INVALID_ARGUMENT", message)
}

fn calls(signature: &str) -> Value {
    let call = |city: &str| json!({"functionCall": {"name": "weather", "args": {"city": city}}});
    let mut first = call("Oslo");
    first["thoughtSignature"] = signature.into();
    json!({"candidates": [{"content": {"role": "model", "parts": [first, call("Rome")]}, "finishReason": "STOP"}]})
}

/// The turn after `message`, with a result for each of its calls, and nothing of it that OpenAI's own types do not have.
fn next_turn(model: &str, message: &Value) -> Value {
    let mut message = message.clone();
    let calls = message["tool_calls"].as_array_mut().expect("there are calls");
    calls.iter_mut().for_each(|call| drop(call.as_object_mut().expect("an object").remove("extra_content")));
    let result = |call: &Value| json!({"role": "tool", "tool_call_id": call["id"], "content": "rain"});
    let results: Vec<_> = calls.iter().map(result).collect();
    let mut messages = vec![json!({"role": "user", "content": "Weather?"}), message];
    messages.extend(results);
    json!({"model": model, "messages": messages, "tools": [{"type": "function", "function": {"name": "weather"}}]})
}

fn signature_of(sent: &Value) -> &Value {
    &sent["contents"][1]["parts"][0]["thoughtSignature"]
}

#[actix_web::test]
async fn signatures_that_a_client_drops_are_remembered_for_it_alone() {
    let app = TestApp::builder().keys(["k1"]).token("sk-one-7d2e9a").token("sk-two-81c0f4").start().await;
    let ask_as = async |token: &str, body: &Value| {
        let request = app.client().anonymous().post(CHAT).header("x-api-key", token);
        request.json(body).send().await.json()
    };
    for stream in [false, true] {
        app.upstream.on("k1").reply_json(200, &calls("c2lnbmVk")).says("ok");
        let mut question = chat(GEMINI_3, "Weather?");
        question["stream"] = stream.into();

        let message = if stream {
            app.upstream.on("k1").stream().event(&calls("c2lnbmVk")).says("ok");
            let request = app.client().anonymous().post(CHAT).header("x-api-key", "sk-one-7d2e9a");
            let answer = request.json(&question).send().await;
            let chunks = answer.text().lines().filter_map(|line| line.strip_prefix("data: {"));
            let chunks =
                chunks.map(|rest| serde_json::from_str::<Value>(&format!("{{{rest}")).expect("JSON"));
            let calls: Vec<_> = chunks
                .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].get(0).cloned())
                .collect();
            json!({"role": "assistant", "content": null, "tool_calls": calls})
        } else {
            ask_as("sk-one-7d2e9a", &question).await["choices"][0]["message"].clone()
        };

        ask_as("sk-one-7d2e9a", &next_turn(GEMINI_3, &message)).await;
        assert_eq!(signature_of(&app.upstream.last_request().json()), "c2lnbmVk", "stream: {stream}");
        ask_as("sk-two-81c0f4", &next_turn(GEMINI_3, &message)).await;
        assert_eq!(signature_of(&app.upstream.last_request().json()), PLACEHOLDER);
        ask_as("sk-one-7d2e9a", &next_turn("gemini-3.1-pro-preview", &message)).await;
        assert_eq!(signature_of(&app.upstream.last_request().json()), PLACEHOLDER, "of another model");
    }
}

#[actix_web::test]
async fn a_refusal_with_a_cure_is_mended_and_nobody_is_blamed() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply_json(200, &calls("c2lnbmVk"));
    let message = ask(&app, &chat(GEMINI_3, "Weather?")).await.json()["choices"][0]["message"].clone();
    app.upstream.on("k1").reply_json(400, &refusal("Corrupted thought signature.")).says("Rain.");

    let reply = ask(&app, &next_turn(GEMINI_3, &message)).await;

    assert_eq!(reply.json()["choices"][0]["message"]["content"], "Rain.");
    let sent = app.upstream.requests();
    assert_eq!(sent.len(), 3);
    assert_eq!(signature_of(&sent[1].json()), "c2lnbmVk");
    assert_eq!(signature_of(&sent[2].json()), PLACEHOLDER);
    let row = app.log_of(&reply).await;
    assert_eq!(row.status, 200);
    assert_eq!(app.settled("k1").await.tally.failures, 0);
}

#[actix_web::test]
async fn a_stream_is_mended_as_well() {
    let app = TestApp::with_keys(["k1"]).await;
    let script = app.upstream.on("k1").reply_json(400, &refusal("Logprobs is not enabled for this model"));
    script.stream().text("Hel").finish("lo");
    let mut body = chat(MODEL, "hello");
    body["logprobs"] = true.into();
    body["stream"] = true.into();

    let reply = ask(&app, &body).await;

    assert_eq!(reply.status(), 200);
    assert!(reply.text().contains("Hel") && reply.text().ends_with("data: [DONE]\n\n"), "{}", reply.text());
    let sent = app.upstream.requests();
    assert_eq!(sent[0].json()["generationConfig"]["responseLogprobs"], true);
    assert!(sent[1].json()["generationConfig"].get("responseLogprobs").is_none());
}

#[actix_web::test]
async fn a_refusal_is_mended_once_and_never_for_requests_that_came_as_they_are() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply_json(400, &refusal("Logprobs is not enabled for this model"));
    let mut body = chat(MODEL, "hello");
    body["logprobs"] = true.into();

    let converted = ask(&app, &body).await;
    assert_eq!((converted.status(), app.upstream.requests().len()), (400, 2));

    let native =
        json!({"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"responseLogprobs": true}});
    let path = format!("/v1beta/models/{MODEL}:generateContent");
    let reply = app.client().post(&path).json(&native).send().await;
    assert_eq!((reply.status(), app.upstream.requests().len()), (400, 3));
}

#[actix_web::test]
async fn two_faults_are_mended_one_after_the_other_and_each_once() {
    let app = TestApp::with_keys(["k1"]).await;
    let (logprobs, level) = ("Logprobs is not enabled for this model", "Thinking level LOW is not supported");
    let script = app.upstream.on("k1").reply_json(400, &refusal(logprobs)).reply_json(400, &refusal(level));
    script.says("mended");
    let mut body = chat(GEMINI_3, "hello");
    body["logprobs"] = true.into();
    body["reasoning_effort"] = "low".into();

    let reply = ask(&app, &body).await;

    assert_eq!(reply.status(), 200, "{}", reply.text());
    let sent = app.upstream.requests();
    let config = &sent[2].json()["generationConfig"];
    assert_eq!((sent.len(), &config["thinkingConfig"]["thinkingLevel"]), (3, &json!("MEDIUM")));
    assert!(config.get("responseLogprobs").is_none());

    app.upstream.on("k1").reply_json(400, &refusal(level)).reply_json(400, &refusal(level));
    let refused = ask(&app, &body).await;
    assert_eq!((refused.status(), app.upstream.requests().len()), (400, 5));
}

#[actix_web::test]
async fn probabilities_of_tokens_are_told_where_the_model_tells_them() {
    let app = TestApp::with_keys(["k1"]).await;
    let told = json!({"chosenCandidates": [{"token": "Hi", "logProbability": -0.5}], "topCandidates": [
        {"candidates": [{"token": "Hi", "logProbability": -0.5}, {"token": "Ho", "logProbability": -1.5}]},
    ]});
    let answer = json!({"candidates": [{
        "content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP", "logprobsResult": told,
    }]});
    app.upstream.on("k1").reply_json(200, &answer);
    let mut body = chat(MODEL, "hello");
    (body["logprobs"], body["top_logprobs"]) = (true.into(), 2.into());

    let reply = ask(&app, &body).await.json();

    let token = &reply["choices"][0]["logprobs"]["content"][0];
    assert_eq!(
        (&token["token"], &token["logprob"], &token["bytes"]),
        (&json!("Hi"), &json!(-0.5), &json!([72, 105]))
    );
    assert_eq!(token["top_logprobs"][1], json!({"token": "Ho", "logprob": -1.5, "bytes": [72, 111]}));
    assert_eq!(app.upstream.last_request().json()["generationConfig"]["logprobs"], 2);

    app.upstream.on("k1").stream().event(&answer);
    body["stream"] = true.into();
    let streamed = ask(&app, &body).await.events();
    let told = streamed.iter().map(|chunk| &chunk["choices"][0]["logprobs"]).find(|found| found.is_object());
    assert_eq!(told.expect("they are told")["content"][0], reply["choices"][0]["logprobs"]["content"][0]);
}

#[actix_web::test]
async fn clients_from_before_there_were_tools_get_function_calls() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply_json(200, &calls("c2ln")).says("Rain.");
    let functions = json!([{"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]);
    let mut body = chat(GEMINI_3, "Weather?");
    body["functions"] = functions.clone();

    let choice = ask(&app, &body).await.json()["choices"][0].clone();

    assert_eq!(choice["finish_reason"], "function_call");
    assert_eq!(
        choice["message"]["function_call"],
        json!({"name": "weather", "arguments": "{\"city\":\"Oslo\"}"})
    );
    let result = json!({"role": "function", "name": "weather", "content": "rain"});
    body["messages"] = json!([body["messages"][0], choice["message"], result]);
    assert_eq!(ask(&app, &body).await.json()["choices"][0]["message"]["content"], "Rain.");
    let sent = app.upstream.last_request().json();
    assert_eq!(sent["contents"][2]["parts"][0]["functionResponse"]["name"], "weather");
}

#[actix_web::test]
async fn a_spoken_answer_comes_as_a_file_or_as_samples() {
    let app = TestApp::with_keys(["k1"]).await;
    let sound = |bytes: &[u8]| json!({"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": STANDARD.encode(bytes)}});
    let answer =
        |parts: Value| json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]});
    let whole = answer(json!([sound(&[1, 0]), sound(&[2, 0])]));
    app.upstream.on("k1").reply_json(200, &whole).stream().event(&whole);
    let mut body = chat("gemini-2.5-flash-preview-tts", "Say hello");
    body["modalities"] = json!(["text", "audio"]);
    body["audio"] = json!({"voice": "alloy", "format": "wav"});

    let message = ask(&app, &body).await.json()["choices"][0]["message"].clone();

    let file = STANDARD.decode(message["audio"]["data"].as_str().expect("there is sound")).expect("base64");
    assert_eq!((&file[..4], &file[44..]), (&b"RIFF"[..], &[1, 0, 2, 0][..]));
    assert_eq!(message["content"], Value::Null);
    let config = &app.upstream.last_request().json()["generationConfig"];
    assert_eq!(config["responseModalities"], json!(["AUDIO"]));
    assert_eq!(config["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"]["voiceName"], "Kore");

    (body["stream"], body["audio"]["format"]) = (true.into(), "pcm16".into());
    let reply = ask(&app, &body).await;
    for samples in [&[1, 0], &[2, 0]] {
        assert!(reply.text().contains(&STANDARD.encode(samples)), "{}", reply.text());
    }
    assert!(reply.text().contains("\"transcript\":\"\",\"expires_at\""), "{}", reply.text());
}

#[actix_web::test]
async fn stop_sequences_beyond_geminis_five_are_found_by_the_gateway() {
    let app = TestApp::with_keys(["k1"]).await;
    let mut body = chat(MODEL, "hello");
    body["stop"] = json!(["a!", "b!", "c!", "d!", "e!", "STOP"]);
    app.upstream.on("k1").says("one STOP two").stream().text("one ST").text("OP two").finish("");

    let whole = ask(&app, &body).await.json();
    body["stream"] = true.into();
    let streamed = ask(&app, &body).await;

    assert_eq!(
        app.upstream.last_request().json()["generationConfig"]["stopSequences"].as_array().map(Vec::len),
        Some(5)
    );
    let choice = &whole["choices"][0];
    assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!("one "), &json!("stop")));
    assert_eq!(streamed.chatted(), "one ");
    assert!(
        streamed.text().contains("\"finish_reason\":\"stop\"") && streamed.text().ends_with("[DONE]\n\n")
    );
}

#[actix_web::test]
async fn what_cannot_be_right_is_refused_before_gemini_is_asked() {
    let app = TestApp::with_keys(["k1"]).await;
    let user = |content: Value| json!([{"role": "user", "content": content}]);
    let tool = |schema: Value| json!([{"type": "function", "function": {"name": "f", "parameters": schema}}]);
    let many: Vec<_> =
        (0..2000).map(|n| json!({"type": "function", "function": {"name": format!("f{n}")}})).collect();
    let picture = |url: &str| user(json!([{"type": "image_url", "image_url": {"url": url}}]));
    let tree = json!({"$ref": "#/$defs/T", "$defs": {"T": {"properties": {"t": {"$ref": "#/$defs/T"}}}}});
    let orphan =
        json!([{"role": "user", "content": "x"}, {"role": "tool", "tool_call_id": "call_1", "content": "y"}]);
    for (fields, param) in [
        (json!({"messages": []}), "messages"),
        (json!({"messages": [{"role": "user"}]}), "messages[0].content"),
        (json!({"messages": [{"role": "robot", "content": "x"}]}), "messages[0].role"),
        (json!({"messages": orphan}), "messages[1].tool_call_id"),
        (
            json!({"messages": picture("data:image/png;base64,PGh0bWw+PC9odG1sPg==")}),
            "messages[0].content[0].image_url",
        ),
        (json!({"messages": picture("data:image/gif;base64,R0lGODlh")}), "messages[0].content[0].image_url"),
        (json!({"messages": user(json!([{"type": "hologram"}]))}), "messages[0].content[0].type"),
        (json!({"tools": many}), "tools"),
        (json!({"tools": tool(tree)}), "tools[0].function.parameters"),
        (json!({"tools": tool(json!({"$ref": "#/$defs/Gone"}))}), "tools[0].function.parameters"),
        (json!({"messages": [{"role": "function", "name": "f", "content": "x"}]}), "messages[0]"),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"top_logprobs": 5}), "top_logprobs"),
        (json!({"n": 0}), "n"),
        (json!({"response_format": {"type": "xml"}}), "response_format.type"),
    ] {
        let mut body = chat(MODEL, "hello");
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());

        let reply = ask(&app, &body).await;

        let error = reply.json()["error"].clone();
        assert_eq!((reply.status(), &error["param"]), (400, &json!(param)), "{error}");
        assert_eq!(error["type"], "invalid_request_error");
    }
    assert_eq!(app.upstream.requests().len(), 0);
}
