//! What the supervisor makes of all that it is told: forecasts, and keys that seem to share a project.

use super::*;
use crate::{
    actors::supervisor::{Attention, AttentionItem, LimitProjects, PlaceKeys},
    balance::{forecast::Forecast, projects::Evidence},
    domain::{
        key::KeyAbout,
        placement::{KeyPlacement, ProjectName, Tier},
        quota::{Limit, LimitSource, LimitTable, ModelLimits, ModelPattern, TierLimits},
    },
};

impl Pool {
    async fn forecast(&self) -> Arc<Forecast> {
        self.supervisor.send(Observe::<Arc<Forecast>>::new()).await.unwrap()
    }

    async fn attention(&self) -> Vec<AttentionItem> {
        self.supervisor.send(Observe::<Attention>::new()).await.unwrap().items
    }
}

/// The minute is spent, of which Google allows a hundred.
fn spent() -> Outcome {
    let exceeded = QuotaExceeded { limit: Some(100), metric: QuotaMetric::Requests, ..quota_exceeded(30) };
    Outcome::Quota(exceeded)
}

#[actix::test]
async fn keys_that_run_dry_together_long_before_their_limit_are_proposed() {
    pause();
    let pool = Pool::of(3);
    for _ in 0..3 {
        for id in 1..=3 {
            let lease = pool
                .acquire_beside("flash", &[1, 2, 3].map(|other| if other == id { 9 } else { other }))
                .await;
            // The first two are refused after one request each; the third does well.
            let outcome = if id < 3 { spent() } else { Outcome::Success };
            lease.unwrap().settle(outcome, Duration::from_millis(5));
        }
        pool.settled().await;
        advance(Duration::from_secs(120)).await;
        pool.settled().await;
    }
    advance(Duration::from_secs(60)).await;
    pool.settled().await;

    let [AttentionItem::SharedProject { evidence, keys, message }] = &pool.attention().await[..] else {
        panic!("{:?}", pool.attention().await)
    };
    assert_eq!(*evidence, Evidence::Together);
    assert_eq!(keys.iter().map(|label| label.id.0).collect::<Vec<_>>(), [1, 2]);
    assert!(message.starts_with("keys 1 and 2 look like one project"), "{message}");
    assert_eq!(pool.pool().await.projects_proposed, 1);
}

#[actix::test]
async fn a_forecast_is_made_at_most_once_a_second() {
    pause();
    let pool = Pool::of(2);
    pool.settle("flash", Outcome::Success).await;
    let first = pool.forecast().await;
    assert_eq!((first.models[0].projects, first.models[0].rate.requests_per_minute), (2, 1.0));

    pool.settle("flash", Outcome::Success).await;
    assert!(Arc::ptr_eq(&first, &pool.forecast().await), "it is good for a second");
    advance(Duration::from_secs(1)).await;

    let second = pool.forecast().await;
    assert_eq!(second.models[0].rate.requests_per_minute, 2.0);
}

#[actix::test]
async fn the_rate_is_that_of_the_last_ten_minutes() {
    pause();
    let pool = Pool::of(1);
    for _ in 0..4 {
        pool.settle("flash", Outcome::Success).await;
    }
    // A timer may be a millisecond late.
    let minute = Duration::from_millis(60_010);
    for _ in 0..7 {
        advance(minute).await;
        pool.settled().await;
    }

    // Seven samples and the running minute; the first of them saw all four.
    let rate = async || pool.forecast().await.models[0].rate.requests_per_minute;
    assert_eq!(rate().await, 0.5);
    for _ in 0..4 {
        advance(minute).await;
        pool.settled().await;
    }
    assert_eq!(rate().await, 0.0, "that was more than ten minutes ago");
}

#[actix::test]
async fn a_project_whose_keys_move_to_another_tier_may_do_what_that_one_may() {
    pause();
    let project = |tier| KeyPlacement {
        project: ProjectName::parse("alpha"),
        tier: Some(tier),
        ..KeyPlacement::default()
    };
    let key = |n: i64| PlacedKey {
        placement: project(Tier::Free),
        ..ApiKey::parse(&format!("key-{n}")).unwrap().into()
    };
    let pool = Pool::placed(&[1, 2, 3].map(key), waiting::patient());
    let limits = TierLimits::new(|tier| {
        let value = if tier == Tier::Free { 10 } else { 1000 };
        let limit = Some(Limit { value, source: LimitSource::Preset });
        let row = ModelLimits { requests_per_minute: limit, ..ModelLimits::default() };
        Arc::new(LimitTable::new([(ModelPattern::parse("*").unwrap(), row)]))
    });
    pool.supervisor.send(LimitProjects { limits, default_tier: Tier::Free }).await.unwrap();
    let allowed = async || {
        let lease = pool.acquire("flash").await.unwrap();
        lease.ledger.limits().find("flash").requests_per_minute.unwrap().value
    };
    assert_eq!(allowed().await, 10);

    for n in 1..=3 {
        let placed = (KeyId(n), project(Tier::Tier1), KeyAbout::default());
        pool.supervisor.send(PlaceKeys(vec![placed])).await.unwrap();
    }
    pool.settled().await;

    assert_eq!(allowed().await, 1000);
}
