//! What this node and the others tell each other.
//!
//! Every decision stays where it is: this actor only brings what was used and changed elsewhere to those who count and
//! know here. While Redis is away nothing is told and nothing heard, and each node goes by what it knows; when it is back,
//! all is told and read once more. Without Redis the actor is there as well and knows of one node.

mod lead;
mod news;
mod snapshot;

use std::{collections::HashSet, sync::Arc, time::Duration};

use actix::prelude::*;
use futures_util::{StreamExt, stream};
use rand::RngExt;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use super::tokens::{Holder, TokenStore};
use crate::{
    balance::allowance::Share,
    cluster::{Change, ChangedKeys, Hearing, Link, LinkError, NodeCard, Redis, Seen, Word},
    domain::{client::TokenId, node::NodeId, time::Now},
};

pub use lead::Lead;
pub use news::News;
pub use snapshot::{ClusterSnapshot, NodeSeen, RedisSnapshot};

/// What is new is told at once, and what comes within this time after it in one piece: so two nodes let in no more than
/// what reaches both of them within it.
const TELL_EVERY: Duration = Duration::from_millis(5);
/// How often a node says that it is there.
const GREET_EVERY: Duration = Duration::from_secs(1);
/// A node that has said nothing for so long is gone, and its requests with it; a link that brings nothing is dead.
const SILENCE: Duration = Duration::from_secs(5);
/// Between two attempts to reach Redis, doubled from the first to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Called with what other nodes have changed.
pub struct OnChange {
    pub settings: Box<dyn Fn() + Send>,
    pub keys: Box<dyn Fn(ChangedKeys) + Send>,
}

/// The only one of its process.
pub struct Cluster {
    card: NodeCard,
    redis: Option<Redis>,
    tokens: Arc<TokenStore>,
    news: Arc<News>,
    lead: Arc<Lead>,
    on_change: OnChange,
    line: Line,
    /// Attempts in a row that have failed.
    failures: u32,
    others: Vec<Seen>,
    /// Who has the lead, while that is known.
    leader: Option<NodeId>,
    told: u64,
    heard: u64,
}

/// Whether there is a way to the others.
enum Line {
    /// Nobody is sought.
    Alone,
    Down {
        since_ms: i64,
        error: String,
    },
    Up {
        link: Link,
        since_ms: i64,
        heard_at: Instant,
        tasks: Tasks,
    },
}

/// What goes on while there is a link, and ends with it.
#[derive(Default)]
struct Tasks {
    hearing: SpawnHandle,
    greeting: SpawnHandle,
    telling: SpawnHandle,
}

impl Cluster {
    pub fn new(
        card: NodeCard,
        redis: Option<Redis>,
        tokens: Arc<TokenStore>,
        news: Arc<News>,
        lead: Arc<Lead>,
        on_change: OnChange,
    ) -> Self {
        let line = match &redis {
            Some(_) => Line::Down { since_ms: card.started_at_ms, error: "not connected yet".to_owned() },
            None => Line::Alone,
        };
        Self {
            card,
            redis,
            tokens,
            news,
            lead,
            on_change,
            line,
            failures: 0,
            others: Vec::new(),
            leader: None,
            told: 0,
            heard: 0,
        }
    }

    fn connect(&mut self, ctx: &mut Context<Self>) {
        let Some(redis) = self.redis.clone() else { return };
        let (card, tokens) = (self.card.clone(), self.tokens.clone());
        let connecting = async move {
            let (link, hearing) = redis.connect().await?;
            let seen = link.greet(&card).await?;
            let leader = link.take_lead(&card.id).await?;
            let stored = link.stored(all_ids(&tokens, |_| true), Now::read().unix_ms()).await?;
            Ok((link, hearing, seen, leader, stored))
        };
        ctx.spawn(connecting.into_actor(self).map(|joined, cluster, ctx| match joined {
            Ok((link, hearing, seen, leader, stored)) => {
                cluster.know_leader(leader);
                cluster.join(link, hearing, seen, &stored, ctx);
            }
            Err(failure) => cluster.lose(&failure, ctx),
        }));
    }

    /// Whatever was missed is taken in, and whatever the others have missed is told.
    fn join(
        &mut self,
        link: Link,
        hearing: Hearing,
        seen: Vec<Seen>,
        stored: &[(TokenId, Vec<(NodeId, Share)>)],
        ctx: &mut Context<Self>,
    ) {
        self.see(seen);
        self.take_in(stored);
        let words = hearing.into_words().map(Some).chain(stream::once(async { None }));
        let (hearing, greeting) = (ctx.add_stream(Box::pin(words)), ctx.run_later(GREET_EVERY, Self::greet));
        let tasks = Tasks { hearing, greeting, ..Tasks::default() };
        let nodes = self.others.len() + 1;
        if let Some(redis) = &self.redis {
            info!(%redis, nodes, "connected to Redis");
        }
        self.failures = 0;
        self.line = Line::Up { link, since_ms: Now::read().unix_ms(), heard_at: Instant::now(), tasks };
        self.tokens.table().holders().iter().for_each(Holder::is_used);
        self.read_tokens(ctx);
        (self.on_change.settings)();
        (self.on_change.keys)(ChangedKeys::All);
        self.tell(ctx);
    }

