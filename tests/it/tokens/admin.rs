//! What the administrator does with tokens.

use actix_web::http::Method;
use gemini_balance::db::client_tokens;
use serde_json::{Value, json};

use super::{ADMIN, app, ask, change, each_dialect, make, view};
use crate::harness::{Answer, MODEL, TOKEN, eventually, ms};

#[actix_web::test]
async fn a_token_is_told_once_and_opens_the_client_api_at_once() {
    let app = app(&[("WORKERS", "2")]).await;

    let (token, id) = make(&app, json!({"name": "team <b>&\"</b>", "note": "=1+1"})).await;

    for reply in each_dialect(&app, &token).await {
        assert_eq!(reply.status(), 200, "{}", reply.text());
    }
    let shown = view(&app, &id).await;
    assert_eq!((&shown["name"], &shown["note"]), (&json!("team <b>&\"</b>"), &json!("=1+1")));
    assert_eq!((&shown["origin"], &shown["state"]), (&json!("admin"), &json!("active")));
    assert!(shown["last_used_at_ms"].as_i64().is_some_and(|at| at > 1_790_000_000_000), "{shown}");
    let prefix = shown["prefix"].as_str().expect("a prefix").trim_end_matches('…').to_owned();
    assert!(token.starts_with(&prefix) && prefix.len() < 12, "{shown}");
    let list = ask(&app, Method::GET, "tokens", None).await;
    assert!(!list.text().contains(&token), "{}", list.text());
    assert_eq!(list.header("content-type"), Some("application/json"));
    let row =
        app.logs("it is logged", |rows| rows.iter().any(|row| row.token_id.as_deref() == Some(&*id))).await;
    assert!(!format!("{row:?}").contains(&token));
    // It opens nothing of the administrator's.
    let refused = app.client_with(&token).get("/api/admin/tokens").send().await;
    assert_eq!(refused.status(), 401);
}

#[actix_web::test]
async fn tokens_of_the_configuration_are_shown_limited_and_not_deleted() {
    let app = app(&[]).await;
    let list = ask(&app, Method::GET, "tokens", None).await.json();
    let ids: Vec<_> =
        list["items"].as_array().expect("a list").iter().map(|item| item["id"].clone()).collect();
    assert_eq!((ids.len(), &list["total"]), (2, &json!(2)), "{list}");
    assert!(ids.contains(&json!("allowed-1")) && ids.contains(&json!("auth")), "{list}");
    assert!(!list.to_string().contains(TOKEN) && !list.to_string().contains(ADMIN), "{list}");

    for path in ["tokens/allowed-1", "tokens/auth"] {
        let refused = ask(&app, Method::DELETE, path, None).await;
        assert_eq!((refused.status(), &refused.json()["error"]["code"]), (409, &json!("conflict")));
        let refused = ask(&app, Method::POST, &format!("{path}/rotate"), Some(&json!({}))).await;
        assert_eq!(refused.status(), 409);
    }
    let changed = change(&app, "allowed-1", json!({"rate_limits": {"requests_per_day": 1}})).await;
    assert_eq!(changed.status(), 200, "{}", changed.text());
    assert_eq!(app.client().generate(MODEL, "one").await.status(), 200);
    assert_eq!(app.client().generate(MODEL, "two").await.status(), 429);

    let app = app.stop().await.start().await;
    assert_eq!(app.client().generate(MODEL, "three").await.status(), 429, "the limit outlives a restart");
    assert_eq!(app.client_with(ADMIN).generate(MODEL, "four").await.status(), 200);
}

#[actix_web::test]
async fn a_token_that_is_disabled_expired_or_gone_lets_nobody_in() {
    let app = app(&[("WORKERS", "2")]).await;
    let (token, id) = make(&app, json!({})).await;

    for (changes, told) in [
        (json!({"enabled": false}), "disabled"),
        (json!({"enabled": true, "expires_at_ms": 1_000}), "expired"),
    ] {
        assert_eq!(change(&app, &id, changes).await.status(), 200);
        let replies = each_dialect(&app, &token).await;
        let statuses = replies.each_ref().map(Answer::status);
        assert_eq!(statuses, [401, 400, 401, 401], "Gemini's own server knows no 401 here");
        for reply in replies {
            assert!(reply.text().contains(told), "{}", reply.text());
        }
    }
    change(&app, &id, json!({"expires_at_ms": null})).await;
    assert_eq!(app.client_with(&token).generate(MODEL, "hello").await.status(), 200);
    assert_eq!(ask(&app, Method::DELETE, &format!("tokens/{id}"), None).await.status(), 204);
    assert_eq!(app.client_with(&token).chat(MODEL, "hello").await.status(), 401);
    let gone = ask(&app, Method::GET, &format!("tokens/{id}"), None).await;
    assert_eq!((gone.status(), &gone.json()["error"]["code"]), (404, &json!("not_found")));
}

