//! The quota simulator: two hours of more demand than the quotas allow, in virtual time.
//!
//! Google's side is `sim::QuotaBook`, judged by `upstream::classify`; the gateway's side are its own actors, with one
//! balancer for all. Traffic and choices follow from seeds. The table is printed with `--nocapture`.

use super::*;
use crate::{
    domain::{placement::Tier, time::stage::set_wall_clock},
    sim::Minutes,
};

mod google;
mod pools;
mod run;
mod traffic;

use google::{Google, Seen};
use pools::{CountToThree, Gateway, Serve, placed, presets};
use run::{Line, Tally, drive};
use traffic::{HOUR, MINUTE, Offer, Request, demand, free_tier};

const PROJECTS: usize = 20;
const TWINS: usize = 3;
const LOAD: f64 = 1.5;
const MAX_WAIT: Duration = Duration::from_secs(10);

fn projects_named(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number}")).collect()
}

/// What runs are compared on.
struct Stage {
    offers: Vec<Offer>,
    projects: Vec<String>,
    google: Google,
}

impl Stage {
    /// It is that time, and nobody has asked for anything yet.
    fn set(time: &str, minutes: Minutes, offers: Vec<Offer>, projects: usize, span: Duration) -> Self {
        set_wall_clock(time.parse().unwrap());
        let (projects, begin) = (projects_named("free", projects), Instant::now());
        let google = Google::new(minutes, &offers, &projects, begin + MINUTE, begin + span);
        Self { offers, projects, google }
    }

    /// The gateway, starting with so many times the true limits.
    fn gateway(&self, factor: Option<f64>) -> Gateway {
        Gateway::start(&placed(&self.projects, TWINS, Tier::Free), presets(&self.offers, factor), MAX_WAIT, 3)
    }

    /// Requests for the only model, so many a minute.
    fn steady(&self, a_minute: f64, span: Duration, seed: u64) -> Vec<Request> {
        demand(&self.offers, &[a_minute * span.as_secs_f64() / 60.0], 1.0, span, seed)
    }

    async fn drive(&self, pool: &impl Serve, requests: Vec<Request>) -> Tally {
        drive(pool, &self.google, &self.offers, requests).await
    }

    /// Of the only model.
    fn seen(&self) -> Seen {
        self.google.seen()[0]
    }
}

/// One line of the table: from an hour before midnight in Los Angeles to an hour after, so that minutes and days run out
/// and begin anew.
async fn two_hours(name: &str, minutes: Minutes, start: Start) -> Line {
    pause();
    let span = 2 * HOUR;
    let stage = Stage::set("2026-01-15T07:00:00Z", minutes, free_tier(), PROJECTS, span);
    let capacity = |offer: &Offer| offer.capacity(&[60, 60]) * PROJECTS as f64;
    let capacities: Vec<_> = stage.offers.iter().map(capacity).collect();
    let requests = demand(&stage.offers, &capacities, LOAD, span, 7);
    let tally = match start {
        Start::Gateway(factor) => stage.drive(&stage.gateway(factor), requests).await,
        Start::CountToThree => stage.drive(&CountToThree::start(&stage.projects, TWINS), requests).await,
    };
    Line::new(name, &stage.offers, &capacities, &stage.google.seen(), &tally)
}

/// What serves, and what it believes of the limits at first, as a multiple of the truth.
#[derive(Debug, Clone, Copy)]
enum Start {
    Gateway(Option<f64>),
    CountToThree,
}

