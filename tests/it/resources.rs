//! Files, caches and their like: each is used with the key that made it, and by the client that made it.

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Client, MODEL, Recorded, Reply, TestApp, google_error, ms, prompt, secs, usual_error,
};

/// Caches and files that are made with a key are named after it, and shown to that key alone.
fn google(request: &Recorded) -> Option<Reply> {
    let path = request.target.split('?').next()?.trim_start_matches("/v1beta/").trim_start_matches("/v1/");
    let key = request.key();
    match (&*request.method, path) {
        ("POST", "cachedContents") => Some(Reply::json(200, &cache(&format!("cachedContents/of-{key}")))),
        ("POST", _) if path.ends_with(":batchGenerateContent") => {
            Some(Reply::json(200, &json!({"name": format!("batches/of-{key}"), "metadata": {}})))
        }
        ("GET" | "PATCH", name) if name.ends_with(&format!("/of-{key}")) => {
            Some(Reply::json(200, &cache(name)))
        }
        ("DELETE", name) if name.ends_with(&format!("/of-{key}")) => Some(Reply::json(200, &json!({}))),
        ("GET" | "PATCH" | "DELETE", _) => Some(Reply::json(403, &not_yours())),
        _ => None,
    }
}

fn cache(name: &str) -> Value {
    json!({"name": name, "model": "models/gemini-2.5-flash", "expireTime": "2099-01-01T00:00:00Z", "odd": [1.50]})
}

fn not_yours() -> Value {
    google_error(
        403,
        "PERMISSION_DENIED",
        "You do not have permission to access the File or it may not exist.",
    )
}

async fn with_keys(keys: &[&str]) -> TestApp {
    let app = TestApp::with_keys(keys.iter().copied()).await;
    app.upstream.replies(google);
    app
}

/// Makes a cache; keys take turns, so it is the next one's.
async fn create(client: &Client) -> String {
    let body = json!({"model": "models/gemini-2.5-flash", "ttl": "300s"});
    let answer = client.post("/v1beta/cachedContents").json(&body).send().await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.json()["name"].as_str().expect("it has a name").to_owned()
}

async fn use_of(client: &Client, cache: &str) -> Answer {
    let mut body = prompt("What does it say?");
    body["cachedContent"] = json!(cache);
    client.post(&format!("/v1beta/models/{MODEL}:generateContent")).json(&body).send().await
}

/// The keys that were used after the first `skipped` calls.
fn keys_after(app: &TestApp, skipped: usize) -> Vec<String> {
    app.upstream.attempts().split_off(skipped)
}

#[actix_web::test]
async fn a_cache_is_used_with_the_key_that_made_it_by_path_and_by_body() {
    let app = with_keys(&["k1", "k2", "k3"]).await;
    app.client().generate(MODEL, "hello").await;
    let name = create(&app.client()).await;
    assert_eq!(name, "cachedContents/of-k2");

    for _ in 0..3 {
        assert_eq!(use_of(&app.client(), &name).await.status(), 200);
        let path = format!("/v1beta/{name}");
        assert_eq!(app.client().get(&path).send().await.json(), cache(&name));
        let update = json!({"ttl": "600s"});
        let answer = app.client().request(Method::PATCH, &path).json(&update).send().await;
        assert_eq!(answer.status(), 200);
    }

    assert_eq!(keys_after(&app, 2), ["k2"; 9]);
    // Other requests go on taking turns.
    let skipped = app.upstream.attempts().len();
    for _ in 0..3 {
        app.client().generate(MODEL, "hello").await;
    }
    let mut keys = keys_after(&app, skipped);
    keys.sort_unstable();
    assert_eq!(keys, ["k1", "k2", "k3"]);
}

