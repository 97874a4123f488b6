//! The pool of keys: what there is, what is said of it, and what is done with it.

pub mod actions;
pub mod create;
pub mod deletion;
pub mod export;
pub mod history;
pub mod list;
pub mod one;
pub mod view;

use actix_web::web::{ServiceConfig, delete, get, patch, post};
use tracing::error;

use super::{Admin, error::AdminError};
use crate::{
    actors::{
        Observe,
        balancer::BalancerSnapshot,
        directory::{KeyRow, LookUp},
    },
    api::{error::ApiError, gateway::Gateway, only},
    db::DbError,
    domain::key::KeyId,
};

/// Longest label and tag, in characters, and the most tags of a key.
pub const LONGEST_TEXT: usize = 100;
pub const MOST_TAGS: usize = 20;

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            only::<Admin>("/keys", "GET, POST")
                .route(get().to(list::list_keys))
                .route(post().to(create::create_keys)),
        )
        .service(only::<Admin>("/keys/actions", "POST").route(post().to(actions::start_action)))
        .service(only::<Admin>("/keys/events", "GET").route(get().to(history::list_events)))
        .service(only::<Admin>("/keys/export", "GET").route(get().to(export::export_keys)))
        .service(
            only::<Admin>("/keys/{id}", "GET, PATCH, DELETE")
                .route(get().to(one::find_key))
                .route(patch().to(one::update_key))
                .route(delete().to(deletion::delete_key)),
        )
        .service(only::<Admin>("/keys/{id}/events", "GET").route(get().to(history::list_events_of_key)))
        .service(only::<Admin>("/keys/{id}/restore", "POST").route(post().to(deletion::restore_key)))
        .service(only::<Admin>("/keys/{id}/reveal", "POST").route(post().to(one::reveal_key)))
        .service(only::<Admin>("/keys/{id}/verify", "POST").route(post().to(one::verify_key)));
}

/// The key of that id, as text from a path.
async fn look_up(gateway: &Gateway, id: &str) -> Result<KeyRow, ApiError> {
    let unknown = || AdminError::not_found("key", id);
    let key = KeyId(id.parse().map_err(|_| unknown())?);
    let found = gateway.directory.send(LookUp(key)).await.map_err(|_| ApiError::Internal)?;
    Ok(found.ok_or_else(unknown)?)
}

/// Waits until the balancer has heard of what the supervisor told of keys before: mailboxes keep the order.
async fn balancer_has_heard(gateway: &Gateway) {
    let _ = gateway.supervisor.send(Observe::<Option<BalancerSnapshot>>::new()).await;
}

fn not_stored(failure: DbError) -> ApiError {
    error!(error = %failure, "a change of keys could not be stored");
    ApiError::Internal
}

/// A label or tag that can be shown anywhere.
fn is_text(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= LONGEST_TEXT && !text.chars().any(char::is_control)
}

/// Tags in order, each once, without blanks around them.
fn read_tags(tags: Vec<String>) -> Result<Vec<String>, AdminError> {
    let mut tags: Vec<String> = tags.into_iter().map(|tag| tag.trim().to_owned()).collect();
    tags.sort();
    tags.dedup();
    if tags.len() > MOST_TAGS || !tags.iter().all(|tag| is_text(tag) && !tag.contains(',')) {
        let rule =
            format!("are not up to {MOST_TAGS} texts of up to {LONGEST_TEXT} characters without commas");
        return Err(AdminError::field("tags", rule));
    }
    Ok(tags)
}
