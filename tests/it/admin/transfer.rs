//! The whole configuration as a document: what is in it, and a second gateway that is made of it.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::ADMIN;
use crate::harness::{Answer, MODEL, TestApp};

const FIRST: &str = "AIzaSyA-1234567890abcdefghijklmnopqrst1";
const SECOND: &str = "AIzaSyA-1234567890abcdefghijklmnopq0002";

async fn app(keys: &[&str]) -> TestApp {
    TestApp::builder().keys(keys.iter().copied()).setting("AUTH_TOKEN", ADMIN).start().await
}

async fn post(app: &TestApp, path: &str, body: &Value) -> Answer {
    app.client_with(ADMIN).post(&format!("/api/admin/{path}")).json(body).send().await
}

async fn get(app: &TestApp, path: &str) -> Value {
    app.client_with(ADMIN).get(&format!("/api/admin/{path}")).send().await.json()
}

/// A gateway with a key of the dashboard that is described and disabled, and a client token with limits, which is answered.
async fn described() -> (TestApp, String) {
    let app = app(&[FIRST]).await;
    let new =
        json!({"keys": [SECOND], "label": "second", "tags": ["paid"], "project": "alpha", "tier": "tier1"});
    let added = post(&app, "keys", &new).await.json();
    let id = &added["items"][0]["id"];
    let request = app.client_with(ADMIN).request(Method::PATCH, &format!("/api/admin/keys/{id}"));
    let changed = request.json(&json!({"state": "disabled", "weight": 7})).send().await;
    assert_eq!(changed.status(), 200, "{}", changed.text());
    let token = json!({"name": "Research", "rate_limits": {"requests_per_day": 1}, "note": "till May"});
    let token = post(&app, "tokens", &token).await.json()["token"].as_str().expect("a token").to_owned();
    (app, token)
}

async fn export(app: &TestApp, wishes: Value) -> Answer {
    let exported = post(app, "settings/export", &wishes).await;
    assert_eq!(exported.status(), 200, "{}", exported.text());
    exported
}

async fn import(app: &TestApp, document: &Value, dry_run: bool) -> Answer {
    post(app, "settings/import", &json!({"document": document, "dry_run": dry_run})).await
}

/// Added, changed, unchanged and refused.
fn counts(preview: &Value) -> [u64; 4] {
    ["added", "changed", "unchanged", "refused"].map(|name| preview[name].as_u64().expect("a count"))
}

#[actix_web::test]
async fn a_second_gateway_is_built_from_the_document_of_the_first() {
    let (from, token) = described().await;
    let document = export(&from, json!({"secrets": true, "tokens": true})).await.json();
    assert!(!document.to_string().contains(&token), "a client's token is nowhere");
    let to = app(&["AIzaSyA-1234567890abcdefghijklmnopqrst9"]).await;
    let mut document = document;
    // Each has its own.
    for own in ["API_KEYS", "BASE_URL", "AUTH_TOKEN", "WORKERS", "PORT"] {
        document["settings"].as_object_mut().expect("values").remove(own);
    }

    let told = import(&to, &document, true).await.json();
    assert_eq!((counts(&told["keys"]), counts(&told["tokens"])), ([2, 0, 0, 0], [1, 0, 1, 0]), "{told}");
    assert_eq!(told["keys"]["items"][1], json!({"name": "AIza…0002", "status": "added"}));
    assert_eq!(get(&to, "keys").await["total"], 1, "it was only told");
    assert_eq!(to.client_with(&token).generate(MODEL, "hello").await.status(), 400, "nobody knows it");

    let done = import(&to, &document, false).await;
    assert_eq!(done.status(), 200, "{}", done.text());

    let keys = get(&to, "keys").await;
    let second = keys["items"].as_array().expect("a list").iter().find(|key| key["masked"] == "AIza…0002");
    let second = second.unwrap_or_else(|| panic!("{keys}"));
    for (field, value) in [
        ("label", json!("second")),
        ("tags", json!(["paid"])),
        ("project", json!("alpha")),
        ("tier", json!("tier1")),
        ("weight", json!(7)),
        ("state", json!("disabled")),
    ] {
        assert_eq!(second[field], value, "{field}");
    }
    let client = to.client_with(&token);
    let statuses =
        (client.generate(MODEL, "one").await.status(), client.generate(MODEL, "two").await.status());
    assert_eq!(statuses, (200, 429), "it has its limits");
    let again = import(&to, &document, false).await.json();
    assert_eq!((counts(&again["keys"]), counts(&again["tokens"])), ([0, 0, 2, 0], [0, 0, 2, 0]));
    assert_eq!(again["changed"], json!([]));
    // And all of it outlives a restart.
    let to = to.stop().await.start().await;
    let keys = get(&to, "keys?state=disabled").await;
    assert_eq!((&keys["total"], &keys["items"][0]["masked"]), (&json!(1), &json!("AIza…0002")));
}

