//! Settings that are changed while the gateway runs: what counts at once, what wins, and what is never told.

use serde_json::{Value, json};

use crate::harness::{Answer, MODEL, TestApp, eventually, ms, secs};

const ADMIN: &str = "sk-administrator-6d1f";
const SETTINGS: &str = "/api/admin/settings";

async fn app(settings: &[(&str, &str)]) -> TestApp {
    let builder = TestApp::builder().keys(["k1", "k2"]).setting("AUTH_TOKEN", ADMIN);
    settings.iter().fold(builder, |builder, (name, value)| builder.setting(name, value)).start().await
}

async fn get(app: &TestApp, path: &str) -> Answer {
    app.client_with(ADMIN).get(path).send().await
}

async fn post(app: &TestApp, path: &str, body: &Value) -> Answer {
    app.client_with(ADMIN).post(path).json(body).send().await
}

async fn patch(app: &TestApp, body: &Value) -> Answer {
    app.client_with(ADMIN).request(actix_web::http::Method::PATCH, SETTINGS).json(body).send().await
}

async fn set(app: &TestApp, name: &str, value: Value) {
    let answer = patch(app, &json!({name: value})).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
}

/// One setting as the list shows it.
async fn setting(app: &TestApp, name: &str) -> Value {
    let list = get(app, SETTINGS).await.json();
    let items = list["items"].as_array().expect("a list");
    items.iter().find(|item| item["name"] == name).cloned().expect("it is a setting")
}

#[actix_web::test]
async fn names_of_models_mean_something_else_at_once() {
    let app = app(&[]).await;
    app.catalogue_is_fetched().await;

    set(&app, "MODEL_ALIASES", json!({"my-model": MODEL})).await;

    assert_eq!(app.client().chat("my-model", "hello").await.status(), 200);
    let target = app.upstream.last_request().target.clone();
    assert_eq!(target, format!("/v1beta/models/{MODEL}:generateContent"));
    set(&app, "SAFETY_SETTINGS", json!([])).await;
    app.client().chat(MODEL, "hello").await;
    assert!(app.upstream.last_request().json()["safetySettings"].is_null());
}

#[actix_web::test]
async fn hidden_models_are_refused_at_once_and_come_back() {
    let app = app(&[]).await;
    app.catalogue_is_fetched().await;

    set(&app, "FILTERED_MODELS", json!([MODEL])).await;
    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 404);
    set(&app, "FILTERED_MODELS", Value::Null).await;

    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    eventually("it is in the list again", async || {
        let list = app.client().get("/v1beta/models").send().await;
        list.text().contains(MODEL).then_some(())
    })
    .await;
}

#[actix_web::test]
async fn timeouts_and_retries_count_for_the_next_request() {
    let app = app(&[("RETRY_BUDGET_PERCENT", "1000")]).await;
    app.upstream.on("k1").reply(500);
    app.upstream.on("k2").reply(500);
    set(&app, "MAX_RETRIES", json!(1)).await;
    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 500);
    assert_eq!(app.upstream.attempts().len(), 1);

    app.upstream.on("k1").never_answers();
    app.upstream.on("k2").never_answers();
    set(&app, "FIRST_BYTE_TIMEOUT_SECONDS", json!(0.1)).await;

    let begun = tokio::time::Instant::now();
    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 504);
    assert!(begun.elapsed() < secs(4), "{:?}", begun.elapsed());
}

#[actix_web::test]
async fn another_address_of_gemini_is_called_at_once_and_with_other_headers() {
    let app = app(&[]).await;
    let origin = app.upstream.origin.clone();

    let changes =
        json!({"BASE_URL": format!("{origin}/prefix/v1beta"), "CUSTOM_HEADERS": {"x-team": "search"}});
    assert_eq!(patch(&app, &changes).await.status(), 200);
    app.client().generate(MODEL, "hello").await;

    let sent = app.upstream.last_request();
    assert!(sent.target.starts_with("/prefix/v1beta/"), "{}", sent.target);
    assert_eq!(sent.header("x-team"), Some("search"));
}

