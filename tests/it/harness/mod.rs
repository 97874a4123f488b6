//! The words that the tests are written in: a gateway, an upstream with a script, a client, and patience.

mod app;
mod bodies;
mod client;
mod host;
mod hung;
mod proxy;
mod recordings;
mod script;
mod upstream;
mod wire;

use std::time::Duration;

use tokio::time::{Instant, sleep};

pub use app::{MODEL, TOKEN, TestApp};
pub use bodies::{event, fixture, google_error, last_event, usual_error};
pub use client::{Answer, Client, Open, chat, prompt};
pub use hung::Caller;
pub use proxy::{PASSWORD, Proxy};
pub use recordings::{
    client_requests, client_sessions, exchanged_requests, exchanged_stream, recorded_streams,
};
pub use script::Reply;
pub use upstream::{Recorded, Upstream};

/// How long [`eventually`] looks before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

pub const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Looks until there is something to see; fails with `what` when there never is.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(BETWEEN_LOOKS).await;
    }
}
