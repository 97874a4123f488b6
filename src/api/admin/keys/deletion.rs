//! Deletion of keys, and taking it back: for ten minutes a deleted key is only out of sight.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use tracing::info;

use super::{balancer_has_heard, look_up, not_stored, one::versioned, view::KeyView};
use crate::{
    actors::supervisor::{AddKeys, PoolKey, RemoveKeys},
    api::{
        admin::{Admin, error::AdminError},
        auth::AdminUser,
        error::{ApiError, Failure},
        gateway::Gateway,
    },
    db::{
        DbError,
        keys::{delete_keys, restore_keys},
    },
    domain::{key::KeyId, time::Now},
};

/// Takes these keys out of use and out of sight. Answers how many there were.
pub async fn remove(gateway: &Gateway, keys: Vec<KeyId>) -> Result<usize, DbError> {
    let (gone, now_ms) = (keys.clone(), Now::read().unix_ms());
    let deleted = gateway.database.write(move |conn| delete_keys(conn, &gone, now_ms)).await?;
    let _ = gateway.supervisor.send(RemoveKeys(keys)).await;
    Ok(deleted)
}

/// Brings those of these keys back that were deleted and are not purged. Answers how many that were.
pub async fn restore(gateway: &Gateway, keys: Vec<KeyId>) -> Result<usize, DbError> {
    let (sealer, now_ms) = (gateway.sealer.clone(), Now::read().unix_ms());
    let back = gateway.database.write(move |conn| restore_keys(conn, &sealer, &keys, now_ms)).await?;
    let pool: Vec<PoolKey> = back.keys.into_iter().map(PoolKey::from).collect();
    let restored = pool.len();
    let _ = gateway.supervisor.send(AddKeys(pool)).await;
    Ok(restored)
}

/// Deletes a key. For ten minutes `POST keys/{id}/restore` takes that back; then its secret is gone.
///
/// One of `API_KEYS` stays away, also after a restart, until `API_KEYS` has been without it.
#[utoipa::path(
    delete, path = "/api/admin/keys/{id}", tag = "keys", params(("id" = i64, Path, description = "Its id")),
    responses((status = 204, description = "It is gone")),
)]
pub async fn delete_key(
    _: AdminUser,
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<String>,
) -> Result<HttpResponse, Failure<Admin>> {
    let row = look_up(&gateway, &id).await?;
    versioned(&row).1.require(&request)?;
    remove(&gateway, vec![row.id]).await.map_err(not_stored)?;
    balancer_has_heard(&gateway).await;
    info!(key.id = %row.id, "an admin has deleted key {}", row.id);
    Ok(HttpResponse::NoContent().finish())
}

/// Brings back a key that was deleted in the last ten minutes, as it was.
#[utoipa::path(
    post, path = "/api/admin/keys/{id}/restore", tag = "keys", params(("id" = i64, Path, description = "Its id")),
    responses((status = 200, description = "The key, in use again", body = KeyView)),
)]
pub async fn restore_key(
    _: AdminUser,
    gateway: Data<Gateway>,
    id: Path<String>,
) -> Result<HttpResponse, Failure<Admin>> {
    let gone = || AdminError::not_found("deleted key", id.as_str());
    let key = KeyId(id.parse().map_err(|_| gone())?);
    if restore(&gateway, vec![key]).await.map_err(not_stored)? == 0 {
        return Err(ApiError::Admin(gone()).into());
    }
    balancer_has_heard(&gateway).await;
    info!(key.id = %key, "an admin has brought back key {key}");
    let view = KeyView::of(&look_up(&gateway, &id).await?, Now::read());
    Ok(HttpResponse::Ok().json(view))
}
