//! From an admitted attempt to its answer: checks, quota, faults and pauses, in Google's order. Knows no HTTP.

use std::{future, time::Duration};

use tokio::time::sleep;

use super::{
    answer,
    attempt::Attempt,
    check::check,
    directives::Directives,
    errors::GoogleError,
    models::{self, Model},
    plan::Fault,
    reply::Reply,
    request::{Content, GenerateRequest},
    resume::Wish,
};

/// What a path asks for.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub version: &'a str,
    pub name: &'a str,
    pub method: &'a str,
}

impl Target<'_> {
    pub fn unknown(self) -> GoogleError {
        GoogleError::unknown_model(self.name, self.version, self.method)
    }

    pub fn model(self) -> Result<&'static Model, GoogleError> {
        models::find(self.name).filter(|model| model.supports(self.method)).ok_or_else(|| self.unknown())
    }
}

/// An answer, and what happens to it on its way.
pub struct Answer {
    pub reply: Reply,
    pub fault: Option<Fault>,
    pub gap_ms: u64,
}

/// From an admitted attempt to its answer, pauses included. An error ends the attempt.
pub async fn generate_answer(
    attempt: &mut Attempt,
    target: Target<'_>,
    read: impl FnOnce() -> Result<GenerateRequest, GoogleError>,
) -> Result<Answer, GoogleError> {
    let prepared = prepare(attempt, target, read);
    let (reply, directives) = prepared.inspect_err(|error| attempt.end(error.http))?;
    let fault = attempt.circumstances.fault.or(directives.fault);
    if fault == Some(Fault::Hang) {
        return future::pending().await;
    }
    pause(directives.delay_ms.unwrap_or(attempt.circumstances.first_byte_ms)).await;
    if let Some(Fault::Refuse(refusal)) = fault {
        let error = refusal.error(target.name);
        attempt.end(error.http);
        return Err(error);
    }
    let gap_ms = directives.gap_ms.unwrap_or(attempt.circumstances.pace.gap_ms);
    Ok(Answer { reply: reply.spoilt_by(fault), fault, gap_ms })
}

fn prepare(
    attempt: &Attempt,
    target: Target<'_>,
    read: impl FnOnce() -> Result<GenerateRequest, GoogleError>,
) -> Result<(Reply, Directives), GoogleError> {
    refuse_dead_key(attempt, target.name)?;
    let model = target.model()?;
    let request = read()?;
    check(&request, model)?;
    attempt.check_resources(&request)?;
    let id = format!("sim{:09x}", attempt.circumstances.number);
    let gone_on = Wish::of(&request).and_then(|wish| go_on(&wish, model, &id));
    let (reply, directives) = gone_on.unwrap_or_else(|| compose(&request, model, id));
    attempt.spend(reply.usage.prompt())?;
    Ok((reply, directives))
}

fn compose(request: &GenerateRequest, model: &'static Model, id: String) -> (Reply, Directives) {
    let prompt = request.contents.last().map(Content::text).unwrap_or_default();
    let (directives, prompt) = Directives::parse(&prompt);
    (answer::compose(request, model, &directives, &prompt, id), directives)
}

/// The rest of an answer, without the fault that its prompt wished for.
fn go_on(wish: &Wish, model: &'static Model, id: &str) -> Option<(Reply, Directives)> {
    let (mut reply, directives) = compose(&wish.request, model, id.to_owned());
    wish.shorten(&mut reply).then_some((reply, Directives { fault: None, ..directives }))
}

/// Google looks at the key before it reads the body.
fn refuse_dead_key(attempt: &Attempt, model: &str) -> Result<(), GoogleError> {
    match attempt.circumstances.fault {
        Some(Fault::Refuse(refusal)) if refusal.concerns_the_key() => Err(refusal.error(model)),
        _ => Ok(()),
    }
}

async fn pause(ms: u64) {
    if ms > 0 {
        sleep(Duration::from_millis(ms)).await;
    }
}

/// Runs an embedding through the faults and pauses of its attempt. An error ends the attempt.
pub async fn embedded(
    attempt: &mut Attempt,
    target: Target<'_>,
    embed: impl FnOnce(&'static Model) -> Result<String, GoogleError>,
) -> Result<(String, Option<Fault>), GoogleError> {
    if attempt.circumstances.fault == Some(Fault::Hang) {
        return future::pending().await;
    }
    let json = refuse_dead_key(attempt, target.name)
        .and_then(|()| target.model())
        .and_then(embed)
        .and_then(|json| attempt.spend(1).map(|()| json))
        .and_then(|json| match attempt.circumstances.fault {
            Some(Fault::Refuse(refusal)) => Err(refusal.error(target.name)),
            _ => Ok(json),
        })
        .inspect_err(|error| attempt.end(error.http))?;
    pause(attempt.circumstances.first_byte_ms).await;
    Ok((json, attempt.circumstances.fault))
}
