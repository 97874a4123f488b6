//! `Idempotency-Key`: a request that is sent again, as after a lost answer, is not done again.
//!
//! For a day the same key leads to the same answer, and with another body to a refusal. What is kept is sealed, as the
//! answer may hold a client token; it is kept in memory, so a restart forgets it. Source: the IETF draft "The
//! Idempotency-Key HTTP Header Field".

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, body::MessageBody, dev::Payload, http::StatusCode, rt::spawn,
    web::Data,
};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{
    Admin,
    body::{parse, read_bytes},
    error::AdminError,
};
use crate::api::{
    error::{ApiError, Failure},
    gateway::{AdminDoor, Gateway},
};

const HEADER: &str = "idempotency-key";
/// Tells that the answer is an earlier one.
const REPLAYED: &str = "idempotency-replayed";
const LONGEST_KEY: usize = 255;
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Answers that are kept, and bytes of them all; with more the oldest are forgotten.
const CAPACITY: usize = 1_000;
const MOST_BYTES: usize = 64_000_000;
/// Binds a sealed answer to its use.
const CONTEXT: &str = "idempotency";

type Print = [u8; 32];

/// An answer that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reply {
    status: u16,
    sealed: Vec<u8>,
}

#[derive(Debug)]
struct Known {
    began: Instant,
    body: Print,
    /// None while it is made.
    reply: Option<Reply>,
}

/// What is to be done with a request.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is the first of its key.
    Fresh,
    Again(Reply),
    Running,
    OtherBody,
}

/// The pure core: which requests there were, by the prints of their keys.
#[derive(Debug, Default)]
struct Memory {
    known: HashMap<Print, Known>,
    /// Oldest first. One that was forgotten meanwhile may still stand here.
    order: VecDeque<(Instant, Print)>,
    bytes: usize,
}

impl Memory {
    fn begin(&mut self, key: Print, body: Print, now: Instant) -> Verdict {
        self.forget_old(now);
        match self.known.get(&key) {
            Some(known) if known.body != body => Verdict::OtherBody,
            Some(Known { reply: Some(reply), .. }) => Verdict::Again(reply.clone()),
            Some(_) => Verdict::Running,
            None => {
                self.known.insert(key, Known { began: now, body, reply: None });
                self.order.push_back((now, key));
                Verdict::Fresh
            }
        }
    }

    fn finish(&mut self, key: Print, reply: Reply) {
        if let Some(known) = self.known.get_mut(&key) {
            self.bytes += reply.sealed.len();
            known.reply = Some(reply);
        }
        while self.known.len() > CAPACITY || self.bytes > MOST_BYTES {
            let Some((began, oldest)) = self.order.pop_front() else { break };
            self.forget_if_of(oldest, began);
        }
    }

    fn forget(&mut self, key: Print) {
        let reply = self.known.remove(&key).and_then(|known| known.reply);
        self.bytes -= reply.map_or(0, |reply| reply.sealed.len());
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((began, oldest)) = self.order.front().copied().filter(|(at, _)| *at + KEPT_FOR <= now)
        {
            self.order.pop_front();
            self.forget_if_of(oldest, began);
        }
    }

    /// Its key may have been used anew since.
    fn forget_if_of(&mut self, key: Print, began: Instant) {
        if self.known.get(&key).is_some_and(|known| known.began == began) {
            self.forget(key);
        }
    }
}

/// What was answered to requests with a key, shared by all workers.
#[derive(Debug, Default)]
pub struct Replies(Mutex<Memory>);

impl Replies {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A JSON body, and what its request is known by.
#[derive(Debug)]
pub struct Once<T> {
    pub body: T,
    pub attempt: Attempt,
}

/// One time that a request is sent.
#[derive(Debug)]
pub struct Attempt(Option<Prints>);

#[derive(Debug, Clone, Copy)]
struct Prints {
    /// Of method, path and key.
    key: Print,
    body: Print,
}

impl<T: DeserializeOwned> FromRequest for Once<T> {
    type Error = Failure<Admin>;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let key = key_print(request);
        let reading = read_bytes(request, payload);
        Box::pin(async move {
            let key = key?;
            let bytes = reading.await?;
            let prints = key.map(|key| Prints { key, body: Sha256::digest(&bytes).into() });
            Ok(Self { body: parse(&bytes)?, attempt: Attempt(prints) })
        })
    }
}

fn key_print(request: &HttpRequest) -> Result<Option<Print>, AdminError> {
    let Some(key) = request.headers().get(HEADER) else { return Ok(None) };
    let key = key.as_bytes();
    if key.is_empty() || key.len() > LONGEST_KEY || !key.iter().all(u8::is_ascii_graphic) {
        let rule = "is not a text of 1 to 255 visible ASCII characters";
        return Err(AdminError::parameter("Idempotency-Key", rule));
    }
    let parts = [request.method().as_str().as_bytes(), request.path().as_bytes(), key];
    Ok(Some(Sha256::digest(parts.join(&b' ')).into()))
}

