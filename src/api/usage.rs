//! `GET /api/usage`: what the holder of a client token may use, and has used. Nothing of others.

use std::collections::BTreeMap;

use actix_web::{
    HttpResponse,
    web::{Data, ServiceConfig, get},
};
use serde::{Deserialize, Serialize};

use super::{
    admin::{
        Admin,
        parameters::Parameters,
        stats::{range::Range, read_figures, usage::UsageRow},
        tokens::{LimitUseView, TokenState, TokenView},
    },
    auth::{ClientToken, Credentials},
    error::Failure,
    gateway::Gateway,
    only,
};
use crate::{
    db::rollups::{Kind, Rollup, Wanted, load_rollups},
    domain::{
        figures::Totals,
        terms::RateLimits,
        time::Now,
        timeline::{DAY_MS, Step, cover},
    },
};

/// Days times models; beyond it the oldest days are left out.
const MOST_ROWS: u32 = 20_000;

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

/// One day, which begins at midnight in UTC.
#[derive(Debug, Serialize)]
pub struct UsageOfDay {
    pub at_ms: i64,
    #[serde(flatten)]
    pub usage: UsageRow,
}

/// What the holder of a client token sees of it.
#[derive(Debug, Serialize)]
pub struct OwnUsage {
    pub token: OwnToken,
    pub from_ms: i64,
    pub to_ms: i64,
    pub totals: UsageRow,
    /// The oldest first.
    pub days: Vec<UsageOfDay>,
    /// The most used first.
    pub models: Vec<UsageRow>,
}

#[derive(Debug, Deserialize)]
pub struct UsageQuery {
    /// 30 days before `to_ms` unless it is said.
    from_ms: Option<i64>,
    /// Now unless it is said.
    to_ms: Option<i64>,
}

/// Your own token, its limits, and what was used of it: whole days in UTC.
///
/// For holders of client tokens: `Authorization: Bearer` with the token.
pub async fn own_usage(
    token: ClientToken<Admin>,
    gateway: Data<Gateway>,
    query: Parameters<UsageQuery>,
) -> Result<HttpResponse, Failure<Admin>> {
    let now = Now::read();
    let to_ms = query.0.to_ms.unwrap_or(now.unix_ms());
    let from_ms = query.0.from_ms.unwrap_or_else(|| to_ms.saturating_sub(30 * DAY_MS));
    let Range { from_ms, to_ms } = Range::read(Some(from_ms), Some(to_ms), now.unix_ms())?;
    let names = [token.id.to_string()];
    let days = cover(from_ms, to_ms, Step::Day);
    let rollups = read_figures(&gateway, move |conn| {
        load_rollups(conn, Wanted { kind: Kind::Token, names: Some(&names), model: None }, &days, MOST_ROWS)
    })
    .await?;
    let view = TokenView::of(&token.holder, now).into();
    let usage = of_rollups(view, Range { from_ms, to_ms }, &rollups);
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(usage))
}

fn of_rollups(token: OwnToken, Range { from_ms, to_ms }: Range, rollups: &[Rollup]) -> OwnUsage {
    let (mut whole, mut days) = (Totals::default(), BTreeMap::<i64, Totals>::new());
    let mut models = BTreeMap::<&str, Totals>::new();
    for Rollup { at_ms, model, totals, .. } in rollups {
        whole.merge(totals);
        days.entry(*at_ms).or_default().merge(totals);
        models.entry(model).or_default().merge(totals);
    }
    let days = days
        .iter()
        .map(|(at_ms, day)| UsageOfDay { at_ms: *at_ms, usage: UsageRow::new("day".to_owned(), day) });
    let mut models: Vec<_> =
        models.iter().map(|(name, sum)| UsageRow::new((*name).to_owned(), sum)).collect();
    models.sort_by_key(|row| std::cmp::Reverse(row.requests));
    let totals = UsageRow::new("total".to_owned(), &whole);
    OwnUsage { token, from_ms, to_ms, totals, days: days.collect(), models }
}