#[test]
#[ignore = "two hours of traffic take minutes of CPU: make test-simulation"]
fn demand_of_half_as_much_again_gets_all_that_the_quotas_allow() {
    use Minutes::{Fixed, Sliding};
    let runs = [
        ("limits unknown, minutes of the clock", Fixed, Start::Gateway(None)),
        ("limits unknown, sliding minutes", Sliding, Start::Gateway(None)),
        ("limits known, sliding minutes", Sliding, Start::Gateway(Some(1.0))),
        ("twice too high, sliding minutes", Sliding, Start::Gateway(Some(2.0))),
        ("half too low, minutes of the clock", Fixed, Start::Gateway(Some(0.5))),
        ("half too low, sliding minutes", Sliding, Start::Gateway(Some(0.5))),
        ("in turn, out after three failures", Fixed, Start::CountToThree),
    ];
    let run = |(name, minutes, start)| actix_rt::System::new().block_on(two_hours(name, minutes, start));
    let lines: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = runs.iter().map(|each| scope.spawn(move || run(*each))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    println!("{}", Line::HEAD);
    lines.iter().for_each(|line| println!("{line}"));

    let (gateway, in_turn) = lines.split_at(lines.len() - 1);
    for line in gateway {
        assert!(line.goodput >= 0.97, "{line}");
        assert!(line.refused_later <= 0.01, "{line}");
        // What is found while limits are still learnt; it differs from run to run.
        assert!(line.avoidable < 0.002, "{line}");
    }
    assert!(in_turn[0].refused_later > 0.1 && in_turn[0].avoidable > 0.1, "{}", in_turn[0]);
}

#[actix::test]
async fn days_of_23_and_of_25_hours_are_used_whole() {
    pause();
    for midnight in ["2026-03-07T08:00:00Z", "2026-10-31T07:00:00Z"] {
        let span = 71 * HOUR;
        let offers = vec![Offer::new("flash", [10, 250_000, 20], 1000)];
        let stage = Stage::set(midnight, Minutes::Fixed, offers, 1, span);

        stage.drive(&stage.gateway(None), stage.steady(0.1, span, 5)).await;

        let Seen { served, refused, .. } = stage.seen();
        assert_eq!(served, 3 * 20, "{midnight}");
        assert!(refused <= 2, "{midnight}: {refused} refusals");
    }
}

#[actix::test]
async fn a_restart_is_followed_by_no_burst_of_refusals() {
    pause();
    let offers = vec![Offer::new("flash-lite", [15, 250_000, 1000], 1000)];
    let stage = Stage::set("2026-01-15T20:00:20Z", Minutes::Fixed, offers, 5, HOUR);
    let gateway = stage.gateway(None);
    stage.drive(&gateway, stage.steady(110.0, 5 * MINUTE, 1)).await;
    assert!(stage.seen().refused > 0, "limits are learnt from refusals");

    stage.google.expect_learnt();
    let gateway = gateway.restart(presets(&stage.offers, None), MAX_WAIT, 4).await;
    stage.drive(&gateway, stage.steady(110.0, 5 * MINUTE, 2)).await;
    assert_eq!(stage.seen().refused, 0);

    // A gateway that knows nothing asks in vain.
    stage.google.expect_learnt();
    stage.drive(&stage.gateway(None), stage.steady(110.0, 5 * MINUTE, 3)).await;
    assert!(stage.seen().refused > 0);
}

#[actix::test]
async fn three_twins_get_no_more_than_one_key() {
    pause();
    let offers = vec![Offer::new("flash", [10, 250_000, 1000], 1000)];
    let stage = Stage::set("2026-01-15T20:00:00Z", Minutes::Sliding, offers, 1, 10 * MINUTE);

    stage.drive(&stage.gateway(Some(1.0)), stage.steady(40.0, 10 * MINUTE, 1)).await;

    let Seen { served, refused, .. } = stage.seen();
    assert!((97..=100).contains(&served), "{served} served");
    assert!(refused <= 3, "{refused} refused");
}

#[actix::test]
async fn keys_that_are_paid_for_get_what_the_free_ones_cannot_serve() {
    let offers = vec![Offer::new("flash", [10, 250_000, 1000], 1000)];
    pause();
    for (a_minute, paid_share) in [(15.0, 0.0..0.05), (40.0, 0.45..0.55)] {
        let stage = Stage::set("2026-01-15T20:00:00Z", Minutes::Fixed, offers.clone(), 2, HOUR);
        stage.google.open_paid("paid", &stage.offers[0], 1000);
        let mut keys = placed(&stage.projects, TWINS, Tier::Free);
        keys.extend(placed(&["paid".to_owned()], TWINS, Tier::Tier1));
        let gateway = Gateway::start(&keys, presets(&stage.offers, None), MAX_WAIT, 1);

        let tally = stage.drive(&gateway, stage.steady(a_minute, 20 * MINUTE, 1)).await;

        let paid = tally.by_project.get("paid").copied().unwrap_or(0) as f64 / tally.waits.len() as f64;
        assert!(paid_share.contains(&paid), "{paid} of {a_minute} a minute");
        assert!(tally.refused.is_empty(), "{:?}", tally.refused);
    }
}

#[actix::test]
async fn a_modest_client_is_served_beside_a_greedy_one() {
    pause();
    let offers = vec![Offer::new("flash", [10, 250_000, 1000], 1000)];
    let stage = Stage::set("2026-01-15T20:00:00Z", Minutes::Fixed, offers, 3, HOUR);
    let [greedy, modest] = ["greedy", "modest"].map(TokenId::new);
    let all_from = |client: &TokenId, requests: Vec<Request>| {
        requests.into_iter().map(|request| Request { client: client.clone(), ..request }).collect::<Vec<_>>()
    };
    let mut requests = all_from(&greedy, stage.steady(90.0, 20 * MINUTE, 1));
    requests.extend(all_from(&modest, stage.steady(6.0, 20 * MINUTE, 2)));
    requests.sort_by_key(|request| request.at);

    // Long enough for the next minute.
    let keys = placed(&stage.projects, TWINS, Tier::Free);
    let gateway = Gateway::start(&keys, presets(&stage.offers, Some(1.0)), MINUTE, 3);
    let tally = stage.drive(&gateway, requests).await;

    let share = |client| {
        tally.served[client] as f64 / (tally.served[client] + tally.refused.get(client).unwrap_or(&0)) as f64
    };
    // The two take turns in the waiting room, however many requests each has there.
    let [greedy, modest] = [share(&greedy), share(&modest)];
    assert!(modest > 0.66 && modest > 2.0 * greedy, "{modest} of the modest one, {greedy} of the greedy one");
}
