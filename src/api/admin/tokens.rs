//! Client tokens as the administrator sees and changes them. A token itself is told once, when it is made.

mod spec;
mod view;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Json, Path, ServiceConfig, delete, get, patch, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tracing::info;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

pub use spec::TokenSpec;
pub use view::{LimitUseView, TokenState, TokenView};

use super::{
    Admin,
    body::JsonBody,
    envelope::ErrorBody,
    error::AdminError,
    etag::Version,
    idempotency::Once,
    list::{Cursor, Limit, List},
    parameters::Parameters,
};
use crate::{
    actors::tokens::{EditError, Holder},
    api::{
        auth::AdminUser,
        error::{ApiError, Failure},
        gateway::Gateway,
        only,
    },
    db::client_tokens::{MADE, StoredToken},
    domain::{terms::Terms, time::Now},
    secrets::{Secret, new_token, shown_prefix},
};

const HOUR_MS: i64 = 60 * 60 * 1000;
/// How long a token that was replaced may be accepted.
const LONGEST_GRACE_SECONDS: u64 = 30 * 24 * 60 * 60;

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            only::<Admin>("/tokens", "GET, POST").route(get().to(list_tokens)).route(post().to(create_token)),
        )
        .service(
            only::<Admin>("/tokens/{id}", "GET, PATCH, DELETE")
                .route(get().to(find_token))
                .route(patch().to(update_token))
                .route(delete().to(delete_token)),
        )
        .service(only::<Admin>("/tokens/{id}/rotate", "POST").route(post().to(rotate_token)))
        .service(only::<Admin>("/playground", "POST").route(post().to(lend_token)));
}

/// Which tokens are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TokenFilter {
    /// Part of the name, the id, the prefix or the note.
    q: Option<String>,
    state: Option<TokenState>,
    /// Where the page begins.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// 1 to 500.
    #[serde(default)]
    #[param(value_type = Option<u32>)]
    limit: Limit,
}

impl TokenFilter {
    fn fits(&self, view: &TokenView) -> bool {
        let contains = |text: &str| {
            self.q.as_ref().is_none_or(|q| text.to_lowercase().contains(&q.trim().to_lowercase()))
        };
        let texts = [&view.name, &view.id, &view.prefix, &view.note];
        self.state.is_none_or(|state| state == view.state) && texts.into_iter().any(|text| contains(text))
    }
}

/// A token that was just made. It is told here and nowhere else.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewTokenView {
    pub token: String,
    /// Until when the one is accepted that it replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_valid_until_ms: Option<i64>,
    #[serde(flatten)]
    pub view: TokenView,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// How long the old token is still accepted, up to 30 days.
    grace_seconds: u64,
}

/// A token for one page of the dashboard.
#[derive(Debug, Serialize, ToSchema)]
pub struct LentToken {
    pub token: String,
    pub expires_at_ms: i64,
}

/// Lists client tokens, the oldest first.
#[utoipa::path(
    get, path = "/api/admin/tokens", tag = "tokens", params(TokenFilter),
    responses((status = 200, description = "A page of them", body = List<TokenView>)),
)]
pub async fn list_tokens(
    _: AdminUser,
    gateway: Data<Gateway>,
    filter: Parameters<TokenFilter>,
) -> Result<Json<List<TokenView>>, Failure<Admin>> {
    let (filter, now) = (filter.0, Now::read());
    let table = gateway.tokens.table();
    let all = table.holders().iter().map(|holder| TokenView::of(holder, now));
    let found: Vec<_> = all.filter(|view| filter.fits(view)).collect();
    let begin = match &filter.cursor {
        Some(cursor) => {
            let last: (i64, String) = cursor.place()?;
            found.partition_point(|view| (view.created_at_ms, &view.id) <= (last.0, &last.1))
        }
        None => 0,
    };
    let total = found.len();
    let mut items: Vec<_> = found.into_iter().skip(begin).collect();
    let has_more = items.len() > filter.limit.0;
    items.truncate(filter.limit.0);
    let last = items.last().filter(|_| has_more);
    let next_cursor = last.map(|view| Cursor::text(&(view.created_at_ms, &view.id)));
    Ok(Json(List { items, next_cursor, total }))
}

