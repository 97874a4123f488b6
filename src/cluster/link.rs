//! Redis as nodes use it: a channel for what is new, and keys for whoever comes later.
//!
//! | key, behind the namespace | holds | until |
//! | --- | --- | --- |
//! | `used:<token>` | a hash: what each node has used, as its last [`Share`] | a month after the last one |
//! | `nodes` | the ids of nodes | they leave |
//! | `node:<id>` | its [`NodeCard`] | an hour after its last sign of life |
//! | `lead` | the id of the node that does what one does for all | 5 s after that node was last heard |

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt};
use redis::{AsyncConnectionConfig, Pipeline, RedisError, aio::MultiplexedConnection};
use tokio::time::timeout;

use super::{NodeCard, Seen, Word};
use crate::{
    balance::allowance::Share,
    config::RedisUrl,
    domain::{client::TokenId, node::NodeId},
};

/// For a connection, and for each answer: a server that is later is no use.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the use of a token is kept: no month is longer.
const KEEP_USE: Duration = Duration::from_secs(33 * 24 * 60 * 60);
/// How long a node that fell silent is listed.
const KEEP_NODE: Duration = Duration::from_secs(60 * 60);
/// How long a node has the lead without a sign of life.
const LEAD_FOR: Duration = Duration::from_secs(5);
/// Takes the lead if nobody has it, keeps it if it is one's own, and answers whose it is.
const TAKE_LEAD: &str = "
    if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return ARGV[1] end
    local holder = redis.call('GET', KEYS[1])
    if holder == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
    return holder";
/// Gives the lead back if it is one's own.
const LEAVE_LEAD: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";
/// Tokens that are told of or asked for in one piece.
const BATCH: usize = 500;

/// A server, and the part of it that is ours.
#[derive(Debug, Clone)]
pub struct Redis {
    url: RedisUrl,
    /// Goes before every key and channel.
    namespace: Arc<str>,
}

/// Why nothing is heard or told.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Late,
    #[error("the connection was closed")]
    Closed,
    #[error("it does not pass on what is told")]
    Deaf,
}

/// As it is named in logs and pages.
impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl Redis {
    pub fn new(url: RedisUrl, namespace: &str) -> Self {
        Self { url, namespace: format!("gemini-balance:{namespace}:").into() }
    }

    /// A connection to ask and tell by, and one that hears whatever is told from now on.
    pub async fn connect(&self) -> Result<(Link, Hearing), LinkError> {
        let client = self.url.client()?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connecting = async {
            let mut hearing = client.get_async_pubsub().await?;
            hearing.subscribe(self.channel()).await?;
            let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            Ok::<_, RedisError>((connection, Hearing(hearing)))
        };
        let (connection, hearing) =
            timeout(2 * PATIENCE, connecting).await.map_err(|_| LinkError::Late)??;
        Ok((Link { connection, redis: self.clone() }, hearing))
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.namespace)
    }

    fn used(&self, token: &TokenId) -> String {
        self.key(&format!("used:{token}"))
    }

    fn node(&self, id: &NodeId) -> String {
        self.key(&format!("node:{id}"))
    }

    fn channel(&self) -> String {
        self.key("words")
    }
}

/// Hears all words, also those of its own node.
pub struct Hearing(redis::aio::PubSub);

impl Hearing {
    /// Ends when the connection does. What is no word is passed over.
    pub fn into_words(self) -> impl Stream<Item = Word> {
        let messages = self.0.into_on_message();
        messages.filter_map(async |message| serde_json::from_slice(message.get_payload_bytes()).ok())
    }
}

/// A connection that asks and tells.
#[derive(Clone)]
pub struct Link {
    connection: MultiplexedConnection,
    redis: Redis,
}

impl Link {
    /// Tells all nodes, and writes down what they have to know later.
    pub async fn tell(&self, word: &Word) -> Result<(), LinkError> {
        let mut commands = redis::pipe();
        for (token, share) in &word.used {
            let key = self.redis.used(token);
            commands.hset(&key, word.from.as_str(), to_json(share)).ignore();
            commands.pexpire(&key, in_ms(KEEP_USE)).ignore();
        }
        let mut parts = word.used.chunks(BATCH);
        let first = Word { used: parts.next().unwrap_or_default().to_vec(), ..word.clone() };
        let others = parts.map(|used| Word { used: used.to_vec(), ..Word::of(&word.from) });
        for word in std::iter::once(first).chain(others) {
            commands.publish(self.redis.channel(), to_json(&word)).ignore();
        }
        self.run(&commands).await
    }

