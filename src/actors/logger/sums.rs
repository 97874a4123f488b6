//! What the logger keeps of the past besides rows: sums of an older version's log, and how the keys were.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::prelude::*;
use tracing::{error, info};

use super::{Logger, RETRY_AFTER};
use crate::{
    actors::supervisor::StateCounts,
    db::{
        Database,
        key_states::{KeyStates, save_key_states},
        rollups::ModelNames,
        unsummed,
    },
    domain::{
        time::Now,
        timeline::{MINUTE_MS, floor},
    },
};

/// Rows that one step sums up, and how long others have their turn after it.
const STEP: u32 = 500;
const PAUSE: Duration = Duration::from_millis(20);

/// Sums up what was logged before there were sums. With nothing left to do it ends at once.
pub(super) async fn sum_older_logs(database: Database, names: Arc<Mutex<ModelNames>>) {
    let mut steps = 0u64;
    loop {
        let names = names.clone();
        let step = database.write(move |conn| {
            let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
            unsummed::sum_older_logs(conn, &mut names, STEP)
        });
        match step.await {
            Ok(true) => {
                steps += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Ok(false) => break,
            Err(failure) => {
                error!(error = %failure, "older log rows could not be summed up, trying again");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
    if steps > 0 {
        info!("all older log rows are part of the figures now");
    }
}

/// Event: so many keys are in each state just now.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct StatesSampled(pub StateCounts);

impl Handler<StatesSampled> for Logger {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, StatesSampled(states): StatesSampled, _: &mut Context<Self>) -> Self::Result {
        let states = key_states(states, Now::read().unix_ms());
        let saving = self.database.write(move |conn| save_key_states(conn, states));
        Box::pin(async {
            // The next look comes in a minute.
            if let Err(failure) = saving.await {
                error!(error = %failure, "the states of keys could not be saved");
            }
        })
    }
}

fn key_states(states: StateCounts, now_ms: i64) -> KeyStates {
    let count = |keys: usize| i64::try_from(keys).unwrap_or(i64::MAX);
    KeyStates {
        at_ms: floor(now_ms, MINUTE_MS),
        active: count(states.active),
        cooling: count(states.cooling),
        half_open: count(states.half_open),
        invalid: count(states.invalid),
        disabled: 0,
    }
}
