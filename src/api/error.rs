//! Everything that can go wrong at the HTTP edge, told in the dialect of whoever asked.

use std::{fmt, marker::PhantomData, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError,
    http::{
        Method, StatusCode,
        header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
    },
};

use super::{admin::error::AdminError, limits};
use crate::{
    balance::allowance::Exceeded,
    convert::ConvertError,
    upstream::dispatch::{Refusal, UpstreamError},
};

/// Several SDKs sleep for as long as `Retry-After` says, hours included; beyond this they are told not to.
const LONGEST_CLIENT_SLEEP: Duration = Duration::from_secs(60);

/// Everything a handler can fail with; each variant is something the caller could act on.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error(
        "no API key was sent; send one of this gateway's client tokens (ALLOWED_TOKENS) as your client's API key"
    )]
    MissingToken,
    #[error(
        "the API key is not valid here; it has to be one of this gateway's client tokens (ALLOWED_TOKENS), not a Gemini key"
    )]
    WrongToken,
    #[error("this API key has expired; ask the operator of this gateway for another one")]
    TokenExpired,
    #[error("this API key is disabled on this gateway; ask its operator")]
    TokenDisabled,
    #[error("this API key may not be used from your address; ask the operator of this gateway")]
    AddressNotAllowed,
    #[error("this API key may not use the model `{model}` on this gateway")]
    ModelNotAllowed { model: String },
    #[error("{}", limits::told(.0))]
    OverLimit(Exceeded),
    #[error(
        "this is for the administrator: send `Authorization: Bearer` with AUTH_TOKEN, or with the token in data/admin_token where none is set"
    )]
    NotAdmin,
    #[error("unknown path: {method} {path}")]
    UnknownPath { method: Method, path: String },
    #[error("{method} is not allowed on {path}; use {allowed}")]
    WrongMethod { method: Method, path: String, allowed: &'static str },
    #[error(
        "unsupported content type `{content_type}`: this method takes `application/json`; set the Content-Type header accordingly"
    )]
    ContentType { content_type: String },
    #[error("the request body is larger than {limit_mb} MB, the limit that MAX_BODY_MB sets on this gateway")]
    BodyTooLarge { limit_mb: usize },
    #[error("the request body stopped arriving for {} s", .0.as_secs())]
    BodyTimeout(Duration),
    #[error("the request body broke off: {0}")]
    BodyBroken(String),
    #[error("`{value}` is no {name}")]
    Parameter { name: &'static str, value: String },
    #[error("`{name}` is not a model name")]
    ModelName { name: String },
    #[error("the upload has ended, or there never was one of this upload_id; begin it again")]
    UnknownUpload,
    #[error(
        "no request `{id}` is in the log: it is written within about a second, and deleted after a while"
    )]
    UnknownRequest { id: String },
    #[error("the model `{model}` does not exist or is hidden on this gateway (FILTERED_MODELS)")]
    UnknownModel { model: String },
    #[error("Response with id '{id}' not found.")]
    UnknownResponse { id: String },
    #[error("Cannot cancel a synchronous response.")]
    NotInBackground,
    #[error(
        "too many of your responses are being made in the background; wait for one of them, or cancel it"
    )]
    TooManyInBackground,
    #[error(
        "the events of this response cannot be told again: it is not being made in the background; fetch it without `stream`"
    )]
    NoEvents,
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Convert(#[from] ConvertError),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("internal error")]
    Internal,
}

/// The one vocabulary that statuses and envelopes are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    InvalidRequest,
    MissingToken,
    WrongToken,
    Forbidden,
    UnknownPath,
    WrongMethod,
    ContentType,
    TooLarge,
    Timeout,
    ModelNotFound,
    NotFound,
    ResourceNotFound,
    RateLimited,
    Internal,
    Unavailable,
    /// Of the admin API, with its status.
    Admin(u16),
    /// Whatever Google said, with its status.
    Upstream(u16),
}

