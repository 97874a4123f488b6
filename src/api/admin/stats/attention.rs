//! What somebody should look at, and what can be done about it.

use std::sync::Arc;

use actix_web::web::{Data, Json};
use serde::Serialize;
use serde_json::{Value, json};
use tracing::error;
use utoipa::ToSchema;

use super::{range::Range, source::load_total};
use crate::{
    actors::{
        Observe,
        logger::LogQueue,
        supervisor::{Attention, AttentionItem, KeyLabel, PoolSnapshot},
    },
    api::{
        admin::{Admin, List},
        auth::AdminUser,
        error::{ApiError, Failure},
        gateway::Gateway,
        health::{NO_KEYS, NO_TOKENS},
    },
    balance::{
        egresses::Egresses,
        forecast::{Forecast, ModelForecast},
        projects::Evidence,
    },
    db::rollups::Kind,
    domain::{
        figures::Totals,
        time::Now,
        timeline::{HOUR_MS, MINUTE_MS},
    },
    upstream::proxies::Proxies,
};

/// The success of so long is judged, if there were so many requests.
const JUDGED_MS: i64 = 15 * MINUTE_MS;
const JUDGED_REQUESTS: i64 = 20;
/// Rows of the log that wait while the database does not take them.
const BACKLOG: usize = 5_000;
/// Models that are told of.
const MODELS: usize = 5;

/// How much it matters; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
    Info,
}

/// Something that somebody should look at.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Notice {
    /// One word: `no_keys`, `no_tokens`, `keys_invalid`, `shared_project`, `model_exhausted`, `model_dry`,
    /// `egress_storm`, `proxies_failing`, `high_error_rate`, `log_backlog`, `database_down`.
    pub kind: &'static str,
    pub severity: Severity,
    pub message: String,
    /// How many keys, requests or rows it is about.
    pub count: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyLabel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Of keys that seem to share a project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    pub actions: Vec<Action>,
}

/// What can be done about it: a page to open, or the body of `POST keys/actions`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Action {
    /// `verify`, `delete`, `set_project`, or `open_keys`, `open_requests`, `open_errors`, `open_models`, `open_clients`,
    /// `open_system`.
    pub action: &'static str,
    /// Names the label in the dashboard's texts.
    pub label_key: &'static str,
    /// Parameters of the page, or the filter of the keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Value>,
    /// The keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<i64>,
}

impl Notice {
    fn new(kind: &'static str, severity: Severity, count: u64, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, severity, message, count, keys: vec![], model: None, evidence: None, actions: vec![] }
    }

    fn can(mut self, action: &'static str, label_key: &'static str, filter: Option<Value>) -> Self {
        self.actions.push(Action { action, label_key, filter, ids: Vec::new() });
        self
    }
}

/// What somebody should look at, the worst first.
#[utoipa::path(
    get, path = "/api/admin/stats/attention", tag = "stats",
    responses((status = 200, description = "What there is", body = List<Notice>)),
)]
pub async fn attention(_: AdminUser, gateway: Data<Gateway>) -> Result<Json<List<Notice>>, Failure<Admin>> {
    let now = Now::read();
    let now_ms = now.unix_ms();
    let range = Range { from_ms: now_ms - JUDGED_MS, to_ms: now_ms };
    let supervisor = &gateway.supervisor;
    let (twins, pool, forecast, totals) = tokio::join!(
        supervisor.send(Observe::<Attention>::new()),
        supervisor.send(Observe::<PoolSnapshot>::new()),
        supervisor.send(Observe::<Arc<Forecast>>::new()),
        gateway.database.read(move |conn| load_total(conn, &range.stretches(Kind::Total, now_ms))),
    );
    let twins = twins.map_err(|_| ApiError::Internal)?;
    let pool = pool.map_err(|_| ApiError::Internal)?;
    let forecast = forecast.map_err(|_| ApiError::Internal)?;
    let mut notices = of_pool(&pool);
    if gateway.tokens.table().holders().is_empty() {
        let notice = Notice::new("no_tokens", Severity::Error, 0, NO_TOKENS);
        notices.push(notice.can("open_clients", "attention.open_clients", None));
    }
    notices.extend(of_storms(&gateway.proxies.egresses(), now));
    notices.extend(of_proxies(&gateway.proxies));
    notices.extend(twins.items.into_iter().map(of_twins));
    let models = gateway.models.borrow().clone();
    let listed = forecast.models.iter().filter(|told| models.find(&told.model).is_some());
    notices.extend(listed.filter_map(|told| of_model(told, now_ms)).take(MODELS));
    match totals {
        Ok(totals) => notices.extend(of_success(&totals)),
        Err(failure) => {
            error!(error = %failure, "figures cannot be read");
            let message = "the database does not answer; requests go on, and their log rows wait in memory";
            let notice = Notice::new("database_down", Severity::Error, 1, message);
            notices.push(notice.can("open_system", "attention.open_system", None));
        }
    }
    notices.extend(of_log(&gateway.log_queue));
    notices.sort_by_key(|notice| notice.severity);
    Ok(Json(List::whole(notices)))
}

