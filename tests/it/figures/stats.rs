//! Figures agree with what was asked and answered.

use gemini_balance::{
    actors::{
        logger::{Flush, StatesSampled},
        supervisor::StateCounts,
    },
    domain::time::Now,
};
use serde_json::{Value, json};

use super::{ADMIN, ask, items, start, told};
use crate::harness::{MODEL, TestApp, eventually, ms, secs};

/// Five requests: two that one key answers, one that a second key rescues, one that the client got wrong, one that
/// nobody could serve.
async fn busy() -> TestApp {
    let app = start(&["key-one-abcdefgh-1111", "key-two-abcdefgh-2222"]).await;
    let (one, two) = ("key-one-abcdefgh-1111", "key-two-abcdefgh-2222");
    app.upstream.on(one).says("well").says("well").reply(400).reply(503);
    app.upstream.on(two).says("well").reply(503);
    let client = app.client();
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(client.generate(MODEL, "hello").await.status());
    }
    app.upstream.on(one).reply(429).retry_after(secs(50));
    app.upstream.on(two).says("rescued");
    statuses.push(client.chat(MODEL, "hello").await.status());
    app.upstream.on(two).reply(400);
    statuses.push(client.chat(MODEL, "hello").await.status());
    app.upstream.on(two).reply(503);
    statuses.push(client.chat(MODEL, "hello").await.status());
    assert_eq!(statuses, [200, 200, 200, 400, 503]);
    app.logs("all requests are logged", |rows| rows.len() == 5).await;
    app
}

#[actix_web::test]
async fn the_overview_counts_each_request_once() {
    let app = busy().await;

    let overview = told(&app, "stats/overview").await;

    for (figure, expected) in
        [("requests", 5), ("succeeded", 3), ("client_errors", 1), ("failed", 1), ("rescued", 1)]
    {
        assert_eq!(overview[figure], expected, "{figure}: {overview}");
    }
    assert_eq!(overview["success_rate"], 0.75);
    assert_eq!(overview["tokens"]["prompt"], 15);
    assert_eq!(overview["tokens"]["output"], 9);
    assert!(overview["duration_ms"]["p95"].as_f64().is_some_and(|ms| ms > 0.0), "{overview}");
    assert_eq!(overview["top_models"][0]["name"], MODEL);
    assert_eq!(overview["previous"]["requests"], 0);
    assert_eq!(overview["previous"]["success_rate"], json!(null));
    assert!(overview["states"]["active"].is_u64(), "{overview}");
}

#[actix_web::test]
async fn usage_tells_models_keys_tokens_dialects_and_statuses_apart() {
    let app = busy().await;
    let rows = async |query: &str| {
        let list = told(&app, &format!("stats/usage?{query}")).await;
        let row =
            |row: &Value| (row["name"].as_str().unwrap_or_default().to_owned(), row["requests"].clone());
        let mut rows: Vec<_> = items(&list).iter().map(row).collect();
        assert_eq!(list["total"], rows.len());
        rows.sort_by(|one, other| one.0.cmp(&other.0));
        rows
    };
    let row = |name: &str, requests: i64| (name.to_owned(), json!(requests));

    assert_eq!(rows("group_by=model").await, [row(MODEL, 5)]);
    assert_eq!(rows("group_by=token").await, [row("allowed-1", 5)]);
    assert_eq!(rows("group_by=dialect").await, [row("gemini", 2), row("openai", 3)]);
    assert_eq!(rows("group_by=status").await, [row("200", 3), row("400", 1), row("503", 1)]);
    assert_eq!(rows("group_by=model&token_id=allowed-1").await, [row(MODEL, 5)]);
    assert_eq!(rows("group_by=model&token_id=another").await, []);
    let list = told(&app, "stats/usage?group_by=key").await;
    let keys: Vec<_> = items(&list).iter().map(|row| (row["name"].clone(), row["id"].is_string())).collect();
    assert!(keys.contains(&(json!("key-…1111"), true)), "{list}");
    let one = app.key_id("key-one-abcdefgh-1111").await;
    let told = told(&app, &format!("stats/usage?key_id={one}")).await;
    assert_eq!(items(&told)[0]["name"], MODEL);
    assert!(!told.to_string().contains("abcdefgh") && !list.to_string().contains("abcdefgh"));
}

