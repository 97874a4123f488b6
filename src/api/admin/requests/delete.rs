//! Deletion from both logs, in small steps and for a few seconds at a time.

use std::time::Duration;

use actix_web::web::{Data, Json};
use diesel::QueryResult;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use tracing::{error, info};
use utoipa::ToSchema;

use super::filter::RestQuery;
use crate::{
    api::{
        admin::{Admin, error::AdminError, list::Cursor, parameters::Parameters},
        auth::AdminUser,
        error::{ApiError, Failure},
        gateway::Gateway,
    },
    db::{
        Database, DbConnection,
        request_logs::{Page, RequestFilter, delete_request_logs},
    },
};

/// One call deletes for so long at most.
const PATIENCE: Duration = Duration::from_secs(5);
/// Rows of one step; new ones are written between the steps.
pub const STEP: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);

/// What was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deleted {
    pub deleted: usize,
    /// To be given with the same call once more, as it took too long to delete everything; `null` when all is deleted.
    pub next_cursor: Option<String>,
}

/// Deletes requests from the log. Figures of the past stay as they are.
#[utoipa::path(
    delete, path = "/api/admin/requests", tag = "requests", params(RestQuery),
    responses((status = 200, description = "How many, and whether there are more", body = Deleted)),
)]
pub async fn delete_requests(
    _: AdminUser,
    gateway: Data<Gateway>,
    Parameters(query): Parameters<RestQuery>,
) -> Result<Json<Deleted>, Failure<Admin>> {
    let filter = query.filter()?;
    require_some(&filter, &RequestFilter::default())?;
    let step = move |conn: &mut DbConnection, place: Option<String>| {
        delete_request_logs(conn, &filter, place.as_deref(), STEP)
    };
    Ok(Json(delete_for_a_while(&gateway.database, query.cursor, step).await?))
}

/// 400 for a deletion of everything by a slip; `before_ms` can say that it is meant.
pub fn require_some<F: PartialEq>(filter: &F, any: &F) -> Result<(), AdminError> {
    if filter == any {
        return Err(AdminError::invalid("say what to delete: `before_ms`, or another filter"));
    }
    Ok(())
}

/// Repeats the step until nothing is left or the time is up.
pub async fn delete_for_a_while<P>(
    database: &Database,
    cursor: Option<Cursor>,
    step: impl Fn(&mut DbConnection, Option<P>) -> QueryResult<Page<usize, P>> + Clone + Send + 'static,
) -> Result<Deleted, ApiError>
where
    P: Serialize + DeserializeOwned + Send + 'static,
{
    let mut place: Option<P> = cursor.map(|cursor| cursor.place()).transpose()?;
    let (deadline, mut deleted) = (Instant::now() + PATIENCE, 0);
    loop {
        let step = step.clone();
        let page = database.write(move |conn| step(conn, place)).await.map_err(|failure| {
            error!(error = %failure, "log rows could not be deleted");
            ApiError::Internal
        })?;
        deleted += page.rows.iter().sum::<usize>();
        if page.next.is_none() || Instant::now() >= deadline {
            info!(deleted, "log rows were deleted by the administrator");
            return Ok(Deleted { deleted, next_cursor: page.next.map(|place| Cursor::text(&place)) });
        }
        place = page.next;
        tokio::time::sleep(PAUSE).await;
    }
}
