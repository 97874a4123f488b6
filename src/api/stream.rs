//! A streamed answer on its way to the client: held until there is content, then passed on event by event, with signs
//! of life while Google is silent.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::Future,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName},
};
use bytes::Bytes;
use futures_util::{Stream, future::LocalBoxFuture};
use tokio::{
    task::JoinHandle,
    time::{Instant, Sleep, sleep, sleep_until},
};

use super::{
    error::{ApiError, Envelope, Failure},
    journal::Journal,
    source::{Shape, Source},
};
use crate::{
    convert::switches::Smoother,
    upstream::dispatch::{Refusal, UpstreamError},
};

/// Events that are passed on in one write, when so many have come at once.
const LARGEST_WRITE: usize = 64 * 1024;
/// Events that wait to leave; a source is not read while so many do.
const LARGEST_QUEUE: usize = 10_000;
/// A client that reads hears of the deadline first, and what it hears ends the stream as usual.
const GRACE: Duration = Duration::from_secs(1);

/// Writes events as a dialect's clients read them.
pub trait Writer: Unpin + 'static {
    const CONTENT_TYPE: &'static str;

    /// The data of one event of source `index`. An error ends the stream.
    fn event(&mut self, index: usize, data: &Bytes, out: &mut Vec<u8>) -> Result<(), ApiError>;

    /// Source `index` has ended well.
    fn source_ends(&mut self, _index: usize, _out: &mut Vec<u8>) {}

    /// A sign of life that this dialect's SDKs bear, before and between events.
    fn heartbeat(&mut self, out: &mut Vec<u8>);

    /// Everything has been said.
    fn end(&mut self, out: &mut Vec<u8>);

    /// The stream breaks off here.
    fn failure(&mut self, error: &ApiError, out: &mut Vec<u8>);
}

/// Opens the upstream's side; one source for each candidate that the client asked for.
pub type Opening = LocalBoxFuture<'static, Opened>;

/// What came of it.
pub type Opened = (Result<Vec<Source>, UpstreamError>, Journal);

/// Waits for the first content; an error until then has its own status. After a silence the answer begins with a
/// heartbeat, and an error can only come as an event.
pub async fn respond<F: Envelope, W: Writer>(
    mut opening: Opening,
    writer: W,
    shape: impl Into<Shape>,
) -> Result<HttpResponse, Failure<F>> {
    let shape = shape.into();
    match first(&mut opening, shape.heartbeat).await {
        Some(opened) => respond_with(opened, writer, shape),
        None => Ok(begin(opening, writer, shape)),
    }
}

/// What the upstream's side comes to, if it does before a sign of life is due.
pub async fn first(opening: &mut Opening, heartbeat: Option<Duration>) -> Option<Opened> {
    tokio::time::timeout(heartbeat.unwrap_or(Duration::MAX), opening).await.ok()
}

/// The answer whose first content is there, or an error with its status.
pub fn respond_with<F: Envelope, W: Writer>(
    opened: Opened,
    writer: W,
    shape: Shape,
) -> Result<HttpResponse, Failure<F>> {
    match opened {
        (Ok(sources), journal) => {
            Ok(tell(StreamBody::new(State::Open(sources), Some(journal), writer, shape)))
        }
        (Err(error), journal) => {
            let failure = Failure::<F>::from(error);
            journal.fail(failure.status(), &failure.error);
            Err(failure)
        }
    }
}

/// The answer that begins with a sign of life, as nothing has come yet.
pub fn begin<W: Writer>(opening: Opening, writer: W, shape: Shape) -> HttpResponse {
    tell(StreamBody::new(State::Opening(opening), None, writer, shape))
}

fn tell<W: Writer>(body: StreamBody<W>) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, W::CONTENT_TYPE)).insert_header((CACHE_CONTROL, "no-cache"));
    // nginx would otherwise hold events back until a buffer is full.
    response.insert_header((HeaderName::from_static("x-accel-buffering"), "no"));
    response.streaming(TimedBody::new(body))
}

