//! What failed attempts have in common: those of the same kind and status that say the same are one group.

use std::collections::{BTreeSet, HashMap};

use actix_web::web::{Data, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::error_query;
use crate::{
    api::{
        admin::{Admin, list::Limit, parameters::Parameters, stats::read_figures},
        auth::AdminUser,
        error::Failure,
        gateway::Gateway,
    },
    db::error_logs::{Sketch, sketch_error_logs},
    domain::cause::normalised,
};

/// Models that a group names.
const MODELS: usize = 20;
/// Keys that a group tells apart; more are told as this many.
const KEYS: usize = 100_000;

error_query! {
    /// Which failed attempts.
    GroupQuery {
        /// Number of groups, 1 to 500; 50 unless it is said.
        #[serde(default)]
        #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
        limit: Limit,
    }
}

/// Failed attempts that say the same.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct ErrorGroup {
    /// One word for what it was.
    pub kind: String,
    /// Google's HTTP status; `null` when it did not answer.
    pub status: Option<i32>,
    /// What Google said, with `#` for numbers and ids.
    pub message: String,
    pub count: usize,
    pub first_at_ms: i64,
    pub last_at_ms: i64,
    /// At most 20.
    pub models: Vec<String>,
    /// Number of keys.
    pub keys: usize,
    /// The newest request that it happened to.
    pub sample_request_id: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct GroupList {
    /// The largest first.
    items: Vec<ErrorGroup>,
    /// Always `null`: all groups are on this page, up to `limit`.
    next_cursor: Option<String>,
    /// Number of groups.
    total: usize,
    /// Failed attempts that were looked at.
    examined: usize,
    /// Whether there are older ones, which were not.
    is_cut: bool,
}

/// Failed attempts by their cause, the most frequent first. The newest 20,000 that match are looked at.
#[utoipa::path(
    get, path = "/api/admin/errors/groups", tag = "errors", params(GroupQuery),
    responses((status = 200, description = "The groups", body = GroupList)),
)]
pub async fn group_errors(
    _: AdminUser,
    gateway: Data<Gateway>,
    Parameters(query): Parameters<GroupQuery>,
) -> Result<Json<GroupList>, Failure<Admin>> {
    let (filter, limit) = (query.filter(), query.limit.0);
    let read = read_figures(&gateway, move |conn| {
        let page = sketch_error_logs(conn, &filter)?;
        Ok((group(&page.rows), page.rows.len(), page.next.is_some()))
    });
    let (mut items, examined, is_cut) = read.await?;
    let total = items.len();
    items.truncate(limit);
    Ok(Json(GroupList { items, next_cursor: None, total, examined, is_cut }))
}

/// What is known of a group while it grows.
#[derive(Default)]
struct Growing<'a> {
    count: usize,
    first_at_ms: i64,
    last_at_ms: i64,
    models: BTreeSet<&'a str>,
    keys: BTreeSet<i64>,
    sample_request_id: &'a str,
}

/// `sketches` are newest first.
fn group(sketches: &[Sketch]) -> Vec<ErrorGroup> {
    let mut texts: HashMap<&str, String> = HashMap::new();
    for sketch in sketches {
        texts.entry(&sketch.message).or_insert_with(|| normalised(&sketch.message));
    }
    let mut groups: HashMap<(&str, Option<i32>, &str), Growing<'_>> = HashMap::new();
    for sketch in sketches {
        let text = texts.get(&*sketch.message).map_or("", String::as_str);
        let group = groups.entry((&sketch.kind, sketch.status, text)).or_default();
        if group.count == 0 {
            (group.last_at_ms, group.sample_request_id) = (sketch.at_ms, &sketch.request_id);
        }
        group.count += 1;
        group.first_at_ms = sketch.at_ms;
        if group.models.len() < MODELS {
            group.models.insert(&sketch.model);
        }
        if group.keys.len() < KEYS {
            group.keys.extend(sketch.key_id);
        }
    }
    let tell = |((kind, status, message), group): ((&str, _, &str), Growing<'_>)| ErrorGroup {
        kind: kind.to_owned(),
        status,
        message: message.to_owned(),
        count: group.count,
        first_at_ms: group.first_at_ms,
        last_at_ms: group.last_at_ms,
        models: group.models.into_iter().map(str::to_owned).collect(),
        keys: group.keys.len(),
        sample_request_id: group.sample_request_id.to_owned(),
    };
    let mut told: Vec<_> = groups.into_iter().map(tell).collect();
    told.sort_unstable_by(|one, other| {
        other.count.cmp(&one.count).then_with(|| other.last_at_ms.cmp(&one.last_at_ms))
    });
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(at_ms: i64, key_id: i64, model: &str, message: &str) -> Sketch {
        Sketch {
            at_ms,
            request_id: format!("request-{at_ms}"),
            key_id: Some(key_id),
            model: model.into(),
            status: Some(429),
            kind: "quota_minute".into(),
            message: message.into(),
        }
    }

    #[test]
    fn errors_that_differ_in_numbers_are_one_group() {
        let told = group(&[
            sketch(9, 1, "a", "retry in 18.2s"),
            sketch(8, 2, "b", "retry in 5s"),
            sketch(7, 2, "a", "another cause"),
            sketch(6, 1, "a", "retry in 1s"),
        ]);

        let expected = ErrorGroup {
            kind: "quota_minute".into(),
            status: Some(429),
            message: "retry in #s".into(),
            count: 3,
            first_at_ms: 6,
            last_at_ms: 9,
            models: vec!["a".into(), "b".into()],
            keys: 2,
            sample_request_id: "request-9".into(),
        };
        assert_eq!((told.len(), &told[0]), (2, &expected));
    }
}
