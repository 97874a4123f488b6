//! Files on their way through the gateway.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::harness::{Answer, MODEL, Recorded, Reply, TOKEN, TestApp, google_error, prompt};

/// Google's side of the resumable protocol, and of the two that send all at once.
fn google(request: &Recorded) -> Option<Reply> {
    let file = || {
        let name = format!("files/of-{}", request.key());
        let uri = format!("https://generativelanguage.googleapis.com/v1beta/{name}");
        json!({"file": {"name": name, "uri": uri, "expirationTime": "2099-01-01T00:00:00Z", "state": "ACTIVE"}})
    };
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    if !path.starts_with("/upload/") {
        return None;
    }
    let command = request.header("x-goog-upload-command").unwrap_or_default();
    Some(match (command, query.contains("upload_id=")) {
        ("start", _) => {
            let url = format!(
                "https://generativelanguage.googleapis.com{path}?upload_id=AAA&upload_protocol=resumable"
            );
            Reply::whole(200, "text/plain; charset=utf-8", "")
                .header("x-goog-upload-status", "active")
                .header("x-goog-upload-url", &url)
                .header("x-goog-upload-control-url", &url)
                .header("x-goog-upload-chunk-granularity", "8388608")
                .header("x-google-internal", "1")
        }
        ("upload", true) => Reply::whole(200, "text/plain", "").header("x-goog-upload-status", "active"),
        (_, true) => Reply::json(200, &file()).header("x-goog-upload-status", "final"),
        _ => Reply::json(200, &file()),
    })
}

async fn with_keys(keys: &[&str]) -> TestApp {
    let app = TestApp::with_keys(keys.iter().copied()).await;
    app.upstream.replies(google);
    app
}

async fn begin(app: &TestApp, path: &str) -> Answer {
    let request = app.client().anonymous().post(path);
    let request = request.header("x-goog-api-key", TOKEN).header("x-goog-upload-protocol", "resumable");
    request
        .header("x-goog-upload-command", "start")
        .json(&json!({"file": {"display_name": "x"}}))
        .send()
        .await
}

/// Path and query of the address for the bytes.
fn address(begun: &Answer, app: &TestApp) -> String {
    let url = begun.header("x-goog-upload-url").expect("there is an address");
    let ours = format!("http://{}", app.address());
    url.strip_prefix(&ours).unwrap_or_else(|| panic!("{url} does not lead to {ours}")).to_owned()
}

async fn put(app: &TestApp, address: &str, command: &str, bytes: &[u8]) -> Answer {
    let request = app.client().anonymous().post(address).header("x-goog-upload-command", command);
    request
        .header("x-goog-upload-offset", "0")
        .header("content-type", "application/json")
        .body(bytes.to_vec())
        .send()
        .await
}

#[actix_web::test]
async fn a_resumable_upload_needs_no_key_for_its_bytes_and_the_file_keeps_its_owner() {
    for path in ["/upload/v1beta/files", "/gemini/upload/v1beta/files", "/upload/v1/files"] {
        let app = with_keys(&["k1", "k2", "k3"]).await;
        app.client().generate(MODEL, "hello").await;

        let begun = begin(&app, path).await;
        let owner = app.upstream.last_request().key();
        assert_eq!((begun.status(), begun.header("x-goog-upload-status")), (200, Some("active")));
        assert_eq!(begun.header("x-goog-upload-chunk-granularity"), Some("8388608"));
        assert_eq!(begun.header("x-google-internal"), None);
        assert_eq!(begun.header("x-goog-upload-control-url").map(|url| url.contains("AAA")), Some(false));
        let address = address(&begun, &app);
        assert!(address.starts_with(path.trim_start_matches("/gemini")), "{address}");
        assert!(!address.contains("AAA") && !address.contains(TOKEN), "{address}");

        let part = put(&app, &address, "upload", b"hel\xff").await;
        assert_eq!((part.status(), part.header("x-goog-upload-status")), (200, Some("active")));
        let done = put(&app, &address, "upload, finalize", b"\x00lo").await;

        assert_eq!((done.status(), done.header("x-goog-upload-status")), (200, Some("final")));
        let sent = app.upstream.last_request();
        assert_eq!((sent.key(), &sent.body[..]), (owner.clone(), &b"\x00lo"[..]));
        assert!(sent.target.ends_with("?upload_id=AAA&upload_protocol=resumable"), "{}", sent.target);
        assert_eq!(sent.header("x-goog-upload-offset"), Some("0"));
        assert_eq!(sent.header("content-length"), Some("3"));

        let mut body = prompt("What is it?");
        body["contents"][0]["parts"] = json!([{"fileData": {"fileUri": done.json()["file"]["uri"]}}]);
        let skipped = app.upstream.attempts().len();
        for _ in 0..4 {
            let asked = app
                .client()
                .post(&format!("/v1beta/models/{MODEL}:generateContent"))
                .json(&body)
                .send()
                .await;
            assert_eq!(asked.status(), 200);
        }
        assert_eq!(app.upstream.attempts().split_off(skipped), vec![owner; 4]);
    }
}

