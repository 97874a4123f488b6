//! Actors that die as by a bug, and are back.

use super::{waiting::patient, *};
use crate::actors::supervisor::RemoveKeys;

#[actix::test]
async fn a_key_that_panics_is_back_with_its_cooldown_and_no_lease_is_lost() {
    pause();
    let pool = Pool::of(2);
    pool.settle("flash", rate_limited(300)).await;
    let running = pool.acquire("pro").await.unwrap();
    let before = [cooldowns(&pool, 1).await, cooldowns(&pool, 2).await];

    pool.crash(1).await;
    pool.crash(2).await;
    advance(Duration::from_secs(1)).await;
    pool.settled().await;

    for (key, before) in [(1, &before[0]), (2, &before[1])] {
        let after = cooldowns(&pool, key).await;
        assert_eq!(after.len(), before.len());
        for (after, before) in after.iter().zip(before) {
            assert_eq!((&after.model, after.reason), (&before.model, before.reason));
            // Two clocks are read for it.
            assert!((after.until_ms - before.until_ms).abs() < 100, "{after:?} {before:?}");
        }
    }
    let snapshot = pool.pool().await;
    assert_eq!((snapshot.respawned_after_panic, snapshot.in_flight), (2, 1));
    drop(running);
    assert_eq!(pool.pool().await.in_flight, 0);
}

#[actix::test]
async fn what_a_dead_actor_was_to_be_told_is_told_to_its_successor() {
    pause();
    let pool = Pool::of(1);
    let lease = pool.acquire("flash").await.unwrap();
    pool.crash(1).await;

    lease.settle(Outcome::KeyInvalid(KeyFault::Leaked), Duration::ZERO);
    advance(Duration::from_secs(1)).await;
    pool.settled().await;

    assert_eq!(pool.key(1).await.health.state, StateSnapshot::Invalid { reason: KeyFault::Leaked });
}

#[actix::test]
async fn a_key_that_keeps_dying_backs_off() {
    pause();
    let pool = Pool::of(1);
    for _ in 0..5 {
        pool.crash(1).await;
        advance(Duration::from_secs(31)).await;
        pool.settled().await;
    }

    // 50 ms, 100, 200, 400, 800: each death within a minute of the last start doubles the wait.
    pool.crash(1).await;
    advance(Duration::from_millis(1500)).await;
    pool.settled().await;
    assert_eq!(pool.pool().await.respawned_after_panic, 6);
    let actor = pool.supervisor.send(FindKey(KeyId(1))).await.unwrap().unwrap();
    assert!(actor.send(Observe::<KeySnapshot>::new()).await.is_err(), "not back yet");
    advance(Duration::from_secs(2)).await;
    pool.settled().await;
    pool.key(1).await;
}

impl Handler<Crash> for Balancer {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("drill: the balancer was told to crash");
    }
}

impl Pool {
    async fn crash_balancer(&self) {
        assert!(self.balancer.actor().send(Crash).await.is_err(), "nobody answers from the grave");
    }
}

#[actix::test]
async fn a_balancer_that_panics_loses_nobody_and_hears_what_it_missed() {
    pause();
    let pool = Pool::balancing(3, patient());
    for _ in 0..3 {
        pool.settle("flash", rate_limited(8)).await;
    }
    let waits = pool.ask(ask_for("flash")).await;

    pool.crash_balancer().await;
    assert_eq!(pool.acquire("pro").await.unwrap().key, KeyId(1), "requests go on");
    pool.supervisor.send(RemoveKeys(vec![KeyId(1)])).await.unwrap();

    assert!(waits.await.is_ok(), "who waited is served when there is quota again");
    pool.settled().await;
    let told = pool.supervisor.send(Observe::<Option<BalancerSnapshot>>::new()).await.unwrap().unwrap();
    assert_eq!((told.keys, told.respawned, told.waiting), (2, 1, 0));
    for _ in 0..4 {
        assert_ne!(pool.acquire("pro").await.unwrap().key, KeyId(1), "it was removed meanwhile");
    }
}
