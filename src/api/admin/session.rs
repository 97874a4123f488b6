//! The administrator's way into the dashboard: the admin token once, then a cookie.

mod attempts;
mod store;
mod tokens;

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::SET_COOKIE,
    web::{Data, ServiceConfig, delete, get, post},
};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use utoipa::ToSchema;

pub use attempts::Attempts;
pub use store::{Opened, Sessions};
pub use tokens::AdminTokens;

use super::{Admin, body::JsonBody};
use crate::{
    api::{
        auth::{AdminUser, session_cookie},
        error::Failure,
        gateway::Gateway,
        only,
        peer::{self, Peer},
    },
    domain::time::Now,
};

/// The name of the cookie.
pub const COOKIE: &str = "gb_session";

pub fn routes(config: &mut ServiceConfig) {
    config.service(
        only::<Admin>("/session", "GET, POST, DELETE")
            .route(get().to(find_session))
            .route(post().to(create_session))
            .route(delete().to(delete_session)),
    );
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// `AUTH_TOKEN`, or the token in `data/admin_token` where none is set.
    token: String,
}

/// A session that is open.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionView {
    /// Goes into the header `x-csrf-token` of everything but GET; `null` for whoever shows the admin token itself.
    pub csrf_token: Option<String>,
    /// It ends then unless something is asked for before; `null` for whoever shows the admin token itself.
    pub expires_at_ms: Option<i64>,
    /// `NODE_NAME`.
    pub node: Option<String>,
    pub version: String,
}

impl SessionView {
    fn of(opened: Option<Opened>, gateway: &Gateway) -> Self {
        let expires_at_ms = opened.as_ref().map(|opened| Now::read().unix_ms_at(opened.expires));
        Self {
            csrf_token: opened.map(|opened| opened.csrf),
            expires_at_ms,
            node: gateway.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Opens a session.
///
/// Attempts with a wrong token are limited per address.
#[utoipa::path(
    post, path = "/api/admin/session", tag = "session", request_body = Login, security(()),
    responses((status = 200, description = "It is open; the cookie `gb_session` is set", body = SessionView)),
)]
pub async fn create_session(
    request: HttpRequest,
    gateway: Data<Gateway>,
    login: JsonBody<Login>,
) -> Result<HttpResponse, Failure<Admin>> {
    let peer = Peer::of(&request, &gateway);
    peer::require_same_origin(&request, &peer)?;
    let admin = &gateway.admin;
    admin.attempts.require(peer.address)?;
    if !gateway.admin.tokens.contains(login.0.token.trim()) {
        admin.attempts.failed(peer.address);
        warn!(address = ?peer.address, "somebody tried to log in with a wrong admin token");
        return Err(crate::api::error::ApiError::NotAdmin.into());
    }
    let (id, opened) = admin.sessions.open();
    info!(address = ?peer.address, "an admin has logged in");
    let cookie = cookie(&id, gateway.admin.sessions.lasts(), &peer);
    Ok(HttpResponse::Ok().insert_header((SET_COOKIE, cookie)).json(SessionView::of(Some(opened), &gateway)))
}

/// The session that the cookie speaks of.
#[utoipa::path(
    get, path = "/api/admin/session", tag = "session",
    responses((status = 200, description = "It is open, and lasts longer now", body = SessionView)),
)]
pub async fn find_session(user: AdminUser, request: HttpRequest, gateway: Data<Gateway>) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    if let (Some(_), Some(id)) = (&user.session, session_cookie(&request)) {
        let peer = Peer::of(&request, &gateway);
        response.insert_header((SET_COOKIE, cookie(&id, gateway.admin.sessions.lasts(), &peer)));
    }
    response.json(SessionView::of(user.session, &gateway))
}

/// Ends the session.
#[utoipa::path(
    delete, path = "/api/admin/session", tag = "session",
    responses((status = 204, description = "It has ended")),
)]
pub async fn delete_session(
    _: AdminUser,
    request: HttpRequest,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, Failure<Admin>> {
    if let Some(id) = session_cookie(&request) {
        gateway.admin.sessions.close(&id);
    }
    let gone = cookie("", Duration::ZERO, &Peer::of(&request, &gateway));
    Ok(HttpResponse::NoContent().insert_header((SET_COOKIE, gone)).finish())
}

/// No script reads it, no other site sends it, and where the client came by TLS it never goes without. Source: RFC 6265.
fn cookie(id: &str, lasts: Duration, peer: &Peer) -> String {
    let secure = if peer.is_secure { "; Secure" } else { "" };
    format!("{COOKIE}={id}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{secure}", lasts.as_secs())
}
