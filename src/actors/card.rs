//! What is known of a key but for how it is: one card, which everybody shares who holds keys, so that a key that is
//! healthy and idle costs little.

use std::sync::Arc;

use crate::{
    balance::table::{Place, Placed},
    domain::{
        key::{ApiKey, KeyAbout, KeyId},
        placement::KeyPlacement,
    },
};

/// Another one takes its place when an operator changes something.
#[derive(Debug, Clone)]
pub struct KeyCard {
    pub id: KeyId,
    pub secret: ApiKey,
    pub about: Arc<KeyAbout>,
    pub placement: Arc<KeyPlacement>,
    /// Its gauge is shared with those who count, and so always the newest.
    pub place: Place,
}

impl Placed for Arc<KeyCard> {
    fn place(&self) -> &Place {
        &self.place
    }
}
