//! How far the gateway goes for one request, and what it spends on that over all of them.

use std::time::Duration;

use tokio::time::Instant;

use crate::{balance::budget::Budget, config::Config};

/// What the retry budget looks back on.
const SPAN: Duration = Duration::from_secs(10);
/// Retries in each span that need no traffic, so that a quiet gateway has them too.
const FLOOR: u32 = 20;

/// What the share of hedges looks back on: long, so that one in twenty is reached by quiet gateways too.
const HEDGES_SPAN: Duration = Duration::from_secs(600);

/// Shared by the dispatchers of all threads.
#[derive(Debug)]
pub struct Retries {
    /// `MAX_RETRIES`: attempts for one request, the first included.
    pub max_attempts: usize,
    /// For attempts that follow a fault of Google's or the network's.
    pub budget: Budget,
    /// For generations that are sent a second time; `None` is never.
    pub hedges: Option<Budget>,
    pub continues_streams: bool,
}

impl Retries {
    pub fn new(config: &Config) -> Self {
        let now = Instant::now();
        Self {
            max_attempts: config.pool.max_attempts.max(1) as usize,
            budget: Budget::new(config.retries.budget_percent, FLOOR, SPAN, now),
            hedges: config.retries.hedged_percent.map(|percent| Budget::new(percent, 0, HEDGES_SPAN, now)),
            continues_streams: config.retries.continues_streams,
        }
    }
}
