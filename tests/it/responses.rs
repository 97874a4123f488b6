//! The Responses API: what its clients send, get back, and find again.

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, MODEL, TestApp, event, eventually, google_error, last_event, ms};

const RESPONSES: &str = "/v1/responses";
const GEMINI_3: &str = "gemini-3.8-flash";

fn body(model: &str, more: Value) -> Value {
    let mut body = json!({"model": model, "input": "hello"});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

async fn ask(app: &TestApp, more: Value) -> Answer {
    app.client().post(RESPONSES).json(&body(GEMINI_3, more)).send().await
}

fn answer(parts: &Value) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 10}})
}

fn signed_calls() -> Value {
    let call = |city: &str| json!({"functionCall": {"name": "weather", "args": {"city": city}}});
    let mut first = call("Oslo");
    first["thoughtSignature"] = "c2lnbmVk".into();
    answer(&json!([first, call("Rome")]))
}

fn tools() -> Value {
    json!([{"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}, "strict": true}])
}

/// A result for each call of an output.
fn results(output: &Value) -> Vec<Value> {
    let calls = output.as_array().expect("a list").iter().filter(|item| item["type"] == "function_call");
    calls
        .map(|call| json!({"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}))
        .collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().expect("every event has a type")).collect()
}

fn assert_numbered(events: &[Value]) {
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
}

#[actix_web::test]
async fn a_response_is_told_with_everything_that_clients_check() {
    let app = TestApp::with_keys(["k1"]).await;

    let reply = ask(&app, json!({"instructions": "Be brief.", "metadata": {"k": "v"}})).await;

    assert_eq!((reply.status(), reply.header("content-type")), (200, Some("application/json")));
    let told = reply.json();
    assert!(told["id"].as_str().is_some_and(|id| id.starts_with("resp_")), "{told}");
    assert_eq!((&told["object"], &told["status"]), (&json!("response"), &json!("completed")));
    assert_eq!(told["output"][0]["content"][0]["text"], "Hello there");
    assert_eq!(told["output"][0]["role"], "assistant");
    let usage = json!({"input_tokens": 5, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 8});
    assert_eq!(told["usage"], usage);
    assert_eq!((&told["metadata"], &told["instructions"]), (&json!({"k": "v"}), &json!("Be brief.")));
    for field in ["error", "incomplete_details", "previous_response_id", "user", "max_output_tokens"] {
        assert_eq!(told.get(field), Some(&Value::Null), "{field}");
    }
    let log = app.log_of(&reply).await;
    assert_eq!((log.endpoint.as_ref(), log.model.as_str()), ("responses", GEMINI_3));
}

#[actix_web::test]
async fn a_stream_tells_the_whole_sequence_of_events() {
    let app = TestApp::with_keys(["k1"]).await;
    let thought = answer(&json!([{"text": "hm", "thought": true}]));
    let mut call = signed_calls();
    call["candidates"][0]["content"]["parts"].as_array_mut().expect("parts").pop();
    app.upstream.on("k1").stream().event(&thought).event(&event("Hel")).event(&event("lo")).event(&call);

    let reply = ask(&app, json!({"stream": true, "reasoning": {"summary": "auto"}, "tools": tools()})).await;

    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    let events = reply.events();
    assert_numbered(&events);
    assert_eq!(
        kinds(&events),
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.done",
            "response.reasoning_summary_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.output_item.done",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let names = reply.text().lines().filter_map(|line| line.strip_prefix("event: "));
    assert_eq!(names.collect::<Vec<_>>(), kinds(&events));
    let output = &events.last().expect("an end")["response"]["output"];
    let types: Vec<_> = output.as_array().expect("a list").iter().map(|item| &item["type"]).collect();
    assert_eq!(types, ["reasoning", "message", "reasoning", "function_call"]);
    assert_eq!(output[3]["arguments"], r#"{"city":"Oslo"}"#);
}

#[actix_web::test]
async fn a_conversation_goes_on_from_its_last_response_signatures_included() {
    let app = TestApp::with_keys(["k1"]).await;
    for stream in [false, true] {
        let first = if stream {
            app.upstream.on("k1").stream().event(&signed_calls());
            let reply = ask(&app, json!({"input": "weather?", "tools": tools(), "stream": true})).await;
            reply.events().last().expect("an end")["response"].clone()
        } else {
            app.upstream.on("k1").reply_json(200, &signed_calls());
            ask(&app, json!({"input": "weather?", "tools": tools()})).await.json()
        };
        assert!(first["output"][0].get("encrypted_content").is_none(), "nobody asked for it");

        app.upstream.on("k1").says("It rains.");
        let next = json!({"previous_response_id": first["id"], "input": results(&first["output"]), "tools": tools()});
        let second = ask(&app, next).await.json();

        assert_eq!(second["previous_response_id"], first["id"]);
        let sent = app.upstream.last_request().json();
        let turns = sent["contents"].as_array().expect("turns");
        assert_eq!(turns[0]["parts"], json!([{"text": "weather?"}]));
        assert_eq!(turns[1]["parts"][0]["thoughtSignature"], "c2lnbmVk", "stream: {stream}");
        assert_eq!(turns[2]["parts"].as_array().map(Vec::len), Some(2));

        app.upstream.on("k1").says("Yes.");
        ask(&app, json!({"previous_response_id": second["id"], "input": "sure?"})).await;
        let sent = app.upstream.last_request().json();
        assert_eq!(sent["contents"].as_array().map(Vec::len), Some(5));
        assert_eq!(sent["contents"][3]["parts"], json!([{"text": "It rains."}]));
    }
}

#[actix_web::test]
async fn a_client_that_keeps_its_conversation_itself_carries_the_signatures() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply_json(200, &signed_calls()).says("ok").says("ok");
    let first =
        ask(&app, json!({"store": false, "include": ["reasoning.encrypted_content"], "tools": tools()}))
            .await;
    let output = first.json()["output"].clone();
    let mut input = vec![json!({"role": "user", "content": "hello"})];
    input.extend(output.as_array().expect("a list").clone());
    input.extend(results(&output));
    // What no process remembers is in the items alone.
    for item in &mut input {
        if let Some(id) = item["call_id"].as_str() {
            item["call_id"] = format!("other_{id}").into();
        }
    }

    ask(&app, json!({"store": false, "input": input, "tools": tools()})).await;

    assert_eq!(app.upstream.last_request().json()["contents"][1]["parts"][0]["thoughtSignature"], "c2lnbmVk");
    let response = first.json();
    let path = format!("{RESPONSES}/{}", response["id"].as_str().expect("an id"));
    assert_eq!(app.client().get(&path).send().await.status(), 404, "it was not to be stored");
}

#[actix_web::test]
async fn references_lead_to_items_of_other_responses() {
    let app = TestApp::with_keys(["k1"]).await;
    let first = ask(&app, json!({})).await.json();
    let reference = json!({"type": "item_reference", "id": first["output"][0]["id"]});

    let reply = ask(&app, json!({"input": [{"role": "user", "content": "hello"}, reference, {"role": "user", "content": "again"}]})).await;

    assert_eq!(reply.status(), 200, "{}", reply.text());
    let sent = app.upstream.last_request().json();
    assert_eq!(sent["contents"][1]["parts"], json!([{"text": "Hello there"}]));
    // It is found where it was kept, also when the referring response is itself continued.
    let next = ask(&app, json!({"previous_response_id": reply.json()["id"], "input": "and again"})).await;
    assert_eq!(next.status(), 200, "{}", next.text());
    let lost = ask(&app, json!({"input": [{"type": "item_reference", "id": "msg_lost"}]})).await;
    assert_eq!((lost.status(), &lost.json()["error"]["param"]), (400, &json!("input")));
}

#[actix_web::test]
async fn kept_responses_are_found_listed_and_deleted() {
    let app = TestApp::with_keys(["k1"]).await;
    let items: Vec<_> = (0..5).map(|n| json!({"role": "user", "content": format!("part {n}")})).collect();
    let told = ask(&app, json!({ "input": items })).await.json();
    let path = format!("{RESPONSES}/{}", told["id"].as_str().expect("an id"));

    assert_eq!(app.client().get(&path).send().await.json(), told);

    let page = async |query: &str| app.client().get(&format!("{path}/input_items{query}")).send().await;
    let first = page("?order=asc&limit=2").await.json();
    assert_eq!((&first["object"], &first["has_more"]), (&json!("list"), &json!(true)));
    assert_eq!(first["data"][1]["content"], json!([{"type": "input_text", "text": "part 1"}]));
    let after = first["last_id"].as_str().expect("a cursor");
    let rest = page(&format!("?order=asc&after={after}")).await.json();
    assert_eq!(rest["data"].as_array().map(Vec::len), Some(3));
    assert_eq!(page("").await.json()["data"][0]["content"][0]["text"], "part 4", "the newest first");
    for query in ["?limit=0", "?limit=101", "?limit=x", "?order=up"] {
        let reply = page(query).await;
        let param = query.trim_start_matches('?').split('=').next();
        assert_eq!((reply.status(), reply.json()["error"]["param"].as_str()), (400, param), "{query}");
    }

    let cancelled = app.client().post(&format!("{path}/cancel")).send().await;
    assert_eq!(
        (cancelled.status(), &cancelled.json()["error"]["type"]),
        (400, &json!("invalid_request_error"))
    );
    let deleted = app.client().request(Method::DELETE, &path).send().await;
    assert_eq!(deleted.json(), json!({"id": told["id"], "object": "response", "deleted": true}));
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::GET, format!("{path}/input_items")),
        (Method::POST, format!("{path}/cancel")),
    ] {
        let reply = app.client().request(method, &path).send().await;
        assert_eq!(reply.status(), 404, "{path}");
        assert!(
            reply.json()["error"]["message"].as_str().is_some_and(|message| message.contains("not found"))
        );
    }
    let orphan = ask(&app, json!({"previous_response_id": told["id"]})).await;
    assert_eq!(orphan.status(), 400);
    assert_eq!(orphan.json()["error"]["code"], "previous_response_not_found");
    assert_eq!(orphan.json()["error"]["param"], "previous_response_id");
}

const ONE: &str = "sk-one-7d2e9a";
const TWO: &str = "sk-two-81c0f4";

async fn send(app: &TestApp, token: &str, method: Method, path: &str, more: Option<Value>) -> Answer {
    let request = app.client().anonymous().request(method, path).header("x-api-key", token);
    match more {
        Some(more) => request.json(&body(MODEL, more)).send().await,
        None => request.send().await,
    }
}

async fn assert_belongs_to_one(app: &TestApp, told: &Value) {
    let path = format!("{RESPONSES}/{}", told["id"].as_str().expect("an id"));
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::GET, format!("{path}/input_items")),
    ] {
        assert_eq!(send(app, TWO, method, &path, None).await.status(), 404);
    }
    let previous = json!({"previous_response_id": told["id"]});
    assert_eq!(send(app, TWO, Method::POST, RESPONSES, Some(previous)).await.status(), 400);
    let reference = json!({"input": [{"type": "item_reference", "id": told["output"][0]["id"]}]});
    assert_eq!(send(app, TWO, Method::POST, RESPONSES, Some(reference)).await.status(), 400);
    assert_eq!(send(app, ONE, Method::GET, &path, None).await.status(), 200);
}

#[actix_web::test]
async fn what_one_client_keeps_does_not_exist_for_another() {
    let app = TestApp::builder().keys(["k1"]).token(ONE).token(TWO).start().await;
    let told = send(&app, ONE, Method::POST, RESPONSES, Some(json!({}))).await.json();
    assert_belongs_to_one(&app, &told).await;

    // It belongs to the token, not to its place in the list.
    let swapped = json!([TWO, ONE]).to_string();
    let app = app.stop().await.setting("ALLOWED_TOKENS", &swapped).start().await;

    assert_belongs_to_one(&app, &told).await;
}

#[actix_web::test]
async fn kept_responses_outlive_the_process() {
    let app = TestApp::with_keys(["k1"]).await;
    let told = ask(&app, json!({"input": "remember me"})).await.json();

    let app = app.stop().await.start().await;

    app.upstream.on("k1").says("I do.");
    let reply = ask(&app, json!({"previous_response_id": told["id"], "input": "do you?"})).await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_eq!(app.upstream.last_request().json()["contents"][0]["parts"], json!([{"text": "remember me"}]));
}

#[actix_web::test]
async fn nothing_is_kept_where_the_operator_says_so() {
    let app = TestApp::builder().keys(["k1"]).setting("STORE_RESPONSES", "false").start().await;

    let told = ask(&app, json!({"store": true})).await.json();

    assert_eq!(told["store"], false);
    let path = format!("{RESPONSES}/{}", told["id"].as_str().expect("an id"));
    assert_eq!(app.client().get(&path).send().await.status(), 404);
}

#[actix_web::test]
async fn a_search_is_told_with_its_citations() {
    let app = TestApp::with_keys(["k1"]).await;
    let grounding = json!({
        "webSearchQueries": ["oslo weather"],
        "groundingChunks": [{"web": {"uri": "https://example.com/oslo", "title": "Oslo"}}],
        "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 9, "text": "Es schné"}, "groundingChunkIndices": [0]}],
    });
    let mut found = answer(&json!([{"text": "Es schnéit."}]));
    found["candidates"][0]["groundingMetadata"] = grounding;
    app.upstream.on("k1").reply_json(200, &found);

    let told = ask(&app, json!({"tools": [{"type": "web_search"}]})).await.json();

    assert_eq!(app.upstream.last_request().json()["tools"], json!([{"googleSearch": {}}]));
    assert_eq!(
        told["output"][0]["content"][0]["annotations"],
        json!([{"type": "url_citation", "start_index": 0, "end_index": 8, "url": "https://example.com/oslo", "title": "Oslo"}])
    );
    assert_eq!(told["output"][1]["type"], "web_search_call");
    assert_eq!(told["output"][1]["action"]["query"], "oslo weather");
    assert_eq!(
        told["output"][1]["action"]["sources"],
        json!([{"type": "url", "url": "https://example.com/oslo"}])
    );
}

#[actix_web::test]
async fn code_that_ran_is_an_item_of_its_own() {
    let app = TestApp::with_keys(["k1"]).await;
    let parts = json!([
        {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
        {"text": "One."},
    ]);
    app.upstream.on("k1").reply_json(200, &answer(&parts));

    let tools = json!([{"type": "code_interpreter", "container": {"type": "auto"}}]);
    let told = ask(&app, json!({ "tools": tools })).await.json();

    assert_eq!(app.upstream.last_request().json()["tools"], json!([{"codeExecution": {}}]));
    let call = &told["output"][0];
    assert_eq!((&call["type"], &call["code"]), (&json!("code_interpreter_call"), &json!("print(1)")));
    assert_eq!(call["outputs"], json!([{"type": "logs", "logs": "1\n"}]));
    assert_eq!(told["output"][1]["content"][0]["text"], "One.");
}

#[actix_web::test]
async fn a_stream_that_breaks_off_says_so_twice_and_is_kept_as_failed() {
    let app = TestApp::with_keys(["k1"]).await;
    let fault = google_error(503, "UNAVAILABLE", "The model is overloaded.");
    app.upstream.on("k1").stream().text("Hel").event(&fault);

    let reply = ask(&app, json!({"stream": true})).await;

    let events = reply.events();
    assert_numbered(&events);
    let [.., error, failed] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((&error["type"], &failed["type"]), (&json!("error"), &json!("response.failed")));
    assert!(
        error["error"]["message"].as_str().is_some_and(|message| message.contains("overloaded")),
        "{error}"
    );
    assert_eq!(failed["response"]["error"]["code"], "server_error");
    let path = format!("{RESPONSES}/{}", failed["response"]["id"].as_str().expect("an id"));
    assert_eq!(app.client().get(&path).send().await.json()["status"], "failed");
}

#[actix_web::test]
async fn a_failure_before_the_first_event_has_its_status() {
    let app = TestApp::with_keys(["k1"]).await;
    for stream in [false, true] {
        app.upstream.on("k1").reply(400);

        let reply = ask(&app, json!({ "stream": stream })).await;

        assert_eq!(reply.status(), 400);
        assert_eq!(reply.json()["error"]["type"], "invalid_request_error");
    }
}

#[actix_web::test]
async fn a_silent_stream_gets_comments_as_signs_of_life() {
    let app = TestApp::builder().keys(["k1"]).setting("STREAM_HEARTBEAT_SECONDS", "0.05").start().await;
    app.upstream
        .on("k1")
        .stream()
        .silence(ms(300))
        .event(&event("Hel"))
        .silence(ms(300))
        .event(&last_event("lo"));

    let reply = ask(&app, json!({"stream": true})).await;

    assert!(reply.text().starts_with(": keep-alive\n\n"), "{}", reply.text());
    assert!(reply.text().matches(": keep-alive").count() > 4, "{}", reply.text());
    let events = reply.events();
    assert_numbered(&events);
    assert_eq!(events.last().expect("an end")["response"]["output"][0]["content"][0]["text"], "Hello");
}

#[actix_web::test]
async fn every_split_of_the_upstreams_bytes_tells_the_same() {
    let app = TestApp::with_keys(["k1"]).await;
    let sse = |event: &Value| format!("data: {event}\r\n\r\n");
    let bytes =
        [event("Grü"), event("ße 😀"), last_event("")].iter().map(sse).collect::<String>().into_bytes();
    let mut seen: Vec<String> = Vec::new();
    let splits = (1..bytes.len()).step_by(7).chain([bytes.len()]);
    for split in splits {
        let (head, tail) = bytes.split_at(split);
        app.upstream.on("k1").stream().bytes(head.to_vec()).silence(ms(1)).bytes(tail.to_vec());
        let events = ask(&app, json!({"stream": true, "store": false})).await.events();
        let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
        let deltas: String = deltas.filter_map(|event| event["delta"].as_str()).collect();
        assert_eq!(events.last().expect("an end")["response"]["output"][0]["content"][0]["text"], deltas);
        seen.push(format!("{:?} {deltas}", kinds(&events)));
    }
    assert!(seen.len() > 50 && seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    assert!(seen[0].ends_with("Grüße 😀"));
}

#[actix_web::test]
async fn what_gemini_cannot_do_is_refused_by_name() {
    let app = TestApp::with_keys(["k1"]).await;
    for (more, param) in [
        (json!({"background": true, "store": false}), "background"),
        (json!({"conversation": "conv_1"}), "conversation"),
        (json!({"tools": [{"type": "file_search", "vector_store_ids": []}]}), "tools[0].type"),
        (
            json!({"input": [{"type": "message", "role": "user", "content": [{"type": "input_text"}]}]}),
            "input[0].content[0].text",
        ),
        (json!({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}), "input"),
    ] {
        let reply = ask(&app, more.clone()).await;
        assert_eq!((reply.status(), reply.json()["error"]["param"].as_str()), (400, Some(param)), "{more}");
    }
    assert!(app.upstream.attempts().is_empty());
    assert_eq!(app.client().post("/v1/responses/compact").json(&json!({})).send().await.status(), 405);
}

#[actix_web::test]
async fn tokens_of_an_input_are_counted_with_what_came_before() {
    let app = TestApp::with_keys(["k1"]).await;
    let told = ask(&app, json!({"input": "one"})).await.json();
    app.upstream.on("k1").reply_json(200, &json!({"totalTokens": 31}));

    let next = body(GEMINI_3, json!({"previous_response_id": told["id"], "instructions": "Be brief."}));
    let reply = app.client().post("/v1/responses/input_tokens").json(&next).send().await;

    assert_eq!(reply.json(), json!({"object": "response.input_tokens", "input_tokens": 31}));
    let sent = app.upstream.last_request();
    assert!(sent.target.ends_with(":countTokens"), "{}", sent.target);
    let counted = &sent.json()["generateContentRequest"];
    assert_eq!(counted["model"], format!("models/{GEMINI_3}"));
    assert_eq!(counted["contents"].as_array().map(Vec::len), Some(3));
}

/// The response as it stands, once it has that status.
async fn becomes(app: &TestApp, path: &str, status: &str) -> Value {
    eventually(&format!("the response becomes {status}"), async || {
        Some(app.client().get(path).send().await.json()).filter(|response| response["status"] == status)
    })
    .await
}

async fn in_background(app: &TestApp, more: Value) -> (Value, String) {
    let mut fields = json!({"background": true});
    fields.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let reply = ask(app, fields).await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let told = reply.json();
    let path = format!("{RESPONSES}/{}", told["id"].as_str().expect("an id"));
    (told, path)
}

#[actix_web::test]
async fn a_response_in_the_background_is_made_while_nobody_waits() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").stream().text("Hel").silence(ms(300)).finish("lo");

    let (told, path) = in_background(&app, json!({})).await;

    assert_eq!((&told["status"], &told["background"]), (&json!("in_progress"), &json!(true)));
    assert_eq!((&told["output"], &told["usage"]), (&json!([]), &Value::Null));
    assert_eq!(app.client().get(&path).send().await.json()["status"], "in_progress");
    let done = becomes(&app, &path, "completed").await;
    assert_eq!(done["output"][0]["content"][0]["text"], "Hello");
    assert_eq!(done["id"], told["id"]);
    // What has ended is not cancelled, and is told as it is.
    let cancelled = app.client().post(&format!("{path}/cancel")).send().await;
    assert_eq!((cancelled.status(), cancelled.json()), (200, done.clone()));
    app.upstream.on("k1").says("Yes.");
    let next = ask(&app, json!({"previous_response_id": done["id"], "input": "sure?"})).await;
    assert_eq!(next.json()["output"][0]["content"][0]["text"], "Yes.");
    let logs = app
        .logs("both are logged", |rows| rows.iter().filter(|row| row.endpoint == "responses").count() == 2);
    assert!(logs.await.iter().all(|row| row.status == 200));
}

#[actix_web::test]
async fn its_events_are_told_from_any_place_to_whoever_comes_back() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").stream().text("Hel").silence(ms(300)).finish("lo");
    let mut fields = body(GEMINI_3, json!({"background": true, "stream": true}));
    fields["input"] = "hello".into();

    let mut begun = app.client().post(RESPONSES).json(&fields).open().await;
    begun.until("Hel").await;
    let first: Value = serde_json::from_str(
        begun.so_far().lines().find_map(|line| line.strip_prefix("data: ")).expect("an event"),
    )
    .expect("JSON");
    drop(begun);
    let path = format!("{RESPONSES}/{}", first["response"]["id"].as_str().expect("an id"));
    let all = app.client().get(&format!("{path}?stream=true")).send().await;
    let rest = app.client().get(&format!("{path}?stream=true&starting_after=4")).send().await;

    let events = all.events();
    assert_numbered(&events);
    assert_eq!(events.last().expect("an end")["type"], "response.completed");
    assert_eq!(events.last().expect("an end")["response"]["output"][0]["content"][0]["text"], "Hello");
    assert_eq!(rest.events(), events[5..]);
    assert_eq!(app.upstream.closings().len(), 0, "who leaves does not cancel it");
    let wrong = app.client().get(&format!("{path}?stream=true&starting_after=x")).send().await;
    assert_eq!((wrong.status(), &wrong.json()["error"]["param"]), (400, &json!("starting_after")));

    app.upstream.on("k1").says("usual");
    let usual = ask(&app, json!({})).await.json();
    let path = format!("{RESPONSES}/{}", usual["id"].as_str().expect("an id"));
    let never = app.client().get(&format!("{path}?stream=true")).send().await;
    assert_eq!((never.status(), &never.json()["error"]["param"]), (400, &json!("stream")));
}

#[actix_web::test]
async fn it_can_be_cancelled_which_hangs_up_on_google_at_once() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").stream().text("Hel").hang();
    let (_, path) = in_background(&app, json!({})).await;
    eventually("Google has begun", async || (!app.upstream.requests().is_empty()).then_some(())).await;

    let cancelled = app.client().post(&format!("{path}/cancel")).send().await;

    assert_eq!((cancelled.status(), &cancelled.json()["status"]), (200, &json!("cancelled")));
    assert_eq!(app.client().get(&path).send().await.json()["status"], "cancelled");
    app.upstream.is_left(1).await;
    assert_eq!(app.settled("k1").await.in_flight, 0);
    assert_eq!(app.client().post(&format!("{path}/cancel")).send().await.json()["status"], "cancelled");

    let (_, path) = in_background(&app, json!({})).await;
    let deleted = app.client().request(Method::DELETE, &path).send().await;
    assert_eq!(deleted.json()["deleted"], true);
    for path in [path.clone(), format!("{path}?stream=true")] {
        assert_eq!(app.client().get(&path).send().await.status(), 404);
    }
}

#[actix_web::test]
async fn a_failure_in_the_background_is_the_responses_own() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply(400);

    let (_, path) = in_background(&app, json!({})).await;

    let failed = becomes(&app, &path, "failed").await;
    assert_eq!(failed["error"]["code"], "invalid_prompt");
}

