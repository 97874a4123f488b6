//! A simulated Gemini: an HTTP server that a client cannot tell from `generativelanguage.googleapis.com`, as far as we need it.
//!
//! The demo runs over it, and so do the tests of client SDKs, of faults and of speed. It answers models, generation (whole,
//! streamed as events or as an array), counting, embeddings and Google's OpenAI layer, under `v1`, `v1beta` and `v1alpha`; it checks
//! credentials and requests as Google does, enforces quotas in real windows, and fails in every way that its `plan` asks for.
//! Answers depend on the request alone (`answer`), prompts can carry wishes (`directives`), and `/_sim/` shows and steers a
//! running simulation (`control`). Files, caches, batches and the Live API are not simulated.

#![allow(
    clippy::disallowed_types,
    reason = "the simulation stands for another machine, with clocks of its own"
)]

mod answer;
mod attempt;
mod auth;
mod check;
mod control;
mod directives;
mod embed;
mod errors;
mod flow;
mod media;
mod models;
mod openai;
mod plan;
mod quota;
mod reply;
mod request;
mod resources;
mod resume;
mod routes;
mod schema;
mod state;
mod stream;
mod tokens;
pub mod traffic;

use std::{io, net::SocketAddr, sync::Arc, thread, time::Duration};

use actix_web::{App, HttpServer, dev::ServerHandle, web::Data};
use tokio::sync::oneshot;

pub use self::{
    errors::Refusal,
    plan::{Behaviour, Fault, KeyPlan, Pace, Plan, Spell},
    quota::{Exceeded, Limit, Minutes, Quota, QuotaBook},
    state::{Cancellation, KeyCounters, Recorded, Snapshot, World},
};

/// A running simulation. Dropping it ends it at once; running answers break off.
#[derive(Debug)]
pub struct Sim {
    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub base_url: String,
    world: Arc<World>,
    server: ServerHandle,
}

/// Starts a simulation on threads of its own; fails when the port is taken.
pub async fn start(plan: Plan) -> io::Result<Sim> {
    let world = Arc::new(World::new(&plan));
    let (tell, started) = oneshot::channel();
    let served = Arc::clone(&world);
    thread::Builder::new().name("sim".into()).spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let server = match bind(&plan, served) {
                Ok((server, address)) => {
                    if tell.send(Ok((server.handle(), address))).is_err() {
                        return;
                    }
                    server
                }
                Err(error) => {
                    // Nobody listens when the caller has given up; then there is nobody to tell.
                    let _ = tell.send(Err(error));
                    return;
                }
            };
            if let Err(error) = server.await {
                tracing::error!(%error, "the simulated Gemini stopped: {error}");
            }
        });
    })?;
    let (server, address) = started.await.map_err(io::Error::other)??;
    Ok(Sim { base_url: format!("http://{address}"), world, server })
}

fn bind(plan: &Plan, world: Arc<World>) -> io::Result<(actix_web::dev::Server, SocketAddr)> {
    let world = Data::from(world);
    let app =
        move || App::new().app_data(world.clone()).configure(control::configure).configure(routes::configure);
    let server = HttpServer::new(app)
        .workers(plan.workers.max(1))
        .tcp_nodelay(true)
        // A peer that closes its side has gone: the answer is dropped, and the attempt counts as cancelled.
        .h1_allow_half_closed(false)
        .keep_alive(Duration::from_secs(75))
        .disable_signals()
        .bind(("127.0.0.1", plan.port))?;
    let address = server.addrs().first().copied().ok_or_else(|| io::Error::other("no address was bound"))?;
    Ok((server.run(), address))
}

impl Sim {
    /// Counters so far.
    pub fn snapshot(&self) -> Snapshot {
        self.world.snapshot()
    }

    pub fn set_behaviour(&self, key: &str, behaviour: Behaviour) {
        self.world.set_behaviour(key, behaviour);
    }

    pub fn set_weather(&self, weather: Vec<Spell>) {
        self.world.set_weather(weather);
    }

    /// Counters, quotas and recorded requests begin anew.
    pub fn reset(&self) {
        self.world.reset();
    }

    /// Requests that the plan let be kept, oldest first.
    pub fn requests(&self) -> Vec<Recorded> {
        self.world.requests()
    }

    /// Ends the server and waits until it has; running answers break off.
    pub async fn stop(self) {
        self.server.stop(false).await;
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // The command is sent at once; only waiting for its end would need the future.
        drop(self.server.stop(false));
    }
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
