//! Gemini's own dialect: what a client sends is what Google gets, but for who asks.

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::harness::{Client, MODEL, TOKEN, TestApp, fixture, prompt};

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";

/// A gateway that adds nothing of its own.
async fn plain() -> TestApp {
    TestApp::builder().setting("SAFETY_SETTINGS", "[]").start().await
}

async fn post(client: &Client, path: &str, body: impl AsRef<[u8]>) -> u16 {
    let body = body.as_ref().to_vec();
    client.post(path).header("content-type", "application/json").body(body).send().await.status()
}

#[actix_web::test]
async fn a_body_reaches_google_byte_by_byte() {
    let odd = fixture("gemini/odd.request.json");
    let app = plain().await;

    for path in [GENERATE, "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"] {
        assert_eq!(post(&app.client(), path, &odd).await, 200);
        assert_eq!(app.upstream.last_request().body, odd, "{path}");
    }
}

#[actix_web::test]
async fn a_body_that_is_no_json_is_for_google_to_refuse() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply(400);

    assert_eq!(post(&app.client(), GENERATE, "{\"contents\":").await, 400);

    assert_eq!(app.upstream.last_request().body, "{\"contents\":");
}

#[actix_web::test]
async fn an_answer_reaches_the_client_byte_by_byte() {
    let odd = fixture("gemini/odd.response.json");
    let app = plain().await;
    app.upstream.on("k1").reply_body(200, "application/json; charset=UTF-8", odd.clone());

    let reply = app.client().generate(MODEL, "hello").await;

    assert_eq!(reply.body, odd);
    assert_eq!(reply.header("content-type"), Some("application/json; charset=UTF-8"));
}

#[actix_web::test]
async fn configured_safety_settings_are_added_to_generations_that_have_none() {
    let settings = r#"[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"OFF"}]"#;
    let app = TestApp::builder().setting("SAFETY_SETTINGS", settings).start().await;
    let expected: Value = serde_json::from_str(settings).expect("it is JSON");

    for method in ["generateContent", "streamGenerateContent?alt=sse"] {
        let path = format!("/v1beta/models/gemini-2.5-flash:{method}");
        app.client().post(&path).json(&prompt("hello")).send().await;

        let mut sent = app.upstream.last_request().json();
        let added = sent.as_object_mut().and_then(|sent| sent.remove("safetySettings"));
        assert_eq!((added.as_ref(), sent), (Some(&expected), prompt("hello")), "{method}");
    }
}

#[actix_web::test]
async fn a_clients_own_safety_settings_win() {
    const OWN: &str = r#"{"contents":[],"safety_settings":[]}"#;
    let app = TestApp::with_keys(["k1"]).await;

    post(&app.client(), GENERATE, OWN).await;

    assert_eq!(app.upstream.last_request().body, OWN);
}

#[actix_web::test]
async fn other_methods_get_no_safety_settings() {
    const BODY: &str = r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#;
    let app = TestApp::with_keys(["k1"]).await;

    for method in ["countTokens", "embedContent", "predictLongRunning"] {
        post(&app.client(), &format!("/v1beta/models/m:{method}"), BODY).await;

        assert_eq!(app.upstream.last_request().body, BODY, "{method}");
    }
}

#[actix_web::test]
async fn exactly_one_credential_reaches_google_and_never_the_clients() {
    let app = TestApp::with_keys(["k1"]).await;
    let client = app.client().anonymous();
    let bearer = format!("Bearer {TOKEN}");
    let with_key = format!("{GENERATE}?key={TOKEN}");
    let requests = [
        client.post(GENERATE).header("x-goog-api-key", TOKEN),
        client.post(GENERATE).header("authorization", &bearer),
        client.post(&with_key),
        client.post(&with_key).header("x-goog-api-key", TOKEN).header("authorization", &bearer),
        client
            .post(GENERATE)
            .header("x-goog-api-key", TOKEN)
            .header("x-goog-user-project", "p-1")
            .header("cookie", "session=of-the-client"),
    ];
    for request in requests {
        assert_eq!(request.json(&prompt("hello")).send().await.status(), 200);

        let sent = app.upstream.last_request();
        assert_eq!(sent.header("x-goog-api-key"), Some("k1"));
        for name in ["authorization", "x-api-key", "cookie", "x-goog-user-project"] {
            assert_eq!(sent.header(name), None, "{name}");
        }
        assert!(!format!("{sent:?}").contains(TOKEN), "{sent:?}");
        assert!(!sent.target.contains("k1") && !sent.target.contains("key="), "{}", sent.target);
    }
}

#[actix_web::test]
async fn only_what_matters_to_google_of_the_headers_is_passed_on() {
    let app = TestApp::with_keys(["k1"]).await;

    app.client()
        .post(GENERATE)
        .header("x-goog-api-client", "genai-js/3.1.0 gl-node/web")
        .header("x-forwarded-for", "192.0.2.7")
        .header("referer", "https://chat.example.com")
        .json(&prompt("hello"))
        .send()
        .await;

    let sent = app.upstream.last_request();
    assert_eq!(sent.header("x-goog-api-client"), Some("genai-js/3.1.0 gl-node/web"));
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!((sent.header("x-forwarded-for"), sent.header("referer")), (None, None));
}

