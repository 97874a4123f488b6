//! Who is asking: client tokens, in every place where a dialect's SDKs put them.

use std::{
    future::{Ready, ready},
    marker::PhantomData,
    sync::Arc,
};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    guard::GuardContext,
    http::{
        Method,
        header::{AUTHORIZATION, COOKIE},
    },
    web::Data,
};

use super::{
    admin::{
        Admin,
        error::AdminError,
        session::{self, Opened},
    },
    anthropic::Anthropic,
    error::{ApiError, Envelope, Failure},
    gateway::Gateway,
    gemini::Gemini,
    limits,
    openai::OpenAi,
    peer::{Peer, require_same_origin},
};
use crate::{
    actors::tokens::{Holder, NotAccepted},
    domain::{client::TokenId, time::Now},
};

/// Where a dialect's clients put their token.
pub trait Credentials: Envelope {
    /// How answers tell what is left of the limits.
    const LIMITS: limits::Style = limits::Style::OpenAi;

    /// Every token that the request carries, the likeliest first.
    fn tokens(request: &HttpRequest) -> impl Iterator<Item = String>;
}

impl Credentials for OpenAi {
    fn tokens(request: &HttpRequest) -> impl Iterator<Item = String> {
        bearer(request).into_iter().chain(header(request, "x-api-key"))
    }
}

impl Credentials for Anthropic {
    const LIMITS: limits::Style = limits::Style::Anthropic;

    fn tokens(request: &HttpRequest) -> impl Iterator<Item = String> {
        header(request, "x-api-key").into_iter().chain(bearer(request))
    }
}

impl Credentials for Gemini {
    fn tokens(request: &HttpRequest) -> impl Iterator<Item = String> {
        header(request, "x-goog-api-key").into_iter().chain(query_key(request)).chain(bearer(request))
    }
}

/// The client token of a request that speaks `F`.
#[derive(Debug)]
pub struct ClientToken<F> {
    pub id: TokenId,
    pub holder: Arc<Holder>,
    dialect: PhantomData<F>,
}

impl<F: Credentials> FromRequest for ClientToken<F> {
    type Error = Failure<F>;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(authenticate::<F>(request).map_err(Failure::from))
    }
}

fn authenticate<F: Credentials>(request: &HttpRequest) -> Result<ClientToken<F>, ApiError> {
    let gateway = request.app_data::<Data<Gateway>>().ok_or(ApiError::Internal)?;
    let (table, now_ms) = (gateway.tokens.table(), Now::read().unix_ms());
    let mut error = ApiError::MissingToken;
    for token in F::tokens(request) {
        match table.find(&gateway.sealer.token_fingerprint(&token), now_ms) {
            Ok(holder) => return let_in(request, gateway, holder, now_ms),
            Err(NotAccepted::Unknown) if matches!(error, ApiError::MissingToken) => {
                error = ApiError::WrongToken
            }
            Err(NotAccepted::Unknown) => {}
            Err(NotAccepted::Disabled) => error = ApiError::TokenDisabled,
            Err(NotAccepted::Expired) => error = ApiError::TokenExpired,
        }
    }
    Err(error)
}

fn let_in<F: Credentials>(
    request: &HttpRequest,
    gateway: &Gateway,
    holder: &Arc<Holder>,
    now_ms: i64,
) -> Result<ClientToken<F>, ApiError> {
    if !holder.terms.networks.is_empty() && !holder.terms.allow_address(Peer::of(request, gateway).address) {
        return Err(ApiError::AddressNotAllowed);
    }
    holder.note_use(now_ms);
    limits::tell_later::<F>(request, holder);
    Ok(ClientToken { id: holder.id.clone(), holder: holder.clone(), dialect: PhantomData })
}

/// The administrator, who shows `AUTH_TOKEN` as `Authorization: Bearer`, or has opened a session with it.
#[derive(Debug)]
pub struct AdminUser {
    /// `None` for whoever shows the token itself.
    pub session: Option<Opened>,
}

impl FromRequest for AdminUser {
    type Error = Failure<Admin>;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let Some(gateway) = request.app_data::<Data<Gateway>>() else {
            return ready(Err(ApiError::Internal.into()));
        };
        ready(admin_user(request, gateway).map_err(Failure::from))
    }
}

fn admin_user(request: &HttpRequest, gateway: &Gateway) -> Result<AdminUser, ApiError> {
    let peer = Peer::of(request, gateway);
    let admin = &gateway.admin;
    if let Some(token) = bearer(request) {
        admin.attempts.require(peer.address)?;
        if admin.tokens.contains(&token) {
            return Ok(AdminUser { session: None });
        }
        // A client's own token is no guess.
        let print = gateway.sealer.token_fingerprint(&token);
        let found = gateway.tokens.table();
        if matches!(found.find(&print, Now::read().unix_ms()), Err(NotAccepted::Unknown)) {
            admin.attempts.failed(peer.address);
        }
        return Err(ApiError::NotAdmin);
    }
    let session =
        session_cookie(request).and_then(|id| admin.sessions.find(&id)).ok_or(ApiError::NotAdmin)?;
    require_same_origin(request, &peer)?;
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let csrf = header(request, "x-csrf-token");
    if !is_read && !csrf.is_some_and(|token| session.has_csrf(&token)) {
        return Err(AdminError::Csrf.into());
    }
    Ok(AdminUser { session: Some(session) })
}

/// What the cookie of a session holds.
pub fn session_cookie(request: &HttpRequest) -> Option<String> {
    let cookies = request.headers().get_all(COOKIE).filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == session::COOKIE).map(|(_, id)| id.to_owned())
}

/// Shared paths such as `/v1/models` speak Gemini to whoever shows a Gemini credential, else OpenAI.
pub fn speaks_gemini(request: &HttpRequest) -> bool {
    let headers = request.head().headers();
    !headers.contains_key("anthropic-version")
        && (headers.contains_key("x-goog-api-key") || query_key(request).is_some())
}

/// What under `/v1` speaks Anthropic: its own paths, and with its version header those that it shares.
pub fn speaks_anthropic(guarded: &GuardContext<'_>) -> bool {
    let path = guarded.head().uri.path().strip_prefix("/v1/").unwrap_or_default();
    match path.split('/').next() {
        Some("messages" | "complete") => true,
        Some("models" | "files") => {
            guarded.head().headers().contains_key("anthropic-version") && !path.contains(':')
        }
        _ => false,
    }
}

/// Query parameters that Google takes for credentials; a client's own never leave the gateway.
pub fn is_credential(parameter: &str) -> bool {
    matches!(parameter, "key" | "access_token" | "oauth_token")
}

pub fn bearer(request: &HttpRequest) -> Option<String> {
    let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

fn header(request: &HttpRequest, name: &str) -> Option<String> {
    Some(request.headers().get(name)?.to_str().ok()?.to_owned())
}

fn query_key(request: &HttpRequest) -> Option<String> {
    let query = request.query_string();
    if !query.contains("key=") {
        return None;
    }
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "key")
        .map(|(_, value)| value.into_owned())
}
