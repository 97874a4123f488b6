//! Finished requests of one worker, on their way to the logger in small batches: one wake-up of its thread then
//! serves many.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use actix::Addr;
use tokio::{sync::mpsc, time::sleep};

use crate::{
    actors::logger::{LogQueue, Logger, RequestsFinished},
    db::{error_logs::NewErrorLog, request_logs::RequestLog},
};

const SEND_AT: usize = 64;
const SEND_AFTER: Duration = Duration::from_millis(50);

pub struct Outbox {
    logger: Addr<Logger>,
    queue: Arc<LogQueue>,
    waiting: RefCell<RequestsFinished>,
    /// Tells the app, by being dropped, that nothing is held here any more.
    _guard: Option<mpsc::Sender<()>>,
    me: Weak<Self>,
}

impl Outbox {
    pub fn new(logger: Addr<Logger>, queue: Arc<LogQueue>, guard: Option<mpsc::Sender<()>>) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            logger,
            queue,
            waiting: RefCell::default(),
            _guard: guard,
            me: me.clone(),
        })
    }

    pub fn put(&self, request: RequestLog, errors: Vec<NewErrorLog>) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.requests.push(request);
        waiting.errors.extend(errors);
        match waiting.requests.len() {
            1 => self.send_later(),
            SEND_AT => {
                drop(waiting);
                self.send();
            }
            _ => {}
        }
    }

    fn send_later(&self) {
        let me = self.me.clone();
        actix_web::rt::spawn(async move {
            sleep(SEND_AFTER).await;
            if let Some(outbox) = me.upgrade() {
                outbox.send();
            }
        });
    }

    fn send(&self) {
        let finished = self.waiting.take();
        let rows = finished.requests.len() + finished.errors.len();
        // A logger that cannot keep up must not fill the memory.
        if rows > 0 && self.logger.try_send(finished).is_err() {
            self.queue.refuse(rows);
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.send();
    }
}