#[actix_web::test]
async fn a_call_reaches_google_as_it_was_made_but_for_the_credential() {
    let app = with_keys(&["k1"]).await;
    let name = create(&app.client()).await;
    let body = r#"{ "ttl" : "600.5s", "unknown": 1.0 }"#;

    let path =
        format!("/gemini/v1beta/{name}?updateMask=ttl%2CexpireTime&key=sk-of-the-tests-4f1c&$fields=a,b");
    let request = app.client().anonymous().request(Method::PATCH, &path);
    let answer =
        request.header("cookie", "a=b").header("content-type", "application/json").body(body).send().await;

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.body, cache(&name).to_string());
    let sent = app.upstream.last_request();
    assert_eq!(
        (&*sent.method, &*sent.target),
        ("PATCH", &*format!("/v1beta/{name}?updateMask=ttl%2CexpireTime&$fields=a,b"))
    );
    assert_eq!(
        (&sent.body[..], sent.header("cookie"), sent.header("x-goog-api-key")),
        (body.as_bytes(), None, Some("k1"))
    );
}

#[actix_web::test]
async fn owners_are_known_after_a_restart_also_when_tokens_change_places() {
    let app = TestApp::builder()
        .keys(["k1", "k2", "k3"])
        .token("sk-first-0001")
        .token("sk-second-0002")
        .start()
        .await;
    app.upstream.replies(google);
    app.client().generate(MODEL, "hello").await;
    let name = create(&app.client_with("sk-second-0002")).await;

    let app = app.stop().await.without_tokens().token("sk-second-0002").token("sk-first-0001").start().await;

    let skipped = app.upstream.attempts().len();
    for _ in 0..3 {
        assert_eq!(use_of(&app.client_with("sk-second-0002"), &name).await.status(), 200);
    }
    assert_eq!(keys_after(&app, skipped), ["k2"; 3]);
    assert_eq!(use_of(&app.client_with("sk-first-0001"), &name).await.status(), 404);
}

#[actix_web::test]
async fn other_clients_neither_see_nor_use_it() {
    let app = TestApp::builder().keys(["k1"]).token("sk-first-0001").token("sk-second-0002").start().await;
    app.upstream.replies(google);
    let name = create(&app.client()).await;
    let stranger = app.client_with("sk-second-0002");

    let path = format!("/v1beta/{name}");
    for answer in [
        use_of(&stranger, &name).await,
        stranger.get(&path).send().await,
        stranger.request(Method::DELETE, &path).send().await,
    ] {
        assert_eq!((answer.status(), &answer.json()["error"]["status"]), (404, &json!("NOT_FOUND")));
        assert!(answer.text().contains(&name), "{}", answer.text());
    }
    let list = async |client: Client| client.get("/v1beta/cachedContents").send().await.json();
    assert_eq!(list(stranger).await, json!({"cachedContents": []}));
    assert_eq!(list(app.client()).await, json!({"cachedContents": [cache(&name)]}));
}

#[actix_web::test]
async fn clients_share_where_that_is_wished_for() {
    let app = TestApp::builder()
        .keys(["k1", "k2"])
        .token("sk-first-0001")
        .token("sk-second-0002")
        .setting("FILES_USER_ISOLATION_ENABLED", "false")
        .start()
        .await;
    app.upstream.replies(google);
    let name = create(&app.client()).await;

    let other = app.client_with("sk-second-0002");

    assert_eq!(use_of(&other, &name).await.status(), 200);
    assert_eq!(other.get("/v1beta/cachedContents").send().await.json()["cachedContents"][0]["name"], *name);
    assert_eq!(app.upstream.attempts(), ["k1"; 3]);
}

#[actix_web::test]
async fn an_owner_that_rests_is_waited_for() {
    let app = with_keys(&["k1", "k2"]).await;
    let name = create(&app.client()).await;
    app.upstream.on("k1").reply(429).retry_after(secs(1)).answers_as_usual();

    let answer = use_of(&app.client(), &name).await;

    assert_eq!(answer.status(), 200);
    assert_eq!(app.upstream.attempts(), ["k1"; 3]);
}

