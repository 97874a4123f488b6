//! `tokens`: client tokens from the command line, beside a gateway that may be running: it takes changes in within
//! seconds.

use std::{io, process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::MISCONFIGURED;
use crate::{
    config::{Config, Storage},
    db::{
        Database, DbError,
        client_tokens::{
            CONFIGURED, MADE, StoredToken, delete_token, insert_token, load_tokens, note_change,
        },
    },
    domain::{
        quota::ModelPattern,
        terms::{RateLimits, Terms},
        time::Now,
    },
    secrets::{Sealer, load_or_create_key_file, new_token, shown_prefix},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make a client token and print it; it is told this once.
    Create(Wishes),
    /// List client tokens: id, prefix, state, name.
    List,
    /// Revoke a token that was made, by its id.
    Revoke { id: String },
}

#[derive(Debug, Args)]
pub struct Wishes {
    /// What it is called in the dashboard.
    name: String,
    /// Days after which it is no longer accepted.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    expires_days: Option<u16>,
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    requests_per_minute: Option<u64>,
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    requests_per_day: Option<u64>,
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    tokens_per_day: Option<u64>,
    /// A model or a pattern such as `gemini-2.5-*`; may be given several times. All, if none is given.
    #[arg(long = "model", value_parser = pattern)]
    models: Vec<ModelPattern>,
}

fn pattern(text: &str) -> Result<ModelPattern, &'static str> {
    ModelPattern::parse(text).ok_or("is no name or pattern of models")
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("{0}")]
    Secrets(#[from] io::Error),
    #[error("there is no token `{0}` that was made here; `tokens list` tells their ids")]
    NotFound(String),
    #[error("the token `{0}` is in the configuration; take it out of there")]
    Configured(String),
}

pub fn run(action: &Action, config: &Config) -> ExitCode {
    let done = match action {
        Action::Create(wishes) => create(wishes, &config.storage),
        Action::List => list(&config.storage),
        Action::Revoke { id } => revoke(id, &config.storage),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure @ (Failure::NotFound(_) | Failure::Configured(_))) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(MISCONFIGURED)
        }
    }
}

fn create(wishes: &Wishes, storage: &Storage) -> Result<(), Failure> {
    let sealer = Sealer::new(&match storage.encryption_key.clone() {
        Some(key) => key,
        None => load_or_create_key_file(&storage.data_dir, "encryption.key")?.value,
    });
    let (token, now_ms) = (new_token(), Now::read().unix_ms());
    let rate_limits = RateLimits {
        requests_per_minute: wishes.requests_per_minute,
        requests_per_day: wishes.requests_per_day,
        tokens_per_day: wishes.tokens_per_day,
        ..RateLimits::default()
    };
    let terms = Terms { rate_limits, models: wishes.models.clone(), ..Terms::default() };
    let lasts = wishes.expires_days.map(|days| DAY * u32::from(days));
    let row = StoredToken {
        id: format!("tk-{}", &Uuid::new_v4().simple().to_string()[..16]),
        name: wishes.name.trim().chars().filter(|c| !c.is_control()).take(100).collect(),
        fingerprint: sealer.token_fingerprint(token.expose()).to_vec(),
        prefix: shown_prefix(token.expose()),
        origin: MADE.to_owned(),
        enabled: true,
        created_at_ms: now_ms,
        expires_at_ms: lasts.map(|lasts| now_ms + i64::try_from(lasts.as_millis()).unwrap_or(0)),
        last_used_at_ms: None,
        old_fingerprint: None,
        old_valid_until_ms: None,
        terms: serde_json::to_string(&terms).expect("terms are plain JSON"),
        note: String::new(),
        usage: None,
    };
    open(storage)?.write_blocking(|conn| {
        insert_token(conn, &row)?;
        note_change(conn)
    })?;
    println!("{}", token.expose());
    Ok(())
}

fn list(storage: &Storage) -> Result<(), Failure> {
    let now_ms = Now::read().unix_ms();
    for row in open(storage)?.read_blocking(load_tokens)? {
        let state = match row.expires_at_ms {
            _ if !row.enabled => "disabled",
            Some(end) if end <= now_ms => "expired",
            _ => "active",
        };
        println!("{}\t{}\t{state}\t{}", row.id, row.prefix, row.name);
    }
    Ok(())
}

fn revoke(id: &str, storage: &Storage) -> Result<(), Failure> {
    let database = open(storage)?;
    let rows = database.read_blocking(load_tokens)?;
    let row = rows.into_iter().find(|row| row.id == id).ok_or_else(|| Failure::NotFound(id.to_owned()))?;
    if row.origin == CONFIGURED {
        return Err(Failure::Configured(row.id));
    }
    database.write_blocking(|conn| {
        delete_token(conn, &row.id)?;
        note_change(conn)
    })?;
    Ok(())
}

fn open(storage: &Storage) -> Result<Database, DbError> {
    Database::open(&storage.database)
}
