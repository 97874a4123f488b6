//! Requests of real client versions, recorded, and replayed against the gateway.

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::harness::{TOKEN, TestApp, client_requests, client_sessions};

/// The recorded requests of these files, with their names; none on a machine without recordings.
fn recorded<'a>(files: &'a [&'static str]) -> impl Iterator<Item = (&'static str, Value)> + 'a {
    files.iter().flat_map(|file| {
        let requests = client_requests(&format!("{file}.json")).unwrap_or_default();
        requests.into_iter().map(move |request| (*file, request))
    })
}

/// What the gateway answers; other paths of OpenAI's are told to be unknown.
fn is_served(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or(target);
    matches!(path, "/v1/chat/completions" | "/v1/embeddings" | "/v1/responses")
        || path.starts_with("/v1/models")
}

#[actix_web::test]
async fn requests_of_openais_sdks_are_answered_as_they_were_recorded() {
    let app = TestApp::with_keys(["k1"]).await;
    for (file, request) in recorded(&["openai-python-3.54.0", "openai-js-6.49.0", "openai-js-7.57.0"]) {
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
            assert!([404, 405].contains(&reply.status()), "{what}: {}", reply.text());
            assert_eq!(reply.json()["error"]["type"], "invalid_request_error", "{what}");
            continue;
        }
        // Nobody can turn OpenAI's token ids back into text for Gemini.
        if text("call") == "embeddings.tokens" {
            assert_eq!((reply.status(), &reply.json()["error"]["param"]), (400, &json!("input")), "{what}");
            continue;
        }
        assert_eq!(reply.status(), 200, "{what}: {}", reply.text());
        if request["body"]["stream"] == true && target == "/v1/responses" {
            let events = reply.events();
            assert_eq!(events.last().expect("an end")["type"], "response.completed", "{what}");
            continue;
        }
        if request["body"]["stream"] == true {
            assert!(reply.text().ends_with("data: [DONE]\n\n"), "{what}");
            assert_eq!(reply.chatted(), "Hello there", "{what}");
            continue;
        }
        let answer = reply.json();
        match target {
            "/v1/chat/completions" => assert_eq!(answer["object"], "chat.completion", "{what}"),
            "/v1/responses" => assert_eq!(answer["object"], "response", "{what}"),
            "/v1/embeddings" | "/v1/models" => assert_eq!(answer["object"], "list", "{what}"),
            _ => assert_eq!(
                (&answer["object"], &answer["owned_by"]),
                (&json!("model"), &json!("google")),
                "{what}"
            ),
        }
    }
}

#[actix_web::test]
async fn requests_of_googles_sdks_reach_google_as_they_were_recorded() {
    let app =
        TestApp::builder().setting("SAFETY_SETTINGS", "[]").token(TOKEN).token("test-key").start().await;
    let files = [
        "google-genai-python-1.75.0",
        "google-genai-python-3.4.0",
        "google-genai-js-2.32.0",
        "google-genai-js-3.1.0",
    ];
    let is_served = |path: &str| {
        let methods = ["generateContent", "streamGenerateContent", "countTokens", "batchEmbedContents"];
        path.rsplit_once(':').is_some_and(|(model, method)| {
            model.contains("/models/gemini-") && methods.contains(&method) && !path.contains("/publishers/")
        })
    };
    for (file, request) in recorded(&files) {
        let text = |name: &str| request[name].as_str().unwrap_or_default();
        let (what, target) = (format!("{file} {}", text("call")), text("target"));
        let path = target.split('?').next().unwrap_or(target);
        let method: Method = text("method").parse().expect("a method");
        let mut sending = app.client().anonymous().request(method, target);
        for name in ["accept", "content-type", "user-agent", "x-goog-api-client", "x-goog-api-key"] {
            if let Some(value) = request["headers"][name].as_str() {
                sending = sending.header(name, value);
            }
        }
        let before = app.upstream.requests().len();
        let body = request["body"].is_object().then(|| request["body"].to_string());
        let reply = body.iter().fold(sending, |sending, body| sending.body(body.clone())).send().await;

        let sent = app.upstream.requests();
        if is_served(path) {
            assert_eq!(reply.status(), 200, "{what}: {}", reply.text());
            let sent = sent.last().expect("Google was asked");
            assert_eq!(Some(&sent.body[..]), body.as_deref().map(str::as_bytes), "{what}");
            assert_eq!(sent.header("x-goog-api-key"), Some("k1"), "{what}");
        } else if path.starts_with("/v1beta1/publishers/") {
            // Vertex, which is not served.
            assert_eq!((reply.status(), sent.len()), (404, before), "{what}");
        } else {
            assert_ne!(reply.status(), 401, "{what}");
            assert!(reply.status() < 500, "{what}: {}", reply.text());
        }
    }
}

#[actix_web::test]
async fn handshakes_of_the_live_api_are_told_in_geminis_form_that_it_is_not_served() {
    let app = TestApp::with_keys(["k1"]).await;
    app.catalogue_is_fetched().await;
    let before = app.upstream.attempts().len();
    for session in client_sessions("google-genai-live.json").unwrap_or_default() {
        let target = session["target"].as_str().expect("a target");
        let mut handshake = app.client().get(target);
        for (name, value) in [("upgrade", "websocket"), ("sec-websocket-version", "13")] {
            handshake = handshake.header(name, value);
        }

        let reply = handshake.send().await;

        assert_eq!(reply.status(), 404, "{target}");
        assert_eq!(reply.json()["error"]["status"], "NOT_FOUND", "{target}: {}", reply.text());
    }
    assert_eq!(app.upstream.attempts().len(), before);
}
