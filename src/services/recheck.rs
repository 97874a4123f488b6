//! Looks at suspect keys with calls that cost no quota, so that a key that has come back is used again.
//!
//! Two questions, as some dead keys still list models: `models.get`, then `countTokens` for those that passed. What
//! only a generation could tell, the next request of a client finds out: a key that is found well is half-open. Where
//! somebody has asked about the key, Google's word is enough: it is used again, little by little.

use std::{collections::BTreeSet, rc::Rc, sync::Arc};

use actix::prelude::*;
use serde::Serialize;
use tracing::{info, warn};

use self::round::Answer;
use super::SettingsChanged;
use crate::{
    actors::{
        Observe,
        key::Rechecked,
        supervisor::{FindSuspects, RecheckNow, Supervisor, Suspect, Suspects},
    },
    config::Config,
    domain::{key::KeyId, model::ModelName, outcome::KeyFault},
    upstream::{call::Call, client::UpstreamClient, proxies::Proxies},
};

mod probe;
mod round;

/// Snapshot: what the last re-check came to.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct RecheckSnapshot {
    pub checked: usize,
    pub found_well: usize,
    pub found_invalid: usize,
    /// Kinds of probes that were refused for nearly every key, and so for none.
    pub distrusted: usize,
}

pub struct Recheck {
    supervisor: Addr<Supervisor>,
    client: Rc<UpstreamClient>,
    test_model: ModelName,
    /// Otherwise nothing is checked unless it is asked for as a whole.
    is_on: bool,
    last: RecheckSnapshot,
    /// Keys of which somebody told while a round of such keys was on.
    told: BTreeSet<KeyId>,
    is_looking: bool,
}

impl Recheck {
    /// Must be made on the thread that it runs on.
    pub fn new(supervisor: Addr<Supervisor>, config: &Config, proxies: Arc<Proxies>) -> Self {
        Self {
            supervisor,
            client: Rc::new(UpstreamClient::new(&config.upstream, proxies)),
            test_model: config.pool.test_model.clone(),
            is_on: config.pool.check_interval.is_some(),
            last: RecheckSnapshot::default(),
            told: BTreeSet::new(),
            is_looking: false,
        }
    }

    /// Looks at the keys that the supervisor finds, and tells their actors.
    fn look_at(
        &self,
        question: FindSuspects,
        is_asked_for: bool,
    ) -> ResponseActFuture<Self, RecheckSnapshot> {
        let (supervisor, client, model) =
            (self.supervisor.clone(), self.client.clone(), self.test_model.clone());
        let looking = async move {
            let keys = supervisor.send(question).await.unwrap_or_default();
            let result = RecheckSnapshot { checked: keys.suspects.len(), ..RecheckSnapshot::default() };
            Round { client: &client, keys: &keys, is_asked_for, result }.run(&model).await
        };
        Box::pin(looking.into_actor(self).map(|result, recheck, _| {
            recheck.last = result;
            if result.checked > 0 {
                info!(?result, "suspect keys were checked");
            }
            result
        }))
    }
}

impl Actor for Recheck {
    type Context = Context<Self>;
}

/// A round of questions.
struct Round<'a> {
    client: &'a UpstreamClient,
    keys: &'a Suspects,
    /// Somebody waits to hear about these very keys.
    is_asked_for: bool,
    result: RecheckSnapshot,
}

impl<'a> Round<'a> {
    /// Puts a question for these keys. Tells the actors of those that are refused, and keeps those for which another
    /// kind of probe may know more.
    async fn sift(&mut self, name: &str, call: &Call, open: Vec<&'a Suspect>) -> Vec<(&'a Suspect, Answer)> {
        let answers = probe::ask_all(self.client, call, &open, &self.keys.controls).await;
        if answers.are_refused_for_all() {
            warn!(probe = name, "nearly every key was refused at once, so nothing follows from it");
            self.result.distrusted += 1;
        }
        let mut left = Vec::new();
        for (suspect, answer) in open.into_iter().zip(&answers.suspects) {
            match answer {
                Answer::Refused(fault) if answers.can_be_trusted() => {
                    self.result.found_invalid += 1;
                    self.tell(suspect, Some(*fault)).await;
                }
                Answer::Refused(_) | Answer::Accepted => left.push((suspect, *answer)),
                Answer::Unclear => {}
            }
        }
        left
    }

    /// Waits for the verdict, so that whoever asked about the key sees it.
    async fn tell(&self, suspect: &Suspect, fault: Option<KeyFault>) {
        // An actor that died meanwhile comes back as it was.
        let _ = suspect.actor.send(Rechecked { fault, is_asked_for: self.is_asked_for }).await;
    }

    async fn run(mut self, model: &ModelName) -> RecheckSnapshot {
        let all = self.keys.suspects.iter().collect();
        let known = self.sift("models.get", &probe::get_model(model), all).await;
        let known = known.into_iter().map(|(suspect, _)| suspect).collect();
        for (suspect, answer) in self.sift("countTokens", &probe::count_tokens(model), known).await {
            if answer == Answer::Accepted {
                self.result.found_well += 1;
                self.tell(suspect, None).await;
            }
        }
        self.result
    }
}

/// Command: look at every key that is not plainly well. Answers when all have been looked at.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RecheckSuspects;

impl Handler<RecheckSuspects> for Recheck {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: RecheckSuspects, _: &mut Context<Self>) -> Self::Result {
        Box::pin(self.look_at(FindSuspects { named: None }, false).map(|_, _, _| ()))
    }
}

/// One round at a time: whoever is told of meanwhile has the next one.
impl Handler<RecheckNow> for Recheck {
    type Result = ();

    fn handle(&mut self, RecheckNow(keys): RecheckNow, ctx: &mut Context<Self>) {
        if self.is_on {
            self.told.extend(keys);
            self.look_at_told(ctx);
        }
    }
}

impl Recheck {
    fn look_at_told(&mut self, ctx: &mut Context<Self>) {
        if self.is_looking || self.told.is_empty() {
            return;
        }
        self.is_looking = true;
        let named = std::mem::take(&mut self.told).into_iter().collect();
        let looking = self.look_at(FindSuspects { named: Some(named) }, false);
        ctx.spawn(looking.map(|_, recheck, ctx| {
            recheck.is_looking = false;
            recheck.look_at_told(ctx);
        }));
    }
}

/// Command: look at these keys, whatever state they are in, as somebody wants to know. Answered with what came of it.
#[derive(Debug, Message)]
#[rtype(result = "RecheckSnapshot")]
pub struct VerifyKeys(pub Vec<KeyId>);

impl Handler<VerifyKeys> for Recheck {
    type Result = ResponseActFuture<Self, RecheckSnapshot>;

    fn handle(&mut self, VerifyKeys(keys): VerifyKeys, _: &mut Context<Self>) -> Self::Result {
        self.look_at(FindSuspects { named: Some(keys) }, true)
    }
}

impl Handler<SettingsChanged> for Recheck {
    type Result = ();

    fn handle(&mut self, SettingsChanged { config, proxies, .. }: SettingsChanged, _: &mut Context<Self>) {
        self.client = Rc::new(self.client.renewed(&config.upstream, proxies));
        self.test_model = config.pool.test_model.clone();
        self.is_on = config.pool.check_interval.is_some();
    }
}

impl Handler<Observe<RecheckSnapshot>> for Recheck {
    type Result = MessageResult<Observe<RecheckSnapshot>>;

    fn handle(&mut self, _: Observe<RecheckSnapshot>, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.last)
    }
}
