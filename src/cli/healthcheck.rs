//! `healthcheck`: for containers, which have no curl.

use std::{net::Ipv4Addr, process::ExitCode, time::Duration};

use super::settings;
use crate::config::Loaded;

const PATIENCE: Duration = Duration::from_secs(5);

pub fn run(loaded: Loaded) -> ExitCode {
    // Host and port may have been set in the dashboard.
    let config = loaded.config.clone();
    let config = settings::beside(loaded).map_or_else(|_| config.into(), |settings| settings.config());
    let server = &config.server;
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

/// The host as it stands in a URL; a server that listens everywhere is asked on this machine.
fn reachable(host: &str) -> String {
    match host {
        "0.0.0.0" => Ipv4Addr::LOCALHOST.to_string(),
        "::" => "[::1]".to_owned(),
        address if address.contains(':') => format!("[{address}]"),
        host => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_that_can_be_listened_on_can_be_asked() {
        let cases = [
            ("0.0.0.0", "127.0.0.1"),
            ("::", "[::1]"),
            ("fd00::7", "[fd00::7]"),
            ("10.0.0.7", "10.0.0.7"),
            ("localhost", "localhost"),
        ];
        for (host, asked) in cases {
            assert_eq!(reachable(host), asked);
        }
    }
}
