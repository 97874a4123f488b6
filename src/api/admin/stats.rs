//! Figures of the whole pool: what is to come, and what needs somebody's attention.

use std::sync::Arc;

use actix_web::web::{Data, Json, ServiceConfig, get};
use serde::Serialize;

use super::{Admin, List};
use crate::{
    actors::{
        Observe,
        supervisor::{Attention, AttentionItem},
    },
    api::{
        auth::AdminUser,
        error::{ApiError, Failure},
        gateway::Gateway,
        only,
    },
    balance::forecast::{Forecast, ModelForecast},
};

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(only::<Admin>("/stats/attention", "GET").route(get().to(attention)))
        .service(only::<Admin>("/stats/forecast", "GET").route(get().to(forecast)));
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

/// What somebody should look at.
#[utoipa::path(
    get, path = "/api/admin/stats/attention", tag = "stats",
    responses((status = 200, description = "What there is", body = List<AttentionItem>)),
)]
pub async fn attention(
    _: AdminUser,
    gateway: Data<Gateway>,
) -> Result<Json<List<AttentionItem>>, Failure<Admin>> {
    let asked = gateway.supervisor.send(Observe::<Attention>::new()).await;
    Ok(Json(List::whole(asked.map_err(|_| ApiError::Internal)?.items)))
}