#[actix_web::test]
async fn without_a_valid_token_nothing_reaches_google() {
    let app = TestApp::with_keys(["k1"]).await;

    let missing = app.client().anonymous().post(GENERATE).json(&prompt("hello")).send().await;
    assert_eq!((missing.status(), &missing.json()["error"]["status"]), (403, &json!("PERMISSION_DENIED")));

    let wrong = app.client().anonymous().post(GENERATE).header("x-goog-api-key", "k1").json(&prompt("hello"));
    let wrong = wrong.send().await;
    assert_eq!((wrong.status(), &wrong.json()["error"]["status"]), (400, &json!("INVALID_ARGUMENT")));
    assert_eq!(wrong.json()["error"]["details"][0]["reason"], "API_KEY_INVALID");

    assert_eq!(app.upstream.attempts().len(), 0);
}

#[actix_web::test]
async fn google_is_asked_for_the_version_that_the_client_chose() {
    let app = TestApp::with_keys(["k1"]).await;

    for (path, target) in [
        ("/v1beta", "/v1beta/models/m:generateContent"),
        ("/gemini/v1beta", "/v1beta/models/m:generateContent"),
        ("/v1alpha", "/v1alpha/models/m:generateContent"),
        ("/v1", "/v1/models/m:generateContent"),
    ] {
        let path = format!("{path}/models/m:generateContent");
        assert_eq!(app.client().post(&path).json(&prompt("hello")).send().await.status(), 200, "{path}");
        assert_eq!(app.upstream.last_request().target, target, "{path}");
    }
}

#[actix_web::test]
async fn tuned_models_keep_their_collection() {
    let app = TestApp::with_keys(["k1"]).await;

    app.client().post("/v1beta/tunedModels/mine-1:generateContent").json(&prompt("hello")).send().await;

    assert_eq!(app.upstream.last_request().target, "/v1beta/tunedModels/mine-1:generateContent");
}

#[actix_web::test]
async fn query_parameters_are_kept_but_for_credentials() {
    let app = TestApp::with_keys(["k1"]).await;
    let query = format!("%24alt=json&key={TOKEN}&prettyPrint=false&access_token=x&q=a%26b");

    let reply = app.client().post(&format!("{GENERATE}?{query}")).json(&prompt("hello")).send().await;

    assert_eq!(reply.status(), 200);
    assert_eq!(
        app.upstream.last_request().target,
        format!("{GENERATE}?%24alt=json&prettyPrint=false&q=a%26b")
    );
}

#[actix_web::test]
async fn counts_and_embeddings_are_served_as_they_come() {
    let app = TestApp::with_keys(["k1"]).await;
    let client = app.client();
    let content = json!({"parts": [{"text": "3"}]});
    let batch = json!({"requests": [{"model": "models/e", "content": content}]});

    let counted = client.post("/v1beta/models/m:countTokens").json(&prompt("hello")).send().await;
    assert_eq!(counted.json(), json!({"totalTokens": 7}));

    let embedded =
        client.post("/v1beta/models/e:embedContent").json(&json!({"content": content})).send().await;
    assert_eq!(embedded.json(), json!({"embedding": {"values": [0.5, -0.25]}}));

    let batched = client.post("/v1beta/models/e:batchEmbedContents").json(&batch).send().await;
    assert_eq!(batched.json(), json!({"embeddings": [{"values": [3.0, 1.0]}]}));
    assert_eq!(app.upstream.last_request().json(), batch);
}

#[actix_web::test]
async fn a_method_that_nobody_knows_yet_is_relayed() {
    let app = TestApp::with_keys(["k1"]).await;
    app.upstream.on("k1").reply_body(200, "application/json", "{ \"new\" : 1.0 }");

    let reply = app.client().post("/v1beta/models/m:dreamContent").body("{ }").send().await;

    assert_eq!((reply.status(), reply.text()), (200, "{ \"new\" : 1.0 }"));
    let sent = app.upstream.last_request();
    assert_eq!((&*sent.target, &*sent.body), ("/v1beta/models/m:dreamContent", &b"{ }"[..]));
}