#[actix_web::test]
async fn what_is_made_when_the_gateway_stops_has_failed() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").stream().text("Hel").hang();
    let (_, path) = in_background(&app, json!({})).await;
    eventually("Google has begun", async || (!app.upstream.requests().is_empty()).then_some(())).await;

    let app = app.stop().await.start().await;

    let failed = becomes(&app, &path, "failed").await;
    assert_eq!(failed["error"]["code"], "server_error");
}

#[actix_web::test]
async fn what_one_client_makes_in_the_background_does_not_exist_for_another() {
    let app = TestApp::builder().keys(["k1"]).token(ONE).token(TWO).start().await;
    app.upstream.on("k1").stream().text("Hel").hang();
    let told = send(&app, ONE, Method::POST, RESPONSES, Some(json!({"background": true}))).await.json();
    let path = format!("{RESPONSES}/{}", told["id"].as_str().expect("an id"));

    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::GET, format!("{path}?stream=true")),
        (Method::POST, format!("{path}/cancel")),
        (Method::DELETE, path.clone()),
    ] {
        assert_eq!(send(&app, TWO, method, &path, None).await.status(), 404);
    }
    assert_eq!(send(&app, ONE, Method::GET, &path, None).await.json()["status"], "in_progress");
}

#[actix_web::test]
async fn references_that_lead_everywhere_are_refused() {
    let app = TestApp::with_keys(["k1"]).await;
    let item = |n: usize| json!({"type": "item_reference", "id": format!("msg_{n:032x}000")});

    let reply = ask(&app, json!({"input": (0..51).map(item).collect::<Vec<_>>()})).await;

    assert_eq!((reply.status(), &reply.json()["error"]["param"]), (400, &json!("input")));
    assert!(reply.text().contains("51 other responses"), "{}", reply.text());
}
