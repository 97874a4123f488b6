//! How many failures keys may have, which can change while they live.

use actix::prelude::*;

use super::Supervisor;
use crate::actors::key::AllowFailures;

impl Handler<AllowFailures> for Supervisor {
    type Result = ();

    fn handle(&mut self, AllowFailures(count): AllowFailures, _: &mut Context<Self>) {
        if count != self.max_failures {
            self.max_failures = count;
            for entry in self.keys.values() {
                entry.actor.do_send(AllowFailures(count));
            }
        }
    }
}
