//! How this node meets others.

use uuid::Uuid;

use crate::{
    api::gateway::AdminDoor,
    cluster::{NodeCard, Redis},
    config::Config,
    domain::node::NodeId,
    secrets::Sealer,
};

/// Nodes that seal with the same key are of one gateway; others may use the same server and hear nothing of them.
pub fn redis(config: &Config, sealer: &Sealer) -> Option<Redis> {
    let print = sealer.fingerprint("nodes of one gateway");
    let namespace: String = print[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    config.cluster.redis.clone().map(|url| Redis::new(url, &namespace))
}

/// Who this node is, from now to its end.
pub fn card(config: &Config, admin: &AdminDoor) -> NodeCard {
    NodeCard {
        id: NodeId::new(Uuid::new_v4().simple().to_string()),
        name: config.server.node_name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at_ms: admin.started_at_ms,
    }
}
