//! Who may come in, which keys there are and what they may do: changed while the gateway runs, and true for the next
//! request.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::ADMIN;
use crate::harness::{Answer, MODEL, TOKEN, TestApp, eventually};

const SETTINGS: &str = "/api/admin/settings";

async fn app(keys: &[&str], settings: &[(&str, &str)]) -> TestApp {
    let builder = TestApp::builder().keys(keys.iter().copied()).setting("AUTH_TOKEN", ADMIN);
    settings.iter().fold(builder, |builder, (name, value)| builder.setting(name, value)).start().await
}

async fn patch(app: &TestApp, admin: &str, body: &Value) -> Answer {
    app.client_with(admin).request(Method::PATCH, SETTINGS).json(body).send().await
}

async fn set(app: &TestApp, name: &str, value: Value) {
    let answer = patch(app, ADMIN, &json!({name: value})).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let list = answer.json();
    let setting = list["items"].as_array().and_then(|items| items.iter().find(|item| item["name"] == name));
    assert_eq!(setting.expect("it is a setting")["restart_pending"], false, "{name}");
}

async fn keys(app: &TestApp) -> Vec<String> {
    app.stored_keys().await.into_iter().map(|(key, _)| key).collect()
}

/// The keys that so many requests went to, in order and each once.
async fn served_by(app: &TestApp, requests: usize) -> Vec<String> {
    let before = app.upstream.attempts().len();
    for _ in 0..requests {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    }
    let mut keys: Vec<String> = app.upstream.attempts()[before..].iter().map(ToString::to_string).collect();
    keys.sort();
    keys.dedup();
    keys
}

#[actix_web::test]
async fn keys_come_and_go_with_the_list_and_those_that_stay_keep_what_is_known_of_them() {
    let app = app(&["k1", "k2"], &[("WORKERS", "2")]).await;
    assert_eq!(served_by(&app, 4).await, ["k1", "k2"]);
    let id = app.key_id("k2").await;

    set(&app, "API_KEYS", json!(["k2 weight=3", "k3 project=alpha tier=free"])).await;

    assert_eq!(served_by(&app, 64).await, ["k2", "k3"]);
    assert_eq!((keys(&app).await, app.key_id("k2").await), (vec!["k2".to_owned(), "k3".to_owned()], id));
    let key = app.client_with(ADMIN).get(&format!("/api/admin/keys/{id}")).send().await.json();
    assert_eq!((&key["weight"], key["requests_total"].as_u64() >= Some(2)), (&json!(3), true), "{key}");
}

#[actix_web::test]
async fn a_key_that_was_deleted_in_the_dashboard_stays_away_until_the_list_was_without_it() {
    let app = app(&["k1", "k2"], &[]).await;
    let added = app
        .client_with(ADMIN)
        .post("/api/admin/keys")
        .json(&json!({"keys": ["AIzaSyA-1234567890abcdefghijklmnopqrst1"]}));
    assert_eq!(added.send().await.status(), 201);
    let id = app.key_id("k1").await;
    let gone = app.client_with(ADMIN).request(Method::DELETE, &format!("/api/admin/keys/{id}")).send().await;
    assert_eq!(gone.status(), 204);

    set(&app, "API_KEYS", json!(["k1", "k2", "k3"])).await;
    assert_eq!(
        keys(&app).await,
        ["k2", "AIzaSyA-1234567890abcdefghijklmnopqrst1", "k3"],
        "one of the dashboard is nobody else's"
    );
    set(&app, "API_KEYS", json!(["k2"])).await;
    set(&app, "API_KEYS", json!(["k1", "k2"])).await;

    assert_eq!(keys(&app).await, ["k2", "AIzaSyA-1234567890abcdefghijklmnopqrst1", "k1"]);
    assert_eq!(served_by(&app, 6).await, ["AIzaSyA-1234567890abcdefghijklmnopqrst1", "k1", "k2"]);
    // What the list says again at the next start changes nothing.
    let app = app.stop().await.start().await;
    assert_eq!(keys(&app).await, ["k2", "AIzaSyA-1234567890abcdefghijklmnopqrst1", "k1"]);
}

