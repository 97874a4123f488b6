//! The settings as they are now, made into what the workers need of them.

use std::sync::Arc;

use super::switches;
use crate::{
    config::Config,
    convert::switches::Switches,
    upstream::{proxies::Proxies, retries::Retries},
};

/// One state of the settings; the next one takes its place as a whole.
pub struct Live {
    pub config: Arc<Config>,
    pub retries: Arc<Retries>,
    pub proxies: Arc<Proxies>,
    pub switches: Arc<Switches>,
}

impl Live {
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            retries: Retries::new(&config).into(),
            proxies: Proxies::new(&config.upstream).into(),
            switches: switches::switches(&config).into(),
            config,
        }
    }

    /// The next state. What was spent of the budgets for retries, and how proxies fare, is not forgotten unless they are
    /// other ones.
    pub fn next(&self, config: Arc<Config>) -> Self {
        let mut next = Self::new(config);
        let bounds = |config: &Config| (config.retries, config.pool.max_attempts);
        if bounds(&self.config) == bounds(&next.config) {
            next.retries = self.retries.clone();
        }
        let (old, new) = (&self.config.upstream, &next.config.upstream);
        if (&old.proxies, old.proxies_by_key) == (&new.proxies, new.proxies_by_key) {
            next.proxies = self.proxies.clone();
        } else {
            next.proxies = self.proxies.renewed(new).into();
        }
        next
    }
}
