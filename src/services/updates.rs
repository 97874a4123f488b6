//! Looks for a newer release, where the operator wants it.

use std::{collections::HashSet, rc::Rc, sync::Arc, time::Duration};

use actix::prelude::*;
use semver::Version;
use serde::{Deserialize, Serialize};
use tracing::{debug, info};
use url::Url;

use super::SettingsChanged;
use crate::{
    actors::Observe,
    config::Updates as Wanted,
    domain::time::Now,
    media::{FetchError, Fetcher, Limits},
};

/// A page of GitHub's releases with long notes has some hundred kilobytes.
const MAX_BYTES: usize = 2_000_000;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Snapshot: what is known of releases.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UpdateSnapshot {
    /// Whether somebody looks.
    pub enabled: bool,
    /// The newest release.
    pub latest: Option<String>,
    /// It is newer than this process.
    pub is_newer: bool,
    pub checked_at_ms: Option<i64>,
    /// Why the last look found nothing.
    pub error: Option<String>,
}

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("what was there tells of no release")]
    Unreadable,
}

/// One of GitHub's releases, as far as it matters. Source: docs.github.com, REST API, releases.
#[derive(Deserialize)]
struct Release {
    tag_name: String,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    prerelease: bool,
}

/// The latest, or a page of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Releases {
    One(Release),
    Many(Vec<Release>),
}

pub struct Updates {
    running: Version,
    wanted: Wanted,
    seen: UpdateSnapshot,
}

impl Updates {
    pub fn new(wanted: Wanted) -> Self {
        let running = Version::parse(env!("CARGO_PKG_VERSION")).expect("Cargo has looked at it");
        let seen = UpdateSnapshot { enabled: wanted.url.is_some(), ..UpdateSnapshot::default() };
        Self { running, wanted, seen }
    }

    fn found(&mut self, url: &Url, found: Result<Version, LookError>) {
        // It was told to look elsewhere meanwhile, or not at all.
        if self.wanted.url.as_ref() != Some(url) {
            return;
        }
        self.seen.checked_at_ms = Some(Now::read().unix_ms());
        match found {
            Ok(latest) => {
                self.seen.is_newer = is_newer(&latest, &self.running);
                self.seen.error = None;
                if self.seen.latest.replace(latest.to_string()) != self.seen.latest && self.seen.is_newer {
                    info!(version = %latest, "version {latest} of the gateway is out");
                }
            }
            Err(problem) => {
                debug!(error = %problem, "no release could be looked up");
                self.seen.error = Some(problem.to_string());
            }
        }
    }
}

async fn look(url: &Url) -> Result<Version, LookError> {
    // Where the operator has releases is the operator's own matter; where that leads is not.
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
    let private_hosts = Arc::new(HashSet::from([host]));
    let fetcher: Rc<Fetcher> = Fetcher::new(Limits { max_bytes: MAX_BYTES, timeout: TIMEOUT, private_hosts });
    let fetched = fetcher.fetch(url.as_str(), MAX_BYTES).await?;
    newest(&fetched.bytes).ok_or(LookError::Unreadable)
}

/// The newest release of a body that is meant for everybody.
fn newest(body: &[u8]) -> Option<Version> {
    let releases = match serde_json::from_slice(body).ok()? {
        Releases::One(release) => vec![release],
        Releases::Many(releases) => releases,
    };
    let finished = releases.iter().filter(|release| !release.draft && !release.prerelease);
    finished.filter_map(|release| read_version(&release.tag_name)).max()
}

/// `v1.2.3`, with or without the letter.
fn read_version(tag: &str) -> Option<Version> {
    let version = Version::parse(tag.trim().trim_start_matches(['v', 'V'])).ok()?;
    version.pre.is_empty().then_some(version)
}

/// Builds of one version are the same version. Source: semver.org, item 10.
fn is_newer(latest: &Version, running: &Version) -> bool {
    latest.cmp_precedence(running).is_gt()
}

impl Actor for Updates {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.notify(LookForUpdate);
    }
}

/// Command: look now, if somebody wants it. Answered when that is done.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct LookForUpdate;

impl Handler<LookForUpdate> for Updates {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: LookForUpdate, _: &mut Context<Self>) -> Self::Result {
        let Some(url) = self.wanted.url.clone() else { return Box::pin(fut::ready(())) };
        let looking = async move {
            let found = look(&url).await;
            (url, found)
        };
        Box::pin(looking.into_actor(self).map(|(url, found), updates, _| updates.found(&url, found)))
    }
}

impl Handler<SettingsChanged> for Updates {
    type Result = ();

    fn handle(&mut self, changed: SettingsChanged, ctx: &mut Context<Self>) {
        if self.wanted != changed.config.updates {
            *self = Self::new(changed.config.updates.clone());
            ctx.notify(LookForUpdate);
        }
    }
}

impl Handler<Observe<UpdateSnapshot>> for Updates {
    type Result = MessageResult<Observe<UpdateSnapshot>>;

    fn handle(&mut self, _: Observe<UpdateSnapshot>, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.seen.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_versions() {
        for (latest, running, newer) in [
            ("v0.10.0", "0.9.9", true),
            ("0.9.9", "0.10.0", false),
            ("1.0.0", "1.0.0-rc.1", true),
            ("V1.0.0+build.7", "1.0.0", false),
            ("1.0.0", "1.0.0", false),
        ] {
            let (latest, running) = (read_version(latest).unwrap(), Version::parse(running).unwrap());
            assert_eq!(is_newer(&latest, &running), newer, "{latest} {running}");
        }
    }

    #[test]
    fn of_a_page_of_releases_the_newest_that_is_finished_counts() {
        let page = br#"[{"tag_name":"v2.0.0-rc.1","prerelease":true},{"tag_name":"v1.9.0","draft":false},
            {"tag_name":"v1.10.0"},{"tag_name":"v3.0.0","draft":true},{"tag_name":"nightly"},{"tag_name":"v9.0.0-beta"}]"#;

        assert_eq!(newest(page), Some(Version::new(1, 10, 0)));
        assert_eq!(newest(br#"{"tag_name":"1.2.3","name":"x"}"#), Some(Version::new(1, 2, 3)));
        for odd in [&b"{}"[..], b"[]", b"<html>", br#"{"tag_name":"latest"}"#] {
            assert_eq!(newest(odd), None);
        }
    }
}
