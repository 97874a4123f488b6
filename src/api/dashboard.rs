//! The dashboard's pages: one document for all of them, as its script decides what to show.

use actix_web::{
    HttpRequest, HttpResponse, Resource, Route,
    guard::{self, GuardContext, fn_guard},
    http::header::{ACCEPT, CACHE_CONTROL, HeaderMap, X_CONTENT_TYPE_OPTIONS},
    web::{self, ServiceConfig},
};

use super::{
    assets,
    error::{ApiError, Failure},
    openai::OpenAi,
};

/// Every page, with the older names that bookmarks may hold.
const PAGES: &[&str] = &[
    "/",
    "/keys",
    "/keys_status",
    "/requests",
    "/logs",
    "/errors",
    "/clients",
    "/models",
    "/playground",
    "/settings",
    "/config",
    "/system",
    "/login",
    "/usage",
    "/docs",
];

/// Nothing is loaded from elsewhere, nothing in a page is run or framed. Pictures of the playground are `data:` and
/// `blob:`, its sounds as well.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; \
    img-src 'self' data: blob:; media-src 'self' data: blob:; manifest-src 'self'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

const HEADERS: &[(&str, &str)] = &[
    ("content-security-policy", POLICY),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
];

/// Served when the binary was built without the dashboard.
const PLACEHOLDER: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Gemini Balance</title>
<h1>Gemini Balance is running</h1>
<p>This binary was built without the dashboard. To have it, build with <a href="https://nodejs.org/">Node.js</a> 20.19
or newer in the path, with the feature <code>dashboard</code>, and without <code>GEMINI_BALANCE_SKIP_WEB</code>:</p>
<pre>touch build.rs
cargo build --release --locked</pre>
<p>Everything else works as it is: see <a href="/ready">/ready</a>, <a href="/metrics">/metrics</a> and the admin API
under <code>/api/admin</code>.</p>
</html>
"#;

pub fn routes(config: &mut ServiceConfig) {
    for page in PAGES {
        config.service(page_resource(page));
    }
    config
        .service(web::resource("/assets/{path:.+}").route(readable().to(show_asset)))
        .service(web::resource("/favicon.svg").route(readable().to(show_asset)));
}

/// Answers browsers alone: for others the path does not exist, and they are told so in their dialect.
fn page_resource(path: &str) -> Resource {
    web::resource(path).guard(fn_guard(wants_a_page)).route(readable().to(show_page))
}

fn readable() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

fn wants_a_page(context: &GuardContext<'_>) -> bool {
    is_of_a_browser(context.head().headers())
}

/// Whether who sends these headers shows pages to somebody.
pub fn is_of_a_browser(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/html"))
}

async fn show_page(request: HttpRequest) -> HttpResponse {
    if let Some(page) = assets::find("index.html") {
        return page.respond(&request, HEADERS);
    }
    let mut response = HttpResponse::Ok();
    for header in HEADERS {
        response.insert_header(*header);
    }
    response
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .content_type("text/html; charset=utf-8")
        .body(PLACEHOLDER)
}

async fn show_asset(request: HttpRequest) -> Result<HttpResponse, Failure<OpenAi>> {
    let path = request.path().trim_start_matches('/');
    let asset = assets::find(path).ok_or_else(|| ApiError::unknown_path(&request))?;
    Ok(asset.respond(&request, &[]))
}
