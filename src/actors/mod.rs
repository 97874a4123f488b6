//! Who holds state and talks; one actor and its messages a file.
//!
//! Read [`key`] first, then [`supervisor`] and [`balancer`]; the others are only told things.

use std::marker::PhantomData;

use actix::Message;

pub mod archive;
pub mod balancer;
pub mod card;
pub mod cluster;
pub mod directory;
pub mod follower;
pub mod key;
pub mod lease;
pub mod logger;
pub mod registrar;
pub mod supervisor;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod traffic;

/// Question: what do you hold? Every actor answers with a snapshot that logs, metrics and tests read alike.
#[derive(Debug, Clone, Copy)]
pub struct Observe<T>(PhantomData<T>);

impl<T> Observe<T> {
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Observe<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: 'static> Message for Observe<T> {
    type Result = T;
}
