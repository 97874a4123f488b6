//! For load balancers, orchestrators and Prometheus; no token is needed and nothing here is secret.

use std::sync::Arc;

use actix_web::{HttpResponse, web::Data};
use serde_json::json;

use super::gateway::Gateway;
use crate::{
    actors::{Observe, balancer::BalancerSnapshot, supervisor::PoolSnapshot},
    balance::forecast::Forecast,
    telemetry::snapshots::Snapshots,
};

/// `GET /health`: the process is alive.
pub async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "healthy"}))
}

/// `GET /ready`: requests can be served; if not, 503 with what is missing and how to add it.
pub async fn ready(gateway: Data<Gateway>) -> HttpResponse {
    let database = gateway.database.read(crate::db::ping).await;
    let pool = gateway.supervisor.send(Observe::<PoolSnapshot>::new()).await;
    let mut problems = Vec::new();
    if let Err(failure) = database {
        problems.push(format!("the database does not answer: {failure}"));
    }
    match &pool {
        Ok(pool) => problems.extend(pool_problem(pool)),
        Err(_) => problems.push("the pool of keys does not answer; restart the gateway".to_owned()),
    }
    if gateway.tokens.table().holders().is_empty() {
        problems.push(NO_TOKENS.to_owned());
    }
    let keys = pool.ok().map(|pool| pool.states);
    if problems.is_empty() {
        HttpResponse::Ok().json(json!({"status": "ready", "keys": keys}))
    } else {
        HttpResponse::ServiceUnavailable()
            .json(json!({"status": "not ready", "problems": problems, "keys": keys}))
    }
}

pub const NO_KEYS: &str =
    r#"there is no API key; set API_KEYS='["AIza…","AQ.…"]' in the environment or in .env and restart"#;
pub const NO_TOKENS: &str = r#"there is no client token; make one in the dashboard, or set ALLOWED_TOKENS='["sk-…"]' in the environment or in .env and restart"#;

fn pool_problem(pool: &PoolSnapshot) -> Option<String> {
    let states = &pool.states;
    let usable = states.active + states.half_open + states.cooling;
    if usable + states.invalid + states.disabled == 0 {
        return Some(NO_KEYS.to_owned());
    }
    (usable == 0).then(|| {
        format!(
            "of the API keys {} are invalid and {} disabled; none can be used",
            states.invalid, states.disabled
        )
    })
}

/// `GET /metrics`: Prometheus' text format.
pub async fn metrics(gateway: Data<Gateway>) -> HttpResponse {
    let supervisor = &gateway.supervisor;
    let (pool, balancer, forecast) = tokio::join!(
        supervisor.send(Observe::<PoolSnapshot>::new()),
        supervisor.send(Observe::<Option<BalancerSnapshot>>::new()),
        supervisor.send(Observe::<Arc<Forecast>>::new()),
    );
    let found = Snapshots { pool: pool.ok(), balancer: balancer.ok().flatten(), forecast: forecast.ok() };
    let models = gateway.models.borrow().clone();
    match gateway.metrics.encode(&found.registry(|model| models.find(model).is_some())) {
        Ok(text) => HttpResponse::Ok()
            .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
            .body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}