#[actix_web::test]
async fn failures_are_counted_against_the_new_number() {
    let app = app(&[("MAX_FAILURES", "100")]).await;
    set(&app, "MAX_FAILURES", json!(1)).await;
    app.upstream.on("k1").reply(500);
    app.client().generate(MODEL, "hello").await;

    app.pool_becomes("one key is tripped", |pool| pool.states.cooling == 1).await;
}

#[actix_web::test]
async fn streams_get_signs_of_life_as_they_are_asked_for() {
    let app = app(&[("STREAM_HEARTBEAT_SECONDS", "0")]).await;
    app.upstream.on("k1").stream().silence(ms(400)).finish("hello");
    set(&app, "STREAM_HEARTBEAT_SECONDS", json!(0.05)).await;

    let answer = app.client().chat_stream(MODEL, "hello").await.rest().await;

    assert!(answer.text().starts_with(':'), "{}", answer.text());
}

#[actix_web::test]
async fn requests_wait_for_a_key_as_long_as_is_said_now() {
    let app = app(&[("MAX_WAIT_SECONDS", "0")]).await;
    for key in ["k1", "k2"] {
        app.upstream.on(key).reply(429).retry_after(secs(1)).answers_as_usual();
    }
    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 429);

    set(&app, "MAX_WAIT_SECONDS", json!(10)).await;

    assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
}

#[actix_web::test]
async fn larger_bodies_are_refused_at_once() {
    let app = app(&[]).await;
    set(&app, "MAX_BODY_MB", json!(1)).await;

    let answer = app.client().generate(MODEL, &"x".repeat(1_100_000)).await;

    assert_eq!(answer.status(), 413);
}

#[actix_web::test]
async fn paths_that_are_almost_right_are_understood_from_now_on() {
    let app = app(&[]).await;
    let path = "/proxy/v1/v1/chat/completions";
    let body = crate::harness::chat(MODEL, "hello");
    assert_eq!(app.client().post(path).json(&body).send().await.status(), 404);

    set(&app, "URL_NORMALIZATION_ENABLED", json!(true)).await;

    assert_eq!(app.client().post(path).json(&body).send().await.status(), 200);
}

#[actix_web::test]
async fn the_newest_change_wins_over_a_restart() {
    let app = app(&[("MAX_FAILURES", "2")]).await;
    set(&app, "MAX_FAILURES", json!(7)).await;
    set(&app, "MAX_RETRIES", json!(5)).await;

    let app = app.stop().await.start().await;
    let kept = setting(&app, "MAX_FAILURES").await;
    assert_eq!((&kept["value"], &kept["origin"]), (&json!(7), &json!("dashboard")));
    assert_eq!(kept["overridden"], json!({"origin": "environment", "value": 2}));

    let app = app.stop().await.setting("MAX_FAILURES", "4").start().await;
    let changed = setting(&app, "MAX_FAILURES").await;
    assert_eq!((&changed["value"], &changed["origin"]), (&json!(4), &json!("environment")));
    assert_eq!(setting(&app, "MAX_RETRIES").await["value"], 5);
}

#[actix_web::test]
async fn one_bad_value_is_told_by_its_name_and_nothing_is_changed() {
    let app = app(&[]).await;

    let changes = json!({
        "MAX_FAILURES": 7, "TIME_OUT": -1, "BALANCE_POLICY": "best", "MAX_RETRYS": 1, "DATA_DIR": "/tmp",
        "MODEL_RULES": [{"models": "x"}],
    });
    for answer in [patch(&app, &changes).await, post(&app, "/api/admin/settings/validate", &changes).await] {
        assert_eq!(answer.status(), 422, "{}", answer.text());
        let fields = answer.json()["error"]["fields"].clone();
        let names: Vec<&str> = fields.as_object().expect("names").keys().map(String::as_str).collect();
        assert_eq!(names, ["BALANCE_POLICY", "DATA_DIR", "MAX_RETRYS", "MODEL_RULES", "TIME_OUT"]);
        assert_eq!(fields["TIME_OUT"], "\"-1\" is not a number of seconds from 1 to 3600");
        assert_eq!(fields["MAX_RETRYS"], "is not a setting; did you mean MAX_RETRIES?");
    }
    assert_eq!(setting(&app, "MAX_FAILURES").await["value"], 3);
    let good = post(&app, "/api/admin/settings/validate", &json!({"MAX_FAILURES": 7})).await;
    assert_eq!((good.status(), good.json()), (200, json!({"ok": true})));
    assert_eq!(setting(&app, "MAX_FAILURES").await["value"], 3);
}

