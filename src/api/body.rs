//! Request bodies: read whole, within a size and without waiting for ever.

use std::{future::Future, marker::PhantomData, pin::Pin, time::Duration};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{CONTENT_LENGTH, CONTENT_TYPE},
    web::Data,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::time::timeout;

use super::{
    error::{ApiError, Envelope, Failure},
    gateway::Gateway,
};

/// The body of a request that speaks `F`, whatever it holds.
#[derive(Debug)]
pub struct Body<F> {
    pub bytes: Bytes,
    dialect: PhantomData<F>,
}

impl<F: Envelope> FromRequest for Body<F> {
    type Error = Failure<F>;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let gateway = request.app_data::<Data<Gateway>>().cloned();
        let announced =
            request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let payload = payload.take();
        Box::pin(async move {
            let limits = gateway.ok_or(ApiError::Internal)?.limits;
            let reading = Reading { limit: limits.max_body_bytes, dropped: 0, patience: limits.body_timeout };
            let bytes = reading.announced(payload, announced).await?;
            Ok(Self { bytes, dialect: PhantomData })
        })
    }
}

/// How a body is read.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Its greatest size in bytes.
    pub limit: usize,
    /// A larger one is read on and dropped up to this size before it is refused, so that its sender sees the answer.
    pub dropped: usize,
    /// The longest silence.
    pub patience: Duration,
}

impl Reading {
    /// The whole body, whatever its head said of its size.
    pub async fn whole(self, payload: Payload) -> Result<Bytes, ApiError> {
        self.announced(payload, None).await
    }

    async fn announced(self, mut payload: Payload, announced: Option<usize>) -> Result<Bytes, ApiError> {
        let too_large = || ApiError::BodyTooLarge { limit_mb: self.limit / 1_000_000 };
        if announced.is_some_and(|announced| announced > self.limit) {
            return Err(too_large());
        }
        let mut whole = BytesMut::new();
        let mut size = 0;
        while let Some(chunk) = self.next(&mut payload).await? {
            size += chunk.len();
            if size > self.limit {
                whole.clear();
                if size > self.dropped {
                    return Err(too_large());
                }
                continue;
            }
            // The usual small body comes in one piece and needs no copy.
            if whole.is_empty() && announced == Some(chunk.len()) {
                return Ok(chunk);
            }
            // A large one is held once, and not again with each doubling of the buffer.
            if let Some(announced) = announced.filter(|_| whole.is_empty()) {
                whole.reserve(announced.max(chunk.len()));
            }
            whole.extend_from_slice(&chunk);
        }
        if size > self.limit { Err(too_large()) } else { Ok(whole.freeze()) }
    }

    async fn next(self, payload: &mut Payload) -> Result<Option<Bytes>, ApiError> {
        match timeout(self.patience, payload.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
            Ok(Some(Err(error))) => Err(ApiError::BodyBroken(error.to_string())),
            Err(_) => Err(ApiError::BodyTimeout(self.patience)),
        }
    }
}

/// The little that the gateway wants to know of a body which it passes on or refuses.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Glance {
    pub model: String,
    /// What an interaction may name in place of a model.
    pub agent: String,
    stream: Option<bool>,
}

impl Glance {
    /// Knows nothing of what it cannot read.
    pub fn at(body: &[u8]) -> Self {
        Self::read(body).unwrap_or_default()
    }

    /// `None` where Google might read something else, as of a name that is given twice.
    pub fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    pub fn is_stream(&self) -> bool {
        self.stream == Some(true)
    }
}

/// OpenAI's server takes JSON only and says so; a missing header is let pass.
pub fn require_json(request: &HttpRequest) -> Result<(), ApiError> {
    let Some(content_type) = request.headers().get(CONTENT_TYPE) else { return Ok(()) };
    let content_type = content_type.to_str().unwrap_or("(unreadable)");
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") || essence.ends_with("+json") {
        return Ok(());
    }
    Err(ApiError::ContentType { content_type: content_type.to_owned() })
}