/// The same answer for whoever asks for its bytes; an error is an event from the start.
pub fn told<W: Writer>(
    opening: Opening,
    writer: W,
    shape: Shape,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Unpin {
    TimedBody::new(StreamBody::new(State::Opening(opening), None, writer, shape))
}

enum State {
    Opening(Opening),
    Open(Vec<Source>),
    Over,
}

/// Events that wait to leave little by little.
struct Pace {
    waiting: Smoother,
    timer: Pin<Box<Sleep>>,
}

struct StreamBody<W> {
    state: State,
    /// Sources that have not ended, by their index.
    running: Vec<bool>,
    journal: Option<Journal>,
    writer: W,
    interval: Option<Duration>,
    silence: Pin<Box<Sleep>>,
    pace: Option<Pace>,
    /// What was to be said when nobody was reading.
    last_words: Vec<u8>,
}

impl<W: Writer> StreamBody<W> {
    fn new(state: State, journal: Option<Journal>, writer: W, shape: Shape) -> Self {
        let interval = shape.heartbeat;
        let running = match &state {
            State::Open(sources) => vec![true; sources.len()],
            State::Opening(_) | State::Over => Vec::new(),
        };
        // The first heartbeat of an answer that was silent until now is due at once.
        let first =
            if matches!(state, State::Opening(_)) { Duration::ZERO } else { interval.unwrap_or_default() };
        Self {
            state,
            running,
            journal,
            writer,
            interval,
            silence: Box::pin(sleep(first)),
            pace: shape.smoothing.map(|smoothing| Pace {
                waiting: Smoother::new(smoothing),
                timer: Box::pin(sleep(Duration::ZERO)),
            }),
            last_words: Vec::new(),
        }
    }

    /// Ends the answer, well or badly, and writes it down.
    fn conclude(&mut self, error: Option<&ApiError>, out: &mut Vec<u8>) {
        match error {
            None => self.writer.end(out),
            Some(error) => self.writer.failure(error, out),
        }
        self.release();
        if let Some(journal) = self.journal.take() {
            match error {
                None => journal.finish(200),
                Some(error) => journal.fail(200, error),
            }
        }
    }

    /// When the last of the sources must have ended; `None` while there are none.
    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Open(sources) => sources.iter().filter_map(Source::deadline).max(),
            State::Opening(_) | State::Over => None,
        }
    }

    /// Ends an answer that nobody reads. The key did its part, so it counts as abandoned.
    fn time_out(&mut self) {
        let State::Open(sources) = &self.state else { return };
        let Some(fault) = sources.iter().find_map(Source::overdue) else { return };
        let error = UpstreamError::Refused(Box::new(Refusal::inside(*fault))).into();
        let mut last_words = Vec::new();
        self.conclude(Some(&error), &mut last_words);
        self.last_words = last_words;
    }

    fn poll_opening(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) {
        let State::Opening(opening) = &mut self.state else { return };
        if let Poll::Ready((opened, journal)) = opening.as_mut().poll(cx) {
            self.journal = Some(journal);
            match opened {
                Ok(sources) => {
                    self.running = vec![true; sources.len()];
                    self.state = State::Open(sources);
                }
                Err(error) => self.conclude(Some(&error.into()), out),
            }
        }
    }

    fn poll_sources(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) {
        let State::Open(sources) = &mut self.state else { return };
        let mut failed = None;
        'sources: for (index, source) in sources.iter_mut().enumerate() {
            let has_room = |out: &[u8], pace: &Option<Pace>| {
                out.len() < LARGEST_WRITE
                    && pace.as_ref().is_none_or(|pace| pace.waiting.len() < LARGEST_QUEUE)
            };
            while self.running[index] && has_room(out, &self.pace) {
                let written = match source.poll_event(cx) {
                    Poll::Ready(Some(Ok(data))) => match &mut self.pace {
                        Some(pace) => {
                            pace.waiting.push(index, data, Instant::now());
                            Ok(())
                        }
                        None => self.writer.event(index, &data, out),
                    },
                    Poll::Ready(Some(Err(fault))) => {
                        Err(UpstreamError::Refused(Box::new(Refusal::inside(*fault))).into())
                    }
                    Poll::Ready(None) => {
                        self.running[index] = false;
                        match &mut self.pace {
                            Some(pace) => pace.waiting.end(index, Instant::now()),
                            None => self.writer.source_ends(index, out),
                        }
                        Ok(())
                    }
                    Poll::Pending => break,
                };
                if let Err(error) = written {
                    failed = Some(error);
                    break 'sources;
                }
            }
        }
        let left = self.poll_pace(failed.is_some(), cx, out);
        failed = left.err().or(failed);
        let is_waiting = self.pace.as_ref().is_some_and(|pace| !pace.waiting.is_empty());
        if failed.is_some() || !is_waiting && !self.running.contains(&true) {
            self.conclude(failed.as_ref(), out);
        }
    }

    /// Writes what may leave now; everything, when nothing more will come.
    fn poll_pace(&mut self, is_last: bool, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Result<(), ApiError> {
        let Some(Pace { waiting, timer }) = &mut self.pace else { return Ok(()) };
        let now = Instant::now();
        if is_last {
            waiting.hurry(now);
        }
        while let Some((index, data)) = waiting.pop(now) {
            match data {
                Some(data) => self.writer.event(index, &data, out)?,
                None => self.writer.source_ends(index, out),
            }
        }
        if let Some(due) = waiting.next_due() {
            timer.as_mut().reset(due);
            // Registers the wake-up; one that is due already is told at once.
            if timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Ok(())
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) {
        if self.interval.is_some() && self.silence.as_mut().poll(cx).is_ready() {
            self.writer.heartbeat(out);
            self.restart_silence();
            // Registers the next wake-up.
            let _ = self.silence.as_mut().poll(cx);
        }
    }

    fn restart_silence(&mut self) {
        if let Some(interval) = self.interval {
            self.silence.as_mut().reset(Instant::now() + interval);
        }
    }
}

impl<W: Writer> StreamBody<W> {
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut out = std::mem::take(&mut self.last_words);
        self.poll_opening(cx, &mut out);
        self.poll_sources(cx, &mut out);
        if !out.is_empty() {
            if let Some(journal) = &mut self.journal {
                journal.content_begins();
            }
            self.restart_silence();
            return Poll::Ready(Some(out.into()));
        }
        if matches!(self.state, State::Over) {
            return Poll::Ready(None);
        }
        self.poll_silence(cx, &mut out);
        if out.is_empty() { Poll::Pending } else { Poll::Ready(Some(out.into())) }
    }
}