#[actix_web::test]
async fn of_two_administrators_the_later_one_sees_the_conflict() {
    let app = app(&[]).await;
    let seen = get(&app, SETTINGS).await;
    let tag = seen.header("etag").expect("a version").to_owned();
    let change = async |value: u32| {
        let method = actix_web::http::Method::PATCH;
        let request = app.client_with(ADMIN).request(method, SETTINGS).header("if-match", &tag);
        request.json(&json!({"MAX_FAILURES": value})).send().await
    };

    let (first, second) = (change(5).await, change(6).await);

    assert_eq!((first.status(), second.status()), (200, 412), "{}", second.text());
    assert_eq!(setting(&app, "MAX_FAILURES").await["value"], 5);
    let known = app.client_with(ADMIN).get(SETTINGS).header("if-none-match", &tag).send().await;
    assert_eq!(known.status(), 200);
    let newest = first.header("etag").expect("a version").to_owned();
    let known = app.client_with(ADMIN).get(SETTINGS).header("if-none-match", &newest).send().await;
    assert_eq!(known.status(), 304);
}

#[actix_web::test]
async fn secrets_are_told_to_whoever_asks_for_them_and_to_nobody_else() {
    let app = app(&[("CUSTOM_HEADERS", r#"{"x-auth": "hunter2-in-the-environment"}"#)]).await;
    let secret = "hunter2-in-the-dashboard";
    let changed = patch(&app, &json!({"CUSTOM_HEADERS": {"x-auth": secret}, "TEST_MODEL": "n1"})).await;
    let bad = patch(&app, &json!({"CUSTOM_HEADERS": {"x-auth": ["hunter2"]}})).await;
    assert_eq!((changed.status(), bad.status()), (200, 422));

    let plain = post(&app, "/api/admin/settings/export", &json!({})).await;
    let list = get(&app, SETTINGS).await;
    for answer in [&changed, &bad, &plain, &list] {
        assert!(!answer.text().contains("hunter2") && !answer.text().contains(ADMIN), "{}", answer.text());
    }
    assert_eq!(plain.json()["settings"]["TEST_MODEL"], "n1");
    assert!(plain.header("content-disposition").is_some_and(|value| value.starts_with("attachment")));

    let whole = post(&app, "/api/admin/settings/export", &json!({"include_secrets": true})).await;
    assert_eq!(whole.json()["settings"]["CUSTOM_HEADERS"], json!({"x-auth": secret}));
    let view = setting(&app, "CUSTOM_HEADERS").await;
    assert_eq!((&view["value"], &view["is_set"]), (&Value::Null, &json!(true)));
    for (path, content) in app.stop().await.data_files() {
        let is_found = content.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!is_found, "{}", path.display());
    }
}

#[actix_web::test]
async fn a_document_brings_another_gateway_to_the_same_settings() {
    let (from, to) = (app(&[("TIME_OUT", "60")]).await, app(&[]).await);
    set(&from, "MAX_FAILURES", json!(7)).await;
    let exported = post(&from, "/api/admin/settings/export", &json!({"include_secrets": false})).await;
    let mut document = exported.json();
    document["settings"]["PORT"] = json!(0);
    document["settings"].as_object_mut().expect("values").remove("BASE_URL");
    document["settings"]["DATA_DIR"] = json!("elsewhere");

    let import = json!({"document": document, "dry_run": true});
    let told = post(&to, "/api/admin/settings/import", &import).await;
    let expected = json!({
        "changed": [
            {"name": "MAX_FAILURES", "from": 3, "to": 7},
            {"name": "TIME_OUT", "from": 300, "to": 60},
        ],
        "ignored": ["DATA_DIR"],
        "keys": {"added": 0, "changed": 0, "unchanged": 2, "refused": 0, "items": []},
        "tokens": {"added": 0, "changed": 0, "unchanged": 1, "refused": 0, "items": []},
    });
    assert_eq!((told.status(), told.json()), (200, expected.clone()));
    assert_eq!(setting(&to, "MAX_FAILURES").await["value"], 3);

    let done = post(&to, "/api/admin/settings/import", &json!({"document": document})).await;
    assert_eq!(done.json(), expected);
    assert_eq!(setting(&to, "TIME_OUT").await["value"], 60);
    let odd = json!({"document": {"format": "x", "settings": {}}});
    assert_eq!(post(&to, "/api/admin/settings/import", &odd).await.status(), 422);
}

#[actix_web::test]
async fn what_needs_a_restart_says_so_until_it_had_one() {
    let app = app(&[]).await;
    set(&app, "WORKERS", json!(2)).await;
    assert_eq!(setting(&app, "WORKERS").await["restart_pending"], true);

    let app = app.stop().await.start().await;

    let workers = setting(&app, "WORKERS").await;
    assert_eq!((&workers["value"], &workers["restart_pending"]), (&json!(2), &json!(false)));
}

#[actix_web::test]
async fn every_setting_is_described_and_has_a_value() {
    let app = app(&[]).await;

    let schema = get(&app, "/api/admin/settings/schema").await.json();
    let list = get(&app, SETTINGS).await.json();

    let (described, listed) = (schema["items"].as_array().unwrap(), list["items"].as_array().unwrap());
    assert_eq!(described.len(), listed.len());
    for (described, listed) in described.iter().zip(listed) {
        assert_eq!(described["name"], listed["name"]);
        let value = if listed["value"].is_null() { &listed["default"] } else { &listed["value"] };
        let is_right = match described["type"].as_str().unwrap() {
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64(),
            "number" => value.is_number(),
            "text" | "choice" | "secret" => value.is_string(),
            "list" | "secret_list" => value.is_array(),
            "map" | "secret_map" => value.is_object(),
            "json" => value.is_array(),
            other => panic!("{other}"),
        };
        assert!(is_right, "{described} {listed}");
    }
}

#[actix_web::test]
async fn a_change_counts_for_every_worker() {
    let app = app(&[("WORKERS", "4")]).await;
    set(&app, "MODEL_ALIASES", json!({"my-model": MODEL})).await;

    for _ in 0..20 {
        assert_eq!(app.client().chat("my-model", "hello").await.status(), 200);
    }
    for request in app.upstream.requests().iter().filter(|sent| sent.target.contains(":generateContent")) {
        assert!(request.target.contains(MODEL), "{}", request.target);
    }
}

#[actix_web::test]
async fn models_are_listed_with_what_is_made_of_them_and_what_is_hidden() {
    let app = app(&[
        ("MODEL_ALIASES", r#"{"my-model": "gemini-2.5-flash-search"}"#),
        ("SEARCH_MODELS", MODEL),
        ("THINKING_BUDGET_MAP", r#"{"gemini-2.5-flash": 512}"#),
    ])
    .await;
    app.catalogue_is_fetched().await;
    let models = async || {
        let list = get(&app, "/api/admin/models").await.json();
        list["items"].as_array().cloned().filter(|items| !items.is_empty())
    };
    let find = |models: &[Value], id: &str| models.iter().find(|model| model["id"] == id).cloned();
    let listed = eventually("the models are there", models).await;

    let real = find(&listed, MODEL).expect("Google has it");
    assert_eq!(
        (&real["derived"], &real["base"], &real["thinking_budget"]),
        (&json!(false), &Value::Null, &json!(512))
    );
    let search = find(&listed, "gemini-2.5-flash-search").expect("it is made of the other");
    assert_eq!((&search["derived"], &search["base"]), (&json!(true), &json!(MODEL)));
    let alias = find(&listed, "my-model").expect("the settings name it");
    assert_eq!((&alias["alias_of"], &alias["base"]), (&json!("gemini-2.5-flash-search"), &json!(MODEL)));

    set(&app, "FILTERED_MODELS", json!([MODEL])).await;
    let hidden = eventually("it is hidden", async || {
        find(&models().await?, MODEL).filter(|model| model["filtered"] == true)
    })
    .await;
    assert_eq!(hidden["derived"], false);
    let found = get(&app, "/api/admin/models?q=MY-MO").await.json();
    assert_eq!((found["total"].as_u64(), &found["items"][0]["id"]), (Some(1), &json!("my-model")));
    assert_eq!(get(&app, "/api/admin/models?colour=red").await.status(), 400);
}
