//! Figures: what was, what is to come, and what needs somebody's attention.

pub mod attention;
pub mod metric;
pub mod overview;
pub mod range;
pub mod series;
pub mod source;
pub mod usage;

use std::sync::Arc;

use actix_web::web::{Data, Json, ServiceConfig, get};
use serde::Serialize;
use tracing::error;

use super::{Admin, List};
use crate::{
    actors::Observe,
    api::{
        auth::AdminUser,
        error::{ApiError, Failure},
        gateway::Gateway,
        only,
    },
    balance::forecast::{Forecast, ModelForecast},
    db::DbConnection,
};

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(only::<Admin>("/stats/attention", "GET").route(get().to(attention::attention)))
        .service(only::<Admin>("/stats/forecast", "GET").route(get().to(forecast)))
        .service(only::<Admin>("/stats/overview", "GET").route(get().to(overview::overview)))
        .service(only::<Admin>("/stats/series", "GET").route(get().to(series::series)))
        .service(only::<Admin>("/stats/usage", "GET").route(get().to(usage::usage)));
}

/// [`Forecast`], as a list of models.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ForecastList {
    at_ms: i64,
    #[serde(flatten)]
    models: List<ModelForecast>,
}

/// For each model what is left this minute and today, and until when.
#[utoipa::path(
    get, path = "/api/admin/stats/forecast", tag = "stats",
    responses((status = 200, description = "The forecast", body = ForecastList)),
)]
pub async fn forecast(_: AdminUser, gateway: Data<Gateway>) -> Result<Json<ForecastList>, Failure<Admin>> {
    let asked = gateway.supervisor.send(Observe::<Arc<Forecast>>::new()).await;
    let forecast = asked.map_err(|_| ApiError::Internal)?;
    Ok(Json(ForecastList { at_ms: forecast.at_ms, models: List::whole(forecast.models.clone()) }))
}

/// Reads from the database; what goes wrong is logged here and told to nobody.
pub async fn read_figures<T: Send + 'static>(
    gateway: &Gateway,
    query: impl FnOnce(&mut DbConnection) -> diesel::QueryResult<T> + Send + 'static,
) -> Result<T, ApiError> {
    gateway.database.read(query).await.map_err(|failure| {
        error!(error = %failure, "the logs cannot be read");
        ApiError::Internal
    })
}
