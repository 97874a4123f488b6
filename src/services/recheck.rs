//! Looks at suspect keys with calls that cost no quota, so that a key that has come back is used again.

use std::{rc::Rc, time::Duration};

use actix::prelude::*;
use actix_web::http::Method;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tracing::info;

use crate::{
    actors::{
        Observe,
        key::Rechecked,
        supervisor::{FindSuspects, Supervisor, Suspect},
    },
    config::Upstream,
    domain::{
        model::ModelName,
        outcome::{KeyFault, Outcome},
    },
    upstream::{
        call::{AnswerKind, Call, Credential},
        classify::classify,
        client::UpstreamClient,
    },
};

/// Keys that are looked at side by side.
const AT_ONCE: usize = 8;
/// Calls are spread over this span, so that a big pool does not knock at Google's door all at once.
const SPREAD: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(20);

/// Snapshot: what the last re-check came to.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct RecheckSnapshot {
    pub checked: usize,
    pub found_well: usize,
    pub found_invalid: usize,
}

pub struct Recheck {
    supervisor: Addr<Supervisor>,
    client: Rc<UpstreamClient>,
    test_model: ModelName,
    last: RecheckSnapshot,
}

impl Recheck {
    /// Must be made on the thread that it runs on.
    pub fn new(supervisor: Addr<Supervisor>, upstream: &Upstream, test_model: ModelName) -> Self {
        Self {
            supervisor,
            client: Rc::new(UpstreamClient::new(upstream)),
            test_model,
            last: RecheckSnapshot::default(),
        }
    }
}

impl Actor for Recheck {
    type Context = Context<Self>;
}

/// What a look at a key found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Well,
    Invalid(KeyFault),
    /// Google could not be asked, or said nothing about the key.
    Nothing,
}

/// Command: look at every key that is not plainly well. Answers when all have been looked at.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RecheckSuspects;

impl Handler<RecheckSuspects> for Recheck {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: RecheckSuspects, _: &mut Context<Self>) -> Self::Result {
        let (supervisor, client, model) =
            (self.supervisor.clone(), self.client.clone(), self.test_model.clone());
        let checking = async move {
            let suspects = supervisor.send(FindSuspects).await.unwrap_or_default();
            let checks = suspects.into_iter().map(|suspect| check(client.clone(), model.clone(), suspect));
            stream::iter(checks).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await
        };
        Box::pin(checking.into_actor(self).map(|found, recheck, _| {
            recheck.last = RecheckSnapshot {
                checked: found.len(),
                found_well: found.iter().filter(|found| **found == Found::Well).count(),
                found_invalid: found.iter().filter(|found| matches!(found, Found::Invalid(_))).count(),
            };
            if recheck.last.checked > 0 {
                info!(result = ?recheck.last, "suspect keys were checked");
            }
        }))
    }
}

async fn check(client: Rc<UpstreamClient>, model: ModelName, suspect: Suspect) -> Found {
    sleep(SPREAD.mul_f64(rand::random())).await;
    let found = look_at(&client, &model, &suspect).await;
    match found {
        Found::Well => suspect.actor.do_send(Rechecked { fault: None }),
        Found::Invalid(fault) => suspect.actor.do_send(Rechecked { fault: Some(fault) }),
        Found::Nothing => {}
    }
    found
}

/// Two calls, because some dead keys still list models. Neither counts against the quota for generation.
async fn look_at(client: &UpstreamClient, model: &ModelName, suspect: &Suspect) -> Found {
    for call in [get_model(model), count_tokens(model)] {
        let deadline = Instant::now() + PATIENCE;
        let Ok(mut response) = client.send(&call, &suspect.secret, deadline).await else {
            return Found::Nothing;
        };
        let status = response.status();
        let Ok(body) = client.collect(&mut response, deadline).await else { return Found::Nothing };
        if status.is_success() {
            continue;
        }
        match classify(status.as_u16(), &body).outcome {
            Outcome::KeyInvalid(fault) => return Found::Invalid(fault),
            // The test model may be gone; Google looked at the key before it said so.
            Outcome::ClientFault | Outcome::ModelUnavailable | Outcome::Quota(_) => {}
            _ => return Found::Nothing,
        }
    }
    Found::Well
}

fn get_model(model: &ModelName) -> Call {
    Call {
        method: Method::GET,
        target: format!("/v1beta/{}", model.resource()),
        model: model.clone(),
        headers: Vec::new(),
        body: Bytes::new(),
        credential: Credential::ApiKeyHeader,
        answer: AnswerKind::Plain,
    }
}

fn count_tokens(model: &ModelName) -> Call {
    Call {
        method: Method::POST,
        target: format!("/v1beta/{}:countTokens", model.resource()),
        headers: vec![(
            actix_web::http::header::CONTENT_TYPE,
            actix_web::http::header::HeaderValue::from_static("application/json"),
        )],
        body: Bytes::from_static(br#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#),
        ..get_model(model)
    }
}

impl Handler<Observe<RecheckSnapshot>> for Recheck {
    type Result = MessageResult<Observe<RecheckSnapshot>>;

    fn handle(&mut self, _: Observe<RecheckSnapshot>, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.last)
    }
}
