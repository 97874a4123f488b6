//! The settings: what can be set, what is, and the change of it.

pub mod transfer;

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::IF_MATCH,
    web::{Data, Json, ServiceConfig, get, patch, post},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Admin, body::JsonBody, error::AdminError, etag::Version, session::Sessions};
use crate::{
    api::{
        auth::{AdminUser, session_cookie},
        error::{ApiError, Failure},
        gateway::Gateway,
        only,
    },
    settings::{
        InvalidSettings,
        keeper::{ChangeError, ChangeSettings, ListSettings, TrySettings, Wanted},
        view::{SettingList, SettingsSchema, schema},
    },
};

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            only::<Admin>("/settings", "GET, PATCH")
                .route(get().to(list_settings))
                .route(patch().to(update_settings)),
        )
        .service(only::<Admin>("/settings/schema", "GET").route(get().to(describe_settings)))
        .service(only::<Admin>("/settings/validate", "POST").route(post().to(validate_settings)))
        .service(only::<Admin>("/settings/export", "POST").route(post().to(transfer::export_settings)))
        .service(only::<Admin>("/settings/import", "POST").route(post().to(transfer::import_settings)));
}

/// New values by the names of settings; `null` goes back to what the files and the environment say.
type Changes = BTreeMap<String, Value>;

/// All settings, with where each value comes from.
#[utoipa::path(
    get, path = "/api/admin/settings", tag = "settings",
    responses((status = 200, description = "Every setting; secrets are left out", body = SettingList)),
)]
pub async fn list_settings(
    _: AdminUser,
    request: HttpRequest,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, Failure<Admin>> {
    let list = list(&gateway).await?;
    Ok(Version::of_whole(&list).respond(&request, &list))
}

/// What can be set: types, ranges, choices and help.
#[utoipa::path(
    get, path = "/api/admin/settings/schema", tag = "settings",
    responses((status = 200, description = "Every setting in its group", body = SettingsSchema)),
)]
pub async fn describe_settings(_: AdminUser, request: HttpRequest) -> HttpResponse {
    let schema = schema();
    Version::of_whole(&schema).respond(&request, &schema)
}

/// Changes settings, all or none.
///
/// What applies live counts from the next request on.
#[utoipa::path(
    patch, path = "/api/admin/settings", tag = "settings", request_body = BTreeMap<String, Value>,
    responses((status = 200, description = "The settings as they are now", body = SettingList)),
)]
pub async fn update_settings(
    _: AdminUser,
    request: HttpRequest,
    gateway: Data<Gateway>,
    JsonBody(changes): JsonBody<Changes>,
) -> Result<HttpResponse, Failure<Admin>> {
    let before = list(&gateway).await?;
    Version::of_whole(&before).require(&request)?;
    let for_version = request.headers().contains_key(IF_MATCH).then_some(before.version);
    let is_about_access = changes.contains_key("AUTH_TOKEN");
    let change = ChangeSettings { wanted: Wanted::Changes(changes), for_version, with: None };
    let own = OwnSession::of(&request, &gateway, is_about_access);
    let asked = gateway.settings.send(change).await.map_err(|_| ApiError::Internal)?;
    drop(own);
    let now = asked.map_err(ApiError::from)?.settings;
    Ok(Version::of_whole(&now).respond(&request, &now))
}

/// What a check has found: nothing.
#[derive(Debug, Serialize, ToSchema)]
pub struct Valid {
    /// Always `true`; what is wrong is told with status 422.
    pub ok: bool,
}

/// Says what is wrong with a change, and changes nothing.
#[utoipa::path(
    post, path = "/api/admin/settings/validate", tag = "settings", request_body = BTreeMap<String, Value>,
    responses((status = 200, description = "It could be made", body = Valid)),
)]
pub async fn validate_settings(
    _: AdminUser,
    gateway: Data<Gateway>,
    JsonBody(changes): JsonBody<Changes>,
) -> Result<Json<Valid>, Failure<Admin>> {
    let tried = gateway.settings.send(TrySettings(Wanted::Changes(changes))).await;
    tried.map_err(|_| ApiError::Internal)?.map_err(ApiError::from)?;
    Ok(Json(Valid { ok: true }))
}

/// While it lives, the session of whoever asks does not end with the others: who changes the admin token is not locked
/// out.
struct OwnSession<'a> {
    sessions: &'a Sessions,
    id: Option<String>,
}

impl<'a> OwnSession<'a> {
    fn of(request: &HttpRequest, gateway: &'a Gateway, is_about_access: bool) -> Self {
        let id = session_cookie(request).filter(|_| is_about_access);
        let own = Self { sessions: &gateway.admin.sessions, id };
        own.spare(true);
        own
    }

    fn spare(&self, is_spared: bool) {
        if let Some(id) = &self.id {
            self.sessions.spare(id, is_spared);
        }
    }
}

impl Drop for OwnSession<'_> {
    fn drop(&mut self) {
        self.spare(false);
    }
}

async fn list(gateway: &Gateway) -> Result<SettingList, ApiError> {
    gateway.settings.send(ListSettings).await.map_err(|_| ApiError::Internal)
}

impl From<InvalidSettings> for ApiError {
    fn from(InvalidSettings(fields): InvalidSettings) -> Self {
        AdminError::Unprocessable(fields).into()
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Invalid(invalid) => invalid.into(),
            ChangeError::Moved { .. } => AdminError::Changed.into(),
            // It was logged where it happened.
            ChangeError::Database(_) | ChangeError::Secrets(_) => Self::Internal,
        }
    }
}
