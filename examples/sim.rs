//! Runs the simulated Gemini alone, for benchmarks and for trying clients against it.
//!
//! Prints `ready {"sim": "http://…"}` and serves until it is ended. `_sim/state` shows what happens.

use std::{future, io};

use clap::{Parser, ValueEnum};
use gemini_balance::sim::{self, Plan};

#[derive(Parser)]
struct Arguments {
    /// 0 takes a free port.
    #[arg(long, default_value_t = 0)]
    port: u16,
    #[arg(long, default_value_t = 1)]
    workers: usize,
    #[arg(long, value_enum, default_value_t = Kind::Open)]
    plan: Kind,
    /// How many received requests to keep for `_sim/requests`.
    #[arg(long, default_value_t = 0)]
    record_last: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Every key is served at full speed.
    Open,
    /// The demo's keys, limits, faults and weather.
    Demo,
    /// The demo's keys, all healthy.
    Healthy,
}

#[actix_web::main]
async fn main() -> io::Result<()> {
    let Arguments { port, workers, plan, record_last } = Arguments::parse();
    let plan = match plan {
        Kind::Open => Plan::open(),
        Kind::Demo => Plan::demo(),
        Kind::Healthy => Plan::demo_healthy(),
    };
    let sim = sim::start(Plan { port, workers, record_last, ..plan }).await?;
    println!("ready {{\"sim\": \"{}\"}}", sim.base_url);
    future::pending().await
}
