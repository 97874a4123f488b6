//! What the directory is told of keys.

use actix::prelude::*;

use super::{Entry, Supervisor};
use crate::actors::directory::{KeyRow, Listed, Listing};

/// Command: tell this one of every key, now and whenever one changes.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ListTo(pub Recipient<Listed>);

impl Handler<ListTo> for Supervisor {
    type Result = ();

    fn handle(&mut self, ListTo(directory): ListTo, _: &mut Context<Self>) {
        directory.do_send(Listed(self.keys.values().map(|entry| entry.listing()).collect()));
        self.directory = Some(directory);
    }
}

impl Entry {
    pub(super) fn listing(&self) -> Listing {
        Listing::Changed(KeyRow { card: self.card.clone(), health: self.health.clone() })
    }
}

impl Supervisor {
    pub(super) fn list(&self, listing: Listing) {
        if let Some(directory) = &self.directory {
            directory.do_send(Listed(vec![listing]));
        }
    }
}