#[actix_web::test]
async fn a_token_that_is_replaced_is_accepted_as_long_as_was_said() {
    let app = app(&[]).await;
    let (old, id) = make(&app, json!({"rate_limits": {"requests_per_day": 4}})).await;
    app.client_with(&old).generate(MODEL, "one").await;

    let rotated =
        ask(&app, Method::POST, &format!("tokens/{id}/rotate"), Some(&json!({"grace_seconds": 2}))).await;

    assert_eq!(rotated.status(), 200, "{}", rotated.text());
    let new = rotated.json()["token"].as_str().expect("a token").to_owned();
    assert!(rotated.json()["old_valid_until_ms"].as_i64().is_some());
    for token in [&old, &new] {
        assert_eq!(app.client_with(token).generate(MODEL, "hello").await.status(), 200);
    }
    eventually("the old one is refused", async || {
        tokio::time::sleep(ms(200)).await;
        let reply = app.client_with(&old).chat(MODEL, "hello").await;
        (reply.status() == 401).then_some(())
    })
    .await;
    let usage = view(&app, &id).await["usage"][0].clone();
    assert!(usage["used"].as_i64().is_some_and(|used| used >= 3), "both count together: {usage}");
    let at_once = ask(&app, Method::POST, &format!("tokens/{id}/rotate"), Some(&json!({}))).await;
    assert_eq!(at_once.status(), 200);
    assert_eq!(app.client_with(&new).chat(MODEL, "hello").await.status(), 401);
}

#[actix_web::test]
async fn a_token_replaced_again_within_its_grace_is_still_accepted() {
    let app = app(&[]).await;
    let (in_use, id) = make(&app, json!({})).await;
    let rotate = async || {
        let path = format!("tokens/{id}/rotate");
        let rotated = ask(&app, Method::POST, &path, Some(&json!({"grace_seconds": 600}))).await;
        rotated.json()["token"].as_str().expect("a token").to_owned()
    };

    let lost = rotate().await;
    let new = rotate().await;

    for (token, status) in [(&in_use, 200), (&lost, 401), (&new, 200)] {
        assert_eq!(app.client_with(token).chat(MODEL, "hello").await.status(), status);
    }
}

#[actix_web::test]
async fn a_token_outlives_the_process() {
    let app = app(&[]).await;
    let (token, id) = make(&app, json!({"models": ["gemini-2.5-*"], "time_zone": "Europe/Berlin"})).await;

    let app = app.stop().await.start().await;

    assert_eq!(app.client_with(&token).generate(MODEL, "hello").await.status(), 200);
    let shown = view(&app, &id).await;
    assert_eq!((&shown["models"], &shown["time_zone"]), (&json!(["gemini-2.5-*"]), &json!("Europe/Berlin")));
}

#[actix_web::test]
async fn the_same_request_makes_one_token_and_old_versions_change_nothing() {
    let app = app(&[]).await;
    let post = |body: Value| {
        let request = app.client_with(ADMIN).post("/api/admin/tokens").json(&body);
        request.header("idempotency-key", "0190-once").send()
    };
    let (first, second) = (post(json!({"name": "a"})).await, post(json!({"name": "a"})).await);
    assert_eq!((first.status(), second.status()), (201, 201));
    assert_eq!(
        (&first.json()["id"], &first.json()["token"]),
        (&second.json()["id"], &second.json()["token"])
    );
    assert_eq!(post(json!({"name": "b"})).await.status(), 422);

    let id = first.json()["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/admin/tokens/{id}");
    let seen = app.client_with(ADMIN).get(&path).send().await;
    let tag = seen.header("etag").expect("a version").to_owned();
    let patch = |tag: &str| {
        let request = app.client_with(ADMIN).request(Method::PATCH, &path);
        request.header("if-match", tag).json(&json!({"note": "mine"})).send()
    };
    assert_eq!(patch(&tag).await.status(), 200);
    assert_eq!(patch(&tag).await.status(), 412, "the second admin saw an older version");
}

