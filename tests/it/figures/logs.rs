//! Pages of the logs, tables of them, and what is left after a deletion.

use gemini_balance::db::request_logs::{RequestLog, insert_request_logs};
use serde_json::{Value, json};

use super::{ask, delete, items, start, told};
use crate::harness::{MODEL, TestApp, secs};

const LATER_MS: i64 = 1_790_000_000_000;

/// Requests as clients with odd ideas would make them.
async fn with_rows(change: impl Fn(i64, &mut RequestLog) + Send + 'static, count: i64) -> TestApp {
    let app = start(&["k1"]).await;
    app.write(move |conn| {
        let rows: Vec<_> = (0..count)
            .map(|n| {
                let mut row = row(n);
                change(n, &mut row);
                row
            })
            .collect();
        insert_request_logs(conn, &rows)
    })
    .await;
    app
}

fn row(n: i64) -> RequestLog {
    let at_ms = LATER_MS + n;
    RequestLog {
        id: format!("{at_ms:012x}70008000{n:012}"),
        started_at_ms: at_ms,
        duration_ms: 1_000 + n,
        dialect: "openai".into(),
        endpoint: "chat/completions".into(),
        model: MODEL.into(),
        stream: n % 2 == 0,
        status: 200,
        key_id: Some(1),
        token_id: Some("allowed-1".into()),
        client_ip: None,
        attempts: 1,
        trail: "[]".into(),
        first_byte_ms: Some(5),
        prompt_tokens: 1,
        cached_tokens: 0,
        output_tokens: 1,
        thoughts_tokens: 0,
        error: None,
        node: None,
    }
}

#[actix_web::test]
async fn a_request_is_listed_with_its_key_its_token_and_its_attempts() {
    let app = start(&["key-one-abcdefgh-1111", "key-two-abcdefgh-2222"]).await;
    app.upstream.on("key-one-abcdefgh-1111").reply(429).retry_after(secs(30));
    let reply = app.client().generate(MODEL, "a secret").await;
    app.log_of(&reply).await;

    let list = told(&app, "requests?retried=true").await;

    let [row] = &items(&list)[..] else { panic!("{list}") };
    assert_eq!((&row["id"], &row["attempt_count"]), (&json!(reply.request_id()), &json!(2)));
    assert_eq!(row["key"], json!({"id": app.key_id("key-two-abcdefgh-2222").await.0, "masked": "key-…2222"}));
    assert_eq!(row["token"], json!({"id": "allowed-1", "name": "allowed-1"}));
    assert_eq!((&list["total"], &list["next_cursor"]), (&json!(1), &json!(null)));
    assert_eq!(items(&told(&app, "requests?retried=false").await).len(), 0);
    let found = told(&app, &format!("requests?q={}", &reply.request_id()[..12])).await;
    assert_eq!(items(&found).len(), 1);

    let detail = told(&app, &format!("requests/{}", reply.request_id())).await;
    assert!(detail["attempts"][0]["message"].is_string(), "what Google said: {detail}");
    assert_eq!(detail["attempts"][1]["message"], json!(null));
    for text in [list.to_string(), detail.to_string()] {
        assert!(!text.contains("abcdefgh") && !text.contains("a secret"), "{text}");
    }
}

#[actix_web::test]
async fn an_empty_answer_on_the_way_can_be_looked_for() {
    let app = start(&["k1", "k2"]).await;
    app.upstream.on("k1").reply_with("gemini/empty.response.json");
    let reply = app.client().generate(MODEL, "hello").await;
    app.log_of(&reply).await;

    assert_eq!(items(&told(&app, "requests?empty=true").await)[0]["id"], reply.request_id());
    assert_eq!(items(&told(&app, "requests?empty=false").await).len(), 0);
}

#[actix_web::test]
async fn pages_follow_each_other_to_the_end() {
    let app = with_rows(|_, _| (), 120).await;

    let (mut ids, mut cursor) = (Vec::new(), String::new());
    for page in 0.. {
        let list = told(&app, &format!("requests?limit=50&stream=true&cursor={cursor}")).await;
        if page == 0 {
            assert_eq!((&list["total"], &list["total_at_least"]), (&json!(60), &json!(60)));
        }
        ids.extend(items(&list).iter().map(|row| row["started_at_ms"].as_i64()));
        let Some(next) = list["next_cursor"].as_str() else { break };
        cursor = next.to_owned();
    }

    assert_eq!(ids, (0..120).rev().filter(|n| n % 2 == 0).map(|n| Some(LATER_MS + n)).collect::<Vec<_>>());
}

