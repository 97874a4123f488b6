//! A name for every request: in the answer's `x-request-id`, in the log line and in the request log.

use std::fmt;

use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderName, HeaderValue},
    middleware::Next,
    web::Data,
};
use tokio::time::Instant;
use tracing::debug;
use uuid::Uuid;

use super::{gateway::Gateway, journal::Journaled, limits};
use crate::telemetry::metrics::StatusLabel;

pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The id, and when the head of its request had arrived. Ids are UUIDs of version 7, so they sort by time.
#[derive(Debug, Clone, Copy)]
pub struct RequestId {
    id: Uuid,
    started: Instant,
}

impl RequestId {
    pub fn started(&self) -> Instant {
        self.started
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.simple().fmt(f)
    }
}

/// Middleware: names the request and puts the name on its answer, whatever it is.
pub async fn name_request(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let id = RequestId { id: Uuid::now_v7(), started: Instant::now() };
    request.extensions_mut().insert(id);
    let mut response = next.call(request).await?;
    let mut text = [0; uuid::fmt::Simple::LENGTH];
    let text: &str = id.id.simple().encode_lower(&mut text);
    if let Ok(value) = HeaderValue::from_str(text) {
        response.headers_mut().insert(HEADER, value);
    }
    limits::tell(&mut response);
    count_if_rejected(&response);
    debug!(
        request.id = text,
        method = %response.request().method(),
        path = response.request().path(),
        status = response.status().as_u16(),
        "answered"
    );
    Ok(response)
}

/// Refused tokens, unknown paths and bodies beyond the limits never get a journal; they are counted here.
fn count_if_rejected(response: &ServiceResponse<impl MessageBody>) {
    let request = response.request();
    let status = response.status().as_u16();
    if status < 400 || request.extensions().get::<Journaled>().is_some() {
        return;
    }
    if let Some(gateway) = request.app_data::<Data<Gateway>>() {
        gateway.metrics.rejected.get_or_create(&StatusLabel { status }).inc();
    }
}
