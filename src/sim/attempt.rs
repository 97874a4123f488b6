//! One call to the simulation that counts: from its admission to its last byte.

use std::{sync::Arc, time::Instant};

use super::{
    errors::GoogleError,
    plan::{Fault, Pace},
    request::GenerateRequest,
    state::{Cancellation, World, unix_ms},
};

/// What an attempt meets.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// Which attempt of the whole simulation it is, from 1.
    pub number: u64,
    pub fault: Option<Fault>,
    pub pace: Pace,
    /// Wait before the first byte.
    pub first_byte_ms: u64,
}

/// An attempt that is not over. Dropped before it has ended, it counts as cancelled by the peer.
#[derive(Debug)]
pub struct Attempt {
    world: Arc<World>,
    key: String,
    model: String,
    pub circumstances: Circumstances,
    began: Instant,
    is_stream: bool,
    pub events_sent: usize,
    status: Option<u16>,
}

impl Attempt {
    /// Begins: the attempt is in flight from now on.
    pub fn new(world: Arc<World>, key: &str, model: &str, circumstances: Circumstances) -> Self {
        Self {
            world,
            key: key.to_owned(),
            model: model.to_owned(),
            circumstances,
            began: Instant::now(),
            is_stream: false,
            events_sent: 0,
            status: None,
        }
    }

    /// Takes one request of so many tokens from the quota of the key's project.
    pub fn spend(&self, tokens: u64) -> Result<(), GoogleError> {
        self.world.spend(&self.key, &self.model, tokens)
    }

    /// Whether the key may use everything that the request names.
    pub fn check_resources(&self, request: &GenerateRequest) -> Result<(), GoogleError> {
        self.world.check_resources(&self.key, request)
    }

    pub fn open_stream(&mut self) {
        self.is_stream = true;
        self.world.count(&self.key, |counters| counters.open_streams += 1);
    }

    /// The answer is complete, as far as it was meant to be.
    pub fn end(&mut self, status: u16) {
        self.status = Some(status);
    }

    pub fn has_ended(&self) -> bool {
        self.status.is_some()
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.world.count(&self.key, |counters| {
            counters.in_flight = counters.in_flight.saturating_sub(1);
            if self.is_stream {
                counters.open_streams = counters.open_streams.saturating_sub(1);
            }
            match self.status {
                Some(status) => *counters.statuses.entry(status).or_default() += 1,
                None => counters.cancelled += 1,
            }
        });
        if self.status.is_some() {
            return;
        }
        let cancellation = Cancellation {
            key: self.key.clone(),
            model: self.model.clone(),
            at_ms: unix_ms(),
            after_ms: self.began.elapsed().as_millis() as u64,
            events_sent: self.events_sent,
        };
        self.world.remember(cancellation);
    }
}
