//! Requests that wait until a key has quota again.

use std::{future::Future, pin::Pin};

use futures_util::FutureExt;

use super::*;

type Answer = Pin<Box<dyn Future<Output = Result<Lease, Unavailable>>>>;

const PATIENCE: Duration = Duration::from_secs(10);

fn patient() -> Balancing {
    Balancing { policy: PolicyKind::P2c, max_wait: PATIENCE, max_waiting: 100 }
}

impl Pool {
    /// Asks, and lets the balancer hear it.
    async fn ask(&self, acquire: Acquire) -> Answer {
        let balancer = self.balancer.clone();
        let mut answer: Answer = Box::pin(async move { balancer.send(acquire).await.unwrap() });
        assert!(look(&mut answer).is_none(), "a message takes a moment");
        self.settled().await;
        answer
    }
}

/// The answer, if it has come.
fn look(answer: &mut Answer) -> Option<Result<Lease, Unavailable>> {
    answer.now_or_never()
}

fn asked_by(client: &str) -> Acquire {
    Acquire { client: TokenId::new(client), ..ask_for("flash") }
}

#[actix::test]
async fn a_request_waits_for_a_key_that_recovers_in_time() {
    pause();
    let pool = Pool::balancing(1, patient());
    pool.settle("flash", rate_limited(8)).await;

    let mut answer = pool.ask(ask_for("flash")).await;
    assert!(look(&mut answer).is_none());

    let began = Instant::now();
    assert_eq!(answer.await.unwrap().key, KeyId(1));
    let waited = began.elapsed().as_secs_f32();
    assert!((7.9..9.1).contains(&waited), "{waited} s");
}

#[actix::test]
async fn a_wait_that_would_be_too_long_is_refused_at_once_with_the_time_of_recovery() {
    pause();
    let pool = Pool::balancing(1, patient());
    pool.settle("flash", rate_limited(30)).await;

    let refused = pool.ask(ask_for("flash")).await.await.unwrap_err();

    let Unavailable::Until { at, .. } = refused else { panic!("{refused:?}") };
    let ahead = (at - Instant::now()).as_secs_f32();
    assert!((29.0..31.1).contains(&ahead), "{ahead} s");
}

#[actix::test]
async fn nobody_waits_for_a_pool_that_is_dead() {
    pause();
    let pool = Pool::balancing(1, patient());
    pool.settle("flash", Outcome::KeyInvalid(KeyFault::Leaked)).await;

    assert_eq!(pool.ask(ask_for("flash")).await.await.unwrap_err(), Unavailable::NoUsableKey);
}

#[actix::test]
async fn a_request_never_waits_longer_than_its_own_deadline() {
    pause();
    let pool = Pool::balancing(1, patient());
    pool.settle("flash", rate_limited(8)).await;

    let deadline = Instant::now() + Duration::from_secs(3);
    let refused = pool.ask(Acquire { deadline, ..ask_for("flash") }).await.await;
    assert!(matches!(refused, Err(Unavailable::Until { .. })), "it could not have been served");
}

#[actix::test]
async fn one_minute_is_used_to_the_last_request_and_those_who_wait_take_turns() {
    pause();
    let pool = Pool::balancing(1, patient());
    // Google allows two requests a minute, which the ledger learns from the refusal.
    let learnt =
        Outcome::Quota(QuotaExceeded { limit: Some(2), metric: QuotaMetric::Requests, ..quota_exceeded(5) });
    pool.settle("flash", learnt).await;
    let mut answers = Vec::new();
    for client in ["greedy", "greedy", "greedy", "modest"] {
        answers.push((client, pool.ask(asked_by(client)).await));
    }

    advance(Duration::from_secs(6)).await;
    pool.settled().await;

    let mut served = Vec::new();
    for (client, answer) in &mut answers {
        if let Some(Ok(lease)) = look(answer) {
            served.push((*client, lease.key.0));
        }
    }
    assert_eq!(served, [("greedy", 1)], "the refused request counts in this minute too");
    advance(Duration::from_secs(5)).await;
    pool.settled().await;
    for (_, answer) in answers.iter_mut().skip(1) {
        assert!(matches!(look(answer), Some(Err(Unavailable::Until { .. }))));
    }
}

#[actix::test]
async fn a_large_request_is_served_as_soon_as_there_is_room_for_it() {
    pause();
    let pool = Pool::balancing(1, Balancing { max_wait: Duration::from_secs(90), ..patient() });
    let spent = QuotaExceeded { limit: Some(3000), metric: QuotaMetric::Tokens, ..quota_exceeded(1) };
    pool.settle("flash", Outcome::Quota(spent)).await;
    advance(Duration::from_secs(70)).await;
    pool.settled().await;
    let large =
        Acquire { tokens: 2000, deadline: Instant::now() + Duration::from_secs(90), ..ask_for("flash") };
    let _running = pool.ask(Acquire { tokens: 2000, ..ask_for("flash") }).await.await.unwrap();

    let began = Instant::now();
    let waiting = pool.ask(large).await;
    assert!(pool.acquire("flash").await.is_ok(), "a small one has room");

    assert!(waiting.await.is_ok());
    let waited = began.elapsed().as_secs_f32();
    assert!((59.0..61.5).contains(&waited), "{waited} s");
}

#[actix::test]
async fn whoever_hangs_up_while_waiting_leaves_the_key_to_the_next() {
    pause();
    let pool = Pool::balancing(1, patient());
    pool.settle("flash", rate_limited(8)).await;
    let gone = pool.ask(asked_by("gone")).await;
    let mut stays = pool.ask(asked_by("stays")).await;
    drop(gone);

    advance(Duration::from_secs(9)).await;
    pool.settled().await;

    let Some(Ok(lease)) = look(&mut stays) else { panic!("the key is free") };
    assert_eq!(pool.pool().await.in_flight, 1);
    drop(lease);
}

#[actix::test]
async fn a_full_room_refuses_with_the_time_of_recovery() {
    pause();
    let pool = Pool::balancing(1, Balancing { max_waiting: 1, ..patient() });
    pool.settle("flash", rate_limited(8)).await;

    let mut first = pool.ask(asked_by("anna")).await;
    let second = pool.ask(asked_by("anna")).await.await;

    assert!(matches!(second, Err(Unavailable::Until { .. })), "{second:?}");
    assert!(look(&mut first).is_none());
    let told = pool.supervisor.send(Observe::<Vec<BalancerSnapshot>>::new()).await.unwrap();
    assert_eq!((told.len(), told[0].waiting, told[0].turned_away), (1, 1, 1));
}
