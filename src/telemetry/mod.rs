//! What the gateway says of itself: log lines and metrics. Never a key, a token, a prompt or an image.

pub mod metrics;
pub mod snapshots;

use std::io::IsTerminal;

use tracing::warn;
use tracing_subscriber::{
    EnvFilter, Registry, fmt,
    layer::SubscriberExt,
    reload::{self, Handle},
    util::SubscriberInitExt,
};

use crate::config::{LogFormat, LogLevel, Logs};

/// Libraries that print request heads at their lower levels, and with them keys and tokens; no setting lets them say
/// more than warnings.
const TALKATIVE: [&str; 5] =
    ["actix_http=warn", "actix_web=warn", "actix_server=warn", "awc=warn", "rustls=warn"];

/// Changes the level of the log while the program runs; one that was made by itself changes nothing.
#[derive(Debug, Clone, Default)]
pub struct LevelSwitch(Option<Handle<EnvFilter, Registry>>);

impl LevelSwitch {
    pub fn set(&self, level: LogLevel) {
        if let Some(handle) = &self.0
            && let Err(error) = handle.reload(filter_of(level))
        {
            warn!(%error, "the level of the log stays as it is");
        }
    }
}

/// Starts logging to standard error. `LOG_LEVEL` is the gateway's level, libraries tell warnings; `RUST_LOG` takes the
/// place of both, and of whatever the level is switched to.
pub fn init(config: &Logs) -> LevelSwitch {
    let from_environment = EnvFilter::try_from_default_env().ok().map(hold_back);
    let is_switched = from_environment.is_none();
    let filter = from_environment.unwrap_or_else(|| filter_of(config.level));
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match config.format {
        LogFormat::Text => registry
            .with(fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr))
            .try_init(),
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init(),
    };
    // A second gateway in one process, as in tests, shares the first one's log.
    LevelSwitch((is_switched && started.is_ok()).then_some(handle))
}

fn filter_of(level: LogLevel) -> EnvFilter {
    hold_back(EnvFilter::new(format!("warn,gemini_balance={}", level.as_str())))
}

fn hold_back(filter: EnvFilter) -> EnvFilter {
    let held = TALKATIVE.into_iter().filter_map(|directive| directive.parse().ok());
    held.fold(filter, EnvFilter::add_directive)
}
