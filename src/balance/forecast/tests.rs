use super::*;
use crate::{
    balance::breaker::{ModelCooldown, ModelReason},
    domain::{
        outcome::{QuotaExceeded, QuotaMetric, QuotaWindow},
        quota::{Limit, LimitSource, ModelPattern},
    },
};

const MINUTE: Duration = Duration::from_secs(60);

fn model(name: &str) -> ModelName {
    ModelName::parse(name).unwrap()
}

/// Requests a minute and a day, of models that begin with `flash`.
fn limits(minute: u64, day: u64) -> Arc<LimitTable> {
    let limit = |value| Some(Limit { value, source: LimitSource::Preset });
    let limits = ModelLimits {
        requests_per_minute: limit(minute),
        tokens_per_minute: limit(10_000),
        requests_per_day: limit(day),
    };
    Arc::new(LimitTable::new([(ModelPattern::parse("flash*").unwrap(), limits)]))
}

fn routing(availability: Availability) -> Routing {
    Routing { availability, warm_at: None, cooldowns: Vec::new() }
}

/// A pool of projects with a key each.
struct Pool {
    now: Now,
    projects: Vec<(Ledger, Routing, Terms)>,
}

impl Pool {
    fn of(count: usize, limits: &Arc<LimitTable>) -> Self {
        let now = Now { instant: Instant::now(), utc: "2026-03-03T20:00:00Z".parse().unwrap() };
        let project = || (Ledger::new(limits.clone(), now), routing(Availability::Ready), Terms::default());
        Self { now, projects: (0..count).map(|_| project()).collect() }
    }

    fn send(&self, project: usize, requests: usize) {
        for _ in 0..requests {
            self.projects[project].0.reserve(&model("flash"), 100, self.now).unwrap();
        }
    }

    fn survey(&self) -> Survey {
        let keys = |(ledger, routing, terms)| (ledger, std::iter::once((routing, terms)));
        survey(self.projects.iter().map(|(ledger, routing, terms)| keys((ledger, routing, terms))), self.now)
    }

    fn forecast(&self) -> ModelForecast {
        let forecast = self.survey().forecast(&Pace::default());
        forecast.models.into_iter().find(|told| told.model == model("flash")).unwrap()
    }
}

fn left(capacity: Capacity) -> (u64, u64, u64) {
    (capacity.left, capacity.limit, capacity.unknown_projects)
}

#[test]
fn what_is_left_is_summed_over_projects_whether_they_were_asked_or_not() {
    let pool = Pool::of(5, &limits(10, 200));
    pool.send(0, 4);
    pool.send(1, 10);

    let told = pool.forecast();

    assert_eq!((told.projects, told.ready_projects), (5, 4));
    assert_eq!(left(told.minute.requests), (36, 50, 0));
    assert_eq!(left(told.minute.tokens), (9_600 + 30_000, 50_000, 0));
    assert_eq!(left(told.day.requests), (986, 1_000, 0));
    let in_a_minute = pool.now.unix_ms() + 60_000;
    assert!(told.next_recovery_at_ms.is_some_and(|at| (at - in_a_minute).abs() < 1_000), "{told:?}");
}

#[test]
fn twins_add_no_capacity() {
    let pool = Pool::of(1, &limits(10, 200));
    pool.send(0, 4);
    let (ledger, routing, terms) = &pool.projects[0];
    let twins = [(routing, terms); 3];

    let told = survey([(ledger, twins.into_iter())], pool.now).forecast(&Pace::default());

    assert_eq!((told.models[0].projects, left(told.models[0].minute.requests)), (1, (6, 10, 0)));
}

#[test]
fn keys_that_are_out_count_for_nothing_and_those_that_cool_for_the_day_alone() {
    let mut pool = Pool::of(4, &limits(10, 200));
    pool.send(3, 1);
    let soon = pool.now.instant + MINUTE * 10;
    pool.projects[0].1 = routing(Availability::Out);
    pool.projects[1].1 = routing(Availability::CoolingUntil(soon));
    let rules = ModelRules { only: vec![ModelPattern::parse("pro").unwrap()], not: Vec::new() };
    pool.projects[2].2 = Terms { models: Some(Arc::new(rules)), ..Terms::default() };

    let told = pool.forecast();

    assert_eq!((told.projects, told.ready_projects), (2, 1));
    assert_eq!(left(told.minute.requests), (9, 20, 0));
    assert_eq!(left(told.day.requests), (399, 400, 0));
    assert_eq!(told.next_recovery_at_ms, Some(pool.now.unix_ms_at(soon)));
}

#[test]
fn a_model_that_is_closed_to_a_key_is_no_capacity_before_that_ends() {
    let mut pool = Pool::of(2, &limits(10, 200));
    pool.send(1, 1);
    let until = pool.now.instant + MINUTE * 24 * 60;
    pool.projects[0].1.cooldowns =
        vec![ModelCooldown { model: model("flash"), until, reason: ModelReason::Unavailable }];

    let told = pool.forecast();

    assert_eq!((left(told.minute.requests), left(told.day.requests)), ((9, 10, 0), (199, 400, 0)));
}

