//! The settings as they are now, made into what the workers need of them.

use std::sync::Arc;

use super::switches;
use crate::{config::Config, convert::switches::Switches, upstream::retries::Retries};

/// One state of the settings; the next one takes its place as a whole.
pub struct Live {
    pub config: Arc<Config>,
    pub retries: Arc<Retries>,
    pub switches: Arc<Switches>,
}

impl Live {
    pub fn new(config: Arc<Config>) -> Self {
        let (retries, switches) = (Retries::new(&config).into(), switches::switches(&config).into());
        Self { config, retries, switches }
    }

    /// The next state. What was spent of the budgets for retries is not forgotten unless they are other ones.
    pub fn next(&self, config: Arc<Config>) -> Self {
        let next = Self::new(config);
        let bounds = |config: &Config| (config.retries, config.pool.max_attempts);
        match bounds(&self.config) == bounds(&next.config) {
            true => Self { retries: self.retries.clone(), ..next },
            false => next,
        }
    }
}