#[actix_web::test]
async fn a_series_has_a_point_for_each_bucket_and_adds_up() {
    let app = busy().await;
    let now_ms = Now::read().unix_ms();
    let range = format!("from_ms={}&to_ms={}", now_ms - 3_600_000, now_ms + 5_000);
    let series = async |query: &str| told(&app, &format!("stats/series?{range}&{query}")).await;
    let sum = |series: &Value| -> f64 {
        let points = series["points"].as_array().expect("points");
        points.iter().filter_map(|point| point[1].as_f64()).sum()
    };

    let requests = series("metric=requests").await;
    assert_eq!((&requests["unit"], &requests["step_ms"]), (&json!("requests"), &json!(60_000)));
    let points = requests["series"][0]["points"].as_array().expect("points");
    assert!((61..=62).contains(&points.len()), "{requests}");
    assert!(points.windows(2).all(|pair| pair[1][0].as_i64() == pair[0][0].as_i64().map(|at| at + 60_000)));
    assert_eq!(sum(&requests["series"][0]), 5.0);

    let by_status = series("metric=requests&group_by=status&step_ms=3600000").await;
    let told: f64 = by_status["series"].as_array().expect("series").iter().map(&sum).sum();
    assert_eq!((told, &by_status["step_ms"]), (5.0, &json!(3_600_000)));
    let errors = series("metric=errors&model=gemini-2.5-flash").await;
    assert_eq!(sum(&errors["series"][0]), 1.0);
    let latency = series("metric=first_byte_p95").await;
    assert!(latency["series"][0]["points"][0][1].is_null(), "nothing an hour ago: {latency}");
    let none = series("metric=requests&token_id=nobody").await;
    assert_eq!(sum(&none["series"][0]), 0.0);
}

#[actix_web::test]
async fn the_states_of_keys_are_told_as_they_were_sampled() {
    let app = start(&["k1"]).await;
    let states = StateCounts { active: 7, cooling: 2, ..StateCounts::default() };
    app.logger().send(StatesSampled(states)).await.expect("the logger lives");

    let told = told(&app, "stats/series?metric=keys_by_state").await;

    let last = |name: &str| {
        let series = told["series"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name));
        let points = series.and_then(|series| series["points"].as_array()).expect("points");
        points.iter().rev().find_map(|point| point[1].as_f64())
    };
    assert_eq!(
        (last("active"), last("cooling"), last("invalid")),
        (Some(7.0), Some(2.0), Some(0.0)),
        "{told}"
    );
}

#[actix_web::test]
async fn what_cannot_be_read_is_refused_by_name() {
    let app = start(&["k1"]).await;

    for (path, name) in [
        ("stats/overview?from_ms=5&to_ms=4", "from_ms"),
        ("stats/overview?from_ms=0", "from_ms"),
        ("stats/overview?nonsense=1", "nonsense"),
        ("stats/series?metric=nothing", "metric"),
        ("stats/series?step_ms=7", "step_ms"),
        ("stats/series?group_by=dialect&key_id=1", "group_by"),
        ("stats/usage?limit=501", "limit"),
        ("stats/usage?key_id=1&token_id=a", "token_id"),
        ("requests?status=9xx", "status"),
        ("requests?cursor=made-up", "cursor"),
        ("requests?stream=perhaps", "stream"),
        ("errors?key_id=x", "key_id"),
        ("errors/groups?cursor=a", "cursor"),
    ] {
        let refused = ask(&app, path).await;
        assert_eq!(refused.status(), 400, "{path}: {}", refused.text());
        assert!(refused.json()["error"]["fields"][name].is_string(), "{path}: {}", refused.text());
    }
}

#[actix_web::test]
async fn figures_outlive_the_rows_and_a_restart() {
    let app = busy().await;
    super::delete(&app, &format!("requests?before_ms={}", i64::MAX)).await;
    app.logger().send(Flush).await.expect("the logger lives");

    let app = app.stop().await.start().await;

    let overview = told(&app, "stats/overview").await;
    assert_eq!(overview["requests"], 5);
    assert_eq!(items(&told(&app, "requests").await).len(), 0);
}

#[actix_web::test]
async fn failing_requests_are_brought_to_attention() {
    let app = TestApp::builder()
        .keys(["k1"])
        .setting("AUTH_TOKEN", ADMIN)
        .setting("MAX_RETRIES", "1")
        .setting("MAX_WAIT_SECONDS", "0")
        .start()
        .await;
    app.upstream.on("k1").reply(503);
    for _ in 0..25 {
        app.client().generate(MODEL, "hello").await;
    }
    app.upstream.on("k1").reply_with("gemini/invalid-key.error.json");
    app.client().generate(MODEL, "hello").await;

    let kinds = eventually("both are told", async || {
        tokio::time::sleep(ms(50)).await;
        let list = told(&app, "stats/attention").await;
        let kinds: Vec<_> =
            items(&list).iter().map(|item| item["kind"].as_str().map(str::to_owned)).collect();
        let has = |kind: &str| kinds.iter().flatten().any(|known| known == kind);
        (has("high_error_rate") && has("keys_invalid")).then_some(list)
    })
    .await;

    let item = items(&kinds).iter().find(|item| item["kind"] == "keys_invalid").expect("it is there");
    assert_eq!((&item["severity"], &item["count"]), (&json!("error"), &json!(1)));
    assert_eq!(item["actions"][0]["filter"], json!({"state": ["invalid"]}));
}
