//! What the gateway says of itself: log lines and metrics. Never a key, a token, a prompt or an image.

pub mod metrics;

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogFormat, Logs};

/// Starts logging to standard error. `RUST_LOG` refines what `LOG_LEVEL` sets.
///
/// Libraries are held at `info`: at `debug` some of them print request heads, and with them keys and tokens.
pub fn init(config: &Logs) {
    let level = config.level.as_str();
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,gemini_balance={level}")));
    let registry = tracing_subscriber::registry().with(filter);
    let started = match config.format {
        LogFormat::Text => registry
            .with(fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr))
            .try_init(),
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init(),
    };
    // A second gateway in one process, as in tests, shares the first one's log.
    drop(started);
}