#[actix_web::test]
async fn what_makes_no_sense_is_refused_by_its_name() {
    let app = app(&[]).await;
    for (spec, field) in [
        (json!({}), "name"),
        (json!({"name": "x", "rate_limits": {"requests_per_day": 0}}), "rate_limits.requests_per_day"),
        (json!({"name": "x", "time_zone": "Mars/Olympus"}), "time_zone"),
        (json!({"name": "x", "networks": ["10.0.0.0/64"]}), "networks"),
        (json!({"name": "x", "surprise": 1}), "body"),
    ] {
        let refused = ask(&app, Method::POST, "tokens", Some(&spec)).await;
        assert_eq!((refused.status(), &refused.json()["error"]["code"]), (422, &json!("invalid")), "{spec}");
        assert!(refused.json()["error"]["fields"][field].is_string(), "{}", refused.text());
    }
    let unknown = change(&app, "tk-0000", json!({"note": ""})).await;
    assert_eq!(unknown.status(), 404);
}

#[actix_web::test]
async fn lists_are_paged_searched_and_filtered() {
    let app = app(&[]).await;
    for name in ["alpha", "beta", "gamma"] {
        make(&app, json!({"name": name, "enabled": name != "beta"})).await;
    }
    let names = async |query: &str| {
        let list = ask(&app, Method::GET, &format!("tokens?{query}"), None).await.json();
        let items = list["items"].as_array().expect("a list").clone();
        let names: Vec<_> =
            items.iter().map(|item| item["name"].as_str().unwrap_or_default().to_owned()).collect();
        (names, list["next_cursor"].as_str().map(str::to_owned))
    };

    assert_eq!(names("q=ALPH").await.0, ["alpha"]);
    assert_eq!(names("state=disabled").await.0, ["beta"]);
    let (mut all, mut cursor) = (Vec::new(), Some(String::new()));
    while let Some(from) = cursor {
        let (page, next) = names(&format!("limit=2&cursor={from}")).await;
        assert!(page.len() <= 2);
        all.extend(page);
        cursor = next;
    }
    all.sort();
    assert_eq!(all, ["AUTH_TOKEN", "allowed-1", "alpha", "beta", "gamma"]);
    assert_eq!(ask(&app, Method::GET, "tokens?nonsense=1", None).await.status(), 400);
}

#[actix_web::test]
async fn the_playgrounds_token_opens_the_client_api_and_is_listed_nowhere() {
    let app = app(&[("WORKERS", "2")]).await;

    let lent = ask(&app, Method::POST, "playground", None).await;

    assert_eq!(lent.status(), 200, "{}", lent.text());
    let token = lent.json()["token"].as_str().expect("a token").to_owned();
    for reply in each_dialect(&app, &token).await {
        assert_eq!(reply.status(), 200, "{}", reply.text());
    }
    assert_eq!(ask(&app, Method::GET, "tokens", None).await.json()["total"], 2);
}

#[actix_web::test]
async fn a_holder_sees_its_own_use_and_nothing_of_others() {
    let app = app(&[]).await;
    let (mine, _) =
        make(&app, json!({"name": "mine", "note": "costly", "rate_limits": {"requests_per_day": 9}})).await;
    let (other, other_id) = make(&app, json!({"name": "other"})).await;
    for token in [&mine, &other, &other] {
        app.client_with(token).generate(MODEL, "hello").await;
    }

    let reply = app.client_with(&mine).get("/api/usage").send().await;

    assert_eq!(reply.status(), 200, "{}", reply.text());
    let token = &reply.json()["token"];
    assert_eq!((&token["name"], &token["usage"][0]["used"]), (&json!("mine"), &json!(1)));
    for hidden in ["costly", "other", &*other_id, &*mine, &*other, "allowed-1"] {
        assert!(!reply.text().contains(hidden), "{hidden}: {}", reply.text());
    }
    let wrong = app.client_with("sk-nobody").get("/api/usage").send().await;
    assert_eq!((wrong.status(), &wrong.json()["error"]["code"]), (401, &json!("unauthenticated")));
}

#[actix_web::test]
async fn what_another_process_changes_is_taken_in_within_seconds() {
    let app = app(&[]).await;
    let (token, id) = make(&app, json!({})).await;

    app.write(move |conn| {
        client_tokens::delete_token(conn, &id)?;
        client_tokens::note_change(conn)
    })
    .await;

    eventually("it is refused", async || {
        tokio::time::sleep(ms(100)).await;
        (app.client_with(&token).chat(MODEL, "hello").await.status() == 401).then_some(())
    })
    .await;
    assert_eq!(app.client().chat(MODEL, "hello").await.status(), 200);
}
