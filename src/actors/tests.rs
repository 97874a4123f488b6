//! Supervisor, keys and a balancer together, on a clock that is moved by hand.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use tokio::time::{Instant, advance, pause, sleep};

use super::{
    Observe,
    balancer::{Acquire, Balancer, BalancerHandle, BalancerSnapshot},
    key::{Crash, KeySnapshot, SiblingFell},
    lease::Lease,
    supervisor::{
        Checkpoint, FindKey, FindSuspects, PoolKey, PoolSnapshot, ProjectSettings, Supervisor, Suspect,
    },
};
use crate::{
    balance::{
        breaker::{CooldownSnapshot, ProjectFault, StateSnapshot},
        policy,
        table::{Cause, Unavailable},
    },
    db::{Database, keys, ledgers, test_database},
    domain::{
        client::TokenId,
        key::{ApiKey, KeyId},
        model::ModelName,
        outcome::{BillingFault, KeyFault, Outcome, QuotaExceeded, QuotaMetric, QuotaWindow},
        placement::PlacedKey,
        policy::{Balancing, PolicyKind},
        tiers::TierSet,
        time::Now,
    },
    secrets::{EncryptionKey, Sealer},
};

mod blame;
mod outlook;
mod quotas;
mod respawn;
mod waiting;

const MAX_FAILURES: u32 = 3;

struct Pool {
    supervisor: Addr<Supervisor>,
    balancer: BalancerHandle,
    database: Database,
    sealer: Sealer,
    _folder: tempfile::TempDir,
}

impl Pool {
    /// A pool of so many keys, stored as `API_KEYS` would be.
    fn of(count: usize) -> Self {
        Self::balancing(
            count,
            Balancing { policy: PolicyKind::RoundRobin, max_wait: Duration::ZERO, max_waiting: 0 },
        )
    }

    fn balancing(count: usize, balancing: Balancing) -> Self {
        let keys: Vec<_> = (1..=count).map(|n| ApiKey::parse(&format!("key-{n}")).unwrap().into()).collect();
        Self::placed(&keys, balancing)
    }

    fn placed(configured: &[PlacedKey], balancing: Balancing) -> Self {
        let (database, folder) = test_database();
        let sealer = Sealer::new(&EncryptionKey::random());
        database.write_blocking(|conn| keys::sync_configured(conn, &sealer, configured, 0)).unwrap();
        let supervisor =
            Supervisor::new(load(&database, &sealer), MAX_FAILURES, projects(&database), database.clone())
                .start();
        let balancer = Balancer::start_here(
            policy::build(balancing.policy, rand::random()),
            balancing,
            supervisor.clone(),
            Arc::default(),
        );
        Self { supervisor, balancer, database, sealer, _folder: folder }
    }

    async fn acquire(&self, model: &str) -> Result<Lease, Unavailable> {
        self.acquire_beside(model, &[]).await
    }

    async fn acquire_beside(&self, model: &str, tried: &[i64]) -> Result<Lease, Unavailable> {
        let tried = tried.iter().map(|id| KeyId(*id)).collect();
        let acquire = Acquire { tried, ..ask_for(model) };
        self.balancer.acquire(acquire).await
    }

    async fn settle(&self, model: &str, outcome: Outcome) {
        self.acquire(model).await.unwrap().settle(outcome, Duration::from_millis(5));
        self.settled().await;
    }

    /// Until everything that was sent has been handled by everybody.
    async fn settled(&self) {
        for _ in 0..4 {
            self.balancer.actor().send(Observe::<BalancerSnapshot>::new()).await.unwrap();
            self.pool().await;
            tokio::task::yield_now().await;
        }
    }

    async fn pool(&self) -> PoolSnapshot {
        self.supervisor.send(Observe::<PoolSnapshot>::new()).await.unwrap()
    }

    async fn key(&self, id: i64) -> KeySnapshot {
        let actor = self.supervisor.send(FindKey(KeyId(id))).await.unwrap().expect("the key exists");
        actor.send(Observe::<KeySnapshot>::new()).await.unwrap()
    }

    async fn crash(&self, id: i64) {
        let actor = self.supervisor.send(FindKey(KeyId(id))).await.unwrap().expect("the key exists");
        assert!(actor.send(Crash).await.is_err(), "nobody answers from the grave");
        self.settled().await;
    }
}

fn load(database: &Database, sealer: &Sealer) -> Vec<PoolKey> {
    let loaded = database.read_blocking(|conn| keys::load_keys(conn, sealer)).unwrap();
    loaded.keys.into_iter().map(Into::into).collect()
}

/// As they were stored last.
fn projects(database: &Database) -> ProjectSettings {
    let stored = database.read_blocking(ledgers::load_ledgers).unwrap();
    let stored = stored.into_iter().map(|row| (row.project, row.ledger)).collect();
    ProjectSettings { stored, ..ProjectSettings::default() }
}

