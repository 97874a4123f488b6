//! Responses that are made in the background: nobody has to wait for them, and whoever does may leave and come back.
//!
//! A task runs on the worker that took its request. What it has told so far is shared, so that any worker can tell it again;
//! once it has ended the response is kept like any other.

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    Stream, StreamExt,
    future::{Either, select},
    stream::unfold,
};
use memchr::memmem;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::{responses_writer::SharedEvents, writer::HEARTBEAT};
use crate::domain::client::TokenId;

/// Responses that are made for one client at the same time.
const MAX_OF_ONE: usize = 64;
/// How long after its end what was told can be told again, event by event.
const TOLD_AGAIN_FOR: Duration = Duration::from_secs(300);
/// How long a client waits for what it cancelled to end.
const CANCELLED_WITHIN: Duration = Duration::from_secs(5);

/// The tasks of all workers; held for a look and never across a wait.
#[derive(Default)]
pub struct Background(Mutex<HashMap<String, Arc<Task>>>);

/// One response that is being made, or was made just now.
pub struct Task {
    owner: TokenId,
    /// The response as it stands until it has ended, in JSON.
    running: Bytes,
    told: Mutex<Told>,
    changed: watch::Sender<()>,
    cancelled: Notify,
}

/// The events so far, as they go to clients.
#[derive(Default)]
struct Told {
    bytes: Vec<u8>,
    /// Where each event ends; its place is its sequence number.
    ends: Vec<usize>,
    is_over: bool,
}

impl Background {
    /// Begins a task; `None` when the client has too many already.
    pub fn begin(&self, id: &str, owner: TokenId, running: Bytes) -> Option<Arc<Task>> {
        let mut tasks = self.tasks();
        let is_one = |task: &&Arc<Task>| task.owner == owner && !task.is_over();
        if tasks.values().filter(is_one).count() >= MAX_OF_ONE {
            return None;
        }
        let task = Arc::new(Task {
            owner,
            running,
            told: Mutex::default(),
            changed: watch::Sender::new(()),
            cancelled: Notify::new(),
        });
        tasks.insert(id.to_owned(), task.clone());
        Some(task)
    }

    /// `None` when there is none, or when it is another client's.
    pub fn find(&self, owner: &TokenId, id: &str) -> Option<Arc<Task>> {
        self.tasks().get(id).filter(|task| task.owner == *owner).cloned()
    }

