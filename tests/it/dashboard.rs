//! The dashboard's pages and files as a browser asks for them.

use actix_web::http::Method;

use crate::harness::{Answer, TestApp};

const PAGE: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

/// The path of the script that a page begins with; `None` when the binary was built without the dashboard.
fn script_of(page: &Answer) -> Option<String> {
    let from = page.text().find("/assets/")?;
    page.text().get(from..)?.split('"').next().map(ToOwned::to_owned)
}

#[actix_web::test]
async fn every_page_is_for_browsers_under_a_strict_policy() {
    let app = TestApp::with_keys(["k1"]).await;
    let client = app.client().anonymous();

    for path in
        ["/", "/keys", "/keys_status", "/logs", "/config", "/login", "/usage", "/docs", "/keys?state=invalid"]
    {
        let page = client.get(path).header("accept", PAGE).send().await;
        assert_eq!(page.status(), 200, "{path}");
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        assert_eq!(page.header("cache-control"), Some("no-cache"), "{path}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"), "{path}");
        let policy = page.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.contains("script-src 'self'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe") && !page.text().contains("<script>"), "{path}: {policy}");
    }
}

#[actix_web::test]
async fn a_path_that_is_no_page_and_a_client_that_is_no_browser_get_an_error_in_their_dialect() {
    let app = TestApp::with_keys(["k1"]).await;
    let client = app.client().anonymous();

    for request in
        [client.get("/nowhere").header("accept", PAGE), client.get("/keys").header("accept", "*/*")]
    {
        let refused = request.send().await;
        assert_eq!(refused.status(), 404);
        assert!(refused.json()["error"]["message"].is_string(), "{}", refused.text());
    }
    let outside = client.get("/assets/..%2f..%2fCargo.toml").send().await;
    assert_eq!(outside.status(), 404);
}

#[actix_web::test]
async fn files_are_kept_for_ever_and_pages_are_asked_for_anew() {
    let app = TestApp::with_keys(["k1"]).await;
    let client = app.client().anonymous();
    let page = client.get("/").header("accept", PAGE).send().await;
    let Some(script) = script_of(&page) else {
        assert!(page.text().contains("GEMINI_BALANCE_SKIP_WEB"), "{}", page.text());
        return;
    };

    let etag = page.header("etag").expect("a page has a tag");
    let again = client.get("/").header("accept", PAGE).header("if-none-match", etag).send().await;
    assert_eq!((again.status(), again.text()), (304, ""));

    let file = client.get(&script).send().await;
    assert_eq!(file.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(file.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(file.header("content-encoding"), None);

    let head = client.request(Method::HEAD, &script).header("accept-encoding", "gzip, br").send().await;
    assert_eq!((head.status(), head.header("content-encoding")), (200, Some("br")));
    let length =
        |answer: &Answer| answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
    assert!(length(&head) < length(&file), "{:?} {:?}", length(&head), length(&file));
}
