//! One action over many keys: over those that are named, or over all that a filter fits.

pub mod run;

use actix_web::{HttpResponse, web::Data};
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use super::{
    list::{Selection, ask},
    one::{read_project, read_until, read_weight},
    read_tags,
};
use crate::{
    actors::directory::{KeyFilter, KeyRow, KeySort, QueryKeys},
    api::{
        admin::{
            Admin,
            envelope::ErrorBody,
            error::AdminError,
            idempotency::Once,
            jobs::{self, Job},
        },
        auth::AdminUser,
        error::Failure,
        gateway::Gateway,
    },
    domain::{
        key::{KeyAbout, KeyId, Steering},
        placement::{KeyPlacement, Tier},
    },
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Asks Google about them, with calls that cost no quota.
    Verify,
    /// Forgets what is held against them.
    Reset,
    Enable,
    Disable,
    Delete,
    Update,
}

/// What to do with which keys: `ids` or `filter`, never both.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionBody {
    action: Action,
    ids: Option<Vec<KeyId>>,
    /// An empty one fits all keys.
    filter: Option<Selection>,
    /// With `disable`: when they are enabled again by themselves.
    until_ms: Option<i64>,
    /// With `update`.
    changes: Option<ManyChanges>,
}

/// What is changed of all of them.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManyChanges {
    #[serde(default)]
    tags_add: Vec<String>,
    #[serde(default)]
    tags_remove: Vec<String>,
    /// A blank one takes it away.
    project: Option<String>,
    tier: Option<Tier>,
    #[schema(minimum = 1, maximum = 100)]
    weight: Option<u8>,
}

/// The job that does it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accepted {
    pub job: Job,
}

/// What takes back what a job has done.
#[derive(Debug)]
pub enum Undo {
    /// What makes each enabled or disabled as it was.
    Switch(Vec<(KeyId, Steering)>),
    Place(Vec<(KeyId, KeyPlacement, KeyAbout)>),
    Restore(Vec<KeyId>),
}

impl Undo {
    /// Number of keys.
    pub fn count(&self) -> usize {
        match self {
            Self::Restore(keys) => keys.len(),
            Self::Switch(keys) => keys.len(),
            Self::Place(keys) => keys.len(),
        }
    }
}

/// What a job does, once its words were read.
#[derive(Debug, Clone)]
pub enum Task {
    Verify,
    Reset,
    Enable,
    Disable { until_ms: Option<i64> },
    Delete,
    Update(ManyChanges),
}

/// Starts an action over many keys. With an `Idempotency-Key` the same request starts one job, however often it is sent
/// within a day.
#[utoipa::path(
    post, path = "/api/admin/keys/actions", tag = "keys", request_body = ActionBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Any text that is new for each request")),
    responses(
        (status = 202, description = "The job that does it", body = Accepted),
        (status = 409, description = "The first request with that Idempotency-Key is still running", body = ErrorBody),
    ),
)]
pub async fn start_action(
    _: AdminUser,
    gateway: Data<Gateway>,
    Once { body, attempt }: Once<ActionBody>,
) -> Result<HttpResponse, Failure<Admin>> {
    attempt.once(&gateway.clone(), begin(gateway, body)).await
}

async fn begin(gateway: Data<Gateway>, body: ActionBody) -> Result<HttpResponse, Failure<Admin>> {
    let task = body.task()?;
    let filter = match (body.ids, body.filter) {
        (Some(ids), None) => KeyFilter { ids: Some(ids.into_iter().collect()), ..KeyFilter::default() },
        (None, Some(selection)) => selection.into(),
        _ => {
            return Err(
                AdminError::field("ids", "or `filter` says which keys are meant, one of the two").into()
            );
        }
    };
    let query = QueryKeys { filter, sort: KeySort::Id, is_descending: false, offset: 0, limit: usize::MAX };
    let rows: Vec<KeyRow> = ask(&gateway, query).await?.rows;
    let name = serde_json::to_value(body.action).ok().and_then(|name| name.as_str().map(str::to_owned));
    let (job, running) = jobs::begin(&gateway, name.as_deref().unwrap_or_default(), rows.len())?;
    info!(action = ?body.action, keys = rows.len(), "an admin has started a job");
    run::start(gateway, running, task, rows);
    Ok(HttpResponse::Accepted().json(Accepted { job }))
}

impl ActionBody {
    fn task(&self) -> Result<Task, AdminError> {
        if self.until_ms.is_some() && self.action != Action::Disable {
            return Err(AdminError::field("until_ms", "goes with `disable` alone"));
        }
        match (self.action, &self.changes) {
            (Action::Update, Some(changes)) => Ok(Task::Update(changes.clone().checked()?)),
            (Action::Update, None) => Err(AdminError::field("changes", "is missing")),
            (_, Some(_)) => Err(AdminError::field("changes", "goes with `update` alone")),
            (Action::Verify, None) => Ok(Task::Verify),
            (Action::Reset, None) => Ok(Task::Reset),
            (Action::Enable, None) => Ok(Task::Enable),
            (Action::Disable, None) => Ok(Task::Disable { until_ms: read_until(self.until_ms)? }),
            (Action::Delete, None) => Ok(Task::Delete),
        }
    }
}

impl ManyChanges {
    fn checked(self) -> Result<Self, AdminError> {
        let (tags_add, tags_remove) = (read_tags(self.tags_add)?, read_tags(self.tags_remove)?);
        if let Some(name) = self.project.as_deref().filter(|name| !name.is_empty()) {
            read_project(name)?;
        }
        self.weight.map(read_weight).transpose()?;
        Ok(Self { tags_add, tags_remove, ..self })
    }

    /// The key as it is then; `None` when it stays as it is.
    pub fn applied(&self, row: &KeyRow) -> Option<(KeyId, KeyPlacement, KeyAbout)> {
        let (mut placement, mut about) = ((*row.placement).clone(), (*row.about).clone());
        about.tags.retain(|tag| !self.tags_remove.contains(tag));
        about.tags.extend(self.tags_add.iter().cloned());
        about.tags.sort();
        about.tags.dedup();
        about.tags.truncate(super::MOST_TAGS);
        match self.project.as_deref() {
            Some("") => placement.project = None,
            Some(name) => placement.project = read_project(name).ok(),
            None => {}
        }
        placement.tier = self.tier.or(placement.tier);
        placement.weight = self.weight.unwrap_or(placement.weight);
        (placement != *row.placement || about != *row.about).then_some((row.id, placement, about))
    }
}
