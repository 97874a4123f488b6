//! What happens to keys, on its way to the database with the rows of the logs.

use actix::prelude::*;

use super::{Batch, Logger};
use crate::domain::key_event::KeyEvent;

/// Event: this has happened to keys, oldest first.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct KeysChanged(pub Vec<KeyEvent>);

impl Handler<KeysChanged> for Logger {
    type Result = ();

    fn handle(&mut self, KeysChanged(events): KeysChanged, ctx: &mut Context<Self>) {
        self.take_in(Batch { events: events.into(), ..Batch::default() }, ctx);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        actors::logger::{Flush, LogQueue},
        db::{
            key_events::{KeyEventFilter, list_key_events},
            logs::tests::{close_error_log, failure, open_error_log},
            request_logs::tests::row,
            test_database,
        },
        domain::{
            key::KeyId,
            key_event::{KeyEventBy, KeyEventKind},
        },
    };

    #[actix::test]
    async fn events_wait_with_the_rows_while_the_database_is_away_and_arrive_once() {
        tokio::time::pause();
        let (database, _dir) = test_database();
        database.write_blocking(close_error_log).unwrap();
        let queue = Arc::<LogQueue>::default();
        let logger = Logger::new(database.clone(), queue.clone(), Arc::default()).start();
        let event = |key| KeyEvent::new(KeyId(key), key, KeyEventKind::State, KeyEventBy::Time);

        logger.send(KeysChanged(vec![event(1), event(2)])).await.unwrap();
        let finished = super::super::RequestsFinished { requests: vec![row(1)], errors: vec![failure(1)] };
        logger.send(finished).await.unwrap();
        tokio::time::sleep(super::super::RETRY_AFTER * 3).await;
        database.write_blocking(open_error_log).unwrap();
        logger.send(Flush).await.unwrap();

        let all = KeyEventFilter::default();
        let told = database.read_blocking(|conn| list_key_events(conn, &all, None, 10)).unwrap();
        let told: Vec<_> = told.into_iter().map(|stored| (stored.event, stored.times)).collect();
        assert_eq!(told, [(event(2), 1), (event(1), 1)]);
        assert_eq!((queue.queued(), queue.written(), queue.dropped()), (0, 4, 0));
    }
}
