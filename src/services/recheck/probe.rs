//! Questions about a key that cost none of its quota.

use std::time::Duration;

use actix_web::http::{
    Method,
    header::{CONTENT_TYPE, HeaderValue},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep};

use super::round::{Answer, Answers};
use crate::{
    actors::supervisor::Suspect,
    domain::model::ModelName,
    upstream::{
        call::{AnswerKind, Call, Credential},
        client::UpstreamClient,
    },
};

/// Keys that are asked about side by side.
const AT_ONCE: usize = 8;
/// Each call waits for up to so long before, so that a big pool does not knock at Google's door in step.
const SPREAD: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(20);

/// Does Google know the key? Some dead keys still pass.
pub fn get_model(model: &ModelName) -> Call {
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

/// May the key ask something of a model?
pub fn count_tokens(model: &ModelName) -> Call {
    Call {
        method: Method::POST,
        target: format!("/v1beta/{}:countTokens", model.resource()),
        headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        body: Bytes::from_static(br#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#),
        ..get_model(model)
    }
}

/// Puts the same question for every key.
pub async fn ask_all(
    client: &UpstreamClient,
    call: &Call,
    suspects: &[&Suspect],
    controls: &[Suspect],
) -> Answers {
    let keys = suspects.iter().copied().chain(controls);
    let asked = keys.map(|key| async {
        sleep(SPREAD.mul_f64(rand::random())).await;
        ask(client, call, key).await
    });
    let mut answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    let controls = answers.split_off(suspects.len());
    Answers { suspects: answers, controls }
}

async fn ask(client: &UpstreamClient, call: &Call, key: &Suspect) -> Answer {
    let deadline = Instant::now() + PATIENCE;
    let Ok(mut response) = client.ask(call, &key.secret, deadline).await else { return Answer::Unclear };
    let status = response.status();
    let Ok(body) = client.collect(&mut response, deadline).await else { return Answer::Unclear };
    if status.is_success() {
        return Answer::Accepted;
    }
    Answer::of(&client.classifier.classify(status.as_u16(), &body).outcome)
}