    /// What nodes have written down of their use of these tokens. What counts nowhere any more is cleared away.
    pub async fn stored(
        &self,
        tokens: Vec<TokenId>,
        now_ms: i64,
    ) -> Result<Vec<(TokenId, Vec<(NodeId, Share)>)>, LinkError> {
        let mut all = Vec::new();
        let mut clearing = redis::pipe();
        for tokens in tokens.chunks(BATCH) {
            let mut commands = redis::pipe();
            tokens.iter().for_each(|token| {
                commands.hgetall(self.redis.used(token));
            });
            let answers: Vec<Vec<(String, String)>> = self.run(&commands).await?;
            for (token, fields) in tokens.iter().zip(answers) {
                let mut shares = Vec::new();
                for (node, json) in fields {
                    match serde_json::from_str::<Share>(&json) {
                        Ok(share) if !share.is_over(now_ms) => shares.push((NodeId::new(node), share)),
                        _ => {
                            clearing.hdel(self.redis.used(token), node).ignore();
                        }
                    }
                }
                all.push((token.clone(), shares));
            }
        }
        if !clearing.is_empty() {
            self.run::<()>(&clearing).await?;
        }
        Ok(all)
    }

    /// Says that this node is there, and asks which others are.
    pub async fn greet(&self, card: &NodeCard) -> Result<Vec<Seen>, LinkError> {
        let mut commands = redis::pipe();
        commands.pset_ex(self.redis.node(&card.id), to_json(card), in_ms(KEEP_NODE).unsigned_abs()).ignore();
        commands.sadd(self.redis.key("nodes"), card.id.as_str()).ignore();
        commands.publish(self.redis.channel(), to_json(&Word::of(&card.id))).ignore();
        commands.smembers(self.redis.key("nodes"));
        let (ids,): (Vec<String>,) = self.run(&commands).await?;
        let ids: Vec<NodeId> = ids.into_iter().map(NodeId::new).collect();
        let mut commands = redis::pipe();
        for id in &ids {
            commands.get(self.redis.node(id)).pttl(self.redis.node(id));
        }
        let answers: Vec<redis::Value> = self.run(&commands).await?;
        let mut seen = Vec::new();
        let mut clearing = redis::pipe();
        for (id, answer) in ids.iter().zip(answers.chunks_exact(2)) {
            let (card, left): (Option<String>, i64) = (
                redis::from_redis_value(answer[0].clone()).map_err(RedisError::from)?,
                redis::from_redis_value(answer[1].clone()).map_err(RedisError::from)?,
            );
            match card.and_then(|json| serde_json::from_str(&json).ok()) {
                Some(card) => seen.push(Seen { card, silent_for: KEEP_NODE.saturating_sub(ms(left)) }),
                None => {
                    clearing.srem(self.redis.key("nodes"), id.as_str()).ignore();
                }
            }
        }
        if !clearing.is_empty() {
            self.run::<()>(&clearing).await?;
        }
        Ok(seen)
    }

    /// Takes the lead for a while, if no other node has it. Answers who has it.
    pub async fn take_lead(&self, id: &NodeId) -> Result<NodeId, LinkError> {
        let mut command = redis::cmd("EVAL");
        command.arg(TAKE_LEAD).arg(1).arg(self.redis.key("lead")).arg(id.as_str()).arg(in_ms(LEAD_FOR));
        let holder: String = command.query_async(&mut self.connection.clone()).await?;
        Ok(NodeId::new(holder))
    }

    /// Takes leave of the others.
    pub async fn leave(&self, id: &NodeId) -> Result<(), LinkError> {
        let mut commands = redis::pipe();
        let lead = self.redis.key("lead");
        commands.cmd("EVAL").arg(LEAVE_LEAD).arg(1).arg(lead).arg(id.as_str()).ignore();
        commands.del(self.redis.node(id)).ignore();
        commands.srem(self.redis.key("nodes"), id.as_str()).ignore();
        commands.publish(self.redis.channel(), to_json(&Word { leaves: true, ..Word::of(id) })).ignore();
        self.run(&commands).await
    }

    async fn run<T: redis::FromRedisValue>(&self, commands: &Pipeline) -> Result<T, LinkError> {
        Ok(commands.query_async(&mut self.connection.clone()).await?)
    }
}

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("words are plain JSON")
}

fn in_ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn ms(count: i64) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or(0))
}
