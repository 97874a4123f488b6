//! `explain`: why a request went as it did. Reads the database beside a gateway that may be running, and changes nothing.

use std::{collections::HashMap, process::ExitCode};

use clap::Args;

use super::{MISCONFIGURED, settings::encryption_key};
use crate::{
    api::admin::requests::{RequestDetail, find_detail, request_id},
    config::{Config, Storage},
    db::{DbError, keys, read_beside},
    domain::key::KeyId,
    secrets::Sealer,
};

mod text;

#[derive(Debug, Args)]
pub struct Options {
    /// The `x-request-id` of its answer.
    request_id: String,
    /// Print JSON, as the admin API answers it.
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options, config: &Config) -> ExitCode {
    match find(&request_id(&options.request_id), &config.storage) {
        Ok(Some(detail)) if options.json => {
            println!("{}", serde_json::to_string_pretty(&detail).expect("plain fields are JSON"));
            ExitCode::SUCCESS
        }
        Ok(Some(detail)) => {
            print!("{}", text::Explained(&detail));
            ExitCode::SUCCESS
        }
        Ok(None) => {
            eprintln!(
                "no request `{}` is in {}: it is written within about a second, and deleted after \
                 AUTO_DELETE_REQUEST_LOGS_DAYS; requests whose token was refused have no row",
                options.request_id,
                config.storage.database.display()
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(MISCONFIGURED)
        }
    }
}

fn find(id: &str, storage: &Storage) -> Result<Option<RequestDetail>, DbError> {
    let sealer = encryption_key(storage).map(|key| Sealer::new(&key));
    read_beside(&storage.database, |conn| {
        let Some(detail) = find_detail(conn, id)? else { return Ok(None) };
        let stored = sealer.map(|sealer| keys::load_keys(conn, &sealer)).transpose()?.unwrap_or_default();
        let masks: HashMap<KeyId, String> =
            stored.keys.into_iter().map(|stored| (stored.id, stored.key.masked())).collect();
        Ok(Some(detail.with_masks(&masks)))
    })
}
