//! New keys, out of whatever text they stand in.

use std::collections::HashMap;

use actix_web::{HttpResponse, web::Data};
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use super::{balancer_has_heard, is_text, not_stored, read_tags};
use crate::{
    actors::supervisor::{AddKeys, PoolKey},
    api::{
        admin::{Admin, envelope::ErrorBody, error::AdminError, idempotency::Once},
        auth::AdminUser,
        error::Failure,
        gateway::Gateway,
    },
    db::keys::{find_prints, insert_keys},
    domain::{
        key::{ApiKey, KeyId},
        key_text::{Found, find_keys},
        placement::{PlacedKey, ProjectName, Tier},
        time::Now,
    },
};

/// Keys of one request; more are several requests.
const MOST_KEYS: usize = 100_000;
/// Items of an answer that are told one by one; the counts tell of all.
const TOLD: usize = 1000;

/// Keys to add, and what is said of all of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKeys {
    keys: KeyText,
    #[serde(default)]
    tags: Vec<String>,
    /// For keys that name none themselves.
    project: Option<String>,
    tier: Option<Tier>,
    weight: Option<u8>,
    label: Option<String>,
    /// Only tells what would be done.
    #[serde(default)]
    dry_run: bool,
}

/// Any text with keys in it, or a list of such texts.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
enum KeyText {
    Whole(String),
    List(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    Added,
    Duplicate,
    Rejected,
}

/// What became of one key.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewKeyItem {
    pub masked: String,
    pub status: Fate,
    pub id: Option<KeyId>,
    pub reason: Option<String>,
}

/// What became of all; of very many only the first are told one by one.
#[derive(Debug, Serialize, ToSchema)]
pub struct Created {
    pub added: usize,
    pub duplicate: usize,
    pub rejected: usize,
    pub items: Vec<NewKeyItem>,
}

/// Adds keys.
///
/// They are found in text of any shape: lists, JSON, CSV, `.env`, lines of `API_KEYS`. A key that is there already stays
/// as it is, so the same request may be sent again; with an `Idempotency-Key` it gets the same answer again for a day.
#[utoipa::path(
    post, path = "/api/admin/keys", tag = "keys", request_body = NewKeys,
    params(("Idempotency-Key" = Option<String>, Header, description = "Any text that is new for each request")),
    responses(
        (status = 200, description = "Nothing was added", body = Created),
        (status = 201, description = "They are in use", body = Created),
        (status = 409, description = "The first request with that Idempotency-Key is still running", body = ErrorBody),
    ),
)]
pub async fn create_keys(
    _: AdminUser,
    gateway: Data<Gateway>,
    Once { body, attempt }: Once<NewKeys>,
) -> Result<HttpResponse, Failure<Admin>> {
    attempt.once(&gateway.clone(), create(gateway, body)).await
}

async fn create(gateway: Data<Gateway>, new: NewKeys) -> Result<HttpResponse, Failure<Admin>> {
    let (about, found) = new.read()?;
    if found.keys.len() > MOST_KEYS {
        return Err(AdminError::field("keys", format!("has more than {MOST_KEYS} keys")).into());
    }
    let (sealer, now_ms, keys) = (gateway.sealer.clone(), Now::read().unix_ms(), found.keys.clone());
    if new.dry_run {
        let known =
            gateway.database.read(move |conn| find_prints(conn, &sealer, &keys)).await.map_err(not_stored)?;
        let is_known = known.into_iter();
        let fates = found.keys.iter().zip(is_known).map(|(placed, known)| (placed, None, known));
        return Ok(HttpResponse::Ok().json(tell(&found, fates)));
    }
    let stored = gateway
        .database
        .write(move |conn| insert_keys(conn, &sealer, &keys, (about.0.as_deref(), &about.1), now_ms))
        .await
        .map_err(not_stored)?;
    let ids: HashMap<ApiKey, KeyId> = stored.iter().map(|stored| (stored.key.clone(), stored.id)).collect();
    let pool = stored.into_iter().map(PoolKey::from).collect();
    let _ = gateway.supervisor.send(AddKeys(pool)).await;
    balancer_has_heard(&gateway).await;
    if !ids.is_empty() {
        info!(keys = ids.len(), "an admin has added keys");
    }
    let fates = found.keys.iter().map(|placed| {
        let id = ids.get(&placed.key).copied();
        (placed, id, id.is_none())
    });
    let mut response = if ids.is_empty() { HttpResponse::Ok() } else { HttpResponse::Created() };
    Ok(response.json(tell(&found, fates)))
}

fn tell<'k>(found: &Found, fates: impl Iterator<Item = (&'k PlacedKey, Option<KeyId>, bool)>) -> Created {
    let mut told =
        Created { added: 0, duplicate: found.repeated, rejected: found.odd.len(), items: Vec::new() };
    for (placed, id, is_known) in fates {
        let status = if is_known { Fate::Duplicate } else { Fate::Added };
        match status {
            Fate::Duplicate => told.duplicate += 1,
            Fate::Added | Fate::Rejected => told.added += 1,
        }
        if told.items.len() < TOLD {
            let masked = placed.key.masked();
            let reason = is_known.then(|| "is there already".to_owned());
            told.items.push(NewKeyItem { masked, status, id, reason });
        }
    }
    told.items.extend(found.odd.iter().map(|odd| NewKeyItem {
        masked: odd.masked.clone(),
        status: Fate::Rejected,
        id: None,
        reason: Some(odd.reason.clone()),
    }));
    told
}

/// A label and tags.
type Note = (Option<String>, Vec<String>);

impl NewKeys {
    /// What holds for all of them, and the keys.
    fn read(&self) -> Result<(Note, Found), AdminError> {
        let tags = read_tags(self.tags.clone())?;
        let label = self.label.as_deref().map(str::trim).filter(|label| !label.is_empty());
        if label.is_some_and(|label| !is_text(label)) {
            return Err(AdminError::field("label", "is longer than 100 characters or not printable"));
        }
        let project = self.project.as_deref().map(str::trim).filter(|name| !name.is_empty());
        let project = project.map(|name| {
            ProjectName::parse(name)
                .ok_or_else(|| AdminError::field("project", "is not 1 to 64 letters, digits, -, _ or ."))
        });
        let project = project.transpose()?;
        if self.weight.is_some_and(|weight| !(1..=100).contains(&weight)) {
            return Err(AdminError::field("weight", "is not a number from 1 to 100"));
        }
        let mut found = match &self.keys {
            KeyText::Whole(text) => find_keys(text),
            KeyText::List(texts) => find_keys(&texts.join("\n")),
        };
        for placed in &mut found.keys {
            let placement = &mut placed.placement;
            placement.project = placement.project.take().or_else(|| project.clone());
            placement.tier = placement.tier.or(self.tier);
            if let (1, Some(weight)) = (placement.weight, self.weight) {
                placement.weight = weight;
            }
        }
        Ok(((label.map(str::to_owned), tags), found))
    }
}
