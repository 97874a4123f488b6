//! A key as the dashboard sees it.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    actors::directory::KeyRow,
    balance::breaker::ModelReason,
    domain::{
        key::{KeyId, KeyOrigin},
        key_event::StateName,
        model::ModelName,
        outcome::{QuotaMetric, QuotaWindow},
        placement::{ModelRules, ProjectName, Tier},
        quota::{LimitSource, ModelPattern},
        time::Now,
    },
};

/// One key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyView {
    pub id: KeyId,
    pub masked: String,
    pub label: Option<String>,
    pub tags: Vec<String>,
    pub project: Option<ProjectName>,
    /// `null`: the default tier.
    pub tier: Option<Tier>,
    pub weight: u8,
    pub models: ModelsView,
    pub origin: KeyOrigin,
    pub created_at_ms: i64,
    pub state: StateName,
    /// Why it is not active.
    pub reason: Option<String>,
    /// When that ends; `null` where nobody knows.
    pub until_ms: Option<i64>,
    /// When a key that has recovered has its whole share of traffic again.
    pub warm_at_ms: Option<i64>,
    pub cooldowns: Vec<CooldownView>,
    pub in_flight: u32,
    pub consecutive_failures: u32,
    /// Attempts with it.
    pub requests_total: u64,
    /// Of these, failed through the key itself, its quotas or its project.
    pub failures_total: u64,
    pub last_used_at_ms: Option<i64>,
    /// The outcome that last went against the key.
    pub last_error: Option<String>,
    /// What its project has used; keys of one project show the same.
    pub quota: Vec<QuotaView>,
}

/// Which models a key is for.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct ModelsView {
    /// Empty is all.
    pub only: Vec<ModelPattern>,
    pub not: Vec<ModelPattern>,
}

/// A model that a key is not used for at present.
#[derive(Debug, Serialize, ToSchema)]
pub struct CooldownView {
    pub model: ModelName,
    pub until_ms: i64,
    pub reason: ModelReason,
    /// The quota's window; `null` where it is no quota, or an unknown one.
    pub window: Option<QuotaWindow>,
}

/// One window of one model.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuotaView {
    pub model: ModelName,
    pub window: QuotaWindow,
    pub metric: QuotaMetric,
    pub used: u64,
    pub limit: Option<u64>,
    pub source: Option<LimitSource>,
    pub resets_at_ms: Option<i64>,
}

impl From<&ModelRules> for ModelsView {
    fn from(rules: &ModelRules) -> Self {
        Self { only: rules.only.clone(), not: rules.not.clone() }
    }
}

impl KeyView {
    pub fn of(row: &KeyRow, now: Now) -> Self {
        let (reason, until_ms) = row.health.reason();
        Self {
            id: row.id,
            masked: row.masked(),
            label: row.about.label.clone(),
            tags: row.about.tags.clone(),
            project: row.placement.project.clone(),
            tier: row.placement.tier,
            weight: row.placement.weight,
            models: (&row.placement.models).into(),
            origin: row.about.origin,
            created_at_ms: row.about.created_at_ms,
            state: row.health.name(),
            reason,
            until_ms,
            warm_at_ms: row.health.warm_at_ms,
            cooldowns: cooldowns(row),
            in_flight: row.place.gauge.in_flight(),
            consecutive_failures: row.health.consecutive_failures,
            requests_total: row.tally().attempts(),
            failures_total: row.tally().failures(),
            last_used_at_ms: row.tally().last_used_ms(),
            last_error: row.tally().last_failure().map(Cow::into_owned),
            quota: quota(row, now),
        }
    }

    /// What an admin may change of it, for telling versions apart.
    pub fn editable(&self) -> impl Serialize + '_ {
        let by_hand = (self.state == StateName::Disabled).then_some(self.until_ms);
        (&self.label, &self.tags, &self.project, self.tier, self.weight, &self.models, by_hand)
    }
}

fn cooldowns(row: &KeyRow) -> Vec<CooldownView> {
    let view = |cooldown: &crate::balance::breaker::CooldownSnapshot| CooldownView {
        model: cooldown.model.clone(),
        until_ms: cooldown.until_ms,
        reason: cooldown.reason,
        window: match cooldown.reason {
            ModelReason::QuotaMinute => Some(QuotaWindow::Minute),
            ModelReason::QuotaDay => Some(QuotaWindow::Day),
            ModelReason::QuotaUnknown | ModelReason::Unavailable => None,
        },
    };
    row.health.cooldowns.iter().map(view).collect()
}

/// Windows in which something was used, or that have a limit.
fn quota(row: &KeyRow, now: Now) -> Vec<QuotaView> {
    let used = row.place.ledger.usage(now);
    let windows = used.iter().flat_map(|of| of.windows.iter().map(move |window| (of, window)));
    let shown = windows.filter(|(_, window)| window.used > 0 || window.limit.is_some());
    shown
        .map(|(of, window)| QuotaView {
            model: of.model.clone(),
            window: window.window,
            metric: window.metric,
            used: window.used,
            limit: window.limit.map(|limit| limit.value),
            source: window.limit.map(|limit| limit.source),
            resets_at_ms: window.resets.map(|at| now.unix_ms_at(at)),
        })
        .collect()
}
