//! A client token as it is shown: never the token itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::TokenSpec;
use crate::{
    actors::tokens::{Holder, Standing},
    domain::{
        terms::{LimitName, RateLimits},
        time::Now,
    },
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    Active,
    Disabled,
    Expired,
}

/// How far one of a token's limits is used.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LimitUseView {
    /// As in `rate_limits`.
    pub limit: LimitName,
    /// What it allows.
    pub most: u64,
    pub used: u64,
    /// When nothing of it counts any more.
    pub resets_at_ms: i64,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TokenView {
    /// Stands in the request log.
    pub id: String,
    pub name: String,
    /// The beginning of the token.
    pub prefix: String,
    /// `config` (`ALLOWED_TOKENS`, `AUTH_TOKEN`) or `admin`.
    pub origin: String,
    pub state: TokenState,
    pub enabled: bool,
    pub created_at_ms: i64,
    pub expires_at_ms: Option<i64>,
    pub last_used_at_ms: Option<i64>,
    /// Until when the token is accepted that this one replaced.
    pub old_valid_until_ms: Option<i64>,
    pub rate_limits: RateLimits,
    pub max_concurrent: Option<u32>,
    /// Where days and months begin.
    pub time_zone: String,
    /// Names and patterns; empty is all.
    pub models: Vec<String>,
    /// Where requests may come from; empty is anywhere.
    pub networks: Vec<String>,
    /// The tiers of the keys that may serve it; empty is all.
    pub tiers: Vec<String>,
    pub note: String,
    pub usage: Vec<LimitUseView>,
    /// Requests that are under way, where anything is limited.
    pub in_flight: u32,
}

impl TokenView {
    pub fn of(holder: &Holder, now: Now) -> Self {
        let spec = TokenSpec::of(holder);
        let (row, terms, now_ms) = (&holder.row, &holder.terms, now.unix_ms());
        let usage = holder.allowance().usage(&terms.rate_limits, terms.time_zone, now);
        let usage = usage.into_iter().map(|limit| LimitUseView {
            limit: limit.name,
            most: limit.limit,
            used: limit.used,
            resets_at_ms: now_ms + i64::try_from(limit.resets_in.as_millis()).unwrap_or(0),
        });
        Self {
            id: row.id.clone(),
            name: spec.name,
            prefix: row.prefix.clone(),
            origin: row.origin.clone(),
            state: match holder.standing(now_ms) {
                Standing::Active => TokenState::Active,
                Standing::Disabled => TokenState::Disabled,
                Standing::Expired => TokenState::Expired,
            },
            enabled: row.enabled,
            created_at_ms: row.created_at_ms,
            expires_at_ms: row.expires_at_ms,
            last_used_at_ms: holder.last_used_at_ms(),
            old_valid_until_ms: row.old_valid_until_ms.filter(|until_ms| *until_ms > now_ms),
            rate_limits: spec.rate_limits,
            max_concurrent: spec.max_concurrent,
            time_zone: spec.time_zone,
            models: spec.models,
            networks: spec.networks,
            tiers: spec.tiers,
            note: spec.note,
            usage: usage.collect(),
            in_flight: holder.allowance().in_flight(),
        }
    }
}