    pub fn forget(&self, id: &str) {
        self.tasks().remove(id);
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<String, Arc<Task>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    /// The response, in JSON; `None` once it has ended.
    pub fn running(&self) -> Option<Bytes> {
        (!self.is_over()).then(|| self.running.clone())
    }

    /// Ends it, and waits until it has ended.
    pub async fn cancel(&self) {
        let mut changed = self.changed.subscribe();
        self.cancelled.notify_one();
        let ended = async { while !self.is_over() && changed.changed().await.is_ok() {} };
        // One that is stuck is told as it stands.
        let _ = timeout(CANCELLED_WITHIN, ended).await;
    }

    /// Tells the events behind `after`, a sequence number, and those that come; with signs of life in between.
    pub fn follow(
        self: Arc<Self>,
        after: Option<usize>,
        heartbeat: Option<Duration>,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> {
        let (next, changed) = (after.map_or(0, |number| number.saturating_add(1)), self.changed.subscribe());
        unfold((self, next, changed), move |(task, next, mut changed)| async move {
            loop {
                changed.mark_unchanged();
                let (bytes, following, is_over) = task.behind(next);
                if !bytes.is_empty() {
                    return Some((Ok(bytes), (task, following, changed)));
                }
                if is_over {
                    return None;
                }
                let patience = heartbeat.unwrap_or(Duration::MAX);
                if timeout(patience, changed.changed()).await.is_err() {
                    return Some((Ok(Bytes::from_static(HEARTBEAT)), (task, next, changed)));
                }
            }
        })
    }

    /// The events from `next` on, and the number of the one that follows them.
    fn behind(&self, next: usize) -> (Bytes, usize, bool) {
        let told = self.told();
        let start =
            next.checked_sub(1).map_or(0, |last| told.ends.get(last).copied().unwrap_or(told.bytes.len()));
        let end = told.ends.last().copied().unwrap_or_default();
        let bytes = told.bytes.get(start..end).map(Bytes::copy_from_slice).unwrap_or_default();
        (bytes, next.max(told.ends.len()), told.is_over)
    }

    fn tell(&self, events: &[u8]) {
        let mut told = self.told();
        let before = told.bytes.len();
        told.bytes.extend_from_slice(events);
        // JSON has no line breaks of its own.
        let ends = memmem::find_iter(events, b"\n\n").map(|at| before + at + 2);
        told.ends.extend(ends);
        drop(told);
        self.changed.send_replace(());
    }

    fn end(&self) {
        self.told().is_over = true;
        self.changed.send_replace(());
    }

    fn is_over(&self) -> bool {
        self.told().is_over
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a response, whoever waits for it, until it ends or is cancelled. `body` says what `events` write.
pub async fn run(
    background: Arc<Background>,
    id: String,
    task: Arc<Task>,
    body: impl Stream<Item = Result<Bytes, Infallible>> + Unpin,
    events: SharedEvents,
) {
    let ending = Ending { task: task.clone(), events };
    let mut body = Box::new(body);
    loop {
        let cancelled = pin!(task.cancelled.notified());
        let next = match select(cancelled, body.next()).await {
            Either::Left(_) => None,
            Either::Right((next, _)) => Some(next),
        };
        match next {
            Some(Some(Ok(bytes))) => task.tell(&bytes),
            Some(None) => break,
            None => {
                // Hangs up on Google.
                drop(body);
                task.tell(&ending.events.cancel());
                break;
            }
        }
    }
    drop(ending);
    sleep(TOLD_AGAIN_FOR).await;
    background.forget(&id);
}

/// Ends a task also where its worker stops in the middle of it.
struct Ending {
    task: Arc<Task>,
    events: SharedEvents,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(events) = self.events.give_up() {
            self.task.tell(&events);
        }
        self.task.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> (Background, Arc<Task>) {
        let background = Background::default();
        let task = background.begin("resp_1", TokenId::new("me"), Bytes::from_static(b"{}")).unwrap();
        (background, task)
    }

    async fn all(task: &Arc<Task>, after: Option<usize>) -> String {
        let told: Vec<_> = task.clone().follow(after, None).collect().await;
        told.into_iter().map(|bytes| String::from_utf8(bytes.unwrap().into()).unwrap()).collect()
    }

    #[tokio::test]
    async fn who_comes_late_hears_everything_behind_a_number_once() {
        let (_, task) = task();
        let (early, writer) = (task.clone(), task.clone());
        let following = tokio::spawn(async move { all(&early, None).await });
        let writing = tokio::spawn(async move {
            for event in ["data: 0\n\n", "data: 1\n\ndata: 2\n\n", "data: 3\n\n"] {
                writer.tell(event.as_bytes());
                tokio::task::yield_now().await;
            }
            writer.end();
        });
        writing.await.unwrap();

        let whole = "data: 0\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\n";
        assert_eq!(following.await.unwrap(), whole);
        assert_eq!(all(&task, None).await, whole);
        assert_eq!(all(&task, Some(1)).await, "data: 2\n\ndata: 3\n\n");
        assert_eq!(all(&task, Some(3)).await, "");
        assert_eq!(all(&task, Some(usize::MAX)).await, "");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_filled_with_signs_of_life() {
        let (_, task) = task();
        let mut told = Box::pin(task.clone().follow(None, Some(Duration::from_secs(1))));

        assert_eq!(told.next().await, Some(Ok(Bytes::from_static(HEARTBEAT))));
        task.tell(b"data: 0\n\n");
        assert_eq!(told.next().await, Some(Ok(Bytes::from_static(b"data: 0\n\n"))));
        task.end();
        assert_eq!(told.next().await, None);
    }

    #[test]
    fn a_task_is_its_owners_and_each_may_have_so_many() {
        let (background, task) = task();
        let [me, you] = ["me", "you"].map(TokenId::new);
        assert!(background.find(&me, "resp_1").is_some() && background.find(&you, "resp_1").is_none());
        let begin =
            |n: usize, owner: &TokenId| background.begin(&format!("resp_{n}"), owner.clone(), Bytes::new());
        for n in 2..=MAX_OF_ONE {
            assert!(begin(n, &me).is_some(), "{n}");
        }

        assert!(begin(100, &me).is_none() && begin(100, &you).is_some());
        task.end();
        assert!(begin(101, &me).is_some(), "what has ended makes room");
        assert_eq!(task.running(), None);
    }
}
