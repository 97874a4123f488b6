//! JSON bodies of the admin API.

use std::{future::Future, pin::Pin};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web::Data};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{Admin, error::AdminError};
use crate::api::{
    body::{Reading, require_json},
    error::{ApiError, Failure},
    gateway::Gateway,
};

/// Nobody types more into a dashboard; 100,000 keys need less.
pub const MAX_BYTES: usize = 16_000_000;
/// A larger body is read and dropped up to here before it is refused, so that its sender sees the refusal.
const MAX_DROPPED: usize = 256_000_000;

/// A body that is JSON of that shape. Unknown fields are refused where `T` says so.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest for JsonBody<T> {
    type Error = Failure<Admin>;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let reading = read_bytes(request, payload);
        Box::pin(async move { Ok(Self(parse(&reading.await?)?)) })
    }
}

/// The bytes of a body that says that it is JSON.
pub fn read_bytes(
    request: &HttpRequest,
    payload: &mut Payload,
) -> impl Future<Output = Result<Bytes, ApiError>> + 'static + use<> {
    let gateway = request.app_data::<Data<Gateway>>().cloned();
    let is_json = require_json(request);
    let payload = payload.take();
    async move {
        is_json?;
        let gateway = gateway.ok_or(ApiError::Internal)?;
        let reading =
            Reading { limit: MAX_BYTES, dropped: MAX_DROPPED, patience: gateway.limits.body_timeout };
        match reading.whole(payload).await {
            Err(ApiError::BodyTooLarge { limit_mb }) => Err(AdminError::TooLarge { limit_mb }.into()),
            read => read,
        }
    }
}

/// 400 for what is no JSON, 422 for JSON of another shape.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, AdminError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let at = format!("line {}, column {}", error.line(), error.column());
        if error.is_data() {
            // It says what is expected, and may repeat a part of what was sent.
            let text: String = error.to_string().chars().take(300).collect();
            AdminError::field("body", text)
        } else {
            AdminError::invalid(format!("the body is not JSON; the first problem is at {at}"))
        }
    })
}