#[actix_web::test]
async fn an_owner_that_rests_for_long_is_told_with_its_time() {
    let app = with_keys(&["k1", "k2"]).await;
    let name = create(&app.client()).await;
    app.upstream.on("k1").reply(429).retry_after(secs(50));

    for _ in 0..2 {
        let answer = use_of(&app.client(), &name).await;

        assert_eq!((answer.status(), &answer.json()["error"]["status"]), (429, &json!("RESOURCE_EXHAUSTED")));
        let wait: u64 = answer.header("retry-after").expect("it says when").parse().expect("seconds");
        assert!((45..=50).contains(&wait), "{wait}");
        assert!(answer.text().contains(&name), "{}", answer.text());
    }
    assert_eq!(app.upstream.attempts(), ["k1"; 2]);
}

#[actix_web::test]
async fn an_owner_that_is_gone_is_said_so_at_once() {
    let app = with_keys(&["k1", "k2"]).await;
    let name = create(&app.client()).await;
    let app = app.stop().await.keys(["k2"]).start().await;

    let answer = tokio::time::timeout(ms(2_000), use_of(&app.client(), &name)).await.expect("nobody waits");

    assert_eq!((answer.status(), answer.header("retry-after")), (503, None));
    assert!(answer.text().contains("make it again"), "{}", answer.text());
    assert_eq!(app.upstream.attempts(), ["k1"]);
}

#[actix_web::test]
async fn resources_of_two_keys_in_one_request_are_refused_with_both_names() {
    let app = with_keys(&["k1", "k2"]).await;
    let (first, second) = (create(&app.client()).await, create(&app.client()).await);
    let mut body = prompt("Compare");
    body["cachedContent"] = json!(first);
    body["contents"][0]["parts"] = json!([{"text": "Compare"}, {"file_data": {"file_uri": second}}]);

    let answer =
        app.client().post(&format!("/v1beta/models/{MODEL}:generateContent")).json(&body).send().await;

    assert_eq!((answer.status(), &answer.json()["error"]["status"]), (400, &json!("INVALID_ARGUMENT")));
    assert!(answer.text().contains(&first) && answer.text().contains(&second), "{}", answer.text());
    assert_eq!(app.upstream.attempts(), ["k1", "k2"]);
}

#[actix_web::test]
async fn what_nobody_knows_is_for_google_to_refuse_and_no_key_is_blamed() {
    let app = with_keys(&["k1", "k2"]).await;

    let answer = app.client().get("/v1beta/cachedContents/unheard-of").send().await;

    assert_eq!((answer.status(), answer.json()), (403, not_yours()));
    assert_eq!(app.upstream.attempts(), ["k1"]);
    assert_eq!(app.settled("k1").await.health.cooldowns.len(), 0);
}

#[actix_web::test]
async fn what_is_deleted_is_forgotten() {
    let app = with_keys(&["k1", "k2"]).await;
    let name = create(&app.client()).await;

    let deleted = app.client().request(Method::DELETE, &format!("/v1beta/{name}")).send().await;

    assert_eq!((deleted.status(), deleted.json()), (200, json!({})));
    assert_eq!(app.client().get("/v1beta/cachedContents").send().await.json(), json!({"cachedContents": []}));
    // Nothing is known of it any more, so it is the next key's turn.
    app.client().get(&format!("/v1beta/{name}")).send().await;
    assert_eq!(keys_after(&app, 1), ["k1", "k2"]);
}