/// Makes a client token.
///
/// With an `Idempotency-Key` the same request makes one token, however often it is sent within a day.
#[utoipa::path(
    post, path = "/api/admin/tokens", tag = "tokens", request_body = TokenSpec,
    params(("Idempotency-Key" = Option<String>, Header, description = "Any text that is new for each request")),
    responses(
        (status = 201, description = "It was made, and is told this once", body = NewTokenView),
        (status = 409, description = "The first request with that Idempotency-Key is still running", body = ErrorBody),
    ),
)]
pub async fn create_token(
    _: AdminUser,
    gateway: Data<Gateway>,
    Once { body, attempt }: Once<TokenSpec>,
) -> Result<HttpResponse, Failure<Admin>> {
    attempt.once(&gateway.clone(), create(gateway, body)).await
}

async fn create(gateway: Data<Gateway>, spec: TokenSpec) -> Result<HttpResponse, Failure<Admin>> {
    let now = Now::read();
    let terms = spec.terms()?;
    let token = new_token();
    let print = gateway.sealer.token_fingerprint(token.expose());
    let row = StoredToken {
        id: format!("tk-{}", &Uuid::new_v4().simple().to_string()[..16]),
        fingerprint: print.to_vec(),
        prefix: shown_prefix(token.expose()),
        origin: MADE.to_owned(),
        created_at_ms: now.unix_ms(),
        ..spec.row()
    };
    let holder = gateway.token_store.create(row, terms).await.map_err(failed)?;
    info!(token.id = %holder.id, "an admin made a client token");
    Ok(told(&token, &holder, now))
}

fn told(token: &Secret, holder: &Holder, now: Now) -> HttpResponse {
    let view = TokenView::of(holder, now);
    HttpResponse::Created().json(NewTokenView {
        token: token.expose().to_owned(),
        old_valid_until_ms: None,
        view,
    })
}

/// One client token.
#[utoipa::path(
    get, path = "/api/admin/tokens/{id}", tag = "tokens", params(("id" = String, Path)),
    responses((status = 200, description = "With its use; the ETag is its version", body = TokenView)),
)]
pub async fn find_token(
    _: AdminUser,
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<String>,
) -> Result<HttpResponse, Failure<Admin>> {
    let table = gateway.tokens.table();
    let holder = table.get(&id).ok_or_else(|| AdminError::not_found("client token", &*id))?;
    Ok(respond(&request, holder))
}

/// Changes what the body names of a token; `null` takes a limit away.
#[utoipa::path(
    patch, path = "/api/admin/tokens/{id}", tag = "tokens", params(("id" = String, Path)),
    request_body = TokenSpec,
    responses((status = 200, description = "As it is now", body = TokenView)),
)]
pub async fn update_token(
    _: AdminUser,
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<String>,
    changes: JsonBody<Map<String, Value>>,
) -> Result<HttpResponse, Failure<Admin>> {
    let change = |holder: &Holder| -> Result<(StoredToken, Terms), AdminError> {
        version(holder).require(&request)?;
        let spec = TokenSpec::of(holder).changed(&changes.0)?;
        let terms = spec.terms()?;
        let StoredToken { name, enabled, expires_at_ms, note, .. } = spec.row();
        Ok((StoredToken { name, enabled, expires_at_ms, note, ..holder.row.clone() }, terms))
    };
    let holder = gateway.token_store.edit(&id, change).await.map_err(|error| refused(&id, error))?;
    info!(token.id = %holder.id, "an admin changed a client token");
    Ok(respond(&request, &holder))
}

/// Revokes a client token at once.
#[utoipa::path(
    delete, path = "/api/admin/tokens/{id}", tag = "tokens", params(("id" = String, Path)),
    responses(
        (status = 204, description = "Nobody comes in with it any more"),
        (status = 409, description = "It is in the configuration"),
    ),
)]
pub async fn delete_token(
    _: AdminUser,
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<String>,
) -> Result<HttpResponse, Failure<Admin>> {
    let check = |holder: &Holder| {
        version(holder).require(&request)?;
        require_made(holder)
    };
    gateway.token_store.delete(&id, check).await.map_err(|error| refused(&id, error))?;
    info!(token.id = %id, "an admin deleted a client token");
    Ok(HttpResponse::NoContent().finish())
}

