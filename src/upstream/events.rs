//! The events of one streamed answer, with the lease that it was made on.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use awc::ClientResponse;
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::{
    attempts::Sent,
    call::AnswerKind,
    classify::{Classifier, Fault},
    client::{TransportError, UpstreamClient},
    dispatch::malformed,
    glance::{StreamGlance, glance, is_empty_answer},
    openai_layer,
    redact::mask_key,
    sse::{Event, EventSplitter},
    trail::Trail,
};
use crate::domain::{
    key::{ApiKey, KeyId},
    outcome::Outcome,
    usage::Usage,
};

/// How an answer ended, once it has.
#[derive(Debug)]
enum End {
    Complete,
    Failed(Fault),
}

/// Events as they come from Google; the lease inside is settled when they end, or as abandoned on a drop.
pub struct EventStream {
    response: ClientResponse,
    kind: AnswerKind,
    /// What errors may quote and nobody may see.
    secret: ApiKey,
    classifier: Classifier,
    splitter: EventSplitter,
    seen: StreamGlance,
    usage: Option<Usage>,
    /// What was read while nobody was listening yet.
    held: VecDeque<Bytes>,
    idle_timeout: Duration,
    /// Counts from the first byte on; until then the caller's patience for a first byte does.
    idle: Pin<Box<Sleep>>,
    deadline: Pin<Box<Sleep>>,
    /// The attempt that this is the answer of.
    sent: Option<Sent>,
    sent_at: Instant,
    first_byte_at: Option<Instant>,
    is_finished: bool,
    /// `[DONE]` was seen, on the OpenAI layer.
    is_done: bool,
    end: Option<End>,
}

impl EventStream {
    pub(super) fn new(
        response: ClientResponse,
        kind: AnswerKind,
        secret: ApiKey,
        client: &UpstreamClient,
        deadline: Instant,
    ) -> Self {
        let idle_timeout = client.idle_timeout;
        Self {
            response,
            kind,
            secret,
            classifier: client.classifier.clone(),
            splitter: EventSplitter::default(),
            seen: StreamGlance::default(),
            usage: None,
            held: VecDeque::new(),
            idle_timeout,
            idle: Box::pin(sleep(idle_timeout)),
            deadline: Box::pin(sleep_until(deadline)),
            sent: None,
            sent_at: Instant::now(),
            first_byte_at: None,
            is_finished: false,
            is_done: false,
            end: None,
        }
    }

    /// Reads until the first event with content, or one that ends the answer for a reason. False when the answer
    /// ended without either.
    pub(super) async fn hold(&mut self) -> Result<bool, Box<Fault>> {
        loop {
            match poll_fn(|cx| self.poll_read(cx)).await {
                Some(Ok(event)) => self.held.push_back(event),
                Some(Err(fault)) => return Err(fault),
                None => return Ok(!self.is_empty()),
            }
            if self.has_content() {
                return Ok(true);
            }
        }
    }

    /// From now on the lease lives and ends with this stream.
    pub(super) fn carry(&mut self, sent: Sent) {
        self.sent_at = sent.mark.sent_at;
        self.sent = Some(sent);
    }

    /// The key whose answer this is; none when it was empty with every key.
    pub(super) fn key(&self) -> Option<KeyId> {
        self.sent.as_ref().map(|sent| sent.mark.key)
    }

    /// What the answer has cost so far.
    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// When the time of the whole request is up.
    pub fn deadline(&self) -> Instant {
        self.deadline.deadline()
    }

    /// What is to be said of an answer that is still running then.
    pub fn overdue(&self) -> Box<Fault> {
        Box::new(transport_fault(&TransportError::Total(self.deadline() - self.sent_at)))
    }

