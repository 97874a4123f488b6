//! What the administrator asks for, as JSON below `/api/admin`.
//!
//! Each area has a file with its handlers and `routes`, which puts them into the scope; [`openapi`] describes them.

pub mod body;
pub mod csv;
pub mod envelope;
pub mod error;
pub mod errors;
pub mod etag;
pub mod events;
pub mod idempotency;
pub mod jobs;
pub mod keys;
pub mod list;
pub mod models;
pub mod openapi;
pub mod parameters;
pub mod proxies;
pub mod requests;
pub mod session;
pub mod settings;
pub mod stats;
pub mod system;
pub mod tokens;

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    middleware::Next,
};

pub use envelope::Admin;
pub use list::List;

/// Where the admin API begins.
pub const PREFIX: &str = "/api/admin";

/// Middleware: no cache keeps what only the administrator may see, and no browser guesses what it is.
pub async fn keep_private(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}