/// Replaces a client token by a new one with the same limits and use.
///
/// With `grace_seconds` the token that clients have is accepted for so long. Within that time another replacement keeps
/// that one, for as long as it says itself, and ends the one in between.
#[utoipa::path(
    post, path = "/api/admin/tokens/{id}/rotate", tag = "tokens", params(("id" = String, Path)),
    request_body = Rotation,
    responses(
        (status = 200, description = "The new one, told this once", body = NewTokenView),
        (status = 409, description = "It is in the configuration"),
    ),
)]
pub async fn rotate_token(
    _: AdminUser,
    gateway: Data<Gateway>,
    id: Path<String>,
    rotation: JsonBody<Rotation>,
) -> Result<Json<NewTokenView>, Failure<Admin>> {
    let (grace, now) = (rotation.0.grace_seconds, Now::read());
    if grace > LONGEST_GRACE_SECONDS {
        return Err(
            AdminError::field("grace_seconds", format!("is more than {LONGEST_GRACE_SECONDS}")).into()
        );
    }
    let token = new_token();
    let now_ms = now.unix_ms();
    let until_ms = (grace > 0).then(|| now_ms + i64::try_from(grace * 1000).unwrap_or(0));
    let change = |holder: &Holder| -> Result<(StoredToken, Terms), AdminError> {
        require_made(holder)?;
        let before = &holder.row;
        // Clients still have the one whose grace has not ended, and hardly anybody the one that came after it.
        let in_use = before.old_fingerprint.clone().filter(|_| before.old_valid_until_ms > Some(now_ms));
        let old = in_use.unwrap_or_else(|| before.fingerprint.clone());
        let row = StoredToken {
            fingerprint: gateway.sealer.token_fingerprint(token.expose()).to_vec(),
            prefix: shown_prefix(token.expose()),
            old_fingerprint: until_ms.map(|_| old),
            old_valid_until_ms: until_ms,
            ..before.clone()
        };
        Ok((row, holder.terms.clone()))
    };
    let holder = gateway.token_store.edit(&id, change).await.map_err(|error| refused(&id, error))?;
    info!(token.id = %holder.id, "an admin replaced a client token");
    Ok(Json(NewTokenView {
        token: token.expose().to_owned(),
        old_valid_until_ms: until_ms,
        view: TokenView::of(&holder, now),
    }))
}

/// Lends the dashboard's playground a client token for an hour; it is stored nowhere.
#[utoipa::path(
    post, path = "/api/admin/playground", tag = "tokens",
    responses((status = 200, description = "It opens the client API", body = LentToken)),
)]
pub async fn lend_token(_: AdminUser, gateway: Data<Gateway>) -> Json<LentToken> {
    let (token, now_ms) = (new_token(), Now::read().unix_ms());
    let expires_at_ms = now_ms + HOUR_MS;
    let row = StoredToken {
        id: "playground".to_owned(),
        name: "playground".to_owned(),
        fingerprint: gateway.sealer.token_fingerprint(token.expose()).to_vec(),
        origin: MADE.to_owned(),
        created_at_ms: now_ms,
        expires_at_ms: Some(expires_at_ms),
        ..TokenSpec::default().row()
    };
    gateway.token_store.lend(row, Terms::default()).await;
    Json(LentToken { token: token.expose().to_owned(), expires_at_ms })
}

fn version(holder: &Holder) -> Version {
    let spec = TokenSpec::of(holder);
    Version::of(&spec, &TokenView::of(holder, Now::read()))
}

fn respond(request: &HttpRequest, holder: &Holder) -> HttpResponse {
    let view = TokenView::of(holder, Now::read());
    Version::of(&TokenSpec::of(holder), &view).respond(request, &view)
}

fn require_made(holder: &Holder) -> Result<(), AdminError> {
    if !holder.is_configured() {
        return Ok(());
    }
    let place = if holder.id.as_str() == "auth" { "AUTH_TOKEN" } else { "ALLOWED_TOKENS" };
    Err(AdminError::Conflict(format!("this token is in {place}; change it there, or disable it here")))
}

fn refused(id: &str, error: EditError<AdminError>) -> ApiError {
    match error {
        EditError::NotFound => AdminError::not_found("client token", id).into(),
        EditError::Refused(error) => error.into(),
        EditError::Database(error) => failed(error),
    }
}

fn failed(error: crate::db::DbError) -> ApiError {
    tracing::error!(%error, "a client token could not be stored");
    ApiError::Internal
}
