//! `healthcheck`: for containers, which have no curl.

use std::{net::Ipv4Addr, process::ExitCode, time::Duration};

use crate::config::Server;

const PATIENCE: Duration = Duration::from_secs(5);

pub fn run(server: &Server) -> ExitCode {
    let url = format!("http://{}:{}/health", reachable(&server.host), server.port);
    let status = actix_web::rt::System::new().block_on(async {
        let answer = awc::Client::builder().timeout(PATIENCE).finish().get(&url).send().await;
        answer.map(|answer| answer.status())
    });
    match status {
        Ok(status) if status.is_success() => ExitCode::SUCCESS,
        Ok(status) => {
            eprintln!("{url} answered {status}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{url} did not answer: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A server that listens everywhere is asked on this machine.
fn reachable(host: &str) -> String {
    match host {
        "0.0.0.0" => Ipv4Addr::LOCALHOST.to_string(),
        "::" | "[::]" => "[::1]".to_owned(),
        host => host.to_owned(),
    }
}