#[actix_web::test]
async fn the_table_holds_every_row_and_no_formula() {
    let change = |n: i64, row: &mut RequestLog| {
        row.model = ["=HYPERLINK(\"http://x\",\"y\")", "+1+1", "@SUM(A1)", "<script>alert(1)</script>"]
            [(n % 4) as usize]
            .into();
    };
    let app = with_rows(change, 1_203).await;

    let table = ask(&app, "requests/export").await;

    assert_eq!(table.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(table.header("content-disposition").is_some_and(|told| told.starts_with("attachment")));
    assert_eq!(table.header("x-content-type-options"), Some("nosniff"));
    let lines: Vec<_> = table.text().lines().collect();
    assert_eq!(lines.len(), 1_204);
    assert!(lines[0].starts_with("id,started_at_ms,"), "{}", lines[0]);
    let begins_a_formula = |cell: &str| cell.starts_with(['=', '@', '+']);
    assert!(lines.iter().all(|line| !line.split(',').any(begins_a_formula)), "{}", lines[1]);
    assert_eq!(table.text().matches("\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\"").count(), 301);
    let filtered = ask(&app, "requests/export?stream=true").await;
    assert_eq!(filtered.text().lines().count(), 603);
}

#[actix_web::test]
async fn markup_in_names_is_data_and_nothing_else() {
    let change = |_: i64, row: &mut RequestLog| row.model = "<img src=x onerror=alert(1)>".into();
    let app = with_rows(change, 1).await;

    let answer = ask(&app, "requests?model=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E").await;

    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(items(&answer.json())[0]["model"], "<img src=x onerror=alert(1)>");
}

#[actix_web::test]
async fn deletion_says_what_it_takes_and_never_takes_everything_by_a_slip() {
    let app = with_rows(|n, row| row.status = if n < 700 { 503 } else { 200 }, 1_000).await;

    let refused = delete(&app, "requests").await;
    assert_eq!((refused.status(), refused.text().contains("before_ms")), (400, true));
    let by_mistake = delete(&app, "requests?statuss=503").await;
    assert_eq!(by_mistake.status(), 400);
    let deleted = delete(&app, "requests?status=5xx").await;
    assert_eq!(deleted.json(), json!({"deleted": 700, "next_cursor": null}));
    assert_eq!(told(&app, "requests").await["total"], 300);
    let older = delete(&app, &format!("requests?before_ms={}", LATER_MS + 800)).await;
    assert_eq!(older.json()["deleted"], 100);
}

#[actix_web::test]
async fn failed_attempts_are_listed_grouped_and_deleted() {
    let app = start(&["key-one-abcdefgh-1111", "key-two-abcdefgh-2222"]).await;
    app.upstream.on("key-one-abcdefgh-1111").reply(429).retry_after(secs(31));
    app.upstream.on("key-two-abcdefgh-2222").reply(503);
    let reply = app.client().generate(MODEL, "a secret").await;
    app.log_of(&reply).await;

    let list = told(&app, "errors").await;
    let kinds: Vec<_> = items(&list).iter().map(|row| row["kind"].as_str()).collect();
    assert!(kinds.contains(&Some("quota_minute")) && kinds.contains(&Some("overloaded")), "{list}");
    assert!(items(&list).iter().all(|row| row["request_id"] == reply.request_id()));
    let one = told(&app, "errors?kind=quota_minute").await;
    assert_eq!(items(&one)[0]["key"]["masked"], "key-…1111");
    let single = told(&app, &format!("errors/{}", items(&one)[0]["id"])).await;
    assert_eq!(single["request_body"], json!(null));
    assert_eq!(ask(&app, "errors/99999").await.status(), 404);
    assert_eq!(ask(&app, "errors/nothing").await.status(), 404);

    let groups = told(&app, "errors/groups").await;
    let group = items(&groups).iter().find(|group| group["kind"] == "quota_minute").expect("a group");
    assert_eq!((&group["count"], &group["status"], &group["keys"]), (&json!(1), &json!(429), &json!(1)));
    assert!(!group["message"].as_str().unwrap_or_default().contains(char::is_numeric), "{group}");
    let texts = [&list, &one, &single, &groups].map(Value::to_string);
    assert!(texts.iter().all(|text| !text.contains("abcdefgh") && !text.contains("a secret")));

    assert_eq!(delete(&app, "errors").await.status(), 400);
    let deleted = delete(&app, "errors?kind=quota_minute").await;
    assert_eq!(deleted.json()["deleted"], 1);
    assert!(items(&told(&app, "errors").await).iter().all(|row| row["kind"] != "quota_minute"));
}

#[actix_web::test]
async fn the_logs_are_the_administrators_alone() {
    let app = start(&["k1"]).await;

    for path in [
        "requests",
        "requests/export",
        "errors",
        "errors/1",
        "errors/groups",
        "stats/overview",
        "stats/series",
        "stats/usage",
        "stats/attention",
    ] {
        let path = format!("/api/admin/{path}");
        assert_eq!(app.client().get(&path).send().await.status(), 401, "{path}");
    }
    let request = app.client().request(actix_web::http::Method::DELETE, "/api/admin/requests?before_ms=1");
    assert_eq!(request.send().await.status(), 401);
}
