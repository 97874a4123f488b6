//! Login, logout, and what a session may not be used for.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{ADMIN, app};
use crate::harness::{Answer, TOKEN, TestApp, secs};

const SESSION: &str = "/api/admin/session";
const READ: &str = "/api/admin/stats/attention";

/// A browser that has logged in.
struct Browser {
    cookie: String,
    csrf: String,
}

async fn try_token(app: &TestApp, token: &str) -> Answer {
    app.client().anonymous().post(SESSION).json(&json!({ "token": token })).send().await
}

impl Browser {
    async fn log_in(app: &TestApp) -> Self {
        let reply = try_token(app, ADMIN).await;
        assert_eq!(reply.status(), 200, "{}", reply.text());
        let cookie =
            reply.header("set-cookie").expect("a cookie").split(';').next().expect("its value").to_owned();
        let csrf = reply.json()["csrf_token"].as_str().expect("a token").to_owned();
        Self { cookie, csrf }
    }

    async fn ask(
        &self,
        app: &TestApp,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Answer {
        let request = app.client().anonymous().request(method, path).header("cookie", &self.cookie);
        headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send().await
    }
}

fn code(reply: &Answer) -> (u16, Value) {
    (reply.status(), reply.json()["error"]["code"].clone())
}

#[actix_web::test]
async fn the_admin_token_opens_a_session_and_logout_ends_it() {
    let app = app(&["k1"], &[("AUTH_TOKEN", ADMIN), ("NODE_NAME", "north")]).await;
    let reply = try_token(&app, ADMIN).await;

    let told = reply.json();
    assert_eq!(
        (reply.status(), &told["node"], &told["version"]),
        (200, &json!("north"), &json!(env!("CARGO_PKG_VERSION")))
    );
    assert!(told["expires_at_ms"].as_i64().is_some_and(|at| at > 1_790_000_000_000), "{told}");
    let cookie = reply.header("set-cookie").expect("a cookie");
    for part in ["gb_session=", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=3600"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !reply.text().contains(ADMIN));

    let browser = Browser::log_in(&app).await;
    assert_eq!(browser.ask(&app, Method::GET, READ, &[]).await.status(), 200);
    let found = browser.ask(&app, Method::GET, SESSION, &[]).await;
    assert_eq!((found.status(), &found.json()["csrf_token"]), (200, &json!(browser.csrf)));
    let mut events =
        app.client().anonymous().get("/api/admin/events").header("cookie", &browser.cookie).open().await;
    events.until("event: figures").await;
    let gone = browser.ask(&app, Method::DELETE, SESSION, &[("x-csrf-token", &browser.csrf)]).await;
    assert_eq!(gone.status(), 204);
    let over = tokio::time::timeout(secs(10), events.rest()).await;
    assert!(over.is_ok(), "the page hears no more");
    assert_eq!(code(&browser.ask(&app, Method::GET, READ, &[]).await), (401, json!("not_admin")));
}

#[actix_web::test]
async fn a_write_needs_the_csrf_token_of_its_own_session() {
    let app = app(&["k1"], &[("AUTH_TOKEN", ADMIN)]).await;
    let (mine, others) = (Browser::log_in(&app).await, Browser::log_in(&app).await);

    for headers in [&[][..], &[("x-csrf-token", others.csrf.as_str())], &[("x-csrf-token", "")]] {
        let reply = mine.ask(&app, Method::DELETE, SESSION, headers).await;
        assert_eq!(code(&reply), (403, json!("csrf")));
    }
    assert_eq!(mine.ask(&app, Method::GET, READ, &[]).await.status(), 200, "it is still open");
}

#[actix_web::test]
async fn pages_of_other_origins_get_nothing() {
    let app = app(&["k1"], &[("AUTH_TOKEN", ADMIN)]).await;
    let browser = Browser::log_in(&app).await;

    for headers in [[("origin", "https://evil.example")], [("sec-fetch-site", "cross-site")]] {
        let reply = browser.ask(&app, Method::GET, READ, &headers).await;
        assert_eq!(code(&reply), (403, json!("cross_origin")));
        assert_eq!(reply.header("access-control-allow-origin"), None);
        let (name, value) = headers[0];
        let login = app.client().anonymous().post(SESSION).header(name, value).json(&json!({"token": ADMIN}));
        assert_eq!(code(&login.send().await), (403, json!("cross_origin")));
    }
    let preflight = app.client().anonymous().request(Method::OPTIONS, READ);
    let preflight =
        preflight.header("origin", "https://evil.example").header("access-control-request-method", "GET");
    assert_eq!(preflight.send().await.header("access-control-allow-origin"), None);
    let own = format!("http://{}", app.address());
    assert_eq!(browser.ask(&app, Method::GET, READ, &[("origin", &own)]).await.status(), 200);
    let clients = app.client().get("/v1beta/models").header("origin", "https://chat.example").send().await;
    assert_eq!(clients.header("access-control-allow-origin"), Some("*"), "clients are as free as before");
}

#[actix_web::test]
async fn neither_a_client_token_nor_a_made_up_cookie_opens_anything() {
    let app = app(&["k1"], &[("AUTH_TOKEN", ADMIN)]).await;

    assert_eq!(code(&try_token(&app, TOKEN).await), (401, json!("not_admin")));
    let made_up = Browser { cookie: "gb_session=AAAA".to_owned(), csrf: String::new() };
    assert_eq!(code(&made_up.ask(&app, Method::GET, READ, &[]).await), (401, json!("not_admin")));
    for (body, status) in
        [(json!({}), 422), (json!({"token": 1}), 422), (json!({"token": ADMIN, "x": 1}), 422)]
    {
        assert_eq!(
            app.client().anonymous().post(SESSION).json(&body).send().await.status(),
            status,
            "{body}"
        );
    }
    let broken = app.client().anonymous().post(SESSION).header("content-type", "application/json").body("{");
    assert_eq!(code(&broken.send().await), (400, json!("invalid_request")));
    let form = app.client().anonymous().post(SESSION).header("content-type", "text/plain").body("{}");
    assert_eq!(form.send().await.status(), 415);
}

#[actix_web::test]
async fn an_address_that_guesses_has_to_wait_and_others_do_not() {
    let settings = [("AUTH_TOKEN", ADMIN), ("TRUSTED_PROXIES", "127.0.0.1")];
    let app = app(&["k1"], &settings).await;
    let guess = async |address: &str, token: &str| {
        let request = app.client().anonymous().post(SESSION).header("x-forwarded-for", address);
        request.json(&json!({ "token": token })).send().await
    };
    for n in 0..10 {
        assert_eq!(guess("203.0.113.7", &format!("guess-{n}")).await.status(), 401);
    }

    let refused = guess("203.0.113.7", ADMIN).await;

    assert_eq!(code(&refused), (429, json!("too_many_attempts")));
    assert!(
        refused.header("retry-after").is_some_and(|seconds| (1..=10).contains(&seconds.parse().unwrap_or(0)))
    );
    let with_token = app.client_with(ADMIN).get(READ).header("x-forwarded-for", "203.0.113.7").send().await;
    assert_eq!(with_token.status(), 429, "the header is no way around");
    assert_eq!(guess("203.0.113.8", ADMIN).await.status(), 200);
}

#[actix_web::test]
async fn behind_tls_the_cookie_never_goes_without_it() {
    let app = app(&["k1"], &[("AUTH_TOKEN", ADMIN), ("TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let request = app.client().anonymous().post(SESSION).header("x-forwarded-proto", "https");

    let reply = request.json(&json!({"token": ADMIN})).send().await;

    assert!(reply.header("set-cookie").is_some_and(|cookie| cookie.contains("; Secure")));
}
