//! Rules of the operator, in every dialect and for calls of every kind.

use serde_json::{Value, json};

use super::ALL;
use crate::harness::{MODEL, TestApp, prompt};

async fn app() -> TestApp {
    let rules = json!([{
        "models": ["gemini-*"],
        "body": {
            "set": {"generationConfig.temperature": 0.5}, "default": {"generationConfig.topP": 0.25},
            "remove": ["generationConfig.topK", "safetySettings"],
        },
        "headers": {
            "set": {"x-team": "search"}, "default": {"x-server-timeout": "9"}, "remove": ["x-goog-api-client"],
        },
    }]);
    let safety = json!([{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}]);
    let builder = TestApp::builder().keys(["k1"]).setting("SAFETY_SETTINGS", &safety.to_string());
    builder.setting("MODEL_RULES", &rules.to_string()).start().await
}

#[actix_web::test]
async fn fields_are_set_defaulted_and_removed_in_every_dialect() {
    let app = app().await;
    for dialect in ALL {
        for is_stream in [false, true] {
            let own = json!({"temperature": 1, "top_k": 7, "stream": is_stream});

            let reply = dialect.ask(&app, MODEL, own).await;

            assert_eq!(reply.status(), 200, "{}", reply.text());
            let sent = app.upstream.last_request();
            let config = &sent.json()["generationConfig"];
            let told = (&config["temperature"], &config["topP"], config.get("topK"));
            assert_eq!(told, (&json!(0.5), &json!(0.25), None), "{}", dialect.path);
            assert_eq!(sent.json().get("safetySettings"), None, "{}", dialect.path);
            assert_eq!(sent.header("x-team"), Some("search"), "{}", dialect.path);
        }
        let own = json!({"top_p": 0.75});
        dialect.ask(&app, MODEL, own).await;
        assert_eq!(app.upstream.last_request().json()["generationConfig"]["topP"], 0.75, "{}", dialect.path);
    }
}

#[actix_web::test]
async fn safety_settings_stand_in_converted_requests_unless_a_rule_removes_them() {
    let settings = json!([{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}]);
    let app = TestApp::builder().keys(["k1"]).setting("SAFETY_SETTINGS", &settings.to_string()).start().await;
    for dialect in ALL {
        for is_stream in [false, true] {
            let reply = dialect.ask(&app, MODEL, json!({"stream": is_stream})).await;

            assert_eq!(reply.status(), 200, "{}", reply.text());
            assert_eq!(app.upstream.last_request().json()["safetySettings"], settings, "{}", dialect.path);
        }
    }
}

#[actix_web::test]
async fn headers_are_set_defaulted_and_removed_in_calls_of_every_kind() {
    let app = app().await;
    let [generate, embed, count] = ["generateContent", "embedContent", "countTokens"]
        .map(|method| format!("/v1beta/models/{MODEL}:{method}"));
    let content = json!({"content": prompt("x")["contents"][0]});
    let chat = json!({"model": MODEL, "messages": [{"role": "user", "content": "x"}]});
    let input = json!({"model": MODEL, "input": "x"});
    let cases: [(&str, &Value, Option<&str>); 7] = [
        (&generate, &prompt("x"), Some("5")),
        (&embed, &content, Some("5")),
        (&count, &prompt("x"), Some("5")),
        ("/v1/chat/completions", &chat, Some("9")),
        ("/v1/embeddings", &input, Some("9")),
        ("/v1/responses/input_tokens", &input, Some("9")),
        ("/v1/messages/count_tokens", &chat, Some("9")),
    ];
    for (path, body, timeout) in cases {
        let request = app.client().post(path).header("x-server-timeout", "5");

        let reply = request.header("x-goog-api-client", "sdk/1").json(body).send().await;

        assert_eq!(reply.status(), 200, "{path}: {}", reply.text());
        let sent = app.upstream.last_request();
        assert_eq!(sent.header("x-team"), Some("search"), "{path}");
        assert_eq!(sent.header("x-server-timeout"), timeout, "{path}");
        assert_eq!(sent.header("x-goog-api-client"), None, "{path}");
        assert_eq!(sent.header("x-goog-api-key"), Some("k1"), "{path}");
    }
}
