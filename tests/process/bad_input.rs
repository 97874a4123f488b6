//! Nonsense on the wire: each kind gets its clear answer in its dialect, and none disturbs another request.

use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{CHAT, GENERATE, Place, Program, TOKEN, chat, healthy_sim, native, post};

async fn program() -> (gemini_balance::sim::Sim, Program) {
    let sim = healthy_sim(&["key-one-abcdefgh"]).await;
    let place = Place::empty()
        .serving(&sim, &["key-one-abcdefgh"])
        .with("MAX_BODY_MB", 2)
        .with("HEADER_TIMEOUT_SECONDS", 1)
        .with("BODY_TIMEOUT_SECONDS", 1);
    let program = place.start();
    (sim, program)
}

fn assert_openai_error(body: &Value, kind: &str) {
    let error = &body["error"];
    assert_eq!(error["type"], kind, "{body}");
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    assert!(error.get("param").is_some() && error.get("code").is_some(), "{body}");
}

#[actix_web::test]
async fn broken_bodies_are_refused_as_openai_would() {
    let (_sim, program) = program().await;
    let deep = format!("{{\"model\":\"m\",\"messages\":{}", "[".repeat(500_000));
    let bodies: [&[u8]; 7] = [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{\"model\":\"\xff\xfe\"}",
        deep.as_bytes(),
        b"{\"model\":1,\"messages\":[]}",
    ];
    for body in bodies {
        let reply = program.post(CHAT, body);
        assert_eq!(reply.status(), 400, "{:?}", String::from_utf8_lossy(&body[..body.len().min(60)]));
        assert_openai_error(&reply.json(), "invalid_request_error");
    }
    assert_eq!(program.post(CHAT, chat("still well")).status(), 200);
}

#[actix_web::test]
async fn a_repeated_name_counts_once_and_breaks_nothing() {
    let (_sim, program) = program().await;
    let body =
        r#"{"model":"nothing","model":"gemini-2.5-flash","messages":[{"role":"user","content":"hi"}]}"#;

    assert_eq!(program.post(CHAT, body).status(), 200);
}

#[actix_web::test]
async fn native_nonsense_is_googles_to_judge_and_blames_no_key() {
    let (_sim, program) = program().await;
    let deep = "[".repeat(500_000);
    for body in ["", "{", "[]", "\u{1}", &deep] {
        let reply = program.post(GENERATE, body);
        assert_eq!(reply.status(), 400, "{:?}", &body[..body.len().min(20)]);
        assert_eq!(reply.json()["error"]["status"], "INVALID_ARGUMENT");
    }
    assert_eq!(program.get("/ready").json()["keys"]["active"], 1);
    assert_eq!(program.post(GENERATE, native("still well")).status(), 200);
}

#[actix_web::test]
async fn a_body_over_the_limit_is_413_whether_it_is_announced_or_not() {
    let (_sim, program) = program().await;
    let big = chat(&"x".repeat(3_000_000));
    let announced = program.post(CHAT, &big);
    assert_eq!(announced.status(), 413);
    assert!(announced.json()["error"]["message"].as_str().unwrap().contains("MAX_BODY_MB"));

    let head = format!(
        "POST {GENERATE} HTTP/1.1\r\nhost: t\r\nx-goog-api-key: {TOKEN}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let mut chunked = head.into_bytes();
    for _ in 0..3 {
        chunked.extend(format!("{:x}\r\n{}\r\n", 1_000_000, "y".repeat(1_000_000)).into_bytes());
    }
    let reply = program.send(&chunked);
    assert_eq!((reply.status(), &reply.json()["error"]["status"]), (413, &json!("INVALID_ARGUMENT")));
}

#[actix_web::test]
async fn a_body_within_the_limit_arrives_whole() {
    let (_sim, program) = program().await;

    assert_eq!(program.post(GENERATE, native(&"x".repeat(1_900_000))).status(), 200);
}

#[actix_web::test]
async fn heads_beyond_limits_are_431_and_no_http_is_400() {
    let (_sim, program) = program().await;
    let long = format!("GET /health HTTP/1.1\r\nhost: t\r\nx-long: {}\r\n\r\n", "a".repeat(140_000));
    assert_eq!(program.send(long.as_bytes()).status(), 431);

    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let reply = program.send(format!("GET /health HTTP/1.1\r\nhost: t\r\n{many}\r\n").as_bytes());
    assert!([400, 431].contains(&reply.status()), "{reply:?}");

    assert_eq!(program.send(b"THIS IS NO HTTP\r\n\r\n").status(), 400);
    assert_eq!(program.get("/health").status(), 200);
}

#[actix_web::test]
async fn a_slow_head_and_a_slow_body_are_given_up() {
    let (_sim, program) = program().await;
    let begin = Instant::now();
    let mut slow_head = program.connect();
    slow_head.write(b"GET /health HT");
    let reply = slow_head.reply();
    assert!([0, 408].contains(&reply.status()), "{reply:?}");

    let mut slow_body = program.connect();
    let whole = post(CHAT, TOKEN, chat("never whole").as_bytes());
    slow_body.write(&whole[..whole.len() - 5]);
    let reply = slow_body.reply();
    assert_eq!(reply.status(), 408, "{reply:?}");
    assert_openai_error(&reply.json(), "invalid_request_error");
    assert!(begin.elapsed().as_secs() < 15, "{:?}", begin.elapsed());
}

#[actix_web::test]
async fn tokens_with_odd_characters_are_wrong_tokens() {
    let (_sim, program) = program().await;
    for token in ["", " ", "sk-\u{e4}\u{f6}", "a b c", "'; DROP TABLE keys;--", "%00", &"x".repeat(20_000)] {
        let reply = program.send(
            format!("GET /v1/models HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {token}\r\n\r\n").as_bytes(),
        );
        assert_eq!(reply.status(), 401, "{token:?}");
        assert_openai_error(&reply.json(), "invalid_request_error");
    }
}

#[actix_web::test]
async fn each_dialect_words_its_own_refusals() {
    let (_sim, program) = program().await;
    let get = |path: &str, headers: &str| {
        program.send(format!("GET {path} HTTP/1.1\r\nhost: t\r\n{headers}\r\n").as_bytes())
    };
    let token = format!("authorization: Bearer {TOKEN}\r\n");

    // OpenAI: no token, wrong token, wrong path, wrong method, wrong content type, unknown model.
    assert_eq!(get("/v1/models", "").status(), 401);
    let wrong = get("/v1/models", "authorization: Bearer nope\r\n");
    assert_eq!((wrong.status(), &wrong.json()["error"]["code"]), (401, &json!("invalid_api_key")));
    let path = get("/v1/nowhere", &token);
    assert_eq!((path.status(), &path.json()["error"]["code"]), (404, &json!("unknown_url")));
    let method = get(CHAT, &token);
    assert_eq!((method.status(), method.header("allow")), (405, Some("post".to_owned())));
    let form = program.send(
        format!("POST {CHAT} HTTP/1.1\r\nhost: t\r\n{token}content-type: text/plain\r\ncontent-length: 2\r\n\r\n{{}}").as_bytes(),
    );
    assert_eq!((form.status(), &form.json()["error"]["code"]), (415, &json!("unsupported_content_type")));
    let model = program
        .post(CHAT, json!({"model": "no-such", "messages": [{"role": "user", "content": "x"}]}).to_string());
    assert_eq!((model.status(), &model.json()["error"]["code"]), (404, &json!("model_not_found")));

    // Gemini: the same, in Google's words.
    let missing = get("/v1beta/models", "");
    assert_eq!((missing.status(), &missing.json()["error"]["status"]), (403, &json!("PERMISSION_DENIED")));
    let wrong = get("/v1beta/models", "x-goog-api-key: nope\r\n");
    assert_eq!(
        (wrong.status(), &wrong.json()["error"]["details"][0]["reason"]),
        (400, &json!("API_KEY_INVALID"))
    );
    let path = get("/v1beta/nowhere", &format!("x-goog-api-key: {TOKEN}\r\n"));
    assert_eq!((path.status(), &path.json()["error"]["status"]), (404, &json!("NOT_FOUND")));
    let model = program.post("/v1beta/models/no-such:generateContent", native("x"));
    assert_eq!((model.status(), &model.json()["error"]["status"]), (404, &json!("NOT_FOUND")));

    // Every one of them can be named when asking for help.
    assert!(path.header("x-request-id").is_some() && method.header("x-request-id").is_some());
}
