//! The configuration: what may be set, from which sources, and all of it checked and handed out section by section.
//!
//! Sources, later wins: the embedded `config/default.toml`, `config/local.toml`, `.env`, the environment; read once, at
//! boot, and nothing else in the gateway reads them. What is set in the dashboard comes on top, from `settings`.

mod auth;
mod cluster;
mod dotenv;
mod error_rules;
mod gemini;
mod layers;
mod logs;
pub mod manual;
mod media;
mod names;
mod pool;
mod proxies;
mod quotas;
mod reader;
pub mod registry;
mod responses;
mod retries;
mod server;
mod storage;
mod switches;
#[cfg(test)]
mod tests;
mod updates;
mod upstream;

use std::{
    fmt,
    path::{Path, PathBuf},
};

pub use auth::Auth;
pub use cluster::{Cluster, RedisUrl};
pub use error_rules::ErrorRule;
pub use gemini::{Gemini, SafetySetting};
pub use layers::{Layers, Origin};
pub use logs::{LogFormat, LogLevel, Logs};
pub use media::Media;
pub use names::closest;
pub use pool::Pool;
pub use proxies::{Proxy, ProxyKind};
pub use responses::Responses;
pub use retries::Retries;
pub use server::Server;
pub use storage::Storage;
pub use switches::{Optimizer, Streams, Switches};
pub use updates::Updates;
pub use upstream::{BaseUrl, Upstream};

use reader::Reader;

/// The settings as they hold together. Secrets in it print masked.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: Server,
    pub auth: Auth,
    pub pool: Pool,
    pub upstream: Upstream,
    pub retries: Retries,
    pub gemini: Gemini,
    pub switches: Switches,
    pub streams: Streams,
    pub media: Media,
    pub responses: Responses,
    pub logs: Logs,
    pub updates: Updates,
    pub storage: Storage,
    pub cluster: Cluster,
}

/// Where configuration is looked for.
#[derive(Clone)]
pub struct Sources {
    /// The working directory: holds `.env` and `config/local.toml`; relative paths start here.
    pub dir: PathBuf,
    /// The environment.
    pub env: Vec<(String, String)>,
}

impl Sources {
    /// The working directory and environment of this process; variables that are not UTF-8 are left out.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn of_process() -> Self {
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { dir: PathBuf::from("."), env }
    }
}

/// A configuration that can be used, and what its author should know about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// What it was made of.
    pub layers: Layers,
    /// Warnings, one sentence each; they hold no secrets.
    pub notices: Vec<String>,
}

impl Config {
    /// Reads all sources; fails with everything that is wrong in them.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
        let layers = Layers::read(sources);
        let (config, notices) = Self::of(&layers)?;
        Ok(Loaded { config, layers, notices })
    }

    /// The settings that these values make, with what their author should know; fails with everything that is wrong.
    pub fn of(layers: &Layers) -> Result<(Self, Vec<String>), ConfigErrors> {
        let mut reader = Reader::new(layers.clone());
        let config = Self::read(&mut reader, &layers.dir);
        let (problems, notices) = reader.finish();
        match config {
            Some(config) if problems.is_empty() => Ok((config, notices)),
            _ => Err(ConfigErrors { problems, notices }),
        }
    }

    /// `None` when a section is so wrong that it cannot be made at all; the reader knows why.
    fn read(reader: &mut Reader, dir: &Path) -> Option<Self> {
        // Every section is read before any is missed, so that one run reports all problems.
        let (server, auth) = (Server::read(reader), Auth::read(reader));
        let (pool, upstream) = (Pool::read(reader, dir), Upstream::read(reader));
        let retries = Retries::read(reader);
        let (gemini, logs) = (Gemini::read(reader), Logs::read(reader));
        let (media, responses) = (Media::read(reader), Responses::read(reader));
        let (switches, streams) = (Switches::read(reader), Streams::read(reader));
        let (updates, storage) = (Updates::read(reader), Storage::read(reader, dir));
        let cluster = Cluster::read(reader, dir);
        Some(Self {
            server,
            auth,
            pool: pool?,
            upstream: upstream?,
            retries,
            gemini,
            switches,
            streams,
            media,
            responses,
            logs: logs?,
            updates,
            storage,
            cluster,
        })
    }
}

/// One thing that is wrong: `PORT (from .env): "x" is not a whole number from 1 to 65535; for example PORT=8000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// As it is written in the environment.
    pub name: String,
    pub origin: Origin,
    /// What is wrong with the value; never a secret.
    pub problem: String,
    /// A line that would be right.
    pub example: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, origin, problem, example } = self;
        write!(f, "{name} (from {origin}): {problem}; for example {example}")
    }
}

/// All problems of one run, a line each, and the notices behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    pub problems: Vec<Problem>,
    /// Warnings that may explain a problem, such as a misspelt name.
    pub notices: Vec<String>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        self.notices.iter().try_for_each(|notice| write!(f, "\nnote: {notice}"))
    }
}

impl std::error::Error for ConfigErrors {}
