//! What limits do to their holders.

use serde_json::json;

use super::{app, change, each_dialect, make, view};
use crate::harness::{MODEL, event, eventually, prompt};

#[actix_web::test]
async fn a_spent_limit_is_told_in_each_dialect_with_the_time_to_wait() {
    let app = app(&[]).await;
    let (token, id) =
        make(&app, json!({"rate_limits": {"requests_per_minute": 1, "tokens_per_day": 90_000}})).await;
    assert_eq!(app.client_with(&token).generate(MODEL, "one").await.status(), 200);

    let replies = each_dialect(&app, &token).await;

    for reply in &replies {
        assert_eq!(reply.status(), 429, "{}", reply.text());
        assert!(reply.text().contains("1 requests per minute"), "{}", reply.text());
        let wait: u64 = reply.header("retry-after").expect("a time").parse().expect("seconds");
        assert!((55..=61).contains(&wait), "{wait}");
    }
    let [openai, gemini, anthropic, passed] = &replies;
    for openai in [openai, passed] {
        assert_eq!(openai.json()["error"]["code"], "rate_limit_exceeded");
        assert_eq!(openai.json()["error"]["type"], "requests");
        assert_eq!(openai.header("x-ratelimit-limit-requests"), Some("1"));
        assert_eq!(openai.header("x-ratelimit-remaining-requests"), Some("0"));
        let reset = openai.header("x-ratelimit-reset-requests").expect("a reset");
        assert!(["59s", "1m0s", "1m1s"].contains(&reset), "{reset}");
    }
    assert_eq!(gemini.json()["error"]["status"], "RESOURCE_EXHAUSTED");
    assert!(gemini.text().contains("RetryInfo"), "{}", gemini.text());
    assert_eq!(anthropic.json()["error"]["type"], "rate_limit_error");
    assert_eq!(anthropic.header("anthropic-ratelimit-requests-remaining"), Some("0"));
    let reset = anthropic.header("anthropic-ratelimit-requests-reset").expect("a reset");
    assert!(reset.ends_with('Z') && reset.contains('T'), "{reset}");
    assert_eq!(anthropic.header("anthropic-ratelimit-tokens-limit"), Some("90000"));
    // Refused requests reach nobody, count for nothing, and are in the log.
    assert_eq!(app.upstream.requests().len(), 1);
    assert_eq!(view(&app, &id).await["usage"][0]["used"], 1);
    let row = app.log_of(gemini).await;
    assert_eq!((row.status, row.error.as_deref()), (429, Some("token_limit")));
    assert_eq!(app.client().generate(MODEL, "another token").await.status(), 200);
}

#[actix_web::test]
async fn answers_tell_what_is_left_and_their_bodies_stay_as_they_came() {
    let app = app(&[]).await;
    let body = r#"{ "candidates":[{"content":{"parts":[{"text":"hi"}],"role":"model"},"finishReason":"STOP"}], "usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":30,"totalTokenCount":40}, "odd" : 1 }"#;
    app.upstream.on("k1").reply_body(200, "application/json", body);
    let (token, id) =
        make(&app, json!({"rate_limits": {"requests_per_day": 5, "tokens_per_minute": 1000}})).await;
    let free = app.client().generate(MODEL, "hello").await;
    assert_eq!((free.text(), free.header("x-ratelimit-limit-requests")), (body, None));

    let limited = app.client_with(&token).generate(MODEL, "hello").await;

    assert_eq!(limited.text(), body);
    assert_eq!(limited.header("x-ratelimit-remaining-requests"), Some("4"));
    assert_eq!(limited.header("x-ratelimit-limit-tokens"), Some("1000"));
    let reset = limited.header("x-ratelimit-reset-requests").expect("a reset");
    assert!(reset.ends_with('s'), "{reset}");
    let tokens = view(&app, &id).await["usage"][0].clone();
    assert_eq!((&tokens["limit"], &tokens["used"]), (&json!("tokens_per_minute"), &json!(40)));
    let again = app.client_with(&token).generate(MODEL, "hello").await;
    assert_eq!(again.header("x-ratelimit-remaining-requests"), Some("3"));
}

