//! Which web pages may call the gateway, as the settings of the moment say.

use std::rc::Rc;

use actix_web::{
    dev::{RequestHead, ServiceResponse},
    http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue},
};

use super::worker::Worker;
use crate::api;

/// How long a browser remembers what it may do.
const REMEMBERED_SECONDS: usize = 600;

/// Browsers may call the gateway from these origins; they send a token in a header, never a cookie.
pub fn cors(worker: Rc<Worker>) -> actix_cors::Cors {
    actix_cors::Cors::default()
        .allow_any_method()
        .allow_any_header()
        .expose_any_header()
        .max_age(REMEMBERED_SECONDS)
        .allowed_origin_fn(move |origin, request| is_open(request) && worker.allows_origin(origin))
}

/// The admin API is for the dashboard's own origin, where a cookie speaks for the administrator.
fn is_open(request: &RequestHead) -> bool {
    !request.uri.path().starts_with(api::admin::PREFIX)
}

/// Where all origins may call, the answer says so, and not which one asked.
pub fn tell_all<B>(response: &mut ServiceResponse<B>) {
    let headers = response.headers_mut();
    if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
}
