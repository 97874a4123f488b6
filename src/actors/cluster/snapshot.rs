//! What the cluster's actor shows of itself: the nodes, and the way to them.

use actix::prelude::*;
use serde::Serialize;

use super::{Cluster, Line, SILENCE};
use crate::{actors::Observe, cluster::NodeCard, domain::time::Now};

/// How the node stands with the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterSnapshot {
    #[serde(skip)]
    pub nodes: Vec<NodeSeen>,
    /// `None`: it is alone.
    pub redis: Option<RedisSnapshot>,
    /// Other nodes that are there.
    pub others: usize,
    /// Words since the node began.
    pub told: u64,
    pub heard: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeSeen {
    pub card: NodeCard,
    pub is_self: bool,
    pub is_alive: bool,
    /// It does what one node does for all.
    pub leads: bool,
    pub last_seen_at_ms: i64,
}

/// The connection to Redis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RedisSnapshot {
    /// Without user and password.
    pub url: String,
    pub is_connected: bool,
    /// Since when it is so.
    pub since_ms: i64,
    pub error: Option<String>,
}

impl Handler<Observe<ClusterSnapshot>> for Cluster {
    type Result = MessageResult<Observe<ClusterSnapshot>>;

    fn handle(&mut self, _: Observe<ClusterSnapshot>, _: &mut Self::Context) -> Self::Result {
        let now_ms = Now::read().unix_ms();
        let this = NodeSeen {
            card: self.card.clone(),
            is_self: true,
            is_alive: true,
            leads: self.lead.is_ours(),
            last_seen_at_ms: now_ms,
        };
        let mut nodes: Vec<_> = self
            .others
            .iter()
            .map(|seen| NodeSeen {
                card: seen.card.clone(),
                is_self: false,
                is_alive: seen.silent_for < SILENCE,
                leads: self.leader.as_ref() == Some(&seen.card.id),
                last_seen_at_ms: now_ms - i64::try_from(seen.silent_for.as_millis()).unwrap_or(0),
            })
            .collect();
        nodes.push(this);
        nodes.sort_by(|a, b| (a.card.started_at_ms, &a.card.id).cmp(&(b.card.started_at_ms, &b.card.id)));
        let url = self.redis.as_ref().map(ToString::to_string);
        let (is_connected, since_ms, error) = match &self.line {
            Line::Up { since_ms, .. } => (true, *since_ms, None),
            Line::Down { since_ms, error } => (false, *since_ms, Some(error.clone())),
            Line::Alone => (false, 0, None),
        };
        MessageResult(ClusterSnapshot {
            nodes,
            redis: url.map(|url| RedisSnapshot { url, is_connected, since_ms, error }),
            others: self.alive().count(),
            told: self.told,
            heard: self.heard,
        })
    }
}