    /// The data of the next event; after an error or the end there is nothing more.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Box<Fault>>>> {
        match self.held.pop_front() {
            Some(event) => Poll::Ready(Some(Ok(event))),
            None => self.poll_read(cx),
        }
    }

    /// Writes down how the answer ended and gives the key back.
    pub fn conclude(mut self, trail: &mut Trail) {
        trail.spent(self.usage);
        let Some(sent) = self.sent.take() else { return };
        let mark = sent.as_sent();
        let mut lease = sent.lease;
        lease.count(self.usage);
        let spent = self.sent_at.elapsed();
        let latency = self.first_byte_at.map_or(spent, |at| at - self.sent_at);
        match self.end.take() {
            Some(End::Complete) => {
                trail.succeeded(mark, 200, spent, latency);
                lease.settle(Outcome::Success, latency);
            }
            Some(End::Failed(fault)) => {
                trail.failed(mark, &fault, spent);
                lease.name_consumer(fault.consumer);
                lease.settle(fault.outcome, latency);
            }
            None => {
                trail.abandoned(mark, spent);
                lease.settle(Outcome::Abandoned, latency);
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Box<Fault>>>> {
        loop {
            if self.end.is_some() {
                return Poll::Ready(None);
            }
            let next = if self.is_finished { self.splitter.finish() } else { self.splitter.next_event() };
            match next {
                Some(Ok(event)) => return Poll::Ready(Some(self.look_at(event))),
                Some(Err(error)) => return self.fail(malformed(&error.to_string())),
                None if !self.is_finished => {}
                None => {
                    return match self.check_end() {
                        Ok(()) => Poll::Ready(None),
                        Err(fault) => self.fail(*fault),
                    };
                }
            }
            match Pin::new(&mut self.response).poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    self.first_byte_at.get_or_insert_with(Instant::now);
                    self.idle.as_mut().reset(Instant::now() + self.idle_timeout);
                    self.splitter.push(chunk);
                }
                Poll::Ready(None) => self.is_finished = true,
                Poll::Ready(Some(Err(error))) => {
                    return self.fail(transport_fault(&TransportError::Broken(error.to_string())));
                }
                Poll::Pending => {
                    let timed_out = ready!(self.poll_timers(cx));
                    return self.fail(transport_fault(&timed_out));
                }
            }
        }
    }

    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Poll<TransportError> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(TransportError::Total(self.deadline() - self.sent_at));
        }
        if self.first_byte_at.is_none() {
            return Poll::Pending;
        }
        self.idle.as_mut().poll(cx).map(|()| TransportError::Idle(self.idle_timeout))
    }

    fn fail(&mut self, fault: Fault) -> Poll<Option<Result<Bytes, Box<Fault>>>> {
        self.end = Some(End::Failed(fault.clone()));
        Poll::Ready(Some(Err(Box::new(fault))))
    }

    /// Takes note of what the event says of the answer; an error event becomes a fault.
    fn look_at(&mut self, event: Event) -> Result<Bytes, Box<Fault>> {
        let (Event::Data { mut data, .. } | Event::Bare(mut data)) = event;
        let fault = match self.kind {
            AnswerKind::Generation | AnswerKind::Plain => match glance(&data) {
                Ok(seen) if seen.error => {
                    data = mask_key(&data, &self.secret);
                    self.classifier.classify_error_event(&data)
                }
                Ok(seen) => {
                    self.seen.observe(&seen);
                    self.usage = seen.usage.or(self.usage);
                    None
                }
                Err(_) => Some(malformed("Gemini sent an event that is not JSON")),
            },
            AnswerKind::OpenAi => {
                let seen = openai_layer::look_at(&data, &self.secret, &self.classifier);
                self.is_done |= seen.is_done;
                self.usage = seen.usage.or(self.usage);
                seen.fault
            }
        };
        match fault {
            None => Ok(data),
            Some(fault) => {
                self.end = Some(End::Failed(fault.clone()));
                Err(Box::new(fault))
            }
        }
    }

    fn has_content(&self) -> bool {
        match self.kind {
            AnswerKind::OpenAi => true,
            AnswerKind::Generation | AnswerKind::Plain => {
                let whole = self.seen.whole();
                whole.content || whole.blocked || (whole.finish.is_some() && !is_empty_answer(whole))
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self.kind {
            AnswerKind::OpenAi => false,
            AnswerKind::Generation | AnswerKind::Plain => is_empty_answer(self.seen.whole()),
        }
    }

    /// An answer that stops without saying why was cut off.
    fn check_end(&mut self) -> Result<(), Box<Fault>> {
        let whole = self.seen.whole();
        let (is_ended, has_begun) = match self.kind {
            AnswerKind::OpenAi => (self.is_done, true),
            AnswerKind::Generation => (whole.finish.is_some() || whole.blocked, whole.content),
            // Only generations say why they end.
            AnswerKind::Plain => (whole.finish.is_some() || whole.blocked || !whole.content, true),
        };
        match (is_ended, has_begun) {
            (true, _) => {}
            (false, true) => {
                return Err(Box::new(malformed("Gemini ended the stream before the answer was finished")));
            }
            // Nothing but an empty answer to the balancer, but nothing either that a client could take for one.
            (false, false) => {
                let fault = malformed("Gemini ended the stream without an answer");
                return Err(Box::new(Fault { outcome: Outcome::Empty, ..fault }));
            }
        }
        self.end = Some(End::Complete);
        Ok(())
    }
}

fn transport_fault(error: &TransportError) -> Fault {
    let (status, name) = match error {
        TransportError::FirstByte(_) | TransportError::Idle(_) | TransportError::Total(_) => {
            (504, "DEADLINE_EXCEEDED")
        }
        TransportError::Unreachable(_)
        | TransportError::Broken(_)
        | TransportError::Sending(_)
        | TransportError::TooLarge => (502, "UNAVAILABLE"),
    };
    let mut fault = malformed(&error.to_string());
    (fault.status, fault.error.code) = (status, status);
    fault.error.status = name.to_owned();
    fault.outcome = Outcome::ServerFault(error.fault());
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_up_is_named_as_google_names_it() {
        let late = transport_fault(&TransportError::Total(Duration::from_secs(2)));
        let broken = transport_fault(&TransportError::Broken("reset".to_owned()));

        assert_eq!((late.status, &*late.error.status), (504, "DEADLINE_EXCEEDED"));
        assert_eq!((broken.status, &*broken.error.status), (502, "UNAVAILABLE"));
    }
}