fn ask_for(model: &str) -> Acquire {
    Acquire {
        model: model_name(model),
        tokens: 0,
        client: TokenId::default(),
        preference: None,
        tried: Vec::new(),
        elsewhere: None,
        other_than: None,
        tiers: TierSet::ALL,
        deadline: Instant::now() + Duration::from_secs(60),
    }
}

fn model_name(name: &str) -> ModelName {
    ModelName::parse(name).unwrap()
}

async fn cooldowns(pool: &Pool, id: i64) -> Vec<CooldownSnapshot> {
    pool.key(id).await.health.cooldowns
}

fn rate_limited(seconds: u64) -> Outcome {
    Outcome::Quota(quota_exceeded(seconds))
}

fn quota_exceeded(seconds: u64) -> QuotaExceeded {
    let retry_after = Some(Duration::from_secs(seconds));
    QuotaExceeded { window: QuotaWindow::Minute, retry_after, limit: None, metric: QuotaMetric::Unknown }
}

#[actix::test]
async fn a_cooling_key_comes_back_by_its_own_timer() {
    pause();
    let pool = Pool::of(1);
    pool.settle("flash", rate_limited(30)).await;

    let refused = pool.acquire("flash").await.unwrap_err();
    let Unavailable::Until { at: until, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(until.saturating_duration_since(Now::read().instant).as_secs_f32().round(), 30.0);
    assert!(pool.acquire("pro").await.is_ok(), "other models are served");

    advance(Duration::from_secs(31)).await;
    pool.settled().await;
    assert!(pool.acquire("flash").await.is_ok());
}

#[actix::test]
async fn the_next_request_of_the_same_worker_already_passes_a_refused_key_over() {
    let pool = Pool::of(2);
    let first = pool.acquire("flash").await.unwrap();
    let refused = first.key;
    first.settle(rate_limited(30), Duration::ZERO);

    for _ in 0..3 {
        assert_ne!(pool.acquire("flash").await.unwrap().key, refused);
    }
}

#[actix::test]
async fn a_lease_that_is_dropped_gives_its_slot_back() {
    let pool = Pool::of(1);
    let lease = pool.acquire("flash").await.unwrap();
    assert_eq!(pool.pool().await.in_flight, 1);

    drop(lease);

    assert_eq!(pool.pool().await.in_flight, 0);
}

#[actix::test]
async fn successes_arrive_in_batches_and_are_counted() {
    pause();
    let pool = Pool::of(2);
    for _ in 0..10 {
        pool.acquire("flash").await.unwrap().settle(Outcome::Success, Duration::from_millis(3));
    }
    pool.settled().await;
    advance(Duration::from_millis(25)).await;
    pool.settled().await;

    let (one, two) = (pool.key(1).await.tally, pool.key(2).await.tally);
    assert_eq!((one.successes + two.successes, one.failures + two.failures), (10, 0));
}

#[actix::test]
async fn a_failure_does_not_overtake_the_success_before_it() {
    pause();
    let pool = Pool::of(1);
    pool.settle("flash", Outcome::Success).await;
    pool.settle("flash", Outcome::KeySuspect).await;
    advance(Duration::from_millis(25)).await;
    pool.settled().await;

    let key = pool.key(1).await;
    assert_eq!((key.tally.successes, key.health.consecutive_failures), (1, 1));
}

#[actix::test]
async fn one_probe_decides_over_a_half_open_key() {
    pause();
    let pool = Pool::of(2);
    for _ in 0..MAX_FAILURES {
        pool.acquire_beside("flash", &[2]).await.unwrap().settle(Outcome::KeySuspect, Duration::ZERO);
    }
    pool.settled().await;
    assert!(matches!(pool.key(1).await.health.state, StateSnapshot::Cooling { .. }));
    advance(Duration::from_secs(15)).await;
    pool.settled().await;
    assert_eq!(pool.key(1).await.health.state, StateSnapshot::HalfOpen);

    let probe = pool.acquire("flash").await.unwrap();
    assert_eq!(probe.key, KeyId(1));
    assert_eq!(pool.acquire("flash").await.unwrap().key, KeyId(2), "one probe at a time");
    probe.settle(Outcome::Success, Duration::ZERO);
    pool.settled().await;

    assert_eq!(pool.key(1).await.health.state, StateSnapshot::Active);
}

#[actix::test]
async fn an_abandoned_probe_is_free_for_the_next_request() {
    pause();
    let pool = Pool::of(1);
    for _ in 0..MAX_FAILURES {
        pool.settle("flash", Outcome::KeySuspect).await;
    }
    advance(Duration::from_secs(15)).await;
    pool.settled().await;

    drop(pool.acquire("flash").await.unwrap());
    pool.settled().await;

    assert!(pool.acquire("flash").await.is_ok());
}

#[actix::test]
async fn health_is_in_the_database_soon_and_comes_back_with_a_restart() {
    let pool = Pool::of(2);
    pool.acquire_beside("flash", &[2])
        .await
        .unwrap()
        .settle(Outcome::KeyInvalid(KeyFault::Expired), Duration::ZERO);
    pool.acquire_beside("flash", &[1]).await.unwrap().settle(rate_limited(300), Duration::ZERO);
    pool.settled().await;
    pool.supervisor.send(Checkpoint).await.unwrap();

    let again = Supervisor::new(
        load(&pool.database, &pool.sealer),
        MAX_FAILURES,
        projects(&pool.database),
        pool.database.clone(),
    )
    .start();
    let snapshot = again.send(Observe::<PoolSnapshot>::new()).await.unwrap();

    assert_eq!((snapshot.states.invalid, snapshot.states.active, snapshot.partly_cooling), (1, 1, 1));
}

#[actix::test]
async fn health_is_written_without_being_asked() {
    let pool = Pool::of(1);
    pool.settle("flash", Outcome::KeyInvalid(KeyFault::NotFound)).await;

    let is_stored = || load(&pool.database, &pool.sealer)[0].health.is_some();
    for _ in 0..200 {
        if is_stored() {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert!(is_stored());
}

#[actix::test]
async fn only_keys_that_are_not_plainly_well_are_suspects() {
    let pool = Pool::of(3);
    pool.acquire_beside("flash", &[2, 3]).await.unwrap().settle(Outcome::KeySuspect, Duration::ZERO);
    pool.acquire_beside("flash", &[1, 3]).await.unwrap().settle(rate_limited(30), Duration::ZERO);
    pool.settled().await;

    let found = pool.supervisor.send(FindSuspects { named: None }).await.unwrap();
    let keys = |suspects: &[Suspect]| {
        let mut keys: Vec<_> = suspects.iter().map(|suspect| suspect.key.0).collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!((keys(&found.suspects), keys(&found.controls)), (vec![1], vec![2, 3]));

    let named = Some(vec![KeyId(1), KeyId(2), KeyId(99)]);
    let found = pool.supervisor.send(FindSuspects { named }).await.unwrap();
    assert_eq!((keys(&found.suspects), keys(&found.controls)), (vec![1, 2], vec![3]));
}

/// So many keys are refused with a bare 429, each of them once.
async fn refuse_bare(pool: &Pool, count: usize) {
    for _ in 0..count {
        let bare =
            QuotaExceeded { window: QuotaWindow::Unknown, metric: QuotaMetric::Unknown, ..quota_exceeded(0) };
        let outcome = Outcome::Quota(QuotaExceeded { retry_after: None, ..bare });
        pool.acquire("flash").await.unwrap().settle(outcome, Duration::ZERO);
    }
    pool.settled().await;
}

#[actix::test]
async fn a_storm_pauses_the_address_and_is_forgiven_to_the_keys() {
    pause();
    const KEYS: usize = 40;
    let pool = Pool::of(KEYS);
    refuse_bare(&pool, 11).await;
    assert_eq!(pool.pool().await.partly_cooling, 11, "as long as they might be at fault");

    refuse_bare(&pool, 1).await;

    let after = pool.pool().await;
    assert_eq!((after.states.active, after.partly_cooling), (KEYS, 0));
    let refused = pool.acquire("flash").await.unwrap_err();
    let Unavailable::Until { at, cause: Cause::Quota } = refused else { panic!("{refused:?}") };
    assert_eq!(at.saturating_duration_since(Instant::now()).as_secs_f32().round(), 5.0);
    advance(Duration::from_secs(5)).await;

    let probe = pool.acquire("flash").await.expect("one request probes");
    let refused = pool.acquire("flash").await.unwrap_err();
    assert!(matches!(refused, Unavailable::Until { cause: Cause::Quota, .. }), "{refused:?}");
    probe.settle(Outcome::Success, Duration::ZERO);
    pool.settled().await;
    refuse_bare(&pool, 11).await;
    assert_eq!(pool.pool().await.partly_cooling, 11, "keys are judged again");
}

#[actix::test]
async fn a_probe_that_meets_the_storm_again_prolongs_the_pause_and_blames_no_key() {
    pause();
    let pool = Pool::of(40);
    refuse_bare(&pool, 12).await;
    advance(Duration::from_secs(5)).await;

    refuse_bare(&pool, 1).await;

    let Err(Unavailable::Until { at, .. }) = pool.acquire("flash").await else { panic!("it pauses") };
    assert_eq!(at.saturating_duration_since(Instant::now()).as_secs_f32().round(), 10.0);
    assert_eq!(pool.pool().await.partly_cooling, 0);
}

#[actix::test]
async fn siblings_of_a_key_without_money_rest_until_it_may_have_some() {
    pause();
    let pool = Pool::of(2);
    let sibling = pool.supervisor.send(FindKey(KeyId(2))).await.unwrap().unwrap();

    sibling.send(SiblingFell(ProjectFault::Billing(BillingFault::PrepayDepleted))).await.unwrap();
    pool.settled().await;

    assert_eq!((pool.pool().await.states.cooling, pool.pool().await.states.active), (1, 1));
    advance(Duration::from_secs(3602)).await;
    pool.settled().await;
    assert_eq!(pool.key(2).await.health.state, StateSnapshot::HalfOpen);
}
