//! One key: look at it, change it, check it, see its secret.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Json, Path},
};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::time::Instant;
use tracing::info;
use utoipa::ToSchema;

use super::{balancer_has_heard, is_text, look_up, not_stored, read_tags, view::KeyView};
use crate::{
    actors::{
        directory::KeyRow,
        supervisor::{PlaceKeys, SteerKeys},
    },
    api::{
        admin::{Admin, body::JsonBody, error::AdminError, etag::Version},
        auth::AdminUser,
        error::{ApiError, Failure},
        gateway::Gateway,
    },
    db::keys::change_keys,
    domain::{
        key::{DisabledUntil, KeyAbout, Steering},
        key_event::StateName,
        placement::{KeyPlacement, ModelRules, ProjectName, Tier},
        quota::ModelPattern,
        time::Now,
    },
    services::recheck::VerifyKeys,
};

/// What may be changed of a key; what is left out stays, `null` takes away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyChanges {
    state: Option<Switch>,
    /// With `disabled`: when the key is enabled again by itself.
    until_ms: Option<i64>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    label: Given<String>,
    tags: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    project: Given<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Tier>)]
    tier: Given<Tier>,
    #[schema(minimum = 1, maximum = 100)]
    weight: Option<u8>,
    models: Option<ModelsChange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Switch {
    Active,
    Disabled,
}

/// Names of models, in which `*` stands for any text.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ModelsChange {
    #[serde(default)]
    only: Vec<String>,
    #[serde(default)]
    not: Vec<String>,
}

/// A field that may be left out, or taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Given<T> {
    #[default]
    Not,
    Null,
    Value(T),
}

fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Given<T>, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.map_or(Given::Null, Given::Value))
}

/// The secret itself.
#[derive(Serialize, ToSchema)]
pub struct Revealed {
    pub key: String,
}

/// What a check of one key came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct Verified {
    /// Google accepted the key.
    pub ok: bool,
    pub outcome: Finding,
    pub message: String,
    pub duration_ms: u64,
    pub key: KeyView,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    Accepted,
    Refused,
    /// Google could not be asked, or said nothing about the key.
    Unclear,
}

pub fn versioned(row: &KeyRow) -> (KeyView, Version) {
    let view = KeyView::of(row, Now::read());
    let version = Version::of(&view.editable(), &view);
    (view, version)
}

/// One key.
#[utoipa::path(
    get, path = "/api/admin/keys/{id}", tag = "keys", params(("id" = i64, Path, description = "Its id")),
    responses((status = 200, description = "The key", body = KeyView)),
)]
pub async fn find_key(
    _: AdminUser,
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<String>,
) -> Result<HttpResponse, Failure<Admin>> {
    let (view, version) = versioned(&look_up(&gateway, &id).await?);
    Ok(version.respond(&request, &view))
}

/// Changes a key.
///
/// A disabled key gets no request any more from the moment of the answer; those that are under way go on.
#[utoipa::path(
    patch, path = "/api/admin/keys/{id}", tag = "keys", params(("id" = i64, Path, description = "Its id")),
    request_body = KeyChanges,
    responses((status = 200, description = "The key as it is now", body = KeyView)),
)]
pub async fn update_key(
    _: AdminUser,
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<String>,
    changes: JsonBody<KeyChanges>,
) -> Result<HttpResponse, Failure<Admin>> {
    let editing = gateway.admin.key_edits.lock().await;
    let row = look_up(&gateway, &id).await?;
    versioned(&row).1.require(&request)?;
    let steering = changes.0.steering()?;
    let (placement, about) = changes.0.applied(&row)?;
    if placement != *row.placement || about != *row.about {
        let changed = vec![(row.id, placement, about)];
        let stored = changed.clone();
        gateway.database.write(move |conn| change_keys(conn, &stored)).await.map_err(not_stored)?;
        let _ = gateway.supervisor.send(PlaceKeys(changed)).await;
    }
    drop(editing);
    if let Some(steering) = steering {
        let steered = gateway.supervisor.send(SteerKeys { keys: vec![row.id], steering }).await;
        steered.map_err(|_| ApiError::Internal)?.map_err(not_stored)?;
    }
    balancer_has_heard(&gateway).await;
    let (view, version) = versioned(&look_up(&gateway, &id).await?);
    Ok(version.respond(&request, &view))
}

/// The secret of a key. That somebody asked for it is logged, the secret is not.
#[utoipa::path(
    post, path = "/api/admin/keys/{id}/reveal", tag = "keys", params(("id" = i64, Path, description = "Its id")),
    responses((status = 200, description = "The secret", body = Revealed)),
)]
pub async fn reveal_key(
    _: AdminUser,
    gateway: Data<Gateway>,
    id: Path<String>,
) -> Result<Json<Revealed>, Failure<Admin>> {
    let row = look_up(&gateway, &id).await?;
    info!(key.id = %row.id, "an admin has looked at the secret of key {}", row.id);
    Ok(Json(Revealed { key: row.secret.expose().to_owned() }))
}