#[actix_web::test]
async fn models_are_listed_in_pages_without_the_hidden_ones() {
    // Google's own models alone.
    let builder = TestApp::builder().keys(["k1"]).setting("SEARCH_MODELS", "[]");
    let app = builder.setting("CREATE_IMAGE_MODEL", "none").start().await;
    let names = |page: &Value| -> Vec<String> {
        let models = page["models"].as_array().expect("a page has models");
        models.iter().map(|model| model["name"].as_str().expect("a model has a name").to_owned()).collect()
    };

    let all = app.client().get("/v1beta/models").send().await.json();
    assert_eq!(
        names(&all),
        ["models/gemini-2.5-flash", "models/gemini-2.5-pro", "models/gemini-embedding-001"]
    );
    assert_eq!(all.get("nextPageToken"), None);

    let first = app.client().get("/v1beta/models?pageSize=2").send().await.json();
    assert_eq!(names(&first), names(&all)[..2]);
    let token = first["nextPageToken"].as_str().expect("there is more");
    let path = format!("/v1beta/models?pageSize=2&pageToken={token}");
    let second = app.client().get(&path).send().await.json();
    assert_eq!((names(&second), second.get("nextPageToken")), (names(&all)[2..].to_vec(), None));
}

#[actix_web::test]
async fn a_page_that_cannot_be_read_is_refused_after_the_token_and_in_the_clients_dialect() {
    let app = TestApp::with_keys(["k1"]).await;
    let client = app.client().anonymous();

    for path in ["/v1beta/models", "/v1/models"] {
        for query in ["pageSize=many", "pageToken=%FF", "pageSize=1&pageSize=x"] {
            let path = format!("{path}?{query}");
            let refused = client.get(&path).header("x-goog-api-key", TOKEN).send().await;
            assert_eq!(refused.status(), 400, "{path}");
            assert_eq!(refused.json()["error"]["status"], "INVALID_ARGUMENT", "{path}");

            let stranger = client.get(&path).header("x-goog-api-key", "sk-stranger").send().await;
            let details = &stranger.json()["error"]["details"];
            assert_eq!(details[0]["reason"], "API_KEY_INVALID", "{path}");
        }
    }

    let stranger = client.get("/v1/models?pageSize=many").send().await;
    assert_eq!(
        (stranger.status(), &stranger.json()["error"]["type"]),
        (401, &json!("invalid_request_error"))
    );
}

#[actix_web::test]
async fn another_resource_of_googles_is_no_model() {
    let app = TestApp::with_keys(["k1"]).await;

    for path in
        ["/v1beta/models/cachedContents/abc", "/v1/models/cachedContents/abc", "/v1beta/models/files%2Fx"]
    {
        let reply = app.client().get(path).header("x-goog-api-key", TOKEN).send().await;
        assert_eq!(reply.status(), 400, "{path}");
    }

    assert_eq!(app.upstream.attempts().len(), 0);
}

#[actix_web::test]
async fn one_model_is_found_in_the_list_or_at_google() {
    let app = TestApp::with_keys(["k1"]).await;
    app.client().get("/v1beta/models").send().await;

    let known = app.client().get("/v1beta/models/gemini-2.5-pro").send().await;
    assert_eq!(known.json()["displayName"], "Gemini 2.5 Pro");
    assert_eq!(app.upstream.attempts().len(), 0, "the list is enough");

    let new = app.client().get("/v1beta/models/gemini-9").send().await;
    assert_eq!(new.json(), json!({"name": "models/gemini-9"}));

    let hidden = app.client().get("/v1beta/models/gemini-pro-vision").send().await;
    assert_eq!((hidden.status(), &hidden.json()["error"]["status"]), (404, &json!("NOT_FOUND")));
}

#[actix_web::test]
async fn a_hidden_model_is_not_called() {
    let app = TestApp::builder().setting("FILTERED_MODELS", "gemini-2.5-pro").start().await;

    let reply = app.client().generate("gemini-2.5-pro", "hello").await;

    assert_eq!((reply.status(), app.upstream.attempts().len()), (404, 0));
}

#[actix_web::test]
async fn a_wrong_path_or_method_is_told_as_google_would() {
    let app = TestApp::with_keys(["k1"]).await;

    for (method, path) in [
        (Method::POST, "/v1beta/../v1beta/files"),
        (Method::DELETE, "/v1beta/models"),
        (Method::POST, "/gemini/v1beta/models/m:bad-method!"),
    ] {
        let reply = app.client().request(method, path).send().await;
        assert_eq!((reply.status(), &reply.json()["error"]["code"]), (404, &json!(404)), "{path}");
        assert_eq!(reply.json()["error"]["status"], "NOT_FOUND", "{path}");
    }
}

#[actix_web::test]
async fn a_body_over_the_limit_is_refused() {
    let app = TestApp::builder().setting("MAX_BODY_MB", "1").start().await;
    let body = vec![b' '; 1_000_001];

    let native = app.client().post(GENERATE).body(body.clone()).send().await;
    assert_eq!((native.status(), &native.json()["error"]["status"]), (413, &json!("INVALID_ARGUMENT")));
    assert!(native.text().contains("1 MB"), "{}", native.text());

    let chat =
        app.client().post("/v1/chat/completions").header("content-type", "application/json").body(body);
    let chat = chat.send().await;
    assert_eq!((chat.status(), &chat.json()["error"]["type"]), (413, &json!("invalid_request_error")));
    assert_eq!(app.upstream.attempts().len(), 0);
}
