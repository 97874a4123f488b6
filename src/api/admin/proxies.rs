//! The proxies that Gemini is called through, and how they are.

use std::time::Duration;

use actix_web::web::{Data, Json, ServiceConfig, get, post};
use serde::Serialize;
use url::Url;
use utoipa::ToSchema;

use super::{Admin, List};
use crate::{
    api::{
        auth::AdminUser,
        error::{ApiError, Failure},
        gateway::Gateway,
        only,
    },
    domain::time::Now,
    upstream::proxies::{Route, Seen},
};

/// How long a check waits for a proxy.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(only::<Admin>("/proxies", "GET").route(get().to(list_proxies)))
        .service(only::<Admin>("/proxies/check", "POST").route(post().to(check_proxies)));
}

/// A proxy with what came of its last use or check.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProxyView {
    /// Without its password.
    pub url: String,
    /// `unknown` until it was used, then `ok` or `failing`; `refused` while Google refuses what leaves by it.
    pub state: &'static str,
    /// When the next request leaves by it, while it is refused.
    pub paused_until_ms: Option<i64>,
    /// How often keys of many projects were refused alike through it, since it is known.
    pub storms: u64,
    pub last_checked_at_ms: Option<i64>,
    /// Of the last check: until it had connected to Gemini.
    pub latency_ms: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
}

/// All proxies.
#[utoipa::path(
    get, path = "/api/admin/proxies", tag = "proxies",
    responses((status = 200, description = "In the order of PROXIES", body = List<ProxyView>)),
)]
pub async fn list_proxies(_: AdminUser, gateway: Data<Gateway>) -> Json<List<ProxyView>> {
    Json(list(&gateway))
}

/// Tries all proxies at once: each connects to Gemini's address, and nothing is sent there.
#[utoipa::path(
    post, path = "/api/admin/proxies/check", tag = "proxies",
    responses((status = 200, description = "What came of it", body = List<ProxyView>)),
)]
pub async fn check_proxies(
    _: AdminUser,
    gateway: Data<Gateway>,
) -> Result<Json<List<ProxyView>>, Failure<Admin>> {
    let url = Url::parse(&gateway.base_url).map_err(|_| ApiError::Internal)?;
    let (host, port) = url.host_str().zip(url.port_or_known_default()).ok_or(ApiError::Internal)?;
    gateway.proxies.check_all(host, port, PATIENCE).await;
    Ok(Json(list(&gateway)))
}

fn list(gateway: &Gateway) -> List<ProxyView> {
    let now = Now::read();
    List::whole(gateway.proxies.routes().iter().map(|route| view(route, now)).collect())
}

fn view(route: &Route, now: Now) -> ProxyView {
    let Seen { is_well, at_ms, latency, error } = route.seen();
    let pause = route.egress.longest_pause(now.instant);
    ProxyView {
        url: route.to_string(),
        state: match is_well {
            _ if pause.is_some() => "refused",
            None => "unknown",
            Some(true) => "ok",
            Some(false) => "failing",
        },
        paused_until_ms: pause.map(|(until, _)| now.unix_ms_at(until)),
        storms: route.egress.storms(),
        last_checked_at_ms: at_ms,
        latency_ms: latency.map(|latency| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)),
        error,
    }
}