fn of_pool(pool: &PoolSnapshot) -> Vec<Notice> {
    let states = &pool.states;
    let usable = states.active + states.half_open + states.cooling;
    let invalid = states.invalid;
    if usable + invalid == 0 {
        let notice = Notice::new("no_keys", Severity::Error, 0, NO_KEYS);
        return vec![notice.can("open_keys", "attention.open_keys", None)];
    }
    if invalid == 0 {
        return Vec::new();
    }
    let (severity, of_all) = match usable {
        0 => (Severity::Error, "all API keys are invalid".to_owned()),
        _ => (Severity::Warning, format!("{invalid} of {} API keys are invalid", usable + invalid)),
    };
    let filter = json!({"state": ["invalid"]});
    let notice = Notice::new("keys_invalid", severity, invalid as u64, of_all)
        .can("open_keys", "attention.open_keys", Some(filter.clone()))
        .can("verify", "attention.verify", Some(filter.clone()))
        .can("delete", "attention.delete", Some(filter));
    vec![notice]
}

/// What is refused as a whole by Google. It matters less where requests have another way.
fn of_storms(egresses: &Egresses, now: Now) -> Option<Notice> {
    let refused = egresses.all().iter().filter_map(|egress| {
        let (until, model) = egress.longest_pause(now.instant)?;
        let name = if egress.name().is_empty() { "this machine's own address" } else { egress.name() };
        let model = model.map(|model| format!(" for {model}")).unwrap_or_default();
        let seconds = until.saturating_duration_since(now.instant).as_secs_f64().ceil();
        Some(format!("{name}{model} ({seconds} s)"))
    });
    let refused: Vec<_> = refused.collect();
    if refused.is_empty() {
        return None;
    }
    let is_all = refused.len() == egresses.all().len();
    let severity = if is_all { Severity::Error } else { Severity::Warning };
    let message = format!(
        "keys of many projects are refused alike, so what they leave by rests, and no key is blamed: {}",
        refused.join(", ")
    );
    let notice = Notice::new("egress_storm", severity, refused.len() as u64, message);
    Some(notice.can("open_system", "attention.open_system", None))
}

fn of_proxies(proxies: &Proxies) -> Option<Notice> {
    let all = proxies.routes();
    let failing = all.iter().filter(|route| route.seen().is_well == Some(false));
    let failing: Vec<_> = failing.map(|route| route.to_string()).collect();
    if failing.is_empty() {
        return None;
    }
    let severity = if failing.len() == all.len() { Severity::Error } else { Severity::Warning };
    let message =
        format!("{} of {} proxies do not connect: {}", failing.len(), all.len(), failing.join(", "));
    let notice = Notice::new("proxies_failing", severity, failing.len() as u64, message);
    Some(notice.can("open_system", "attention.open_system", None))
}

