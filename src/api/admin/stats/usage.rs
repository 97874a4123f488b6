//! Who and what made how many requests: one row for each model, key, token, dialect or status.

use std::collections::HashMap;

use actix_web::web::{Data, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    range::Range,
    read_figures,
    source::{Filter, GroupBy, Source, sum},
};
use crate::{
    actors::supervisor::MaskKeys,
    api::{
        admin::{Admin, List, list::Limit, parameters::Parameters},
        auth::AdminUser,
        error::{ApiError, Failure},
        gateway::Gateway,
    },
    domain::{figures::Totals, histogram::Histogram, key::KeyId, time::Now},
};

/// How long it takes, in milliseconds; `null` where nothing has succeeded. Off by a fifth at most, as they are read from
/// a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Percentiles {
    /// Half of the requests took no longer.
    pub p50: Option<f64>,
    pub p95: Option<f64>,
}

impl From<&Histogram> for Percentiles {
    fn from(histogram: &Histogram) -> Self {
        Self { p50: rounded(histogram.percentile(0.5)), p95: rounded(histogram.percentile(0.95)) }
    }
}

/// Finer than this it is not known.
pub(super) fn rounded(ms: Option<f64>) -> Option<f64> {
    ms.map(|ms| (ms * 10.0).round() / 10.0)
}

/// As Google counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Tokens {
    /// With the cached ones.
    pub prompt: i64,
    pub cached: i64,
    /// Without thoughts.
    pub output: i64,
    pub thoughts: i64,
    /// Prompt, output and thoughts.
    pub total: i64,
}

impl From<&Totals> for Tokens {
    fn from(totals: &Totals) -> Self {
        Self {
            prompt: totals.prompt_tokens,
            cached: totals.cached_tokens,
            output: totals.output_tokens,
            thoughts: totals.thoughts_tokens,
            total: totals.tokens(),
        }
    }
}

/// What a group of requests comes to. Of a key these are its attempts: those that it answered, and those that failed.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct UsageRow {
    /// Of keys the mask; `other` for models that Google does not know.
    pub name: String,
    /// Of keys and tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub requests: i64,
    pub succeeded: i64,
    /// The client was told 429 or 5xx, or its stream broke.
    pub failed: i64,
    /// Refused as wrong, or the client hung up.
    pub client_errors: i64,
    /// Without what was the client's own doing, 0 to 1; `null` where nothing is left.
    pub success_rate: Option<f64>,
    pub tokens: Tokens,
    pub first_byte_ms: Percentiles,
    pub duration_ms: Percentiles,
    /// When the last of them began.
    pub last_at_ms: i64,
}

impl UsageRow {
    pub fn new(name: String, totals: &Totals) -> Self {
        Self {
            name,
            id: None,
            requests: totals.requests,
            succeeded: totals.succeeded,
            failed: totals.failed,
            client_errors: totals.client_errors,
            success_rate: totals.success_rate(),
            tokens: totals.into(),
            first_byte_ms: (&totals.first_byte).into(),
            duration_ms: (&totals.duration).into(),
            last_at_ms: totals.last_at_ms,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UsageQuery {
    /// `model` unless it is said.
    #[param(inline)]
    group_by: Option<GroupBy>,
    /// Unix milliseconds; a day before `to_ms` unless it is said.
    from_ms: Option<i64>,
    /// Unix milliseconds; now unless it is said.
    to_ms: Option<i64>,
    /// Of one key, by model.
    key_id: Option<i64>,
    /// Of one client token, by model.
    token_id: Option<String>,
    /// Number of rows, 1 to 500; 50 unless it is said.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Limit,
}

/// What each model, key, token, dialect or status comes to in a range; the busiest first.
#[utoipa::path(
    get, path = "/api/admin/stats/usage", tag = "stats", params(UsageQuery),
    responses((status = 200, description = "The busiest, and how many there are", body = List<UsageRow>)),
)]
pub async fn usage(
    _: AdminUser,
    gateway: Data<Gateway>,
    Parameters(query): Parameters<UsageQuery>,
) -> Result<Json<List<UsageRow>>, Failure<Admin>> {
    let now_ms = Now::read().unix_ms();
    let group_by = query.group_by.unwrap_or(GroupBy::Model);
    let filter = Filter { key_id: query.key_id, token_id: query.token_id, model: None };
    let source = Source::of(Some(group_by), filter)?;
    let range = Range::read(query.from_ms, query.to_ms, now_ms)?;
    let stretches = range.stretches(source.kind, now_ms);
    let most = query.limit.0;
    let grouped = read_figures(&gateway, move |conn| source.load(conn, &stretches, most)).await?;
    let total = grouped.count;
    let rows = grouped.groups.into_iter().map(|(name, buckets)| UsageRow::new(name, &sum(buckets.values())));
    let items = name_rows(&gateway, group_by, rows.collect()).await?;
    Ok(Json(List { items, next_cursor: None, total }))
}

/// Keys by their masks, tokens by their names.
async fn name_rows(
    gateway: &Gateway,
    group_by: GroupBy,
    mut rows: Vec<UsageRow>,
) -> Result<Vec<UsageRow>, ApiError> {
    let names = group_names(gateway, group_by, rows.iter().map(|row| &*row.name)).await?;
    for row in &mut rows {
        if let Some(name) = names.get(&row.name) {
            row.id = Some(std::mem::replace(&mut row.name, name.clone()));
        }
    }
    Ok(rows)
}

/// What groups are called where they have an id: keys by their masks.
pub(super) async fn group_names(
    gateway: &Gateway,
    group_by: GroupBy,
    ids: impl Iterator<Item = &str>,
) -> Result<HashMap<String, String>, ApiError> {
    match group_by {
        GroupBy::Key => {
            let keys: Vec<KeyId> = ids.filter_map(|id| id.parse().ok().map(KeyId)).collect();
            let masks = gateway.supervisor.send(MaskKeys(keys.clone())).await;
            let masks = masks.map_err(|_| ApiError::Internal)?;
            let name = |key: KeyId| masks.get(&key).cloned().unwrap_or_else(|| format!("key {key}"));
            Ok(keys.into_iter().map(|key| (key.to_string(), name(key))).collect())
        }
        GroupBy::Token => Ok(ids.map(|id| (id.to_owned(), id.to_owned())).collect()),
        GroupBy::Model | GroupBy::Dialect | GroupBy::Status => Ok(HashMap::new()),
    }
}
