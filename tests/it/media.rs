//! Pictures by their address: fetched from the public internet and from nowhere else.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::harness::{Answer, MODEL, TestApp};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n-and-the-rest";

const TABLE: &[u8] = "ville,prénom\nRoma,Ada\n".as_bytes();

/// A server of pictures on this machine; gives its port.
pub async fn pictures() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    actix_web::rt::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            actix_web::rt::spawn(async move {
                let mut head = vec![0; 4096];
                let read = socket.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..read]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default();
                let answer = answer(path, port);
                if path == "/slow" {
                    tokio::time::sleep(Duration::from_secs(30)).await;
                }
                let _ = socket.write_all(&answer).await;
            });
        }
    });
    port
}

fn answer(path: &str, port: u16) -> Vec<u8> {
    let whole = |kind: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let to = |location: String| {
        format!(
            "HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        .into_bytes()
    };
    match path {
        "/picture" => whole("text/html", PNG),
        "/table" => whole("text/csv; charset=utf-8", TABLE),
        "/archive" => whole("application/pdf", b"PK\x03\x04\x14\0\0\0"),
        "/page" => whole("image/png", b"<!doctype html><title>no picture</title>"),
        "/animation" => whole("image/gif", b"GIF89a........"),
        "/large" => whole("image/png", &[PNG, &vec![0; 3_000_000][..]].concat()),
        // No length, so that only the bytes tell.
        "/endless" => {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n2dc6c0\r\n";
            [head.as_bytes(), &vec![0; 3_000_000], b"\r\n0\r\n\r\n"].concat()
        }
        "/nothing" => whole("image/png", b""),
        "/near" => to("/picture".to_owned()),
        "/loop" => to("/loop".to_owned()),
        "/by-name" => to(format!("http://localhost:{port}/picture")),
        "/metadata" => to("http://169.254.169.254/latest/meta-data/".to_owned()),
        "/file" => to("file:///etc/passwd".to_owned()),
        "/mail" => to("http://8.8.8.8:25/".to_owned()),
        _ => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec(),
    }
}

async fn show(app: &TestApp, urls: &[&str]) -> Answer {
    let parts = urls.iter().map(|url| json!({"type": "image_url", "image_url": {"url": url}}));
    let body = json!({"model": MODEL, "messages": [{"role": "user", "content": parts.collect::<Value>()}]});
    app.client().post("/v1/chat/completions").json(&body).send().await
}

pub async fn gateway(private: &str) -> TestApp {
    let builder = TestApp::builder().keys(["k1"]).setting("MEDIA_FETCH_PRIVATE_HOSTS", private);
    builder.setting("MEDIA_FETCH_MAX_MB", "1").setting("MEDIA_FETCH_TIMEOUT_SECONDS", "1").start().await
}

#[actix_web::test]
async fn a_remote_picture_goes_to_gemini_as_what_its_bytes_are() {
    let (app, port) = (gateway("127.0.0.1").await, pictures().await);

    for path in ["picture", "near"] {
        let reply = show(&app, &[&format!("http://127.0.0.1:{port}/{path}")]).await;

        assert_eq!(reply.status(), 200, "{}", reply.text());
        let sent = app.upstream.last_request().json();
        let data = STANDARD.encode(PNG);
        assert_eq!(
            sent["contents"][0]["parts"][0],
            json!({"inlineData": {"mimeType": "image/png", "data": data}})
        );
    }
}

#[actix_web::test]
async fn a_remote_file_may_be_a_text_but_no_archive() {
    let (app, port) = (gateway("127.0.0.1").await, pictures().await);
    let ask = async |path: &str| {
        let file = json!({"type": "input_file", "file_url": format!("http://127.0.0.1:{port}/{path}")});
        let body = json!({"model": MODEL, "input": [{"role": "user", "content": [file]}]});
        app.client().post("/v1/responses").json(&body).send().await
    };

    let table = ask("table").await;
    assert_eq!(table.status(), 200, "{}", table.text());
    let sent = app.upstream.last_request().json();
    let data = STANDARD.encode(TABLE);
    assert_eq!(
        sent["contents"][0]["parts"][0],
        json!({"inlineData": {"mimeType": "text/csv", "data": data}})
    );

    let archive = ask("archive").await;
    assert_eq!(
        (archive.status(), &archive.json()["error"]["param"]),
        (400, &json!("input[0].content[0].file_url"))
    );
}

#[actix_web::test]
async fn what_is_no_picture_or_too_much_is_refused_with_its_place() {
    let (app, port) = (gateway("127.0.0.1").await, pictures().await);
    for (path, words) in [
        ("page", "text"),
        ("animation", "does not read this format"),
        ("large", "larger than the 1 MB"),
        ("endless", "larger than the 1 MB"),
        ("nothing", "sent nothing"),
        ("gone", "answered 404"),
        ("loop", "redirected more than"),
        ("slow", "longer than 1 s"),
        ("file", "neither http nor https"),
    ] {
        let url = format!("http://127.0.0.1:{port}/{path}");

        let reply = show(&app, &["data:image/png;base64,iVBORw0KGgo=", &url]).await;

        let error = reply.json()["error"].clone();
        assert_eq!(
            (reply.status(), &error["param"]),
            (400, &json!("messages[0].content[1].image_url")),
            "{path}"
        );
        assert!(error["message"].as_str().is_some_and(|message| message.contains(words)), "{path}: {error}");
    }
    assert_eq!(app.upstream.requests().len(), 0);
}

#[actix_web::test]
async fn private_addresses_are_refused_by_number_by_name_and_by_redirect() {
    let (app, port) = (gateway("127.0.0.1").await, pictures().await);
    let guarded = gateway("").await;
    let local = |path: &str| format!("http://127.0.0.1:{port}/{path}");
    for (app, url) in [
        (&guarded, local("picture")),
        (&guarded, format!("http://localhost:{port}/picture")),
        (&guarded, format!("http://[::ffff:127.0.0.1]:{port}/picture")),
        (&guarded, format!("http://2130706433:{port}/picture")),
        (&guarded, "http://169.254.169.254/latest/meta-data/".to_owned()),
        (&guarded, "http://100.64.0.1/x.png".to_owned()),
        (&guarded, "http://[fd00:ec2::254]/".to_owned()),
        (&app, local("by-name")),
        (&app, local("metadata")),
    ] {
        let reply = show(app, &[&url]).await;

        let error = reply.json()["error"].clone();
        assert_eq!((reply.status(), &error["code"]), (400, &json!("invalid_image_url")), "{url}: {error}");
        assert!(
            error["message"].as_str().is_some_and(|message| message.contains("not on the public internet")),
            "{error}"
        );
    }
    assert_eq!(app.upstream.requests().len() + guarded.upstream.requests().len(), 0);
}

#[actix_web::test]
async fn fetching_can_be_switched_off_and_what_google_fetches_itself_is_left_to_it() {
    let app = TestApp::builder().keys(["k1"]).setting("MEDIA_FETCH_ENABLED", "false").start().await;

    let refused = show(&app, &["https://example.com/a.png"]).await;
    let youtube = show(&app, &["https://www.youtube.com/watch?v=x"]).await;

    assert_eq!(
        (refused.status(), &refused.json()["error"]["param"]),
        (400, &json!("messages[0].content[0].image_url"))
    );
    assert_eq!(youtube.status(), 200);
    let sent = app.upstream.last_request().json();
    assert_eq!(sent["contents"][0]["parts"][0]["fileData"]["fileUri"], "https://www.youtube.com/watch?v=x");
}
