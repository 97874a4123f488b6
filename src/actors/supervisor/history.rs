//! What happens to keys, collected for the logger so that a storm is a few messages and not a hundred thousand.

use std::time::Duration;

use actix::prelude::*;
use tracing::warn;

use super::Supervisor;
use crate::{actors::logger::KeysChanged, domain::key_event::KeyEvent};

/// Events that come together go together.
const COLLECTED_FOR: Duration = Duration::from_millis(100);
/// Of more than so many the oldest are given up, as when the logger takes nothing.
const CAPACITY: usize = 100_000;

#[derive(Default)]
pub(super) struct History {
    logger: Option<Recipient<KeysChanged>>,
    waiting: Vec<KeyEvent>,
    is_due: bool,
}

impl History {
    /// Sends what waits; what the logger has no room for waits on.
    fn send(&mut self) {
        self.is_due = false;
        let Some(logger) = self.logger.as_ref().filter(|_| !self.waiting.is_empty()) else { return };
        match logger.try_send(KeysChanged(std::mem::take(&mut self.waiting))) {
            Ok(()) => {}
            Err(SendError::Full(KeysChanged(events))) => self.waiting = events,
            Err(SendError::Closed(_)) => self.logger = None,
        }
    }
}

impl Supervisor {
    /// Lets the logger write down what happens to keys.
    #[must_use]
    pub fn telling(mut self, logger: Recipient<KeysChanged>) -> Self {
        self.history.logger = Some(logger);
        self
    }

    /// Notes what has happened.
    pub(super) fn note(&mut self, events: Vec<KeyEvent>, ctx: &mut Context<Self>) {
        let history = &mut self.history;
        if history.logger.is_none() || events.is_empty() {
            return;
        }
        history.waiting.extend(events);
        if history.waiting.len() > CAPACITY {
            let surplus = history.waiting.len() - CAPACITY;
            warn!(events = surplus, "the history of keys has gaps, as the log is behind");
            history.waiting.drain(..surplus);
        }
        self.plan_telling(ctx);
    }

    fn plan_telling(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.history.is_due, true) {
            ctx.run_later(COLLECTED_FOR, |supervisor, ctx| {
                supervisor.history.send();
                if !supervisor.history.waiting.is_empty() {
                    supervisor.plan_telling(ctx);
                }
            });
        }
    }

    /// What waits is with the logger then, unless that has no room.
    pub(super) fn tell_all(&mut self) {
        self.history.send();
    }
}
