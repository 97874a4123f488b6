//! The command line: what can be started, and how a start that fails explains itself.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where the gateway talks to a terminal"
)]

mod demo;
mod explain;
mod healthcheck;
mod serve;
mod settings;
mod tokens;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    config::{Config, Loaded, Sources},
    telemetry::{self, LevelSwitch},
};

/// Exit status of a start with a wrong configuration, or one that its surroundings do not allow.
pub(crate) const MISCONFIGURED: u8 = 2;

/// One endpoint in front of many Gemini API keys, for clients that speak OpenAI, Anthropic or Gemini.
///
/// Configured by environment variables, `.env` and `config/local.toml`; see config/default.toml for all of them.
#[derive(Debug, Parser)]
#[command(name = "gemini-balance", version, about, long_about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until a signal comes (the default).
    Serve,
    /// Serve over a built-in simulated Gemini: everything can be tried without a key or a network.
    Demo(demo::Options),
    /// Tell why a request went as it did: which keys were tried, why these, and what each answered.
    Explain(explain::Options),
    /// Make, list and revoke client tokens. A gateway that runs takes changes in within seconds.
    #[command(subcommand)]
    Tokens(tokens::Action),
    /// Print every setting with its value and where that comes from; secrets are masked. Or export and import all of it.
    Settings {
        #[command(subcommand)]
        action: Option<settings::Action>,
    },
    /// Ask the gateway on this machine whether it is alive; status 0 if so. For containers.
    Healthcheck,
}

/// Runs what the arguments of this process ask for.
pub fn run() -> ExitCode {
    match Arguments::parse().command.unwrap_or(Command::Serve) {
        Command::Serve => with_config(serve::run),
        Command::Demo(options) => demo::run(&options),
        Command::Explain(options) => with_config(|loaded, _| explain::run(&options, &loaded.config)),
        Command::Tokens(action) => with_config(|loaded, _| tokens::run(&action, &loaded.config)),
        Command::Settings { action } => with_config(|loaded, _| settings::run(action, loaded)),
        Command::Healthcheck => with_config(|loaded, _| healthcheck::run(loaded)),
    }
}

/// Reads the configuration and starts logging, or says everything that is wrong with it.
fn with_config(run: impl FnOnce(Loaded, LevelSwitch) -> ExitCode) -> ExitCode {
    match Config::load(&Sources::of_process()) {
        Ok(loaded) => {
            let log_level = telemetry::init(&loaded.config.logs);
            for notice in &loaded.notices {
                tracing::warn!("{notice}");
            }
            run(loaded, log_level)
        }
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::from(MISCONFIGURED)
        }
    }
}