#[actix_web::test]
async fn an_upload_goes_on_after_a_restart() {
    let app = with_keys(&["k1", "k2"]).await;
    let begun = begin(&app, "/upload/v1beta/files").await;
    let (address, owner) = (address(&begun, &app), app.upstream.last_request().key());

    let app = app.stop().await.start().await;
    let done = put(&app, &address, "upload, finalize", b"hello").await;

    assert_eq!((done.status(), app.upstream.last_request().key()), (200, owner));
}

#[actix_web::test]
async fn an_upload_id_cannot_be_made_up() {
    let app = with_keys(&["k1"]).await;
    let begun = begin(&app, "/upload/v1beta/files").await;
    let mut wrong = address(&begun, &app);
    let at = wrong.find("upload_id=").expect("it has an id") + 60;
    let other = if &wrong[at..=at] == "x" { "y" } else { "x" };
    wrong.replace_range(at..=at, other);

    for address in [&*wrong, "/upload/v1beta/files?upload_id=AAA&upload_protocol=resumable"] {
        let answer = put(&app, address, "upload, finalize", b"hello").await;
        assert_eq!((answer.status(), &answer.json()["error"]["status"]), (404, &json!("NOT_FOUND")));
    }
    assert_eq!(app.upstream.attempts(), ["k1"]);
}

#[actix_web::test]
async fn multipart_and_raw_uploads_pass_byte_by_byte() {
    let app = with_keys(&["k1", "k2"]).await;
    let multipart =
        b"--b\r\ncontent-type: application/json\r\n\r\n{\"file\":{}}\r\n--b\r\n\r\n\xff\xfe\r\n--b--";

    for (path, kind, body) in [
        ("/upload/v1beta/files?uploadType=multipart", "multipart/related; boundary=b", &multipart[..]),
        ("/upload/v1beta/files?uploadType=media", "image/png", b"\x89PNG\x00"),
    ] {
        let answer = app.client().post(path).header("content-type", kind).body(body.to_vec()).send().await;
        let name = answer.json()["file"]["name"].as_str().expect("a file").to_owned();

        let sent = app.upstream.last_request();
        assert_eq!((answer.status(), &*sent.target), (200, path));
        assert_eq!((&sent.body[..], sent.header("content-type")), (body, Some(kind)));
        assert_eq!(name, format!("files/of-{}", sent.key()));
    }
    // Files that a client sends together can be used together.
    let keys = app.upstream.attempts();
    assert_eq!(keys[0], keys[1]);
}

#[actix_web::test]
async fn a_file_may_be_larger_than_a_body_that_is_held() {
    let app = TestApp::builder().setting("MAX_BODY_MB", "1").start().await;
    app.upstream.replies(google);
    let film: Vec<u8> = (0..5_000_000u32).map(|n| (n % 251) as u8).collect();

    let request =
        app.client().post("/upload/v1beta/files?uploadType=media").header("content-type", "video/mp4");
    let answer = request.body(film.clone()).send().await;

    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert!(app.upstream.last_request().body == film);
}

