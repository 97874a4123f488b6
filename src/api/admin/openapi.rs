//! The description of the admin API, made from its handlers and types.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, HeaderValue},
    web::{ServiceConfig, get},
};
use serde_json::{Value, json};
use utoipa::OpenApi;

use super::{
    Admin,
    envelope::{ErrorBody, ErrorDetail},
    errors,
    etag::Version,
    events, jobs, keys, models, proxies, requests, session, settings, stats, system, tokens,
};
use crate::api::only;

/// Every call of the admin API has its line here; a test holds this against the route table.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Gemini Balance: admin API",
        description = "Everything that the dashboard shows and does. Times are Unix milliseconds (`…_at_ms`), durations \
                       end in `_ms`. Errors look like `ErrorBody`.",
    ),
    paths(
        errors::delete_errors,
        errors::find_error,
        errors::groups::group_errors,
        errors::list_errors,
        events::stream_events,
        jobs::cancel_job,
        jobs::find_job,
        jobs::list_jobs,
        jobs::undo_job,
        keys::actions::start_action,
        keys::create::create_keys,
        keys::deletion::delete_key,
        keys::deletion::restore_key,
        keys::export::export_keys,
        keys::history::list_events,
        keys::history::list_events_of_key,
        keys::list::list_keys,
        keys::one::find_key,
        keys::one::reveal_key,
        keys::one::update_key,
        keys::one::verify_key,
        models::list_models,
        openapi,
        proxies::check_proxies,
        proxies::list_proxies,
        requests::delete::delete_requests,
        requests::export::export_requests,
        requests::find_request,
        requests::list::list_requests,
        session::create_session,
        session::delete_session,
        session::find_session,
        settings::describe_settings,
        settings::list_settings,
        settings::transfer::export_settings,
        settings::transfer::import_settings,
        settings::update_settings,
        settings::validate_settings,
        stats::attention::attention,
        stats::forecast,
        stats::overview::overview,
        stats::series::series,
        stats::usage::usage,
        system::find_system,
        system::list_actors,
        system::list_nodes,
        tokens::create_token,
        tokens::delete_token,
        tokens::find_token,
        tokens::lend_token,
        tokens::list_tokens,
        tokens::rotate_token,
        tokens::update_token,
    ),
    components(schemas(ErrorBody, ErrorDetail)),
    security(("admin_token" = []), ("session" = [])),
    tags(
        (name = "session", description = "Login, logout, and the token that writes need"),
        (name = "errors", description = "The log of failed attempts"),
        (name = "keys", description = "The pool: what keys there are and how they fare"),
        (name = "jobs", description = "Actions over many keys, which take their time"),
        (name = "models", description = "What clients can name"),
        (name = "proxies", description = "Through what Gemini is called"),
        (name = "requests", description = "The request log"),
        (name = "settings", description = "What is set, what can be, and the change of it"),
        (name = "stats", description = "Figures, the forecast, and what needs attention"),
        (name = "tokens", description = "Client tokens: who may use the gateway, and how much"),
        (name = "system", description = "The gateway itself"),
        (name = "openapi", description = "This document"),
    ),
)]
struct Document;

/// The whole document; the same as long as the process runs.
static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
static VERSION: LazyLock<Version> = LazyLock::new(|| Version::of_whole(&*DOCUMENT));

pub fn routes(config: &mut ServiceConfig) {
    config.service(only::<Admin>("/openapi.json", "GET").route(get().to(openapi)));
}

/// This document. It holds no secret and needs no session.
#[utoipa::path(
    get, path = "/api/admin/openapi.json", tag = "openapi", security(()),
    responses((status = 200, description = "An OpenAPI document", body = Object)),
)]
pub async fn openapi(request: HttpRequest) -> HttpResponse {
    let mut response = VERSION.respond(&request, &*DOCUMENT);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn document() -> Value {
    let mut document = serde_json::to_value(Document::openapi()).unwrap_or_default();
    document["components"]["securitySchemes"] = json!({
        "admin_token": {"type": "http", "scheme": "bearer", "description": "AUTH_TOKEN"},
        "session": {
            "type": "apiKey", "in": "cookie", "name": session::COOKIE,
            "description": "From `POST /api/admin/session`; all but GET needs the header `x-csrf-token` as well",
        },
    });
    if let Some(paths) = document["paths"].as_object_mut() {
        for (path, item) in paths {
            for (method, operation) in item.as_object_mut().into_iter().flatten() {
                describe_errors(path, method, operation);
            }
        }
    }
    document
}

/// Adds the errors that a call can have by what it is, unless its handler says more of them.
fn describe_errors(path: &str, method: &str, operation: &mut Value) {
    let is_read = method == "get";
    let has_body = operation.get("requestBody").is_some();
    let has_parameters = operation.get("parameters").is_some();
    let is_open = operation["security"] == json!([{}]);
    let errors = [
        ("304", "It is what `If-None-Match` names", is_read),
        ("400", "A parameter or the body cannot be read", has_parameters || has_body),
        ("401", "No session, or a wrong token", !is_open || path.ends_with("/session")),
        ("403", "The CSRF token is missing, or the page is of another origin", !is_open || !is_read),
        ("404", "There is no such thing", path.contains('{')),
        ("408", "The body stopped arriving", has_body),
        (
            "412",
            "It was changed since the version that `If-Match` names",
            matches!(method, "patch" | "put" | "delete"),
        ),
        ("413", "The body is too large", has_body),
        ("415", "The body is not `application/json`", has_body),
        ("422", "Values that are not allowed, by their names", has_body),
        ("429", "Too many attempts with a wrong token", !is_open || !is_read),
    ];
    for (status, description, _) in errors.into_iter().filter(|(.., is_possible)| *is_possible) {
        let responses = &mut operation["responses"];
        if !responses[status].is_null() {
            continue;
        }
        responses[status] = json!({"description": description});
        if status != "304" {
            responses[status]["content"] =
                json!({"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}});
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_tells_what_can_go_wrong() {
        let paths = DOCUMENT["paths"].as_object().unwrap();
        for (path, item) in paths {
            for (method, operation) in item.as_object().unwrap() {
                assert!(operation["tags"][0].is_string(), "{method} {path} has no tag");
                assert!(operation["summary"].is_string(), "{method} {path} says not what it does");
                let responses = operation["responses"].as_object().unwrap();
                assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
                let is_open = path.ends_with("/openapi.json");
                assert_eq!(responses.contains_key("401"), !is_open, "{method} {path}");
            }
        }
        assert_eq!(DOCUMENT["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
}
