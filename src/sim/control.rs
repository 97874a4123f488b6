//! Control of a running simulation by HTTP, for tests in other languages and for the curious.
//!
//! | call | does |
//! | --- | --- |
//! | `GET /_sim/state` | counters: `{now_ms, attempts, in_flight, open_streams, keys: {KEY: {attempts, statuses, …}}, cancelled: [{key, model, at_ms, after_ms, events_sent}]}` |
//! | `POST /_sim/reset` | counters, quotas and recorded requests begin anew |
//! | `GET`, `PUT`, `DELETE /_sim/keys/{key}` | how a key behaves; a new key is added |
//! | `GET`, `PUT /_sim/weather` | the list of spells over all keys |
//! | `GET /_sim/requests` | the last requests received, when the plan keeps them |
//!
//! A behaviour is `{"project", "faults": [spell], "quota": {"requests_per_minute", "input_tokens_per_minute", "requests_per_day",
//! "used_today", "paid"}, "pace": {"first_byte_ms", "gap_ms", "jitter_percent"}}`, a spell is `{"fault", "model", "share_percent", "every_ms",
//! "for_ms"}`; every field but `fault` may be left out.

use actix_web::{
    HttpResponse,
    web::{self, Data, Json, Path, ServiceConfig},
};

use super::{
    plan::{Behaviour, Spell},
    state::World,
};

/// Adds the routes under `/_sim`.
pub fn configure(config: &mut ServiceConfig) {
    config.service(
        web::scope("/_sim")
            .route("/state", web::get().to(show_state))
            .route("/reset", web::post().to(reset))
            .route("/keys/{key}", web::get().to(find_key))
            .route("/keys/{key}", web::put().to(update_key))
            .route("/keys/{key}", web::delete().to(delete_key))
            .route("/weather", web::get().to(show_weather))
            .route("/weather", web::put().to(update_weather))
            .route("/requests", web::get().to(list_requests)),
    );
}

async fn show_state(world: Data<World>) -> HttpResponse {
    HttpResponse::Ok().json(world.snapshot())
}

async fn reset(world: Data<World>) -> HttpResponse {
    world.reset();
    HttpResponse::NoContent().finish()
}

async fn find_key(key: Path<String>, world: Data<World>) -> HttpResponse {
    world
        .behaviour(&key)
        .map_or_else(|| HttpResponse::NotFound().finish(), |found| HttpResponse::Ok().json(found))
}

async fn update_key(key: Path<String>, behaviour: Json<Behaviour>, world: Data<World>) -> HttpResponse {
    world.set_behaviour(&key, behaviour.into_inner());
    HttpResponse::NoContent().finish()
}

async fn delete_key(key: Path<String>, world: Data<World>) -> HttpResponse {
    if world.remove_key(&key) {
        HttpResponse::NoContent().finish()
    } else {
        HttpResponse::NotFound().finish()
    }
}

async fn show_weather(world: Data<World>) -> HttpResponse {
    HttpResponse::Ok().json(world.weather())
}

async fn update_weather(weather: Json<Vec<Spell>>, world: Data<World>) -> HttpResponse {
    world.set_weather(weather.into_inner());
    HttpResponse::NoContent().finish()
}

async fn list_requests(world: Data<World>) -> HttpResponse {
    HttpResponse::Ok().json(world.requests())
}
