//! The traffic of a range at a glance, beside that of the range before it.

use std::collections::BTreeMap;

use actix_web::web::{Data, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    range::Range,
    read_figures,
    source::{Filter, GroupBy, Source, load_total, sum},
    usage::{Percentiles, Tokens, UsageRow},
};
use crate::{
    actors::{
        Observe,
        supervisor::{PoolSnapshot, StateCounts},
    },
    api::{
        admin::{Admin, parameters::Parameters},
        auth::AdminUser,
        error::{ApiError, Failure},
        gateway::Gateway,
    },
    db::rollups::Kind,
    domain::{figures::Totals, time::Now},
};

const TOP_MODELS: usize = 10;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RangeQuery {
    /// Unix milliseconds; a day before `to_ms` unless it is said.
    from_ms: Option<i64>,
    /// Unix milliseconds; now unless it is said.
    to_ms: Option<i64>,
}

/// What the requests of a range come to.
#[derive(Debug, Serialize, ToSchema)]
pub struct Figures {
    requests: i64,
    succeeded: i64,
    /// The client was told 429 or 5xx, or its stream broke.
    failed: i64,
    /// Refused as wrong, or the client hung up.
    client_errors: i64,
    /// Without what was the client's own doing, 0 to 1; `null` where nothing is left.
    success_rate: Option<f64>,
    /// Calls to Google.
    attempts: i64,
    /// Requests that succeeded after more than one attempt.
    rescued: i64,
    first_byte_ms: Percentiles,
    duration_ms: Percentiles,
    tokens: Tokens,
    /// The part of the prompts' tokens that Google had in its cache, 0 to 1.
    cache_hit_rate: Option<f64>,
}

impl From<&Totals> for Figures {
    fn from(totals: &Totals) -> Self {
        Self {
            requests: totals.requests,
            succeeded: totals.succeeded,
            failed: totals.failed,
            client_errors: totals.client_errors,
            success_rate: totals.success_rate(),
            attempts: totals.attempts,
            rescued: totals.rescued,
            first_byte_ms: (&totals.first_byte).into(),
            duration_ms: (&totals.duration).into(),
            tokens: totals.into(),
            cache_hit_rate: totals.cache_hit_rate(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Overview {
    from_ms: i64,
    to_ms: i64,
    #[serde(flatten)]
    figures: Figures,
    /// Attempts that run just now.
    in_flight: u64,
    /// How many keys are in each state just now.
    states: StateCounts,
    /// The busiest first; at most 10.
    top_models: Vec<UsageRow>,
    /// The same of the range before, which is as long.
    previous: Figures,
}

/// The traffic of a range: requests, success, latency, tokens, models, and the same for the range before.
#[utoipa::path(
    get, path = "/api/admin/stats/overview", tag = "stats", params(RangeQuery),
    responses((status = 200, description = "The figures", body = Overview)),
)]
pub async fn overview(
    _: AdminUser,
    gateway: Data<Gateway>,
    Parameters(query): Parameters<RangeQuery>,
) -> Result<Json<Overview>, Failure<Admin>> {
    let now_ms = Now::read().unix_ms();
    let range = Range::read(query.from_ms, query.to_ms, now_ms)?;
    let models = Source::of(Some(GroupBy::Model), Filter::default())?;
    let read = read_figures(&gateway, move |conn| {
        let total = load_total(conn, &range.stretches(Kind::Total, now_ms))?;
        let before = load_total(conn, &range.previous().stretches(Kind::Total, now_ms))?;
        let models = models.load(conn, &range.stretches(Kind::Model, now_ms), TOP_MODELS)?;
        Ok((total, before, models.groups))
    });
    let pool = gateway.supervisor.send(Observe::<PoolSnapshot>::new());
    let (read, pool) = tokio::join!(read, pool);
    let ((total, before, models), pool) = (read?, pool.map_err(|_| ApiError::Internal)?);
    let row = |(name, buckets): (String, BTreeMap<i64, Totals>)| UsageRow::new(name, &sum(buckets.values()));
    Ok(Json(Overview {
        from_ms: range.from_ms,
        to_ms: range.to_ms,
        figures: (&total).into(),
        in_flight: pool.in_flight,
        states: pool.states,
        top_models: models.into_iter().map(row).collect(),
        previous: (&before).into(),
    }))
}