#[test]
fn a_spent_day_leaves_nothing_for_the_minute_and_ends_at_midnight_in_los_angeles() {
    let pool = Pool::of(2, &limits(10, 200));
    pool.send(0, 1);
    pool.send(1, 1);
    let spent = QuotaExceeded {
        window: QuotaWindow::Day,
        metric: QuotaMetric::Requests,
        retry_after: None,
        limit: Some(200),
    };
    pool.projects[0].0.exceeded(&model("flash"), &spent, pool.now);

    let told = pool.forecast();

    assert_eq!((left(told.minute.requests), left(told.day.requests)), ((9, 10, 0), (199, 400, 0)));
    let midnight: chrono::DateTime<chrono::Utc> = "2026-03-04T08:00:00Z".parse().unwrap();
    assert_eq!(told.day.resets_at_ms, midnight.timestamp_millis());
    let recovery = told.next_recovery_at_ms.unwrap() - midnight.timestamp_millis();
    assert!((0..=2_000).contains(&recovery), "{recovery}");
}

#[test]
fn projects_of_unknown_limits_are_counted_and_make_the_end_unknown() {
    let mut pool = Pool::of(3, &limits(10, 200));
    let (now, unknown) = (pool.now, Arc::<LimitTable>::default());
    pool.projects[0].0 = Ledger::new(unknown.clone(), now);
    pool.projects[1].0 = Ledger::new(unknown, now);
    pool.send(0, 30);
    pool.send(2, 1);

    let told = pool.forecast();

    assert_eq!((left(told.minute.requests), left(told.day.requests)), ((9, 10, 2), (199, 200, 2)));
    assert_eq!((told.minute.dry_in_ms, told.day.dry_in_ms), (None, None));
}

/// What is told after a quarter of an hour in which so many requests were sent each minute.
fn at_a_pace_of(per_minute: usize, minute: u64, day: u64) -> ModelForecast {
    let mut pool = Pool::of(1, &limits(minute, day));
    let mut pace = Pace::default();
    for _ in 0..15 {
        // A ledger counts by half seconds, so what was sent a minute ago may count for one more.
        pool.now = pool.now.after(MINUTE + Duration::from_secs(1));
        pool.send(0, per_minute);
        pace.sample(&pool.survey());
    }
    pool.survey().forecast(&pace).models.remove(0)
}

#[test]
fn a_day_ends_when_the_present_rate_has_used_it_up() {
    let told = at_a_pace_of(6, 10, 150);

    assert!((told.rate.requests_per_minute - 6.0).abs() < 1e-9, "{told:?}");
    assert_eq!(left(told.day.requests), (60, 150, 0));
    assert_eq!(told.day.dry_in_ms, Some(600_000));
    assert_eq!(told.minute.dry_in_ms, None, "six a minute are below ten");
}

#[test]
fn a_day_that_lasts_until_its_reset_never_ends() {
    assert_eq!(at_a_pace_of(1, 10, 10_000).day.dry_in_ms, None);
}

#[test]
fn a_minute_ends_when_more_is_asked_for_than_it_takes() {
    let pool = Pool::of(1, &limits(10, 200));
    pool.send(0, 5);
    let capacity = pool.forecast().minute.requests;

    let dry_in = capacity.minute_dry_in(25.0, 5).unwrap();

    assert_eq!(
        dry_in,
        Duration::from_secs(15),
        "five are left, and twenty more a minute are sent than fall back"
    );
    assert_eq!(capacity.minute_dry_in(10.0, 5), None);
}

#[test]
fn what_asks_no_model_for_an_answer_is_not_told() {
    let mut pool = Pool::of(1, &limits(10, 100));
    pool.send(0, 1);
    for no_model in [ModelName::none(), model("flash").counting()] {
        pool.projects[0].0.reserve(&no_model, 1, pool.now).unwrap();
        let until = pool.now.instant + MINUTE;
        let cooldown = ModelCooldown { model: no_model, until, reason: ModelReason::Unavailable };
        pool.projects[0].1.cooldowns.push(cooldown);
    }

    let told = pool.survey().forecast(&Pace::default());

    assert_eq!(told.models.into_iter().map(|one| one.model).collect::<Vec<_>>(), [model("flash")]);
    assert!(pool.projects[0].0.rows(pool.now).iter().all(|row| row.model == model("flash")));
}

#[test]
fn of_many_models_the_most_used_are_told() {
    let pool = Pool::of(3, &limits(1_000, 100_000));
    let ledger = &pool.projects[0].0;
    for n in 0..3 * MODELS {
        let ledger = &pool.projects[n % 3].0;
        ledger.reserve(&model(&format!("flash-{n}")), 1, pool.now).unwrap();
    }
    for _ in 0..2 {
        ledger.reserve(&model("flash-busy"), 1, pool.now).unwrap();
    }

    let told = pool.survey().forecast(&Pace::default());

    assert_eq!((told.models.len(), &told.models[0].model), (MODELS, &model("flash-busy")));
}

#[test]
fn a_great_pool_whose_keys_cool_each_until_its_own_time_is_still_walked_over_once() {
    let mut pool = Pool::of(20_000, &limits(10, 200));
    pool.send(0, 1);
    for (n, (_, routing, _)) in pool.projects.iter_mut().enumerate().skip(1) {
        routing.availability =
            Availability::CoolingUntil(pool.now.instant + Duration::from_millis(n as u64 * 1_000));
    }

    let survey = pool.survey();
    assert!(survey.plain.len() <= 3, "they are summed up by what they are alike in: {}", survey.plain.len());
    let told = survey.forecast(&Pace::default()).models.remove(0);

    assert_eq!((told.projects, told.ready_projects), (20_000, 1));
    assert_eq!(told.next_recovery_at_ms, Some(pool.now.unix_ms() + 1_000));
    assert_eq!(told.minute.requests.left, 9);
}