#[actix_web::test]
async fn without_secrets_none_is_told_and_the_same_gateway_can_be_put_back() {
    let (app, token) = described().await;
    let exported = export(&app, json!({})).await;
    for secret in [FIRST, SECOND, ADMIN, &token] {
        assert!(!exported.text().contains(secret), "{}", exported.text());
    }
    let document = exported.json();
    let id = app.key_id(SECOND).await;
    let request = app.client_with(ADMIN).request(Method::PATCH, &format!("/api/admin/keys/{id}"));
    let change = json!({"state": "active", "label": null, "weight": 1});
    assert_eq!(request.json(&change).send().await.status(), 200);

    let told = import(&app, &document, true).await.json();
    assert_eq!((counts(&told["keys"]), counts(&told["tokens"])), ([0, 1, 1, 0], [0, 0, 2, 0]), "{told}");
    assert_eq!(import(&app, &document, false).await.status(), 200);

    let key = get(&app, &format!("keys/{id}")).await;
    assert_eq!(
        (&key["label"], &key["weight"], &key["state"]),
        (&json!("second"), &json!(7), &json!("disabled"))
    );
    let part = export(&app, json!({"keys": false, "tokens": false})).await.json();
    assert!(part["keys"].is_null() && part["tokens"].is_null() && part["settings"].is_object(), "{part}");
}

#[actix_web::test]
async fn where_one_thing_is_refused_nothing_is_done() {
    let (from, _) = described().await;
    let to = app(&[FIRST]).await;
    let mut document = export(&from, json!({})).await.json();
    document["settings"] = json!({"MAX_FAILURES": 9});
    let told = import(&to, &document, true).await.json();
    assert_eq!((counts(&told["keys"]), counts(&told["tokens"])), ([0, 0, 1, 1], [1, 0, 1, 0]), "{told}");
    let reason = "is not here, and the document does not hold its secret";
    assert_eq!(told["keys"]["items"], json!([{"name": "AIza…0002", "status": "refused", "reason": reason}]));

    let refused = import(&to, &document, false).await;

    assert_eq!(refused.status(), 422);
    let fields = refused.json()["error"]["fields"].clone();
    assert_eq!(fields, json!({"keys": format!("AIza…0002 {reason}")}));
    let wrong = json!({"format": "gemini-balance settings", "settings": {"MAX_FAILURES": 1000}, "tokens": document["tokens"]});
    let wrong = import(&to, &wrong, false).await;
    assert_eq!(
        (wrong.status(), wrong.json()["error"]["fields"]["tokens"].clone()),
        (422, {
            json!("allowed-1 has a hash that was made under another ENCRYPTION_KEY; and 1 more are refused")
        })
    );
    document.as_object_mut().expect("fields").remove("keys");
    document["settings"] = json!({"MAX_FAILURES": 1000});
    assert_eq!(import(&to, &document, false).await.status(), 422);
    assert_eq!(get(&to, "tokens").await["total"], 2, "auth and allowed-1");
    let settings = get(&to, "settings").await;
    let items = settings["items"].as_array().expect("a list");
    assert_eq!(items.iter().find(|item| item["name"] == "MAX_FAILURES").expect("it is one")["value"], 3);
}
