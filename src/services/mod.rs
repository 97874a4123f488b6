//! Actors that work beside the requests, with the same means: they call Google as a request does, or decide when.
//!
//! They stand above [`upstream`](crate::upstream), while the [`actors`](crate::actors) that it asks stand below it.

pub mod catalog;
pub mod recheck;
pub mod scheduler;
pub mod updates;

use std::sync::Arc;

use actix::Message;

use crate::{
    config::Config,
    upstream::{proxies::Proxies, retries::Retries},
};

/// Event: the settings are these from now on.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SettingsChanged {
    pub config: Arc<Config>,
    /// What all ways to Google spend together.
    pub retries: Arc<Retries>,
    pub proxies: Arc<Proxies>,
}
