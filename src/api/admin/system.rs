//! How the gateway itself is: this process, its database, its actors.

use std::path::Path;

use actix::{Actor, Addr, Handler, dev::ToEnvelope};
use actix_web::web::{Data, Json, ServiceConfig, get};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{Admin, List};
use crate::{
    actors::{
        Observe,
        balancer::BalancerSnapshot,
        cluster::{ClusterSnapshot, NodeSeen},
        logger::LoggerSnapshot,
        supervisor::{PoolSnapshot, StateCounts},
    },
    api::{
        auth::AdminUser,
        error::{ApiError, Failure},
        gateway::Gateway,
        only,
    },
    domain::time::Now,
    services::{
        catalog::CatalogSnapshot, recheck::RecheckSnapshot, scheduler::TaskSnapshot, updates::UpdateSnapshot,
    },
};

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(only::<Admin>("/actors", "GET").route(get().to(list_actors)))
        .service(only::<Admin>("/nodes", "GET").route(get().to(list_nodes)))
        .service(only::<Admin>("/system", "GET").route(get().to(find_system)));
}

/// This process.
#[derive(Debug, Serialize, ToSchema)]
pub struct SystemView {
    pub version: String,
    /// `NODE_NAME`.
    pub node: Option<String>,
    pub started_at_ms: i64,
    pub uptime_ms: i64,
    pub workers: usize,
    /// Resident; `null` where the system does not tell.
    pub memory_bytes: Option<u64>,
    pub database: DatabaseView,
    pub log_queue: LogQueueView,
    /// `null` without `REDIS_URL`.
    pub redis: Option<RedisView>,
    pub keys: StateCounts,
    /// Releases, as far as somebody looks for them (`UPDATE_CHECK`).
    pub update: UpdateSnapshot,
}

/// The way to the other nodes.
#[derive(Debug, Serialize, ToSchema)]
pub struct RedisView {
    /// Without user and password.
    pub url: String,
    pub ok: bool,
    /// Connected, or not, since then.
    pub since_ms: i64,
    /// Why not.
    pub error: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DatabaseView {
    pub kind: String,
    pub ok: bool,
    /// Of a question that costs nothing; `null` without an answer.
    pub latency_ms: Option<f64>,
    pub size_bytes: Option<i64>,
}

/// Rows of the request and error logs.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogQueueView {
    pub queued: usize,
    pub written: u64,
    /// Given up, as the queue was full or the database will never take them.
    pub dropped: u64,
}

/// A process of the gateway.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeView {
    /// Another one after each start.
    pub id: String,
    pub name: Option<String>,
    /// It is the one that answers.
    pub is_self: bool,
    pub started_at_ms: i64,
    pub version: String,
    pub last_seen_at_ms: i64,
    /// It was heard of within the last seconds.
    pub is_alive: bool,
    /// It does what only one of them should.
    pub leads: bool,
}

/// A kind of actor.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActorView {
    pub name: String,
    /// That are alive.
    pub instances: usize,
    pub restarts: RestartsView,
    /// What it holds, in its own words; `null` when it did not answer.
    #[schema(value_type = Value)]
    pub snapshot: Value,
}

/// How often one was started again, by cause.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct RestartsView {
    pub panic: u64,
    pub stop: u64,
}

/// The process, its database and its queues.
#[utoipa::path(
    get, path = "/api/admin/system", tag = "system",
    responses((status = 200, description = "How it is", body = SystemView)),
)]
pub async fn find_system(_: AdminUser, gateway: Data<Gateway>) -> Result<Json<SystemView>, Failure<Admin>> {
    let pool =
        gateway.supervisor.send(Observe::<PoolSnapshot>::new()).await.map_err(|_| ApiError::Internal)?;
    let log = gateway.logger.send(Observe::<LoggerSnapshot>::new()).await.map_err(|_| ApiError::Internal)?;
    let started_at_ms = gateway.admin.started_at_ms;
    Ok(Json(SystemView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: gateway.node.clone(),
        started_at_ms,
        uptime_ms: Now::read().unix_ms() - started_at_ms,
        workers: gateway.workers,
        memory_bytes: resident_bytes(Path::new("/proc/self/status")),
        database: look_at_database(&gateway).await,
        log_queue: LogQueueView { queued: log.queued, written: log.written, dropped: log.dropped },
        redis: look_at_cluster(&gateway).await?.redis.map(|redis| RedisView {
            url: redis.url,
            ok: redis.is_connected,
            since_ms: redis.since_ms,
            error: redis.error,
        }),
        keys: pool.states,
        update: gateway.updates.send(Observe::new()).await.map_err(|_| ApiError::Internal)?,
    }))
}