#[actix_web::test]
async fn a_refusal_of_google_reaches_the_client_and_blames_nobody() {
    let app = with_keys(&["k1", "k2"]).await;
    let begun = begin(&app, "/upload/v1beta/files").await;
    let address = address(&begun, &app);
    let body = google_error(400, "INVALID_ARGUMENT", "Upload has already been terminated.");
    let told = body.clone();
    app.upstream.replies(move |_| Some(Reply::json(400, &told)));

    let answer = put(&app, &address, "upload, finalize", b"hello").await;

    assert_eq!((answer.status(), answer.json()), (400, body));
    assert_eq!(app.upstream.attempts().len(), 2);
}

#[actix_web::test]
async fn files_of_a_store_go_to_the_stores_owner() {
    let app = with_keys(&["k1", "k2", "k3"]).await;
    app.upstream.replies(|request| match &*request.target {
        "/v1beta/fileSearchStores" => {
            Some(Reply::json(200, &json!({"name": format!("fileSearchStores/of-{}", request.key())})))
        }
        _ => google(request),
    });
    app.client().generate(MODEL, "hello").await;
    let store: Value = app.client().post("/v1beta/fileSearchStores").json(&json!({})).send().await.json();
    let store = store["name"].as_str().expect("a name").to_owned();

    let begun = begin(&app, &format!("/upload/v1beta/{store}:uploadToFileSearchStore")).await;

    assert_eq!(begun.status(), 200);
    assert_eq!(store, format!("fileSearchStores/of-{}", app.upstream.last_request().key()));
}

/// A Google that accepts connections and reads nothing but the heads of requests.
async fn one_that_does_not_read() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let origin = format!("http://{}/v1beta", listener.local_addr().expect("it is bound"));
    actix_web::rt::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _ = socket.read(&mut head).await;
            held.push(socket);
        }
    });
    origin
}

#[actix_web::test]
async fn a_large_file_is_not_held_in_memory() {
    /// What the sockets' own buffers may take on the way, with much to spare.
    const MOST: usize = 64 << 20;
    const SIZE: usize = 1 << 30;
    let app = TestApp::builder().setting("BASE_URL", &one_that_does_not_read().await).start().await;
    let mut socket = TcpStream::connect(app.address()).await.expect("the gateway listens");
    let head = format!(
        "POST /upload/v1beta/files?uploadType=media HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\n\
         content-type: video/mp4\r\ncontent-length: {SIZE}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.expect("the gateway reads");

    let (piece, mut sent) = (vec![7; 1 << 20], 0);
    while sent < SIZE {
        match timeout(Duration::from_secs(1), socket.write(&piece)).await {
            Ok(written) => sent += written.expect("the connection is open"),
            Err(_) => break,
        }
    }

    assert!(sent < MOST, "the gateway took {sent} bytes that Google did not read");
}

#[actix_web::test]
async fn a_client_that_stops_in_the_middle_is_told_so_and_no_key_is_blamed() {
    let app = TestApp::builder().setting("BODY_TIMEOUT_SECONDS", "0.3").start().await;
    app.upstream.replies(google);
    let mut socket = TcpStream::connect(app.address()).await.expect("the gateway listens");
    let head = format!(
        "POST /upload/v1beta/files?uploadType=media HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\n\
         content-type: video/mp4\r\ncontent-length: 1000\r\n\r\nonly this"
    );
    socket.write_all(head.as_bytes()).await.expect("the gateway reads");

    let mut answer = vec![0; 12];
    timeout(Duration::from_secs(5), socket.read_exact(&mut answer))
        .await
        .expect("in time")
        .expect("an answer");

    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 408");
    let rows = app.logs("the upload is logged", |rows| !rows.is_empty()).await;
    assert_eq!((rows[0].status, &*rows[0].endpoint), (408, "upload"));
    let key = app.observe_key("k1").await;
    assert_eq!((key.health.consecutive_failures, key.in_flight), (0, 0));
}