#[actix_web::test]
async fn tokens_of_clients_come_and_go_with_the_list() {
    let app = app(&["k1"], &[("WORKERS", "2")]).await;
    let new = "sk-of-somebody-new-77";
    let status = async |token: &str| app.client_with(token).chat(MODEL, "hello").await.status();
    assert_eq!((status(TOKEN).await, status(new).await), (200, 401));

    set(&app, "ALLOWED_TOKENS", json!([new])).await;
    for _ in 0..3 {
        assert_eq!((status(TOKEN).await, status(new).await, status(ADMIN).await), (401, 200, 200));
    }
    let listed = app.client_with(ADMIN).get("/api/admin/tokens").send().await.json();
    let prefixes =
        listed["items"].as_array().map(|items| items.iter().map(|item| item["id"].clone()).collect());
    assert_eq!(prefixes, Some(vec![json!("auth"), json!("allowed-2")]), "{listed}");

    set(&app, "ALLOWED_TOKENS", json!([new, TOKEN])).await;
    assert_eq!((status(TOKEN).await, status(new).await), (200, 200));
}

#[actix_web::test]
async fn another_admin_token_counts_at_once_and_ends_all_sessions_but_that_of_whoever_set_it() {
    let app = app(&["k1"], &[]).await;
    let log_in = async |token: &str| {
        app.client().anonymous().post("/api/admin/session").json(&json!({"token": token})).send().await
    };
    let open = async |token: &str| {
        let answer = log_in(token).await;
        let cookie =
            answer.header("set-cookie").expect("a session").split(';').next().expect("it").to_owned();
        (cookie, answer.json()["csrf_token"].as_str().expect("a token").to_owned())
    };
    let ((mine, csrf), (others, _)) = (open(ADMIN).await, open(ADMIN).await);
    let status = async |cookie: &str| {
        let asked = app.client().anonymous().get(SETTINGS).header("cookie", cookie).send().await;
        asked.status()
    };
    let new = "sk-the-next-administrator-51";

    let changing = app.client().anonymous().request(Method::PATCH, SETTINGS);
    let changing = changing.header("cookie", &mine).header("x-csrf-token", &csrf);
    assert_eq!(changing.json(&json!({"AUTH_TOKEN": new})).send().await.status(), 200);

    assert_eq!((status(&mine).await, status(&others).await), (200, 401));
    assert_eq!((log_in(ADMIN).await.status(), log_in(new).await.status()), (401, 200));
    assert_eq!(app.client_with(new).chat(MODEL, "hello").await.status(), 200, "it is a client's token too");
    assert_eq!(app.client_with(ADMIN).chat(MODEL, "hello").await.status(), 401);
    // Whoever was spared once is not spared for ever.
    let again = patch(&app, new, &json!({"AUTH_TOKEN": ADMIN})).await;
    assert_eq!((again.status(), status(&mine).await), (200, 401));
}

#[actix_web::test]
async fn without_an_admin_token_the_one_in_the_data_folder_counts() {
    let app = app(&["k1"], &[]).await;

    for value in [json!(""), json!("sk-123456")] {
        assert_eq!(patch(&app, ADMIN, &json!({"AUTH_TOKEN": value})).await.status(), 200);

        let kept = app.data_file("admin_token").trim().to_owned();
        let back = patch(&app, &kept, &json!({"AUTH_TOKEN": null})).await;
        assert_eq!(back.status(), 200, "{}", back.text());
        assert_eq!(patch(&app, &kept, &json!({})).await.status(), 401);
    }
}

