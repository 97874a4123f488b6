//! `serve`: the gateway until a signal comes.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

use super::MISCONFIGURED;
use crate::{
    app::{self, Running},
    config::Loaded,
    telemetry::LevelSwitch,
};

pub fn run(loaded: Loaded, log_level: LevelSwitch) -> ExitCode {
    actix_web::rt::System::new().block_on(async {
        match app::start(loaded, log_level).await {
            Ok(running) => {
                info!("listening on http://{}", running.address);
                until_a_signal(running).await
            }
            Err(error) => {
                error!("{error}");
                ExitCode::from(MISCONFIGURED)
            }
        }
    })
}

/// The first signal lets running answers finish, the second ends at once.
pub async fn until_a_signal(mut running: Running) -> ExitCode {
    tokio::select! {
        name = next_signal() => info!("{name}: no new requests are taken, running answers may finish"),
        ended = running.failed() => {
            error!(error = ?ended, "the server has ended by itself");
            return ExitCode::FAILURE;
        }
    }
    tokio::select! {
        () = running.stop() => {
            info!("stopped");
            ExitCode::SUCCESS
        }
        name = next_signal() => {
            info!("{name} again: ending at once");
            std::process::exit(1)
        }
    }
}

async fn next_signal() -> &'static str {
    let handlers = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = handlers else {
        // Without handlers the signals end the process by themselves.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
