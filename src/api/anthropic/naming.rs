//! The name of a request where Anthropic's clients look for it: the header `request-id`, and `request_id` in an error.

use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderName, HeaderValue},
    middleware::Next,
};

use super::{Anthropic, envelope};
use crate::api::{error::Failure, request_id::RequestId};

const HEADER: HeaderName = HeaderName::from_static("request-id");

/// `req_` and the id of every other place, such as `x-request-id` and the request log.
pub fn request_id(request: &HttpRequest) -> String {
    let id = request.extensions().get::<RequestId>().map(RequestId::to_string).unwrap_or_default();
    format!("req_{id}")
}

pub async fn name_answer(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let response = next.call(request).await?;
    let id = request_id(response.request());
    let failure = response.response().error().and_then(Error::as_error::<Failure<Anthropic>>);
    let named = failure.map(|failure| envelope::body(&failure.error, failure.status(), Some(&id)));
    let mut response = match named {
        Some(body) => response.map_body(|_, _| BoxBody::new(body)),
        None => response.map_into_boxed_body(),
    };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    Ok(response)
}
