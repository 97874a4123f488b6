//! Figures of the whole pool: what is to come, and what needs somebody's attention.

use std::sync::Arc;

use actix_web::web::{Data, Json};
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
    },
    balance::forecast::{Forecast, ModelForecast},
};

/// [`Forecast`], as a list of models.
#[derive(Debug, Serialize)]
pub struct ForecastList {
    at_ms: i64,
    #[serde(flatten)]
    models: List<ModelForecast>,
}

/// `GET /api/admin/stats/forecast`: for each model what is left this minute and today, and until when.
pub async fn forecast(_: AdminUser, gateway: Data<Gateway>) -> Result<Json<ForecastList>, Failure<Admin>> {
    let asked = gateway.supervisor.send(Observe::<Arc<Forecast>>::new()).await;
    let forecast = asked.map_err(|_| ApiError::Internal)?;
    Ok(Json(ForecastList { at_ms: forecast.at_ms, models: List::whole(forecast.models.clone()) }))
}

/// `GET /api/admin/stats/attention`: what somebody should look at.
pub async fn attention(
    _: AdminUser,
    gateway: Data<Gateway>,
) -> Result<Json<List<AttentionItem>>, Failure<Admin>> {
    let asked = gateway.supervisor.send(Observe::<Attention>::new()).await;
    Ok(Json(List::whole(asked.map_err(|_| ApiError::Internal)?.items)))
}
