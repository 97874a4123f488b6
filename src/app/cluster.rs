//! How this node meets others.

use std::sync::Arc;

use actix::Addr;
use uuid::Uuid;

use crate::{
    actors::{
        cluster::OnChange,
        follower::{FindKeys, KeyFollower, KeysTold, PAGE, Wanted},
    },
    api::gateway::AdminDoor,
    cluster::{NodeCard, Redis},
    config::Config,
    db::keys::{load_keys_behind, load_some_keys},
    domain::{key::KeyId, node::NodeId},
    secrets::Sealer,
    settings::keeper::{Keeper, RereadSettings},
};

/// Nodes that seal with the same key are of one gateway; others may use the same server and hear nothing of them.
pub fn redis(config: &Config, sealer: &Sealer) -> Option<Redis> {
    let print = sealer.fingerprint("nodes of one gateway");
    let namespace: String = print[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    config.cluster.redis.clone().map(|url| Redis::new(url, &namespace))
}

/// Who hears of what other nodes have changed.
pub fn on_change(keeper: Addr<Keeper>, follower: Addr<KeyFollower>) -> OnChange {
    OnChange {
        settings: Box::new(move || keeper.do_send(RereadSettings)),
        keys: Box::new(move |keys| follower.do_send(KeysTold(keys))),
    }
}

/// How changed keys are read.
pub fn find_keys(sealer: Sealer) -> FindKeys {
    Arc::new(move |conn, wanted| match wanted {
        Wanted::Behind(key) => load_keys_behind(conn, &sealer, *key, PAGE),
        Wanted::These(ids) => {
            let ids: Vec<KeyId> = ids.iter().copied().collect();
            load_some_keys(conn, &sealer, &ids)
        }
    })
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
