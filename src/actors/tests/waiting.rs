//! Requests that wait until a key has quota again.

use std::{future::Future, pin::Pin};

use futures_util::FutureExt;
use tokio::task::unconstrained;

use super::*;

pub(super) type Answer = Pin<Box<dyn Future<Output = Result<Lease, Unavailable>>>>;

const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn patient() -> Balancing {
    Balancing { policy: PolicyKind::P2c, max_wait: PATIENCE, max_waiting: 100 }
}

impl Pool {
    /// Asks, and lets the balancer hear it.
    pub(super) async fn ask(&self, acquire: Acquire) -> Answer {
        let balancer = self.balancer.clone();
        let mut answer: Answer = Box::pin(async move { balancer.acquire(acquire).await });
        let answered = look(&mut answer);
        self.settled().await;
        match answered {
            Some(answered) => Box::pin(std::future::ready(answered)),
            None => answer,
        }
    }
}

/// The answer, if it has come. Tokio would have a task pause that finds many.
fn look(answer: &mut Answer) -> Option<Result<Lease, Unavailable>> {
    unconstrained(answer).now_or_never()
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
async fn a_large_request_that_is_refused_hears_when_there_is_room_for_its_size() {
    pause();
    let pool = Pool::balancing(1, patient());
    let of =
        |tokens| Acquire { tokens, deadline: Instant::now() + Duration::from_secs(90), ..ask_for("flash") };
    let spent = QuotaExceeded { limit: Some(3000), metric: QuotaMetric::Tokens, ..quota_exceeded(1) };
    pool.settle("flash", Outcome::Quota(spent)).await;
    advance(Duration::from_secs(70)).await;
    pool.settled().await;
    let _first = pool.ask(of(2000)).await.await.unwrap();
    advance(Duration::from_secs(30)).await;
    let _second = pool.ask(of(1000)).await.await.unwrap();
    let second_at = Instant::now();
    advance(Duration::from_secs(5)).await;

    let told = async |tokens| match pool.ask(of(tokens)).await.await {
        Err(Unavailable::Until { at, .. }) => at.saturating_duration_since(second_at).as_secs_f32(),
        other => panic!("nothing is left: {other:?}"),
    };

    let (small, large) = (told(100).await, told(3000).await);
    assert!((29.0..31.5).contains(&small), "once the first is forgotten: {small} s");
    assert!((59.0..61.5).contains(&large), "once the second is forgotten as well: {large} s");
}

#[actix::test]
async fn whoever_comes_before_any_key_is_known_waits_for_that_unless_they_are_a_crowd() {
    let pool = Pool::of(1);
    let ask = || -> Answer {
        let balancer = pool.balancer.clone();
        Box::pin(async move { balancer.acquire(ask_for("flash")).await })
    };
    let mut answers: Vec<Answer> = (0..10_000).map(|_| ask()).collect();
    assert!(answers.iter_mut().all(|answer| look(answer).is_none()));

    assert_eq!(look(&mut ask()).unwrap().unwrap_err(), Unavailable::Soon);
    pool.settled().await;

    assert!(answers.iter_mut().all(|answer| look(answer).unwrap().is_ok()));
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
    let told = pool.supervisor.send(Observe::<Option<BalancerSnapshot>>::new()).await.unwrap().unwrap();
    assert_eq!((told.waiting, told.turned_away), (1, 1));
}

async fn told(pool: &Pool) -> BalancerSnapshot {
    pool.balancer.actor().send(Observe::<BalancerSnapshot>::new()).await.unwrap()
}

#[actix::test]
async fn ten_thousand_may_wait_and_those_who_hang_up_make_room_at_once() {
    const SEATS: usize = 10_000;
    pause();
    let pool = Pool::balancing(1, Balancing { max_waiting: SEATS, ..patient() });
    pool.settle("flash", rate_limited(8)).await;
    let ask = |number: usize| -> Answer {
        let (balancer, acquire) = (pool.balancer.clone(), asked_by(&format!("client-{}", number % 100)));
        Box::pin(async move { balancer.acquire(acquire).await })
    };
    let began = std::time::Instant::now();
    let mut answers: Vec<Answer> = (0..SEATS).map(ask).collect();
    assert!(answers.iter_mut().all(|answer| look(answer).is_none()));

    let one_too_many = look(&mut ask(0)).expect("the room is full");
    assert!(matches!(one_too_many, Err(Unavailable::Until { .. })), "{one_too_many:?}");
    assert_eq!((told(&pool).await.waiting, told(&pool).await.turned_away), (SEATS, 1));
    answers.truncate(SEATS / 2);
    assert_eq!(told(&pool).await.waiting, SEATS / 2);
    answers.extend((0..SEATS / 2).map(ask));
    assert!(answers.iter_mut().all(|answer| look(answer).is_none()), "there is room again");

    advance(Duration::from_secs(9)).await;
    pool.settled().await;

    let served = answers.iter_mut().filter_map(look).filter(Result::is_ok).count();
    assert_eq!((served, told(&pool).await.waiting), (SEATS, 0));
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[actix::test]
async fn whoever_hangs_up_with_a_key_on_its_way_gives_it_back_unused() {
    pause();
    let pool = Pool::balancing(1, patient());
    pool.settle("flash", rate_limited(8)).await;
    let waits = pool.ask(ask_for("flash")).await;

    advance(Duration::from_secs(9)).await;
    pool.settled().await;
    assert_eq!(pool.pool().await.in_flight, 1);
    drop(waits);

    assert_eq!(pool.pool().await.in_flight, 0);
}

#[actix::test]
async fn what_somebody_who_hangs_up_gives_back_is_for_the_next() {
    pause();
    let pool = Pool::balancing(1, Balancing { max_wait: Duration::from_secs(90), ..patient() });
    let learnt = QuotaExceeded { limit: Some(1), metric: QuotaMetric::Requests, ..quota_exceeded(1) };
    pool.settle("flash", Outcome::Quota(learnt)).await;
    let ask = || Acquire { deadline: Instant::now() + Duration::from_secs(90), ..ask_for("flash") };
    let first = pool.ask(ask()).await;
    let mut second = pool.ask(ask()).await;

    advance(Duration::from_secs(62)).await;
    pool.settled().await;
    assert!(look(&mut second).is_none(), "one request a minute");
    drop(first);
    pool.settled().await;

    assert!(matches!(look(&mut second), Some(Ok(_))));
}

#[actix::test]
async fn requests_that_can_use_no_ready_key_hold_up_nobody_else() {
    pause();
    let pool = Pool::balancing(2, patient());
    pool.acquire_beside("flash", &[2]).await.unwrap().settle(rate_limited(8), Duration::ZERO);
    pool.settled().await;
    let mut waits = Vec::new();
    for _ in 0..80 {
        waits.push(pool.ask(Acquire { tried: vec![KeyId(2)], ..asked_by("choosy") }).await);
    }
    assert_eq!(told(&pool).await.waiting, 80);

    let mut served = pool.ask(asked_by("another")).await;

    assert!(matches!(look(&mut served), Some(Ok(lease)) if lease.key == KeyId(2)));
}

#[actix::test]
async fn a_full_room_sends_nobody_away_for_whom_there_is_a_key() {
    pause();
    let pool = Pool::balancing(2, Balancing { max_waiting: 3, ..patient() });
    pool.acquire_beside("flash", &[2]).await.unwrap().settle(rate_limited(8), Duration::ZERO);
    pool.settled().await;
    let mut waits = Vec::new();
    for _ in 0..3 {
        waits.push(pool.ask(Acquire { tried: vec![KeyId(2)], ..asked_by("one") }).await);
    }

    let mut served = pool.ask(asked_by("one")).await;

    assert!(matches!(look(&mut served), Some(Ok(lease)) if lease.key == KeyId(2)));
    assert_eq!(told(&pool).await.waiting, 3);
}

#[actix::test]
async fn a_request_that_has_had_a_key_waits_for_the_pause_of_the_address_too() {
    pause();
    let pool = Pool::balancing(40, Balancing { policy: PolicyKind::RoundRobin, ..patient() });
    refuse_bare(&pool, 12).await;

    let began = Instant::now();
    let lease = pool.ask(Acquire { tried: vec![KeyId(1)], ..ask_for("flash") }).await.await.unwrap();

    let waited = began.elapsed().as_secs_f32();
    assert!(lease.key != KeyId(1) && (4.9..5.5).contains(&waited), "{waited} s");
}

#[actix::test]
async fn a_large_request_that_has_had_a_key_waits_for_room_with_another() {
    pause();
    let pool = Pool::balancing(2, Balancing { max_wait: Duration::from_secs(90), ..patient() });
    let spent = QuotaExceeded { limit: Some(3000), metric: QuotaMetric::Tokens, ..quota_exceeded(1) };
    for beside in [[1], [2]] {
        pool.acquire_beside("flash", &beside).await.unwrap().settle(Outcome::Quota(spent), Duration::ZERO);
    }
    advance(Duration::from_secs(70)).await;
    pool.settled().await;
    let large = || Acquire {
        tokens: 2000,
        tried: vec![KeyId(1)],
        deadline: Instant::now() + Duration::from_secs(90),
        ..ask_for("flash")
    };
    let _running = pool.ask(large()).await.await.unwrap();

    let began = Instant::now();
    let lease = pool.ask(large()).await.await.expect("there is room in a minute");

    let waited = began.elapsed().as_secs_f32();
    assert!(lease.key == KeyId(2) && (59.0..61.5).contains(&waited), "{waited} s");
}

#[actix::test]
async fn a_request_that_has_had_every_key_does_not_wait() {
    pause();
    let pool = Pool::balancing(2, patient());
    let began = Instant::now();

    let tried = vec![KeyId(1), KeyId(2)];
    let refused = pool.ask(Acquire { tried, ..ask_for("flash") }).await.await.unwrap_err();

    assert_eq!((refused, began.elapsed()), (Unavailable::Soon, Duration::ZERO));
}

#[actix::test]
async fn what_a_settlement_gives_back_is_found_by_those_who_wait_when_they_may_have_it() {
    pause();
    let pool = Pool::balancing(1, Balancing { max_wait: Duration::from_secs(90), ..patient() });
    let spent = QuotaExceeded { limit: Some(3000), metric: QuotaMetric::Tokens, ..quota_exceeded(1) };
    pool.settle("flash", Outcome::Quota(spent)).await;
    advance(Duration::from_secs(70)).await;
    pool.settled().await;
    let deadline = Instant::now() + Duration::from_secs(90);
    let ask = |tokens| Acquire { tokens, deadline, ..ask_for("flash") };
    let mut running = pool.ask(ask(2900)).await.await.unwrap();
    let mut waits = pool.ask(ask(2000)).await;
    assert!(look(&mut waits).is_none());

    // It took a third of what was reserved for it.
    running.count(Some(crate::domain::usage::Usage { prompt_token_count: 900, ..Default::default() }));
    running.settle(Outcome::Success, Duration::ZERO);
    pool.settled().await;

    assert!(matches!(look(&mut waits), Some(Ok(_))));
}