#[actix_web::test]
async fn sessions_last_as_long_as_is_said_now() {
    let app = app(&["k1"], &[("ADMIN_SESSION_EXPIRE", "100")]).await;
    set(&app, "ADMIN_SESSION_EXPIRE", json!(7200)).await;

    let opened =
        app.client().anonymous().post("/api/admin/session").json(&json!({"token": ADMIN})).send().await;

    assert!(opened.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=7200")));
}

/// The quota of the day that the first key has for the model.
async fn day(app: &TestApp) -> Value {
    let list = app.client_with(ADMIN).get("/api/admin/keys").send().await.json();
    let id = &list["items"][0]["id"];
    let key = app.client_with(ADMIN).get(&format!("/api/admin/keys/{id}")).send().await.json();
    let quotas = key["quota"].as_array().cloned().unwrap_or_default();
    let is_day = |quota: &&Value| quota["model"] == MODEL && quota["window"] == "day";
    quotas.iter().find(is_day).cloned().unwrap_or_else(|| panic!("{key}"))
}

#[actix_web::test]
async fn another_tier_and_other_limits_reach_keys_in_use_and_nothing_that_was_used_is_forgotten() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = |name: &str, requests: u32| {
        let path = folder.path().join(name);
        let text = format!("[[limits]]\nmodels = \"*\"\nrequests_per_day = {requests}\n");
        std::fs::write(&path, text).expect("it can be written");
        path.to_str().expect("plain").to_owned()
    };
    let settings = [("MAX_WAIT_SECONDS", "0"), ("QUOTA_LIMITS", &*file("two.toml", 2))];
    let app = app(&["k1"], &settings).await;
    let status = async || app.client().generate(MODEL, "hello").await.status();
    assert_eq!((status().await, status().await, status().await), (200, 200, 429));

    set(&app, "QUOTA_LIMITS", json!(file("three.toml", 3))).await;
    assert_eq!((day(&app).await["used"].clone(), day(&app).await["limit"].clone()), (json!(2), json!(3)));
    assert_eq!((status().await, status().await), (200, 429), "two of the three are used");

    set(&app, "QUOTA_LIMITS", json!("")).await;
    assert_eq!(status().await, 200, "of an unknown tier nothing is known");
    set(&app, "DEFAULT_TIER", json!("free")).await;
    let free = day(&app).await;
    assert_eq!((&free["used"], &free["source"]), (&json!(4), &json!("preset")), "{free}");
    let tier = app.client_with(ADMIN).get("/api/admin/keys?tier=free").send().await.json();
    assert_eq!(tier["total"], 1);
}

#[actix_web::test]
async fn requests_that_wait_are_served_when_the_limits_grow() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("one.toml");
    std::fs::write(&path, "[[limits]]\nmodels = \"*\"\nrequests_per_minute = 1\n")
        .expect("it can be written");
    let settings = [("MAX_WAIT_SECONDS", "120"), ("QUOTA_LIMITS", path.to_str().expect("plain"))];
    let app = app(&["k1"], &settings).await;
    assert_eq!(app.client().generate(MODEL, "one").await.status(), 200);

    let (client, begun) = (app.client(), std::time::Instant::now());
    let waiting = actix_web::rt::spawn(async move { client.generate(MODEL, "two").await.status() });
    eventually("it waits", async || {
        let metrics = app.client().get("/metrics").send().await;
        metrics.text().contains("\ngemini_balance_waiting_requests 1\n").then_some(())
    })
    .await;
    set(&app, "QUOTA_LIMITS", json!("")).await;

    assert_eq!(waiting.await.expect("it ends"), 200);
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
}

#[actix_web::test]
async fn web_pages_may_call_from_where_is_said_now() {
    let app = app(&["k1"], &[("WORKERS", "2")]).await;
    let allowed = async |origin: &str| {
        let asked = app.client().get("/v1beta/models").header("origin", origin).send().await;
        asked.header("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!(allowed("https://a.example").await.as_deref(), Some("*"));

    set(&app, "CORS_ALLOWED_ORIGINS", json!(["https://a.example"])).await;
    for _ in 0..3 {
        assert_eq!(allowed("https://a.example").await.as_deref(), Some("https://a.example"));
        assert_eq!(allowed("https://b.example").await, None);
    }
    set(&app, "CORS_ALLOWED_ORIGINS", json!([])).await;
    assert_eq!(allowed("https://a.example").await, None);
    set(&app, "CORS_ALLOWED_ORIGINS", json!(["*"])).await;
    assert_eq!(allowed("https://b.example").await.as_deref(), Some("*"));
}

#[actix_web::test]
async fn what_cannot_be_done_while_it_runs_says_so() {
    let app = app(&["k1"], &[]).await;
    let schema = app.client_with(ADMIN).get("/api/admin/settings/schema").send().await.json();
    let items = schema["items"].as_array().expect("a list");
    let at_restart = items.iter().filter(|item| item["applies"] == "restart" && item["editable"] == true);

    let names: Vec<&str> = at_restart.filter_map(|item| item["name"].as_str()).collect();

    assert_eq!(
        names,
        [
            "HOST",
            "PORT",
            "WORKERS",
            "SHUTDOWN_TIMEOUT_SECONDS",
            "HEADER_TIMEOUT_SECONDS",
            "KEEP_ALIVE_SECONDS",
            "MAX_CONNECTIONS",
            "LOG_FORMAT",
        ]
    );
}