#[actix_web::test]
async fn a_request_that_is_handed_on_within_the_gateway_counts_once() {
    // What is asked of Google's layer is let in there, and again where the gateway converts it.
    let app = app(&[("OPENAI_PASSTHROUGH", "convert")]).await;
    let chat = json!({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]});
    let input = json!({"model": MODEL, "input": ["hello"]});
    for (path, body) in [("chat/completions", chat), ("embeddings", input)] {
        let limits = json!({"requests_per_minute": 1, "tokens_per_minute": 100_000});
        let (token, id) = make(&app, json!({ "rate_limits": limits })).await;
        let client = app.client_with(&token);
        let ask = async || client.post(&format!("/openai/v1/{path}")).json(&body).send().await;

        let first = ask().await;

        assert_eq!(first.status(), 200, "{path}: {}", first.text());
        assert_eq!(first.header("x-ratelimit-remaining-requests"), Some("0"), "{path}");
        let usage = view(&app, &id).await["usage"].clone();
        assert_eq!(
            (&usage[0]["limit"], &usage[0]["used"]),
            (&json!("requests_per_minute"), &json!(1)),
            "{usage}"
        );
        assert!(usage[1]["used"].as_u64().is_some_and(|tokens| tokens < 50), "{usage}");
        assert_eq!(ask().await.status(), 429, "{path}");
        assert_eq!(view(&app, &id).await["usage"][0]["used"], 1, "what is refused is not counted");
    }
}

#[actix_web::test]
async fn limits_hold_over_all_workers() {
    let app = app(&[("WORKERS", "3")]).await;
    let (token, id) = make(&app, json!({"rate_limits": {"requests_per_minute": 7}})).await;
    let client = app.client_with(&token);

    let replies = futures_util::future::join_all((0..20).map(|_| client.generate(MODEL, "hello"))).await;

    let served = replies.iter().filter(|reply| reply.status() == 200).count();
    let refused = replies.iter().filter(|reply| reply.status() == 429).count();
    assert_eq!((served, refused), (7, 13));
    assert_eq!(view(&app, &id).await["usage"][0]["used"], 7);
}

