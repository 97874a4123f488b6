//! What the gateway says of itself: log lines and metrics. Never a key, a token, a prompt or an image.

pub mod metrics;
pub mod snapshots;

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogFormat, Logs};

/// Libraries that print request heads at their lower levels, and with them keys and tokens; no setting lets them say
/// more than warnings.
const TALKATIVE: [&str; 5] =
    ["actix_http=warn", "actix_web=warn", "actix_server=warn", "awc=warn", "rustls=warn"];

/// Starts logging to standard error. `LOG_LEVEL` is the gateway's level, libraries tell warnings; `RUST_LOG` takes the
/// place of both.
pub fn init(config: &Logs) {
    let level = config.level.as_str();
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,gemini_balance={level}")));
    let held = TALKATIVE.into_iter().filter_map(|directive| directive.parse().ok());
    let registry = tracing_subscriber::registry().with(held.fold(filter, EnvFilter::add_directive));
    let started = match config.format {
        LogFormat::Text => registry
            .with(fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr))
            .try_init(),
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init(),
    };
    // A second gateway in one process, as in tests, shares the first one's log.
    drop(started);
}