    /// Goes on alone, and tries again after a while. Told once, however often it fails.
    fn lose(&mut self, failure: &LinkError, ctx: &mut Context<Self>) {
        let Some(redis) = &self.redis else { return };
        let wait = (RETRY.0 * 2u32.saturating_pow(self.failures.min(16))).min(RETRY.1);
        let wait = wait.mul_f64(rand::rng().random_range(0.5..=1.0));
        let error = failure.to_string();
        let since_ms = match &mut self.line {
            Line::Up { tasks, .. } => {
                tasks.end(ctx);
                warn!(%redis, %error, "Redis is lost: limits of client tokens hold on each node for itself until it is back");
                Now::read().unix_ms()
            }
            Line::Down { since_ms, .. } => {
                if self.failures == 0 {
                    warn!(%redis, %error, "Redis cannot be reached: this node does not know of others, and tries again");
                } else {
                    debug!(%redis, %error, "Redis cannot be reached");
                }
                *since_ms
            }
            Line::Alone => return,
        };
        self.line = Line::Down { since_ms, error };
        // What they may let in is not to be guessed while nothing is heard.
        self.news.know_of(0);
        self.leader = None;
        self.lead.set(true);
        self.failures += 1;
        ctx.run_later(wait, Self::connect);
    }

    /// Tells what is new, then waits for the next news.
    fn tell(&mut self, ctx: &mut Context<Self>) {
        let Line::Up { link, .. } = &self.line else { return };
        let (untold, now) = (self.news.take(), Now::read());
        let used = untold.used.iter().filter_map(|holder| Some((holder.id.clone(), holder.share(now)?)));
        let word = Word {
            used: used.collect(),
            changed: untold.changed.iter().copied().collect(),
            keys: untold.keys,
            ..Word::of(&self.card.id)
        };
        let is_empty = word.used.is_empty() && word.changed.is_empty() && word.keys.are_none();
        self.told += u64::from(!is_empty);
        let (link, news, next) = (link.clone(), self.news.clone(), Instant::now() + TELL_EVERY);
        let telling = async move {
            if !is_empty && let Err(failure) = link.tell(&word).await {
                // Use is told anyway with the next connection.
                word.changed.into_iter().for_each(|change| news.change(change));
                news.change_keys(word.keys);
                return Err(failure);
            }
            sleep_until(next).await;
            news.arrived().await;
            Ok(())
        };
        let task = ctx.spawn(telling.into_actor(self).map(|told, cluster, ctx| match told {
            Ok(()) => cluster.tell(ctx),
            Err(failure) => cluster.lose(&failure, ctx),
        }));
        if let Line::Up { tasks, .. } = &mut self.line {
            tasks.telling = task;
        }
    }

    /// Says that this node is there. Tokens that came to be known meanwhile catch up.
    fn greet(&mut self, ctx: &mut Context<Self>) {
        let Line::Up { link, heard_at, .. } = &self.line else { return };
        if heard_at.elapsed() > SILENCE {
            return self.lose(&LinkError::Deaf, ctx);
        }
        let (link, card, tokens) = (link.clone(), self.card.clone(), self.tokens.clone());
        let greeting = async move {
            let seen = link.greet(&card).await?;
            let leader = link.take_lead(&card.id).await?;
            let unknown = all_ids(&tokens, |holder| !holder.has_joined());
            Ok((seen, leader, link.stored(unknown, Now::read().unix_ms()).await?))
        };
        let task = ctx.spawn(greeting.into_actor(self).map(|greeted, cluster, ctx| match greeted {
            Ok((seen, leader, stored)) => {
                cluster.see(seen);
                cluster.know_leader(leader);
                cluster.take_in(&stored);
                cluster.greet_next(ctx.run_later(GREET_EVERY, Self::greet));
            }
            Err(failure) => cluster.lose(&failure, ctx),
        }));
        self.greet_next(task);
    }

    fn greet_next(&mut self, task: SpawnHandle) {
        if let Line::Up { tasks, .. } = &mut self.line {
            tasks.greeting = task;
        }
    }

    fn know_leader(&mut self, leader: NodeId) {
        let is_ours = leader == self.card.id;
        if self.lead.set(is_ours) || self.leader.is_none() {
            info!(is_ours, node = %leader, "scheduled work for all nodes is done by {}", if is_ours { "this one" } else { "another" });
        }
        self.leader = Some(leader);
    }