fn of_twins(item: AttentionItem) -> Notice {
    let AttentionItem::SharedProject { evidence, keys, message } = item;
    let ids = keys.iter().map(|key| key.id.0).collect();
    let mut notice = Notice::new("shared_project", Severity::Info, keys.len() as u64, message);
    notice.actions.push(Action {
        action: "set_project",
        label_key: "attention.set_project",
        filter: None,
        ids,
    });
    (notice.keys, notice.evidence) = (keys, Some(evidence));
    notice
}

fn of_model(told: &ModelForecast, now_ms: i64) -> Option<Notice> {
    let model = &told.model;
    let minutes = |span_ms: i64| (span_ms / MINUTE_MS).max(1);
    let notice = if told.projects > 0 && told.ready_projects == 0 {
        let when = match told.next_recovery_at_ms {
            Some(at_ms) => format!("the first has some again in {} min", minutes(at_ms - now_ms)),
            None => "nobody knows when that changes".to_owned(),
        };
        let message = format!("no project has quota left for {model}; {when}");
        Notice::new("model_exhausted", Severity::Error, told.projects, message)
    } else {
        let dry_in_ms = i64::try_from(told.day.dry_in_ms?).unwrap_or(i64::MAX);
        let message = format!(
            "at the present rate {model} has no quota left in {} min; the day ends in {} h",
            minutes(dry_in_ms),
            (told.day.resets_at_ms - now_ms) / HOUR_MS
        );
        Notice::new("model_dry", Severity::Warning, told.projects, message)
    };
    let notice = notice.can("open_models", "attention.open_models", None);
    Some(Notice { model: Some(model.to_string()), ..notice })
}

fn of_success(totals: &Totals) -> Option<Notice> {
    let judged = totals.succeeded + totals.failed;
    let rate = totals.success_rate().filter(|_| judged >= JUDGED_REQUESTS)?;
    let severity = match rate {
        ..0.5 => Severity::Error,
        ..0.8 => Severity::Warning,
        _ => return None,
    };
    let message = format!("{} of {judged} requests of the last 15 minutes failed", totals.failed);
    let notice = Notice::new("high_error_rate", severity, totals.failed.unsigned_abs(), message);
    Some(notice.can("open_errors", "attention.open_errors", None).can(
        "open_requests",
        "attention.open_requests",
        Some(json!({"status": "error"})),
    ))
}

fn of_log(queue: &LogQueue) -> Option<Notice> {
    let (queued, dropped) = (queue.queued(), queue.dropped());
    let notice = if dropped > 0 {
        let message =
            format!("{dropped} log rows were given up since the start, as too many waited or broke a rule");
        Notice::new("log_backlog", Severity::Error, dropped, message)
    } else if queued >= BACKLOG {
        let message = format!("{queued} log rows wait to be written; the database is slow or away");
        Notice::new("log_backlog", Severity::Warning, queued as u64, message)
    } else {
        return None;
    };
    Some(notice.can("open_system", "attention.open_system", None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(succeeded: i64, failed: i64) -> Totals {
        Totals { succeeded, failed, ..Totals::default() }
    }

    #[test]
    fn failures_are_told_once_there_are_enough_requests_to_judge() {
        let severity = |succeeded, failed| of_success(&totals(succeeded, failed)).map(|told| told.severity);

        assert_eq!(severity(0, 19), None);
        assert_eq!(severity(95, 5), None);
        assert_eq!(severity(70, 30), Some(Severity::Warning));
        assert_eq!(severity(10, 90), Some(Severity::Error));
    }

    #[test]
    fn a_log_that_waits_or_loses_rows_is_told() {
        let queue = LogQueue::default();
        assert_eq!(of_log(&queue), None);

        queue.refuse(3);

        let told = of_log(&queue).unwrap();
        assert_eq!((told.kind, told.severity, told.count), ("log_backlog", Severity::Error, 3));
    }
}
