//! `GET /api/usage`: what the holder of a client token may use, and has used. Nothing of others.

use actix_web::{
    HttpResponse,
    web::{ServiceConfig, get},
};
use serde::Serialize;

use super::{
    admin::{
        Admin,
        tokens::{LimitUseView, TokenState, TokenView},
    },
    auth::{ClientToken, Credentials},
    only,
};
use crate::domain::{terms::RateLimits, time::Now};

/// Errors look like those of the admin API; it is no part of it, and its document does not tell of it.
type Words = Admin;

pub fn routes(config: &mut ServiceConfig) {
    config.service(only::<Words>("/api/usage", "GET").route(get().to(own_usage)));
}

/// Shown to holders of client tokens in the words of the admin API, by `Authorization: Bearer`.
impl Credentials for Admin {
    fn tokens(request: &actix_web::HttpRequest) -> impl Iterator<Item = String> {
        super::auth::bearer(request).into_iter()
    }
}

/// A token as its holder sees it: without the operator's notes, and without where and by what it is served.
#[derive(Debug, Serialize)]
pub struct OwnToken {
    pub name: String,
    pub prefix: String,
    pub state: TokenState,
    pub created_at_ms: i64,
    pub expires_at_ms: Option<i64>,
    pub last_used_at_ms: Option<i64>,
    pub rate_limits: RateLimits,
    pub max_concurrent: Option<u32>,
    pub time_zone: String,
    pub models: Vec<String>,
    pub usage: Vec<LimitUseView>,
    pub in_flight: u32,
}

impl From<TokenView> for OwnToken {
    fn from(view: TokenView) -> Self {
        Self {
            name: view.name,
            prefix: view.prefix,
            state: view.state,
            created_at_ms: view.created_at_ms,
            expires_at_ms: view.expires_at_ms,
            last_used_at_ms: view.last_used_at_ms,
            rate_limits: view.rate_limits,
            max_concurrent: view.max_concurrent,
            time_zone: view.time_zone,
            models: view.models,
            usage: view.usage,
            in_flight: view.in_flight,
        }
    }
}

/// What the holder of a client token sees of it.
#[derive(Debug, Serialize)]
pub struct OwnUsage {
    pub token: OwnToken,
}

/// Your own token, its limits and what is used of them.
///
/// For holders of client tokens: `Authorization: Bearer` with the token.
pub async fn own_usage(token: ClientToken<Admin>) -> HttpResponse {
    let token = TokenView::of(&token.holder, Now::read()).into();
    HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(OwnUsage { token })
}