#[actix_web::test]
async fn a_client_that_hangs_up_makes_room_for_the_next() {
    let app = app(&[("WORKERS", "2")]).await;
    app.upstream.on("k1").stream().event(&event("hello")).hang();
    let (token, id) = make(&app, json!({"max_concurrent": 1})).await;
    let client = app.client_with(&token);
    let mut open = client.stream(MODEL, "hello").await;
    open.until("hello").await;
    let refused = client.generate(MODEL, "another").await;
    assert_eq!(refused.status(), 429);
    assert!(refused.text().contains("1 requests at the same time"), "{}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("1"));

    drop(open);

    app.upstream.on("k1").answers_as_usual();
    eventually("there is room", async || {
        (client.generate(MODEL, "another").await.status() == 200).then_some(())
    })
    .await;
    assert_eq!(view(&app, &id).await["in_flight"], 0);
}

#[actix_web::test]
async fn what_was_used_outlives_the_process() {
    let app = app(&[]).await;
    let (token, id) =
        make(&app, json!({"rate_limits": {"requests_per_month": 3, "tokens_per_day": 100_000}})).await;
    for _ in 0..2 {
        assert_eq!(app.client_with(&token).generate(MODEL, "hello").await.status(), 200);
    }
    let before = view(&app, &id).await;

    let app = app.stop().await.start().await;

    let after = view(&app, &id).await;
    assert_eq!(before["usage"][0]["used"], after["usage"][0]["used"]);
    assert_eq!(
        (&after["usage"][1]["used"], &after["last_used_at_ms"]),
        (&json!(2), &before["last_used_at_ms"])
    );
    assert_eq!(app.client_with(&token).generate(MODEL, "three").await.status(), 200);
    let refused = app.client_with(&token).chat(MODEL, "four").await;
    assert_eq!(refused.status(), 429);
    assert!(refused.text().contains("3 requests per month"), "{}", refused.text());
    assert_eq!(refused.header("x-should-retry"), Some("false"));
}

#[actix_web::test]
async fn a_token_serves_its_models_only() {
    let app = app(&[]).await;
    let (token, _) = make(&app, json!({"models": ["gemini-*-pro"]})).await;

    for reply in each_dialect(&app, &token).await {
        assert_eq!(reply.status(), 403, "{}", reply.text());
        assert!(reply.text().contains(MODEL), "{}", reply.text());
    }
    let client = app.client_with(&token);
    let twice = r#"{"model":"gemini-2.5-pro","model":"gemini-2.5-flash","messages":[]}"#;
    let smuggled = client.post("/openai/v1/chat/completions").header("content-type", "application/json");
    assert_eq!(smuggled.body(twice).send().await.status(), 403);
    for (path, body) in [
        ("/v1beta/interactions", json!({"model": MODEL, "input": "hello"})),
        ("/v1beta/cachedContents", json!({"model": format!("models/{MODEL}"), "contents": []})),
    ] {
        assert_eq!(client.post(path).json(&body).send().await.status(), 403, "{path}");
    }
    assert_eq!(app.upstream.requests().len(), 0);
    let allowed = client.post("/v1beta/models/gemini-2.5-pro:generateContent").json(&prompt("hello"));
    assert_eq!(allowed.send().await.status(), 200);
}

#[actix_web::test]
async fn a_token_comes_from_its_networks_only() {
    let app = app(&[]).await;
    let (token, id) = make(&app, json!({"networks": ["10.0.0.0/8"]})).await;
    let forged = async |from: &str| {
        let request = app.client_with(&token).post(&format!("/v1beta/models/{MODEL}:generateContent"));
        request.header("x-forwarded-for", from).json(&prompt("hello")).send().await
    };

    for reply in each_dialect(&app, &token).await {
        assert_eq!(reply.status(), 403, "{}", reply.text());
        assert!(reply.text().contains("address"), "{}", reply.text());
    }
    assert_eq!(forged("10.1.1.1").await.status(), 403, "nobody but trusted proxies is believed");
    change(&app, &id, json!({"networks": ["127.0.0.1", "::1"]})).await;
    assert_eq!(app.client_with(&token).generate(MODEL, "hello").await.status(), 200);
}

#[actix_web::test]
async fn behind_a_trusted_proxy_the_clients_own_address_counts() {
    let app = app(&[("TRUSTED_PROXIES", r#"["127.0.0.1"]"#)]).await;
    let (token, _) = make(&app, json!({"networks": ["10.0.0.0/8"]})).await;
    let from = async |address: &str| {
        let request = app.client_with(&token).post(&format!("/v1beta/models/{MODEL}:generateContent"));
        request.header("x-forwarded-for", address).json(&prompt("hello")).send().await.status()
    };

    assert_eq!(from("10.1.1.1").await, 200);
    assert_eq!(from("11.1.1.1").await, 403);
    assert_eq!(from("10.1.1.1, 11.1.1.1").await, 403, "what the client wrote itself does not count");
}

#[actix_web::test]
async fn what_one_token_made_is_no_other_tokens() {
    let app = app(&[]).await;
    let ((mine, _), (other, _)) = (make(&app, json!({})).await, make(&app, json!({})).await);
    let made = app.client_with(&mine).post("/v1/responses").json(&json!({"model": MODEL, "input": "hello"}));
    let made = made.send().await;
    assert_eq!(made.status(), 200, "{}", made.text());
    let path = format!("/v1/responses/{}", made.json()["id"].as_str().expect("an id"));

    assert_eq!(app.client_with(&other).get(&path).send().await.status(), 404);
    assert_eq!(app.client().get(&path).send().await.status(), 404);
    assert_eq!(app.client_with(&mine).get(&path).send().await.status(), 200);
    let app = app.stop().await.start().await;
    assert_eq!(app.client_with(&mine).get(&path).send().await.status(), 200);
}