/// Asks Google about a key, with calls that cost no quota, and acts on the answer: a key that is accepted is used again,
/// but for one whose project had no money, which the next request decides.
#[utoipa::path(
    post, path = "/api/admin/keys/{id}/verify", tag = "keys", params(("id" = i64, Path, description = "Its id")),
    responses((status = 200, description = "What came of it", body = Verified)),
)]
pub async fn verify_key(
    _: AdminUser,
    gateway: Data<Gateway>,
    id: Path<String>,
) -> Result<Json<Verified>, Failure<Admin>> {
    let row = look_up(&gateway, &id).await?;
    let began = Instant::now();
    let result = gateway.recheck.send(VerifyKeys(vec![row.id])).await.map_err(|_| ApiError::Internal)?;
    balancer_has_heard(&gateway).await;
    let key = KeyView::of(&look_up(&gateway, &id).await?, Now::read());
    let (outcome, message) = match (result.found_well, result.found_invalid, result.distrusted) {
        (1.., ..) => (Finding::Accepted, accepted(key.state)),
        (_, 1.., _) => (Finding::Refused, "Google refuses the key"),
        (.., 1..) => (Finding::Unclear, "Google refuses other keys as well, so nothing follows for this one"),
        _ => (Finding::Unclear, "Google could not be asked, or said nothing about the key"),
    };
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let ok = outcome == Finding::Accepted;
    Ok(Json(Verified { ok, outcome, message: message.to_owned(), duration_ms, key }))
}

/// What follows for a key that Google accepts.
fn accepted(state: StateName) -> &'static str {
    match state {
        StateName::Active => "Google accepts the key, and it is in use",
        StateName::Disabled => "Google accepts the key; it stays switched off",
        StateName::HalfOpen | StateName::Cooling | StateName::Invalid => {
            "Google accepts the key; whether its project may spend money again, the next request shows"
        }
    }
}

impl KeyChanges {
    fn steering(&self) -> Result<Option<Steering>, AdminError> {
        match (self.state, self.until_ms) {
            (Some(Switch::Disabled), until_ms) => {
                Ok(Some(Steering::Disable(DisabledUntil { until_ms: read_until(until_ms)? })))
            }
            (_, Some(_)) => Err(AdminError::field("until_ms", "goes with the state `disabled` alone")),
            (Some(Switch::Active), None) => Ok(Some(Steering::Enable)),
            (None, None) => Ok(None),
        }
    }

    fn applied(self, row: &KeyRow) -> Result<(KeyPlacement, KeyAbout), AdminError> {
        let (mut placement, mut about) = ((*row.placement).clone(), (*row.about).clone());
        match self.label {
            Given::Not => {}
            Given::Null => about.label = None,
            Given::Value(label) if label.trim().is_empty() => about.label = None,
            Given::Value(label) if is_text(&label) => about.label = Some(label.trim().to_owned()),
            Given::Value(_) => {
                return Err(AdminError::field("label", "is longer than 100 characters or not printable"));
            }
        }
        match self.project {
            Given::Not => {}
            Given::Null => placement.project = None,
            Given::Value(name) if name.trim().is_empty() => placement.project = None,
            Given::Value(name) => placement.project = Some(read_project(name.trim())?),
        }
        match self.tier {
            Given::Not => {}
            Given::Null => placement.tier = None,
            Given::Value(tier) => placement.tier = Some(tier),
        }
        if let Some(tags) = self.tags {
            about.tags = read_tags(tags)?;
        }
        if let Some(weight) = self.weight {
            placement.weight = read_weight(weight)?;
        }
        if let Some(models) = self.models {
            placement.models =
                ModelRules { only: read_models(&models.only)?, not: read_models(&models.not)? };
        }
        Ok((placement, about))
    }
}

/// A time that lies ahead, and not further than anybody plans.
pub fn read_until(until_ms: Option<i64>) -> Result<Option<i64>, AdminError> {
    const TEN_YEARS_MS: i64 = 10 * 366 * 86_400_000;
    let now_ms = Now::read().unix_ms();
    let is_right = until_ms.is_none_or(|at| at > now_ms && at - now_ms < TEN_YEARS_MS);
    is_right
        .then_some(until_ms)
        .ok_or_else(|| AdminError::field("until_ms", "is not a time within the next ten years"))
}

pub fn read_project(name: &str) -> Result<ProjectName, AdminError> {
    ProjectName::parse(name)
        .ok_or_else(|| AdminError::field("project", "is not 1 to 64 letters, digits, -, _ or ."))
}

pub fn read_weight(weight: u8) -> Result<u8, AdminError> {
    let is_right = (1..=100).contains(&weight);
    is_right.then_some(weight).ok_or_else(|| AdminError::field("weight", "is not a number from 1 to 100"))
}

fn read_models(names: &[String]) -> Result<Vec<ModelPattern>, AdminError> {
    let read = |name: &String| ModelPattern::parse(name.trim());
    let patterns: Option<Vec<_>> = names.iter().take(101).map(read).collect();
    patterns
        .filter(|patterns| patterns.len() <= 100)
        .ok_or_else(|| AdminError::field("models", "are not up to 100 names or patterns with *"))
}
