//! Requests of real client versions, recorded, and replayed against the gateway.

use std::{fs, path::PathBuf};

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::harness::TestApp;

/// The recorded requests of OpenAI's SDKs with the names of their files; none on a machine without recordings.
fn recorded() -> Vec<(String, Value)> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures/clients"));
    let Ok(entries) = fs::read_dir(&folder) else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs the recorded fixtures");
        println!("skipped: no recorded fixtures");
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut files: Vec<_> = paths
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .filter(|name| name.starts_with("openai-") && name.ends_with(".json"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "there are recordings of OpenAI's SDKs");
    files
        .into_iter()
        .flat_map(|name| {
            let text = fs::read_to_string(folder.join(&name)).expect("a text");
            let file: Value = serde_json::from_str(&text).expect("recorded JSON");
            let requests = file["requests"].as_array().cloned().expect("there are requests");
            requests.into_iter().map(move |request| (name.clone(), request))
        })
        .collect()
}

/// What the gateway answers; other paths of OpenAI's are told to be unknown.
fn is_served(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or(target);
    matches!(path, "/v1/chat/completions" | "/v1/embeddings" | "/v1/models")
}

#[actix_web::test]
async fn requests_of_openais_sdks_are_answered_as_they_were_recorded() {
    let app = TestApp::with_keys(["k1"]).await;
    for (file, request) in recorded() {
        let text = |name: &str| request[name].as_str().unwrap_or_default();
        let (what, target) = (format!("{file} {}", text("call")), text("target"));
        let method: Method = text("method").parse().expect("a method");
        let mut sending = app.client().request(method, target);
        for name in
            ["accept", "content-type", "user-agent", "x-stainless-lang", "x-stainless-package-version"]
        {
            if let Some(value) = request["headers"][name].as_str() {
                sending = sending.header(name, value);
            }
        }
        let is_json = request["body"].is_object();
        let sending = if is_json { sending.body(request["body"].to_string()) } else { sending };

        let reply = sending.send().await;

        if !is_served(target) {
            assert!(reply.status() < 500, "{what}: {}", reply.text());
            continue;
        }
        // Nobody can turn OpenAI's token ids back into text for Gemini.
        if text("call") == "embeddings.tokens" {
            assert_eq!((reply.status(), &reply.json()["error"]["param"]), (400, &json!("input")), "{what}");
            continue;
        }
        assert_eq!(reply.status(), 200, "{what}: {}", reply.text());
        if request["body"]["stream"] == true {
            assert!(reply.text().ends_with("data: [DONE]\n\n"), "{what}");
            assert_eq!(reply.chatted(), "Hello there", "{what}");
            continue;
        }
        let answer = reply.json();
        match target {
            "/v1/chat/completions" => assert_eq!(answer["object"], "chat.completion", "{what}"),
            _ => assert_eq!(answer["object"], "list", "{what}"),
        }
    }
}
