//! Whom an error concerns beyond the key that met it: its twins, the ledger of its project, the address, or nobody.

use super::*;
use crate::{
    domain::placement::{KeyPlacement, ProjectName},
    upstream::{classify::Classifier, fixtures},
};

/// Keys 1 and 2 are twins, key 3 is a project of its own. Key 1 meets the error.
async fn pool_with_twins() -> Pool {
    let key = |number: i64, project: Option<&str>| PlacedKey {
        key: ApiKey::parse(&format!("key-{number}")).unwrap(),
        placement: KeyPlacement { project: project.and_then(ProjectName::parse), ..KeyPlacement::default() },
    };
    let keys = [key(1, Some("a")), key(2, Some("a")), key(3, None)];
    let pool = Pool::placed(&keys, plain());
    pool.settled().await;
    pool
}

fn plain() -> Balancing {
    Balancing { policy: PolicyKind::RoundRobin, max_wait: Duration::ZERO, max_waiting: 0 }
}

/// What becomes of the twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Twin {
    GoesOn,
    /// Has no quota for the model either, and goes on with others.
    Spent,
    Rests,
}

/// By the outcome alone, as the table beside the classifier says which error is which.
fn expected(outcome: &Outcome) -> Twin {
    match outcome {
        Outcome::Quota(exceeded) if exceeded.window != QuotaWindow::Unknown => Twin::Spent,
        Outcome::Billing(_) => Twin::Rests,
        _ => Twin::GoesOn,
    }
}

#[actix::test]
async fn of_every_recorded_error_twins_hear_what_concerns_them_and_nobody_else_does() {
    let Some(folder) = fixtures::folder("gemini/errors") else { return };
    pause();
    for file in fixtures::files(&folder, "json") {
        let sample = fixtures::json(&file);
        let status = sample["http_status"].as_u64().unwrap() as u16;
        let body = sample["body_text"].as_str().map_or_else(|| sample["body"].to_string(), str::to_owned);
        let outcome = Classifier::default().classify(status, body.as_bytes()).outcome;
        let (pool, file) = (pool_with_twins().await, file.display());

        pool.acquire_beside("asked", &[2, 3]).await.unwrap().settle(outcome.clone(), Duration::ZERO);
        pool.settled().await;

        let served = async |model, id: i64| {
            let others: Vec<i64> = (1..=3).filter(|other| *other != id).collect();
            // A probe that was given back is there again.
            pool.settled().await;
            pool.acquire_beside(model, &others).await.is_ok_and(|lease| lease.key == KeyId(id))
        };
        let twin = match (served("asked", 2).await, served("other", 2).await) {
            (true, true) => Twin::GoesOn,
            (false, true) => Twin::Spent,
            (_, false) => Twin::Rests,
        };
        assert_eq!(twin, expected(&outcome), "{file}");
        assert!(served("asked", 3).await && served("other", 3).await, "{file}");
        // Where the project itself is out, the next attempt decides over its other keys.
        let is_projects = matches!(
            outcome,
            Outcome::Billing(_) | Outcome::KeyInvalid(KeyFault::Suspended | KeyFault::ServiceDisabled)
        );
        for (id, is_concerned) in [(2, is_projects), (3, false)] {
            let key = pool.key(id).await;
            assert_eq!(key.health.is_suspect(), is_concerned, "{file}: key {id} is {:?}", key.health);
            assert!(key.health.cooldowns.is_empty() && key.tally.failures == 0, "{file}: key {id}");
        }
        let told = pool.supervisor.send(Observe::<Option<BalancerSnapshot>>::new()).await.unwrap().unwrap();
        assert!(told.storms == 0 && !told.is_paused, "{file}: one error is no storm");
    }
}