impl<W> StreamBody<W> {
    /// Gives the keys back with what came of them; what is still running is cancelled by it.
    fn release(&mut self) {
        if let State::Open(sources) = std::mem::replace(&mut self.state, State::Over)
            && let Some(journal) = &mut self.journal
        {
            sources.into_iter().for_each(|source| source.conclude(&mut journal.trail));
        }
    }
}

impl<W> Drop for StreamBody<W> {
    /// The client hung up.
    fn drop(&mut self) {
        self.release();
    }
}

/// A body that its deadline ends even while the server does not ask for more, because the client does not read.
struct TimedBody<W: Writer> {
    body: Rc<RefCell<StreamBody<W>>>,
    watch: Option<JoinHandle<()>>,
}

impl<W: Writer> TimedBody<W> {
    fn new(body: StreamBody<W>) -> Self {
        let mut timed = Self { body: Rc::new(RefCell::new(body)), watch: None };
        timed.begin_watch();
        timed
    }

    /// Once there are sources, it is known until when they may run.
    fn begin_watch(&mut self) {
        if self.watch.is_none()
            && let Some(deadline) = self.body.borrow().deadline()
        {
            self.watch = Some(actix_web::rt::spawn(watch(Rc::downgrade(&self.body), deadline + GRACE)));
        }
    }
}

async fn watch<W: Writer>(body: Weak<RefCell<StreamBody<W>>>, end: Instant) {
    sleep_until(end).await;
    if let Some(body) = body.upgrade() {
        body.borrow_mut().time_out();
    }
}

impl<W: Writer> Stream for TimedBody<W> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let polled = this.body.borrow_mut().poll_bytes(cx);
        this.begin_watch();
        polled.map(|bytes| bytes.map(Ok))
    }
}

impl<W: Writer> Drop for TimedBody<W> {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}