    /// Who is there. Of those who no longer are nothing is under way.
    fn see(&mut self, seen: Vec<Seen>) {
        let before: HashSet<NodeId> = self.alive().cloned().collect();
        self.others = seen.into_iter().filter(|seen| seen.card.id != self.card.id).collect();
        let now: HashSet<NodeId> = self.alive().cloned().collect();
        before.difference(&now).for_each(|node| self.forget(node));
        self.news.know_of(now.len());
    }

    fn alive(&self) -> impl Iterator<Item = &NodeId> {
        self.others.iter().filter(|seen| seen.silent_for < SILENCE).map(|seen| &seen.card.id)
    }

    fn forget(&self, node: &NodeId) {
        info!(%node, "a node is gone");
        let table = self.tokens.table();
        table.holders().iter().for_each(|holder| holder.allowance().forget_in_flight(node));
    }

    fn take_in(&self, stored: &[(TokenId, Vec<(NodeId, Share)>)]) {
        let (table, now) = (self.tokens.table(), Now::read());
        let alive: HashSet<&NodeId> = self.alive().collect();
        for (token, shares) in stored {
            let of_others: Vec<_> =
                shares.iter().filter(|(node, _)| *node != self.card.id).cloned().collect();
            if let Some(holder) = table.get(token.as_str()) {
                holder.join(&of_others, |node| alive.contains(node), now);
            }
        }
    }

    fn hear(&mut self, word: &Word, ctx: &mut Context<Self>) {
        if let Line::Up { heard_at, .. } = &mut self.line {
            *heard_at = Instant::now();
        }
        let is_own = word.from == self.card.id;
        let (table, now) = (self.tokens.table(), Now::read());
        for (token, share) in &word.used {
            match table.get(token.as_str()) {
                Some(holder) if is_own => holder.allowance().hear_own(share.version),
                Some(holder) => holder.hear(&word.from, share, now),
                None => {}
            }
        }
        if is_own {
            return;
        }
        self.heard += 1;
        for change in &word.changed {
            match change {
                Change::Tokens => self.read_tokens(ctx),
                Change::Settings => (self.on_change.settings)(),
                Change::Other => {}
            }
        }
        if !word.keys.are_none() {
            (self.on_change.keys)(word.keys.clone());
        }
        if word.leaves {
            self.others.retain(|seen| seen.card.id != word.from);
            self.news.know_of(self.alive().count());
            self.forget(&word.from);
        }
    }

    fn read_tokens(&self, ctx: &mut Context<Self>) {
        let tokens = self.tokens.clone();
        let reading = async move {
            if let Err(failure) = tokens.reload().await {
                error!(error = %failure, "client tokens that another node has changed could not be read");
            }
        };
        ctx.spawn(reading.into_actor(self));
    }
}

impl Tasks {
    fn end(&self, ctx: &mut Context<Cluster>) {
        for task in [self.hearing, self.greeting, self.telling] {
            ctx.cancel_future(task);
        }
    }
}

fn all_ids(tokens: &TokenStore, wanted: impl Fn(&Holder) -> bool) -> Vec<TokenId> {
    let table = tokens.table();
    let holders = table.holders().iter().filter(|holder| wanted(holder));
    holders.map(|holder| holder.id.clone()).collect()
}

impl Actor for Cluster {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.connect(ctx);
    }
}

/// What is heard; `None` when the connection has ended.
impl StreamHandler<Option<Word>> for Cluster {
    fn handle(&mut self, word: Option<Word>, ctx: &mut Self::Context) {
        match word {
            Some(word) => self.hear(&word, ctx),
            None => self.lose(&LinkError::Closed, ctx),
        }
    }

    /// The actor goes on without it.
    fn finished(&mut self, _: &mut Self::Context) {}
}

/// Command: take leave of the other nodes, and answer when that is done.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Leave;

impl Handler<Leave> for Cluster {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Leave, ctx: &mut Self::Context) -> Self::Result {
        let Line::Up { link, tasks, .. } = std::mem::replace(&mut self.line, Line::Alone) else {
            return Box::pin(async {});
        };
        tasks.end(ctx);
        let (id, now) = (self.card.id.clone(), Now::read());
        let untold = self.news.take();
        let used = untold.used.iter().filter_map(|holder| Some((holder.id.clone(), holder.share(now)?)));
        let (used, changed) = (used.collect(), untold.changed.iter().copied().collect());
        let last = Word { used, changed, keys: untold.keys, ..Word::of(&id) };
        Box::pin(async move {
            let told = async {
                link.tell(&last).await?;
                link.leave(&id).await
            };
            if let Err(failure) = told.await {
                debug!(error = %failure, "the other nodes were not told that this one ends");
            }
        })
    }
}