impl Attempt {
    /// Does the work, unless it was done before. Work that has begun goes on when its client hangs up, so that whoever
    /// asks again gets its answer.
    pub async fn once(
        self,
        gateway: &Data<Gateway>,
        work: impl Future<Output = Result<HttpResponse, Failure<Admin>>> + 'static,
    ) -> Result<HttpResponse, Failure<Admin>> {
        let Some(prints) = self.0 else { return work.await };
        let verdict = gateway.admin.replies.lock().begin(prints.key, prints.body, Instant::now());
        match verdict {
            Verdict::Again(reply) => Ok(replay(gateway, &reply)?),
            Verdict::Running => {
                let message = "the first request with this Idempotency-Key is still running; ask again soon";
                Err(AdminError::Conflict(message.to_owned()).into())
            }
            Verdict::OtherBody => {
                Err(AdminError::field("Idempotency-Key", "was used with another body").into())
            }
            Verdict::Fresh => {
                let claim = Claim { door: gateway.admin.clone(), key: prints.key };
                let sealer = gateway.sealer.clone();
                let working = spawn(async move {
                    let (response, body) = split(work.await?)?;
                    let sealed = sealer.seal(&body, CONTEXT);
                    claim.keep(Reply { status: response.status().as_u16(), sealed });
                    Ok(response.set_body(body).map_into_boxed_body())
                });
                working.await.unwrap_or_else(|_| Err(ApiError::Internal.into()))
            }
        }
    }
}

fn split(response: HttpResponse) -> Result<(HttpResponse<()>, bytes::Bytes), ApiError> {
    let (head, body) = response.into_parts();
    Ok((head, body.try_into_bytes().map_err(|_| ApiError::Internal)?))
}

fn replay(gateway: &Gateway, reply: &Reply) -> Result<HttpResponse, ApiError> {
    let body = gateway.sealer.open(&reply.sealed, CONTEXT).map_err(|_| ApiError::Internal)?;
    let status = StatusCode::from_u16(reply.status).map_err(|_| ApiError::Internal)?;
    let mut response = HttpResponse::build(status);
    Ok(response.content_type("application/json").insert_header((REPLAYED, "true")).body(body))
}

/// A key whose work is being done. Where it fails, or ends in any other way, the key is free again.
struct Claim {
    door: Arc<AdminDoor>,
    key: Print,
}

impl Claim {
    fn keep(self, reply: Reply) {
        self.door.replies.lock().finish(self.key, reply);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut memory = self.door.replies.lock();
        if memory.known.get(&self.key).is_some_and(|known| known.reply.is_none()) {
            memory.forget(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: Print = [1; 32];

    fn key(number: u64) -> Print {
        Sha256::digest(number.to_be_bytes()).into()
    }

    fn reply(size: usize) -> Reply {
        Reply { status: 201, sealed: vec![0; size] }
    }

    #[test]
    fn a_key_leads_to_its_first_answer_for_a_day() {
        let (mut memory, now) = (Memory::default(), Instant::now());

        assert_eq!(memory.begin(key(1), BODY, now), Verdict::Fresh);
        assert_eq!(memory.begin(key(1), BODY, now), Verdict::Running);
        memory.finish(key(1), reply(5));

        let later = now + KEPT_FOR - Duration::from_secs(1);
        assert_eq!(memory.begin(key(1), BODY, later), Verdict::Again(reply(5)));
        assert_eq!(memory.begin(key(1), [2; 32], later), Verdict::OtherBody);
        assert_eq!(memory.begin(key(1), [2; 32], now + KEPT_FOR), Verdict::Fresh);
        assert_eq!(memory.bytes, 0);
    }

    #[test]
    fn a_key_whose_work_failed_is_free_again_and_keeps_its_whole_day() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        memory.begin(key(1), BODY, now);
        memory.forget(key(1));
        let noon = now + KEPT_FOR / 2;

        assert_eq!(memory.begin(key(1), BODY, noon), Verdict::Fresh);
        memory.finish(key(1), reply(5));

        assert_eq!(memory.begin(key(1), BODY, now + KEPT_FOR), Verdict::Again(reply(5)));
        assert_eq!(memory.begin(key(1), BODY, noon + KEPT_FOR), Verdict::Fresh);
    }

    #[test]
    fn of_too_many_or_too_large_answers_the_oldest_are_forgotten() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        for number in 0..CAPACITY as u64 + 10 {
            memory.begin(key(number), BODY, now);
            memory.finish(key(number), reply(10));
        }
        assert_eq!((memory.known.len(), memory.bytes), (CAPACITY, CAPACITY * 10));
        assert_eq!(memory.begin(key(10), BODY, now), Verdict::Again(reply(10)));

        memory.begin(key(9_999), BODY, now);
        memory.finish(key(9_999), reply(MOST_BYTES - 100));

        assert_eq!(memory.known.len(), 11, "the large one and the ten that fit beside it");
    }
}