impl ApiError {
    pub fn unknown_path(request: &HttpRequest) -> Self {
        Self::UnknownPath { method: request.method().clone(), path: request.path().to_owned() }
    }

    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::MissingToken => ErrorKind::MissingToken,
            Self::WrongToken | Self::TokenExpired | Self::TokenDisabled | Self::NotAdmin => {
                ErrorKind::WrongToken
            }
            Self::AddressNotAllowed | Self::ModelNotAllowed { .. } => ErrorKind::Forbidden,
            Self::OverLimit(_) => ErrorKind::RateLimited,
            Self::UnknownPath { .. } | Self::UnknownRequest { .. } => ErrorKind::UnknownPath,
            Self::WrongMethod { .. } => ErrorKind::WrongMethod,
            Self::ContentType { .. } => ErrorKind::ContentType,
            Self::BodyTooLarge { .. } => ErrorKind::TooLarge,
            Self::BodyTimeout(_) => ErrorKind::Timeout,
            Self::BodyBroken(_)
            | Self::Parameter { .. }
            | Self::ModelName { .. }
            | Self::NotInBackground
            | Self::NoEvents
            | Self::Convert(_) => ErrorKind::InvalidRequest,
            Self::TooManyInBackground => ErrorKind::RateLimited,
            Self::UnknownModel { .. } => ErrorKind::ModelNotFound,
            Self::UnknownResponse { .. } => ErrorKind::NotFound,
            Self::UnknownUpload => ErrorKind::ResourceNotFound,
            Self::Admin(error) => ErrorKind::Admin(error.status()),
            Self::Upstream(error) => upstream_kind(error),
            Self::Internal => ErrorKind::Internal,
        }
    }

    /// When another try makes sense.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Upstream(
                UpstreamError::AllCooling { retry_after, .. }
                | UpstreamError::Busy { retry_after, .. }
                | UpstreamError::OutOfBudget { retry_after, .. },
            ) => Some(*retry_after),
            Self::Upstream(UpstreamError::OwnerAway { retry_after, .. }) => *retry_after,
            Self::OverLimit(exceeded) => Some(exceeded.retry_after),
            Self::Admin(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Google's own words, where it is Google who refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Upstream(error) => error.refusal(),
            _ => None,
        }
    }

    /// One word for the request log.
    pub fn name(&self) -> &'static str {
        match self.kind() {
            ErrorKind::InvalidRequest => "invalid_request",
            ErrorKind::MissingToken | ErrorKind::WrongToken => "unauthenticated",
            ErrorKind::Forbidden => "forbidden",
            ErrorKind::UnknownPath if matches!(self, Self::UnknownRequest { .. }) => "not_found",
            ErrorKind::UnknownPath => "unknown_path",
            ErrorKind::WrongMethod => "wrong_method",
            ErrorKind::ContentType => "content_type",
            ErrorKind::TooLarge => "too_large",
            ErrorKind::Timeout => "timeout",
            ErrorKind::ModelNotFound => "model_not_found",
            ErrorKind::NotFound => "not_found",
            ErrorKind::ResourceNotFound => "resource_not_found",
            ErrorKind::RateLimited if matches!(self, Self::TooManyInBackground) => "too_many",
            ErrorKind::RateLimited if matches!(self, Self::OverLimit(_)) => "token_limit",
            ErrorKind::RateLimited => "all_cooling",
            ErrorKind::Internal => "internal",
            ErrorKind::Unavailable if self.retry_after().is_some() => "busy",
            ErrorKind::Unavailable => "no_usable_key",
            ErrorKind::Admin(_) => match self {
                Self::Admin(error) => error.code(),
                _ => "internal",
            },
            ErrorKind::Upstream(_) => match self.refusal() {
                Some(refusal) => refusal.fault.outcome.name(),
                None => "transport",
            },
        }
    }
}

fn upstream_kind(error: &UpstreamError) -> ErrorKind {
    match error {
        UpstreamError::OutOfBudget { last, .. } => upstream_kind(last),
        UpstreamError::Refused(refusal) => ErrorKind::Upstream(refusal.fault.status),
        UpstreamError::AllCooling { .. } => ErrorKind::RateLimited,
        UpstreamError::Busy { .. } | UpstreamError::NoUsableKey { .. } => ErrorKind::Unavailable,
        UpstreamError::ModelUnavailable { .. } => ErrorKind::ModelNotFound,
        UpstreamError::NotYours { .. } => ErrorKind::ResourceNotFound,
        UpstreamError::Apart { .. } => ErrorKind::InvalidRequest,
        UpstreamError::OwnerAway { is_quota: true, .. } => ErrorKind::RateLimited,
        UpstreamError::OwnerAway { .. } => ErrorKind::Unavailable,
        UpstreamError::Transport(error) => match error.fault() {
            crate::domain::outcome::ServerFault::TimedOut => ErrorKind::Upstream(504),
            _ => ErrorKind::Upstream(502),
        },
    }
}

/// How one dialect writes an error.
pub trait Envelope: 'static {
    /// The status of that kind of error, where this dialect's own server differs from the usual one.
    fn status(kind: ErrorKind) -> u16 {
        usual_status(kind)
    }

    /// The whole body, as JSON.
    fn body(error: &ApiError, status: u16) -> Vec<u8>;
}

pub fn usual_status(kind: ErrorKind) -> u16 {
    match kind {
        ErrorKind::InvalidRequest => 400,
        ErrorKind::MissingToken | ErrorKind::WrongToken => 401,
        ErrorKind::Forbidden => 403,
        ErrorKind::UnknownPath
        | ErrorKind::ModelNotFound
        | ErrorKind::NotFound
        | ErrorKind::ResourceNotFound => 404,
        ErrorKind::WrongMethod => 405,
        ErrorKind::Timeout => 408,
        ErrorKind::TooLarge => 413,
        ErrorKind::ContentType => 415,
        ErrorKind::RateLimited => 429,
        ErrorKind::Internal => 500,
        ErrorKind::Unavailable => 503,
        ErrorKind::Admin(status) | ErrorKind::Upstream(status) => status,
    }
}

/// An [`ApiError`] on its way to a client that speaks `F`.
pub struct Failure<F> {
    pub error: ApiError,
    dialect: PhantomData<F>,
}

impl<F, E: Into<ApiError>> From<E> for Failure<F> {
    fn from(error: E) -> Self {
        Self { error: error.into(), dialect: PhantomData }
    }
}

impl<F> fmt::Debug for Failure<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<F> fmt::Display for Failure<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<F: Envelope> Failure<F> {
    pub fn status(&self) -> u16 {
        F::status(self.error.kind())
    }
}

impl<F: Envelope> ResponseError for Failure<F> {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        response.insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8")));
        if let Some(wait) = self.error.retry_after() {
            tell_when_to_retry(&mut response, wait);
        }
        if let ApiError::WrongMethod { allowed, .. } = &self.error {
            response.insert_header((actix_web::http::header::ALLOW, *allowed));
        }
        // A body that was not read to its end cannot be skipped for the next request.
        if matches!(self.error.kind(), ErrorKind::TooLarge | ErrorKind::Timeout) {
            response.force_close();
        }
        response.body(F::body(&self.error, status.as_u16()))
    }
}

/// Whole seconds, rounded up, so that a client that waits exactly so long is not early.
fn tell_when_to_retry(response: &mut HttpResponseBuilder, wait: Duration) {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.insert_header((RETRY_AFTER, seconds.max(1)));
    if wait > LONGEST_CLIENT_SLEEP {
        response.insert_header((HeaderName::from_static("x-should-retry"), "false"));
    }
}
