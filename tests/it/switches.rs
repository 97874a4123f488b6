//! What names of models and settings ask for, in every dialect; what nothing is asked of stays byte for byte.

use serde_json::{Value, json};

use crate::harness::{Answer, MODEL, TestApp, chat, last_event, ms, prompt, secs};

const CHAT: &str = "/v1/chat/completions";

async fn app(settings: &[(&str, &str)]) -> TestApp {
    let builder = TestApp::builder().keys(["k1"]);
    let app =
        settings.iter().fold(builder, |builder, (name, value)| builder.setting(name, value)).start().await;
    app.catalogue_is_fetched().await;
    app
}

/// What Gemini is asked for `model` through either dialect: path and body.
async fn asked(app: &TestApp, model: &str) -> [(String, Value); 2] {
    let chatted = app.client().chat(model, "hello").await;
    assert_eq!(chatted.status(), 200, "{}", chatted.text());
    let converted = app.upstream.last_request();
    let generated = app.client().generate(model, "hello").await;
    assert_eq!(generated.status(), 200, "{}", generated.text());
    let native = app.upstream.last_request();
    [converted, native].map(|sent| (sent.target.clone(), sent.json()))
}

#[actix_web::test]
async fn suffixes_mean_the_same_in_every_dialect() {
    let app = app(&[]).await;

    for (target, body) in asked(&app, "gemini-2.5-flash-search").await {
        assert_eq!(target, "/v1beta/models/gemini-2.5-flash:generateContent");
        assert_eq!(body["tools"], json!([{"googleSearch": {}}]));
    }
    for (target, body) in asked(&app, "gemini-2.5-pro-search-non-thinking").await {
        assert_eq!(target, "/v1beta/models/gemini-2.5-pro:generateContent");
        assert_eq!(body["tools"], json!([{"googleSearch": {}}]));
        assert_eq!(body["generationConfig"]["thinkingConfig"]["thinkingBudget"], 128);
    }
    for (target, body) in asked(&app, "gemini-2.5-flash-non-thinking").await {
        assert_eq!(target, "/v1beta/models/gemini-2.5-flash:generateContent");
        assert_eq!(body["generationConfig"]["thinkingConfig"], json!({"thinkingBudget": 0}));
    }
    for (target, body) in asked(&app, "gemini-2.5-flash-image-chat").await {
        assert_eq!(target, "/v1beta/models/gemini-2.5-flash-image:generateContent");
        assert_eq!(body["generationConfig"]["responseModalities"], json!(["TEXT", "IMAGE"]));
    }
}

#[actix_web::test]
async fn thoughts_of_a_chat_are_told_by_setting() {
    let parts = json!([{"text": "hm", "thought": true}, {"text": "Hello"}]);
    let whole =
        json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}]});
    for (setting, asked, told) in [("false", Value::Null, Value::Null), ("true", json!(true), json!("hm"))] {
        let app = app(&[("SHOW_THINKING_PROCESS", setting)]).await;
        app.upstream.on("k1").reply_json(200, &whole);

        let reply = app.client().chat(MODEL, "hello").await.json();

        let config = app.upstream.last_request().json()["generationConfig"]["thinkingConfig"].clone();
        assert_eq!(config["includeThoughts"], asked, "{setting}");
        let message = &reply["choices"][0]["message"];
        assert_eq!(
            (&message["content"], &message["reasoning_content"]),
            (&json!("Hello"), &told),
            "{setting}"
        );

        app.upstream.on("k1").stream().event(&whole);
        let mut body = chat(MODEL, "hello");
        body["stream"] = true.into();
        let stream = app.client().post(CHAT).json(&body).send().await;
        assert_eq!(stream.text().contains("reasoning_content"), setting == "true", "{}", stream.text());
    }
}

#[actix_web::test]
async fn a_model_that_google_has_is_never_taken_apart() {
    let app = TestApp::builder().keys(["k1"]).setting("IMAGE_MODELS", MODEL).start().await;
    app.upstream.catalogue_is(
        r#"{"models": [{"name": "models/gemini-2.5-flash"}, {"name": "models/gemini-2.5-flash-image"}]}"#,
    );
    app.catalog()
        .send(gemini_balance::services::catalog::Refresh)
        .await
        .expect("it lives")
        .expect("there is a list");

    for (target, body) in asked(&app, "gemini-2.5-flash-image").await {
        assert_eq!(target, "/v1beta/models/gemini-2.5-flash-image:generateContent");
        assert!(body["generationConfig"].get("responseModalities").is_none());
    }
}

