//! Gemini called through proxies: which one, and what happens when one fails.

use serde_json::{Value, json};

use crate::harness::{MODEL, PASSWORD, Proxy, TestApp, eventually};

const ADMIN: &str = "sk-administrator-6d1f";
const PROXIES: &str = "/api/admin/proxies";
/// Nobody listens there.
const DEAD: &str = "socks5://127.0.0.1:9";

async fn app(proxies: &Value, settings: &[(&str, &str)]) -> TestApp {
    let builder = TestApp::builder().keys(["k1", "k2", "k3", "k4"]).setting("AUTH_TOKEN", ADMIN);
    let builder = builder.setting("PROXIES", &proxies.to_string());
    settings.iter().fold(builder, |builder, (name, value)| builder.setting(name, value)).start().await
}

async fn listed(app: &TestApp) -> Vec<Value> {
    let list = app.client_with(ADMIN).get(PROXIES).send().await.json();
    list["items"].as_array().expect("a list").clone()
}

async fn ask(app: &TestApp, times: usize) {
    for _ in 0..times {
        let reply = app.client().generate(MODEL, "hello").await;
        assert_eq!(reply.status(), 200, "{}", reply.text());
    }
}

#[actix_web::test]
async fn gemini_is_called_through_the_proxy_with_user_and_password() {
    for scheme in ["socks5", "http"] {
        let proxy = Proxy::start().await;
        let app = app(&json!([proxy.url(scheme)]), &[]).await;

        ask(&app, 2).await;

        let target = app.upstream.origin.trim_start_matches("http://").to_owned();
        assert!(proxy.served().contains(&format!("{scheme} {target}")), "{:?}", proxy.served());
        let shown = listed(&app).await;
        assert_eq!(shown[0]["url"], format!("{scheme}://user:***@{}", proxy.address));
        assert_eq!(shown[0]["state"], "ok");
        let everything = app.client_with(ADMIN).get("/api/admin/settings").send().await;
        assert!(!everything.text().contains(PASSWORD) && !format!("{shown:?}").contains(PASSWORD));
    }
}

#[actix_web::test]
async fn a_proxy_that_fails_is_passed_over_and_no_key_is_blamed() {
    let proxy = Proxy::start().await;
    let app = app(&json!([DEAD, proxy.url("socks5")]), &[]).await;

    ask(&app, 8).await;

    for key in ["k1", "k2", "k3", "k4"] {
        assert_eq!(app.settled(key).await.tally.failures, 0, "{key}");
    }
    let used = format!("\"proxy\":\"socks5://user:***@{}\"", proxy.address);
    let rows = app.logs("all are logged", |rows| rows.len() == 8).await;
    assert!(rows.iter().all(|row| row.trail.contains(&used)), "the record tells which one it was: {rows:?}");
    let checked = app.client_with(ADMIN).post("/api/admin/proxies/check").send().await.json();
    let states = [&checked["items"][0]["state"], &checked["items"][1]["state"]];
    assert_eq!(states, ["failing", "ok"]);
    assert!(checked["items"][0]["error"].as_str().is_some_and(|error| error.contains("cannot be reached")));
    assert!(checked["items"][1]["latency_ms"].is_u64());
    let notices = app.client_with(ADMIN).get("/api/admin/stats/attention").send().await.json();
    let told =
        notices["items"].as_array().unwrap().iter().find(|told| told["kind"] == "proxies_failing").unwrap();
    assert_eq!((&told["severity"], &told["count"]), (&json!("warning"), &json!(1)));
}

#[actix_web::test]
async fn with_a_wrong_password_the_client_hears_that_gemini_cannot_be_reached() {
    let proxy = Proxy::start().await;
    let wrong = format!("http://user:wrong-word@{}", proxy.address);
    let app = app(&json!([wrong]), &[("RETRY_BUDGET_PERCENT", "0")]).await;

    let reply = app.client().generate(MODEL, "hello").await;

    assert!(reply.status() >= 500 && !reply.text().contains("wrong-word"), "{}", reply.text());
    let failing = eventually("it is seen to fail", async || {
        listed(&app).await.into_iter().find(|proxy| proxy["state"] == "failing")
    })
    .await;
    assert!(failing["error"].as_str().is_some_and(|error| error.contains("user and password")), "{failing}");
}

#[actix_web::test]
async fn proxies_are_set_and_taken_away_while_the_gateway_runs() {
    let proxy = Proxy::start().await;
    let app = app(&json!([]), &[]).await;
    ask(&app, 1).await;
    assert_eq!((proxy.served().len(), listed(&app).await.len()), (0, 0));
    let set = async |proxies: Value| {
        let method = actix_web::http::Method::PATCH;
        let request = app.client_with(ADMIN).request(method, "/api/admin/settings");
        assert_eq!(request.json(&json!({"PROXIES": proxies})).send().await.status(), 200);
    };

    set(json!([proxy.url("http")])).await;
    ask(&app, 2).await;
    let served = proxy.served().len();
    set(json!([])).await;
    ask(&app, 2).await;

    assert!(served >= 1);
    assert_eq!((proxy.served().len(), listed(&app).await.len()), (served, 0));
}
