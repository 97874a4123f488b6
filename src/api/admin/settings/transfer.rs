//! The whole configuration as a file, and out of one.

use actix::Addr;
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::CONTENT_DISPOSITION,
    web::{Data, Json},
};
use serde::{Deserialize, Serialize};
use tracing::{error, info};
use utoipa::ToSchema;

use super::OwnSession;
use crate::{
    actors::{
        Observe,
        balancer::BalancerSnapshot,
        supervisor::{AddKeys, PlaceKeys, SteerKeys, Supervisor},
        tokens::TokenStore,
    },
    api::{
        admin::{Admin, body::JsonBody, error::AdminError},
        auth::AdminUser,
        error::{ApiError, Failure},
        gateway::Gateway,
    },
    db::DbError,
    domain::time::Now,
    settings::{
        Changed,
        keeper::{ChangeSettings, ExportDocument, Store, TrySettings, Wanted},
        transfer::{Document, FORMAT, Holders, KeysStored, Parts, Preview},
    },
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Export {
    /// Whether API keys, tokens of the settings, headers and proxies are told as well. That they were is logged.
    #[serde(alias = "secrets")]
    pub include_secrets: bool,
    /// Whether API keys are in it, with what is said of them.
    pub keys: bool,
    /// Whether client tokens are in it, with their limits; hashes, never the tokens.
    pub tokens: bool,
}

impl Default for Export {
    fn default() -> Self {
        Self { include_secrets: false, keys: true, tokens: true }
    }
}

/// The configuration as a file: everything that is set, the keys, and the client tokens.
#[utoipa::path(
    post, path = "/api/admin/settings/export", tag = "settings", request_body = Export,
    responses((status = 200, description = "An attachment", body = Document)),
)]
pub async fn export_settings(
    _: AdminUser,
    gateway: Data<Gateway>,
    JsonBody(export): JsonBody<Export>,
) -> Result<HttpResponse, Failure<Admin>> {
    let Export { include_secrets: with_secrets, keys: with_keys, tokens: with_tokens } = export;
    let parts = Parts { with_secrets, with_keys, with_tokens };
    let asked = gateway.settings.send(ExportDocument(parts)).await.map_err(|_| ApiError::Internal)?;
    let document = asked.map_err(unreadable)?;
    let (keys, tokens) = (document.keys.as_ref().map(Vec::len), document.tokens.as_ref().map(Vec::len));
    info!(with_secrets, ?keys, ?tokens, "an admin has exported the configuration");
    let disposition = "attachment; filename=\"gemini-balance-settings.json\"";
    Ok(HttpResponse::Ok().insert_header((CONTENT_DISPOSITION, disposition)).json(document))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// As it was exported; of `settings`, `keys` and `tokens` some may be left out.
    pub document: Document,
    /// Tells what would change, and changes nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What an import comes to.
#[derive(Debug, Serialize, ToSchema)]
pub struct Imported {
    pub changed: Vec<Changed>,
    /// Settings of the document that only the environment and the files can set.
    pub ignored: Vec<String>,
    /// What becomes of its keys; `null` where it says nothing of any.
    pub keys: Option<Preview>,
    /// What becomes of its client tokens; `null` where it says nothing of any.
    pub tokens: Option<Preview>,
}

/// Takes over a document, all of it or nothing.
///
/// Settings that differ are changed, others stay as they are; keys and client tokens are added, or changed where they are
/// known; none is deleted. Where one of them is refused, nothing is done.
#[utoipa::path(
    post, path = "/api/admin/settings/import", tag = "settings", request_body = Import,
    responses((status = 200, description = "What was changed, or would be", body = Imported)),
)]
pub async fn import_settings(
    _: AdminUser,
    request: HttpRequest,
    gateway: Data<Gateway>,
    JsonBody(import): JsonBody<Import>,
) -> Result<Json<Imported>, Failure<Admin>> {
    let Import { document, dry_run } = import;
    if document.format != FORMAT {
        return Err(AdminError::field("document", format!("has no format \"{FORMAT}\"")).into());
    }
    let (settings, holders) = document.split();
    let is_about_access = settings.contains_key("AUTH_TOKEN");
    let wanted = Wanted::Document(settings.into_iter().collect());
    let (reading, sealer) = (holders.clone(), gateway.sealer.clone());
    let previews =
        gateway.database.read(move |conn| reading.preview(conn, &sealer)).await.map_err(unreadable)?;
    let outcome = if dry_run {
        let tried = gateway.settings.send(TrySettings(wanted)).await.map_err(|_| ApiError::Internal)?;
        tried.map_err(ApiError::from)?
    } else {
        let refusal = |preview: &Option<Preview>| preview.as_ref().and_then(Preview::refusal);
        let refused = [("keys", refusal(&previews.keys)), ("tokens", refusal(&previews.tokens))].into_iter();
        let refused = refused.filter_map(|(part, reason)| Some((part.to_owned(), reason?)));
        let refused: std::collections::BTreeMap<_, _> = refused.collect();
        if !refused.is_empty() {
            return Err(AdminError::Unprocessable(refused).into());
        }
        let with = (!holders.is_empty()).then(|| storing(holders, &gateway));
        let change = ChangeSettings { wanted, for_version: None, with };
        let own = OwnSession::of(&request, &gateway, is_about_access);
        let made = gateway.settings.send(change).await.map_err(|_| ApiError::Internal)?;
        drop(own);
        info!("an admin has imported a configuration");
        made.map_err(ApiError::from)?
    };
    let (keys, tokens) = (previews.keys, previews.tokens);
    Ok(Json(Imported { changed: outcome.changed, ignored: outcome.ignored, keys, tokens }))
}

fn unreadable(failure: DbError) -> ApiError {
    error!(error = %failure, "keys and tokens could not be read");
    ApiError::Internal
}

/// Stores keys and tokens with the settings; then they are used.
fn storing(holders: Holders, gateway: &Gateway) -> Store {
    let (sealer, now_ms) = (gateway.sealer.clone(), Now::read().unix_ms());
    let (supervisor, tokens) = (gateway.supervisor.clone(), gateway.token_store.clone());
    Box::new(move |conn| {
        let stored = holders.store(conn, &sealer, now_ms)?;
        Ok(Box::new(move || {
            Box::pin(async move {
                use_keys(&supervisor, stored).await;
                follow(&tokens).await;
            })
        }))
    })
}

/// Answers when every worker has heard of it.
async fn use_keys(supervisor: &Addr<Supervisor>, stored: KeysStored) {
    supervisor.do_send(AddKeys(stored.added.into_iter().map(Into::into).collect()));
    supervisor.do_send(PlaceKeys(stored.placed));
    for (key, steering) in stored.steered {
        let _ = supervisor.send(SteerKeys { keys: vec![key], steering }).await;
    }
    let _ = supervisor.send(Observe::<Option<BalancerSnapshot>>::new()).await;
}

async fn follow(tokens: &TokenStore) {
    if let Err(failure) = tokens.reload().await {
        error!(error = %failure, "imported client tokens could not be read, so they hold from the next start on");
    }
}