#[actix_web::test]
async fn native_bodies_stay_as_they_are_unless_something_is_asked() {
    let app = app(&[("SAFETY_SETTINGS", "[]")]).await;
    let body = "{ \"contents\" : [ {\"parts\":[{\"text\":\"a\\u00e9\"}]} ], \"new\": {\"x\": 1.0} }";
    let send = async |model: &str| {
        let path = format!("/v1beta/models/{model}:generateContent");
        let request = app.client().post(&path).header("content-type", "application/json");
        assert_eq!(request.body(body).send().await.status(), 200);
        String::from_utf8(app.upstream.last_request().body.to_vec()).expect("UTF-8")
    };

    assert_eq!(send(MODEL).await, body);
    let searched = send("gemini-2.5-flash-search").await;
    assert!(
        searched.contains("[ {\"parts\":[{\"text\":\"a\\u00e9\"}]} ]") && searched.contains("{\"x\": 1.0}"),
        "{searched}"
    );
}

#[actix_web::test]
async fn settings_speak_for_clients_that_say_nothing() {
    let app = app(&[
        ("THINKING_BUDGET_MAP", r#"{"gemini-2.5-flash": -1.0}"#),
        ("TOOLS_CODE_EXECUTION_ENABLED", "true"),
        ("URL_CONTEXT_ENABLED", "true"),
        ("MODEL_ALIASES", r#"{"gpt-4o": "gemini-2.5-pro-search"}"#),
    ])
    .await;

    for (_, body) in asked(&app, MODEL).await {
        let thinking = &body["generationConfig"]["thinkingConfig"];
        assert_eq!(thinking, &json!({"includeThoughts": true, "thinkingBudget": -1}));
        assert_eq!(body["tools"], json!([{"urlContext": {}}, {"codeExecution": {}}]));
    }
    for (target, body) in asked(&app, "gpt-4o").await {
        assert_eq!(target, "/v1beta/models/gemini-2.5-pro:generateContent");
        assert_eq!(body["tools"], json!([{"googleSearch": {}}, {"urlContext": {}}]));
    }
    let own = json!({"contents": prompt("x")["contents"], "generationConfig": {"thinkingConfig": {"thinkingBudget": 7}}});
    app.client().post("/v1beta/models/gemini-2.5-flash:generateContent").json(&own).send().await;
    assert_eq!(
        app.upstream.last_request().json()["generationConfig"]["thinkingConfig"],
        json!({"thinkingBudget": 7})
    );
    let mut body = chat(MODEL, "hello");
    body["reasoning_effort"] = "low".into();
    app.client().post(CHAT).json(&body).send().await;
    assert_eq!(
        app.upstream.last_request().json()["generationConfig"]["thinkingConfig"]["thinkingBudget"],
        1024
    );
    assert_eq!(app.client().chat("gpt-4o", "x").await.json()["model"], "gpt-4o");
}

#[actix_web::test]
async fn rules_set_default_and_remove_fields_and_headers() {
    let rules = json!([{
        "models": ["gemini-2.5-*"],
        "body": {"set": {"generationConfig.temperature": 0.5}, "default": {"generationConfig.topP": 0.9}, "remove": ["labels"]},
        "headers": {"set": {"x-team": "search"}},
    }]);
    let app = app(&[("MODEL_RULES", &rules.to_string())]).await;
    let body = json!({"contents": prompt("x")["contents"], "labels": {"a": "b"}, "generationConfig": {"topP": 0.1, "temperature": 2}});

    app.client().post("/v1beta/models/gemini-2.5-flash:generateContent").json(&body).send().await;

    let sent = app.upstream.last_request();
    assert_eq!(sent.json()["generationConfig"], json!({"topP": 0.1, "temperature": 0.5}));
    assert_eq!((sent.json().get("labels"), sent.header("x-team")), (None, Some("search")));
    for (_, body) in asked(&app, MODEL).await {
        let config = &body["generationConfig"];
        assert_eq!((&config["topP"], &config["temperature"]), (&json!(0.9), &json!(0.5)));
    }
}

#[actix_web::test]
async fn lists_of_both_dialects_show_what_can_be_asked_for() {
    let app =
        app(&[("THINKING_MODELS", "gemini-2.5-pro"), ("MODEL_ALIASES", r#"{"gpt-4o": "gemini-2.5-pro"}"#)])
            .await;

    let openai = app.client().get("/v1/models").send().await.json();
    let gemini = app.client().get("/v1beta/models").send().await.json();

    let ids: Vec<_> =
        openai["data"].as_array().expect("a list").iter().map(|model| model["id"].clone()).collect();
    let expected = [
        "gemini-2.5-flash",
        "gemini-2.5-flash-search",
        "gemini-2.5-pro",
        "gemini-2.5-pro-search",
        "gemini-2.5-pro-non-thinking",
        "gemini-embedding-001",
        "gemini-2.5-flash-image-chat",
        "gpt-4o",
    ];
    assert_eq!(ids, expected);
    let names = gemini["models"].as_array().expect("a list").iter().map(|model| model["name"].clone());
    assert_eq!(names.collect::<Vec<_>>(), expected.map(|name| json!(format!("models/{name}"))));
    let one = app.client().get("/v1beta/models/gemini-2.5-pro-search").send().await.json();
    assert_eq!(one["displayName"], "gemini-2.5-pro-search");
    assert_eq!(app.client().get("/v1/models/gpt-4o").send().await.json()["id"], "gpt-4o");
}

fn grounded() -> Value {
    let mut answer = last_event("Rain.");
    answer["candidates"][0]["groundingMetadata"] = json!({
        "groundingChunks": [{"web": {"uri": "https://a.example", "title": "A"}}],
        "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 5, "text": "Rain."}, "groundingChunkIndices": [0]}],
    });
    answer
}

#[actix_web::test]
async fn searches_end_with_links_unless_that_is_switched_off() {
    let links = "**Sources**\n\n- [A](https://a.example)";
    for (is_shown, model) in
        [(true, "gemini-2.5-flash-search"), (true, MODEL), (false, "gemini-2.5-flash-search")]
    {
        let app = app(&[("SHOW_SEARCH_LINK", &is_shown.to_string())]).await;
        let is_expected = is_shown && model != MODEL;
        app.upstream.on("k1").reply_json(200, &grounded());
        let chatted = app.client().chat(model, "x").await.json();
        let generated = app.client().generate(model, "x").await.json();
        app.upstream.on("k1").stream().text("It will: ").event(&grounded());
        let chat_stream = app.client().chat_stream(model, "x").await.rest().await.chatted();
        let stream = app.client().stream(model, "x").await.rest().await.text().replace("\\n", "\n");

        let message = &chatted["choices"][0]["message"];
        assert_eq!(message["annotations"][0]["url_citation"]["url"], "https://a.example");
        let parts = &generated["candidates"][0]["content"]["parts"];
        let texts = [
            message["content"].as_str().unwrap_or_default().to_owned(),
            parts.to_string().replace("\\n", "\n"),
            chat_stream,
            stream,
        ];
        for text in texts {
            assert_eq!(text.contains(links), is_expected, "{model}: {text}");
            assert!(text.contains("Rain."));
        }
    }
}

#[actix_web::test]
async fn fake_streams_fetch_whole_answers_with_signs_of_life_and_lose_nothing() {
    let app =
        app(&[("FAKE_STREAM_ENABLED", "true"), ("FAKE_STREAM_EMPTY_DATA_INTERVAL_SECONDS", "0.1")]).await;
    let answer = json!({"candidates": [{"finishReason": "STOP", "content": {"parts": [
        {"text": "hm", "thought": true}, {"text": "one"}, {"functionCall": {"name": "f", "args": {}}}, {"text": " two"},
    ]}}], "usageMetadata": {"promptTokenCount": 1, "totalTokenCount": 2}});
    let slow = || app.upstream.on("k1").reply_json(200, &answer).after(ms(400));

    slow();
    let chatted = app.client().chat_stream(MODEL, "x").await.rest().await;
    assert!(chatted.text().starts_with(": keep-alive\n\n"), "{}", chatted.text());
    assert_eq!(chatted.chatted(), "one two");
    assert!(
        chatted.text().contains("\"name\":\"f\"")
            && chatted.text().contains("\"finish_reason\":\"tool_calls\"")
    );
    assert!(chatted.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(app.upstream.last_request().target, "/v1beta/models/gemini-2.5-flash:generateContent");

    slow();
    let sse = app.client().stream(MODEL, "x").await.rest().await;
    assert!(sse.text().starts_with("\r\n"), "{}", sse.text());
    assert_eq!(sse.events(), std::slice::from_ref(&answer));

    slow();
    let array = app.client().post("/v1beta/models/gemini-2.5-flash:streamGenerateContent").json(&prompt("x"));
    assert_eq!(serde_json::from_str::<Value>(array.send().await.text()).expect("JSON"), json!([answer]));

    app.upstream.on("k1").reply(400).after(ms(300));
    let failed = app.client().chat_stream(MODEL, "x").await.rest().await;
    assert!(failed.text().contains("data: {\"error\":"), "{}", failed.text());
}

#[actix_web::test]
async fn a_fake_stream_that_nobody_waits_for_is_cancelled() {
    let app =
        app(&[("FAKE_STREAM_ENABLED", "true"), ("FAKE_STREAM_EMPTY_DATA_INTERVAL_SECONDS", "0.1")]).await;
    app.upstream.on("k1").never_answers();

    let mut open = app.client().chat_stream(MODEL, "x").await;
    open.until(": keep-alive").await;
    drop(open);

    app.upstream.is_left(1).await;
    assert_eq!(app.settled("k1").await.tally.failures, 0);
}

fn deltas(answer: &Answer) -> Vec<String> {
    let chunks = answer.data().into_iter().filter_map(|data| serde_json::from_str::<Value>(data).ok());
    chunks.filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
}

#[actix_web::test]
async fn smoothed_streams_say_the_same_in_small_pieces_and_end_in_time() {
    let app = app(&[
        ("STREAM_OPTIMIZER_ENABLED", "true"),
        ("STREAM_MIN_DELAY", "0.001"),
        ("STREAM_MAX_DELAY", "0.002"),
        ("STREAM_MAX_LAG_SECONDS", "0.5"),
    ])
    .await;
    let long = "All work and no play makes Jack a dull boy. ".repeat(400);
    let call = json!({"candidates": [{"content": {"parts": [{"functionCall": {"name": "f"}}]}}]});
    let script = || app.upstream.on("k1").stream().text("hello").event(&call).text(&long).finish("!");

    script();
    let started = std::time::Instant::now();
    let chatted = app.client().chat_stream(MODEL, "x").await.rest().await;
    assert!(started.elapsed() < secs(3), "{:?}", started.elapsed());
    assert_eq!(chatted.chatted(), format!("hello{long}!"));
    assert!(deltas(&chatted).len() > 50, "{}", deltas(&chatted).len());
    assert_eq!(chatted.text().matches("\"name\":\"f\"").count(), 1);
    assert_eq!(chatted.text().matches("\"finish_reason\":\"tool_calls\"").count(), 1);

    script();
    let native = app.client().stream(MODEL, "x").await.rest().await;
    assert_eq!(native.said(), format!("hello{long}!"));
    assert_eq!(native.text().matches("functionCall").count(), 1);
}

#[actix_web::test]
async fn a_smoothed_stream_that_breaks_says_what_it_has_and_then_why() {
    let app = app(&[
        ("STREAM_OPTIMIZER_ENABLED", "true"),
        ("STREAM_MIN_DELAY", "0.5"),
        ("STREAM_MAX_DELAY", "0.5"),
    ])
    .await;
    app.upstream.on("k1").stream().text("hello").cut();

    let answer = app.client().chat_stream(MODEL, "x").await.rest().await;

    assert_eq!(answer.chatted(), "hello");
    assert!(answer.text().contains("data: {\"error\":"), "{}", answer.text());
}

#[actix_web::test]
async fn paths_that_are_almost_right_are_understood_where_that_is_switched_on() {
    for (is_on, status) in [(true, 200), (false, 404)] {
        let app = app(&[("URL_NORMALIZATION_ENABLED", &is_on.to_string())]).await;

        let chatted = app.client().post("/proxy/v1/v1/chat/completions").json(&chat(MODEL, "x")).send().await;
        let counted = app.client().post("/v1/v1beta/models/gemini-2.5-flash:countTokens?alt=json");
        let counted = counted.json(&prompt("x")).send().await;

        assert_eq!((chatted.status(), counted.status()), (status, status), "{}", counted.text());
        if is_on {
            let target = app.upstream.last_request().target;
            assert_eq!(target, "/v1beta/models/gemini-2.5-flash:countTokens?alt=json");
        }
        assert_eq!(app.client().get("/proxy/v1/nothing").send().await.status(), 404);
    }
}

#[actix_web::test]
async fn paths_of_the_gateways_own_stay_where_paths_are_understood() {
    const ADMIN: &str = "sk-administrator-6d1f";
    for is_on in ["true", "false"] {
        let app = app(&[("URL_NORMALIZATION_ENABLED", is_on), ("AUTH_TOKEN", ADMIN)]).await;

        let administered = app.client_with(ADMIN).get("/api/admin/models").send().await;
        let page = app.client().anonymous().get("/models").header("accept", "text/html").send().await;
        let anthropics = app.client().get("/anthropic/v1/models").send().await;

        assert!(administered.json()["items"].is_array(), "{is_on}: {}", administered.text());
        assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{is_on}");
        assert_eq!(anthropics.json()["data"][0]["type"], "model", "{is_on}");
    }
}

#[actix_web::test]
async fn hidden_models_stay_hidden_behind_suffixes_and_aliases() {
    let app = app(&[
        ("FILTERED_MODELS", r#"["gemini-2.5-pro", "gemini-2.5-flash-image"]"#),
        ("IMAGE_MODELS", MODEL),
        ("MODEL_ALIASES", r#"{"gpt-4o": "gemini-2.5-pro"}"#),
    ])
    .await;

    for model in ["gemini-2.5-pro-search", "gpt-4o", "gemini-2.5-flash-image"] {
        assert_eq!(app.client().chat(model, "x").await.status(), 404, "{model}");
        assert_eq!(app.client().generate(model, "x").await.status(), 404, "{model}");
    }
    assert_eq!(app.upstream.requests().len(), 0);
}
