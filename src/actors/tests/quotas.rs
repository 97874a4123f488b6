//! The quota simulator: two hours of more demand than the quotas allow, in virtual time.
//!
//! Google's side is `sim::QuotaBook`, judged by `upstream::classify`; the gateway's side are its own actors, with one
//! balancer for each of two workers. Traffic and choices follow from seeds. The table is printed with `--nocapture`.

use super::*;
use crate::{
    domain::{placement::Tier, time::stage::set_wall_clock},
    sim::Minutes,
};

mod google;
mod pools;
mod run;
mod traffic;

use google::Google;
use pools::{CountToThree, Gateway, placed, presets};
use run::{Line, drive};
use traffic::{HOUR, Offer, demand, free_tier};

const PROJECTS: usize = 20;
const TWINS: usize = 3;
const LOAD: f64 = 1.5;

fn projects_named(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number}")).collect()
}

/// An hour before midnight in Los Angeles to an hour after: both minutes and days run out, and begin anew.
struct Stage {
    offers: Vec<Offer>,
    capacities: Vec<f64>,
    projects: Vec<String>,
    google: Google,
    span: Duration,
}

impl Stage {
    fn set(minutes: Minutes) -> Self {
        pause();
        set_wall_clock("2026-01-15T07:00:00Z".parse().unwrap());
        let (offers, projects, span) = (free_tier(), projects_named("free", PROJECTS), 2 * HOUR);
        let capacities = offers.iter().map(|offer| offer.capacity(&[60, 60]) * PROJECTS as f64).collect();
        let begin = Instant::now();
        let google = Google::new(minutes, &offers, &projects, begin + Duration::from_secs(60), begin + span);
        Self { offers, capacities, projects, google, span }
    }

    async fn run(&self, name: &str, pool: &impl pools::Serve) -> Line {
        let requests = demand(&self.offers, &self.capacities, LOAD, self.span, 7);
        let tally = drive(pool, &self.google, &self.offers, requests).await;
        let line = Line::new(name, &self.offers, &self.capacities, &self.google.seen(), &tally);
        println!("{}\n{line}", Line::HEAD);
        line
    }

    /// The gateway, starting with so many times the true limits.
    async fn run_gateway(&self, name: &str, factor: Option<f64>) -> Line {
        let keys = placed(&self.projects, TWINS, Tier::Free);
        let gateway = Gateway::start(&keys, presets(&self.offers, factor), 3);
        self.run(name, &gateway).await
    }
}

#[actix::test]
async fn known_fixed() {
    Stage::set(Minutes::Fixed).run_gateway("limits known, minutes of the clock", Some(1.0)).await;
}

#[actix::test]
async fn known_sliding() {
    Stage::set(Minutes::Sliding).run_gateway("limits known, sliding minutes", Some(1.0)).await;
}

#[actix::test]
async fn unknown_fixed() {
    Stage::set(Minutes::Fixed).run_gateway("limits unknown, minutes of the clock", None).await;
}

#[actix::test]
async fn double_fixed() {
    Stage::set(Minutes::Fixed).run_gateway("limits twice too high, minutes of the clock", Some(2.0)).await;
}

#[actix::test]
async fn half_fixed() {
    Stage::set(Minutes::Fixed).run_gateway("limits half, minutes of the clock", Some(0.5)).await;
}

#[actix::test]
async fn turns_and_a_count_of_three() {
    let stage = Stage::set(Minutes::Fixed);
    let pool = CountToThree::start(&stage.projects, TWINS);
    stage.run("in turn, out after three failures", &pool).await;
}