#[actix_web::test]
async fn a_list_holds_what_the_client_has_of_all_keys_page_by_page() {
    let app = with_keys(&["k1", "k2", "k3"]).await;
    for _ in 0..3 {
        create(&app.client()).await;
    }

    let names = |page: &Value| {
        let caches = page["cachedContents"].as_array().expect("a list").iter();
        caches.map(|cache| cache["name"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let first = app.client().get("/v1beta/cachedContents?pageSize=2").send().await.json();
    let token = first["nextPageToken"].as_str().expect("there is more");
    let rest = app.client().get(&format!("/v1beta/cachedContents?pageSize=2&pageToken={token}")).send().await;

    assert_eq!(names(&first), ["cachedContents/of-k1", "cachedContents/of-k2"]);
    assert_eq!(names(&rest.json()), ["cachedContents/of-k3"]);
    assert_eq!(rest.json()["nextPageToken"], Value::Null);
    let wrong = app.client().get("/v1beta/cachedContents?pageToken=7").send().await;
    assert_eq!((wrong.status(), &wrong.json()["error"]["status"]), (400, &json!("INVALID_ARGUMENT")));
}

#[actix_web::test]
async fn a_batch_and_the_film_of_an_operation_belong_to_the_key_that_began_them() {
    let app = with_keys(&["k1", "k2"]).await;
    let path = format!("/v1beta/models/{MODEL}:batchGenerateContent");
    let batch = app.client().post(&path).json(&json!({"batch": {}})).send().await.json();
    assert_eq!(batch["name"], "batches/of-k1");

    for _ in 0..3 {
        assert_eq!(app.client().get("/v1beta/batches/of-k1").send().await.status(), 200);
    }
    assert_eq!(app.client().post("/v1beta/batches/of-k1:cancel").send().await.status(), 404);

    assert_eq!(app.upstream.attempts(), ["k1"; 5]);
}

#[actix_web::test]
async fn under_v1_geminis_paths_are_told_by_their_name_or_the_credential() {
    let app = with_keys(&["k1"]).await;
    let name = create(&app.client()).await;

    let unique = app.client().get(&format!("/v1/{name}")).send().await;
    let shared = app
        .client()
        .anonymous()
        .get("/v1/files")
        .header("x-goog-api-key", "sk-of-the-tests-4f1c")
        .send()
        .await;
    let openai = app.client().get("/v1/files").send().await;

    assert_eq!((unique.status(), app.upstream.last_request().target), (200, format!("/v1/{name}")));
    assert_eq!((shared.status(), shared.json()), (200, json!({"files": []})));
    assert_eq!((openai.status(), &openai.json()["error"]["code"]), (404, &json!("unknown_url")));
}

#[actix_web::test]
async fn a_download_is_followed_with_the_owners_key() {
    let app = with_keys(&["k1", "k2"]).await;
    let film: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    let bytes = film.clone();
    app.upstream.replies(move |request| {
        let at = "https://generativelanguage.googleapis.com/download/v1beta/files/film:download?alt=media";
        match &*request.target {
            "/v1beta/files/film:download?alt=media" => {
                Some(Reply::json(302, &usual_error(404)).header("location", at))
            }
            "/download/v1beta/files/film:download?alt=media" => Some(
                Reply::whole(200, "video/mp4", bytes.clone()).header("content-disposition", "attachment"),
            ),
            _ => None,
        }
    });

    let answer = app.client().get("/v1beta/files/film:download?alt=media").send().await;

    assert_eq!((answer.status(), answer.header("content-type")), (200, Some("video/mp4")));
    assert_eq!(answer.header("content-length"), Some("200000"));
    assert_eq!(answer.header("content-disposition"), Some("attachment"));
    assert!(answer.body == film);
    assert_eq!(app.upstream.attempts(), ["k1", "k1"]);
    let row = app.log_of(&answer).await;
    assert_eq!((row.status, &*row.endpoint), (200, "relay"));
}

#[actix_web::test]
async fn paths_that_climb_and_wrong_tokens_go_nowhere() {
    let app = with_keys(&["k1"]).await;

    for path in ["/v1beta/files/%2e%2e/models", "/upload/v1beta/%2E%2E/x", "/upload/nowhere", "/download/x"] {
        let answer = app.client().get(path).send().await;
        assert_eq!(
            (answer.status(), &answer.json()["error"]["status"]),
            (404, &json!("NOT_FOUND")),
            "{path}"
        );
    }
    for (client, status) in [(app.client().anonymous(), 403), (app.client_with("sk-wrong-0000"), 400)] {
        assert_eq!(client.get("/v1beta/files/a").send().await.status(), status);
        assert_eq!(client.post("/upload/v1beta/files").send().await.status(), status);
    }
    assert_eq!(app.upstream.attempts(), Vec::<String>::new());
}