async fn look_at_database(gateway: &Gateway) -> DatabaseView {
    let began = Instant::now();
    let size = gateway.database.read(crate::db::size_bytes).await;
    let latency_ms = began.elapsed().as_secs_f64() * 1000.0;
    DatabaseView {
        kind: "sqlite".to_owned(),
        ok: size.is_ok(),
        latency_ms: size.is_ok().then_some(latency_ms),
        size_bytes: size.ok(),
    }
}

async fn look_at_cluster(gateway: &Gateway) -> Result<ClusterSnapshot, ApiError> {
    gateway.cluster.send(Observe::<ClusterSnapshot>::new()).await.map_err(|_| ApiError::Internal)
}

/// The line `VmRSS` of that file. Source: proc_pid_status(5).
fn resident_bytes(status: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The processes of the gateway, the oldest first. One that fell silent is listed for an hour.
#[utoipa::path(
    get, path = "/api/admin/nodes", tag = "system",
    responses((status = 200, description = "All there are", body = List<NodeView>)),
)]
pub async fn list_nodes(
    _: AdminUser,
    gateway: Data<Gateway>,
) -> Result<Json<List<NodeView>>, Failure<Admin>> {
    let cluster = look_at_cluster(&gateway).await?;
    let view = |node: NodeSeen| NodeView {
        id: node.card.id.to_string(),
        name: node.card.name,
        is_self: node.is_self,
        started_at_ms: node.card.started_at_ms,
        version: node.card.version,
        last_seen_at_ms: node.last_seen_at_ms,
        is_alive: node.is_alive,
        leads: node.leads,
    };
    Ok(Json(List::whole(cluster.nodes.into_iter().map(view).collect())))
}

/// The actors: how many there are, how often they were started again, and what they hold.
#[utoipa::path(
    get, path = "/api/admin/actors", tag = "system",
    responses((status = 200, description = "All kinds", body = List<ActorView>)),
)]
pub async fn list_actors(_: AdminUser, gateway: Data<Gateway>) -> Json<List<ActorView>> {
    let pool = gateway.supervisor.send(Observe::<PoolSnapshot>::new()).await.ok();
    let balancer = gateway.supervisor.send(Observe::<Option<BalancerSnapshot>>::new()).await.ok().flatten();
    let keys = pool.as_ref().map_or(0, |pool| {
        let states = pool.states;
        states.active + states.cooling + states.half_open + states.invalid + states.disabled
    });
    let restarts = pool.as_ref().map_or_else(RestartsView::default, |pool| RestartsView {
        panic: pool.respawned_after_panic,
        stop: pool.respawned_after_stop,
    });
    let of_balancer = RestartsView { panic: balancer.as_ref().map_or(0, |told| told.respawned), stop: 0 };
    Json(List::whole(vec![
        ActorView { restarts, ..view("key", keys, &pool.as_ref().map(|pool| pool.states)) },
        view("supervisor", usize::from(pool.is_some()), &pool),
        ActorView { restarts: of_balancer, ..view("balancer", usize::from(balancer.is_some()), &balancer) },
        seen::<_, LoggerSnapshot>("logger", &gateway.logger).await,
        seen::<_, CatalogSnapshot>("catalog", &gateway.catalog).await,
        seen::<_, RecheckSnapshot>("recheck", &gateway.recheck).await,
        seen::<_, Vec<TaskSnapshot>>("scheduler", &gateway.scheduler).await,
        seen::<_, UpdateSnapshot>("updates", &gateway.updates).await,
        seen::<_, ClusterSnapshot>("cluster", &gateway.cluster).await,
    ]))
}

/// One that there is one of.
async fn seen<A, T>(name: &str, actor: &Addr<A>) -> ActorView
where
    A: Actor + Handler<Observe<T>>,
    A::Context: ToEnvelope<A, Observe<T>>,
    T: Serialize + Send + 'static,
{
    let snapshot = actor.send(Observe::<T>::new()).await.ok();
    view(name, usize::from(snapshot.is_some()), &snapshot)
}

fn view(name: &str, instances: usize, snapshot: &impl Serialize) -> ActorView {
    let snapshot = serde_json::to_value(snapshot).unwrap_or_default();
    ActorView { name: name.to_owned(), instances, restarts: RestartsView::default(), snapshot }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_read_from_where_linux_tells_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("status");
        std::fs::write(&file, "VmHWM:\t   20 kB\nVmRSS:\t   12 kB\n").unwrap();

        assert_eq!(resident_bytes(&file), Some(12 * 1024));
        assert_eq!(resident_bytes(&folder.path().join("none")), None);
    }
}