/// One client sends what Google refuses, twenty times a second for a minute; another one asks for a model that is served.
#[actix::test]
async fn a_minute_of_bad_requests_changes_the_state_of_no_key() {
    const KEYS: usize = 5;
    let Some(folder) = fixtures::folder("gemini/errors") else { return };
    pause();
    let bad: Vec<Outcome> = fixtures::files(&folder, "json")
        .iter()
        .map(|file| fixtures::json(file))
        .filter(|sample| sample["http_status"] == 400)
        .map(|sample| {
            let body = sample["body"].to_string();
            Classifier::default().classify(400, body.as_bytes()).outcome
        })
        .filter(|outcome| *outcome == Outcome::ClientFault)
        .collect();
    assert!(bad.len() >= 10, "{}", bad.len());
    let pool = Pool::balancing(KEYS, Balancing { policy: PolicyKind::P2c, ..plain() });
    pool.settled().await;

    for turn in 0..60 * 20 {
        let outcome = bad[turn % bad.len()].clone();
        pool.acquire("flash").await.expect("every key is well").settle(outcome, Duration::from_millis(40));
        if turn % 10 == 0 {
            let good = pool.acquire("flash").await.expect("every key is well");
            good.settle(Outcome::Success, Duration::from_millis(400));
        }
        advance(Duration::from_millis(50)).await;
    }
    pool.settled().await;

    for id in 1..=KEYS as i64 {
        let key = pool.key(id).await;
        assert!(!key.health.is_suspect() && key.health.cooldowns.is_empty(), "{:?}", key.health);
        assert_eq!((key.tally.failures, key.in_flight), (0, 0));
        assert!(key.tally.attempts > 100, "each had its turn: {}", key.tally.attempts);
    }
    let told = pool.supervisor.send(Observe::<Option<BalancerSnapshot>>::new()).await.unwrap().unwrap();
    assert_eq!((told.refused, told.storms), (0, 0));
}

/// A client whose requests are refused without a reason, whatever the key, beside one who is served.
#[actix::test]
async fn a_minute_of_bare_refusals_of_one_model_keeps_no_key_from_the_others() {
    const KEYS: i64 = 12;
    pause();
    let pool = Pool::balancing(KEYS as usize, Balancing { policy: PolicyKind::P2c, ..plain() });
    pool.settled().await;
    let bare = QuotaExceeded { window: QuotaWindow::Unknown, retry_after: None, ..quota_exceeded(0) };

    let (mut refused, mut paused) = (0, 0);
    for _ in 0..60 * 10 {
        match pool.acquire("preview").await {
            Ok(lease) => lease.settle(Outcome::Quota(bare), Duration::from_millis(40)),
            Err(Unavailable::Until { .. }) => paused += 1,
            Err(other) => panic!("{other:?}"),
        }
        match pool.acquire("flash").await {
            Ok(lease) => lease.settle(Outcome::Success, Duration::from_millis(400)),
            Err(_) => refused += 1,
        }
        advance(Duration::from_millis(100)).await;
    }
    pool.settled().await;

    assert_eq!(refused, 0, "the other client is served all along");
    assert!(paused > 300, "and Google is spared: {paused}");
    for id in 1..=KEYS {
        let key = pool.key(id).await;
        assert_eq!(key.health.state, StateSnapshot::Active);
        assert!(key.health.cooldowns.iter().all(|cooldown| cooldown.model.as_str() == "preview"));
    }
}

#[actix::test]
async fn a_model_that_is_refused_bare_with_every_key_pauses_alone() {
    pause();
    let pool = Pool::of(40);
    refuse_bare(&pool, 12).await;

    assert!(matches!(pool.acquire("flash").await, Err(Unavailable::Until { .. })));
    assert!(pool.acquire("pro").await.is_ok(), "nothing is known against other models");
    assert_eq!(pool.pool().await.partly_cooling, 0);
}

/// Most keys of the pool are dead; a storm is what a share of the living ones meet.
#[actix::test]
async fn a_pool_of_mostly_dead_keys_sees_a_storm_too() {
    pause();
    let pool = Pool::of(60);
    for id in 1..=40 {
        let others: Vec<i64> = (1..=60).filter(|other| *other != id).collect();
        let lease = pool.acquire_beside("flash", &others).await.unwrap();
        lease.settle(Outcome::KeyInvalid(KeyFault::Leaked), Duration::ZERO);
    }
    pool.settled().await;

    // 30 % of twenty, not of sixty.
    refuse_bare(&pool, 6).await;

    assert!(matches!(pool.acquire("flash").await, Err(Unavailable::Until { .. })));
    assert_eq!(pool.pool().await.partly_cooling, 0);
}
