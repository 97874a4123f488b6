//! Holds the settings, stores what is changed of them, and tells everyone.

use std::{collections::BTreeMap, io, sync::Arc};

use actix::prelude::*;
use futures_util::future::LocalBoxFuture;
use serde_json::Value;
use tracing::{error, info, warn};

use super::{
    Change, Changed, InvalidSettings, Settings,
    transfer::{Document, Parts},
    view::SettingList,
};
use crate::{
    config::Config,
    db::{
        Database, DbConnection, DbError, QueryResult, all_or_nothing,
        settings::{StoredSetting, load_settings, save_settings},
    },
};

/// Looks at what has to be done for settings that come after others.
pub type Prepare = Box<dyn Fn(&Arc<Config>, &Arc<Config>) -> io::Result<Store> + Send>;
/// Stores what goes with a change, in the same transaction.
pub type Store = Box<dyn FnOnce(&mut DbConnection) -> QueryResult<Enforce> + Send>;
/// Puts what was stored into force, everywhere in this process.
pub type Enforce = Box<dyn FnOnce() -> LocalBoxFuture<'static, ()> + Send>;

/// Called when a change was stored that other nodes do not know of.
pub type OnChange = Box<dyn Fn() + Send>;

pub struct Keeper {
    settings: Settings,
    database: Database,
    prepare: Prepare,
    on_change: OnChange,
}

impl Keeper {
    pub fn new(settings: Settings, database: Database, prepare: Prepare) -> Self {
        Self { settings, database, prepare, on_change: Box::new(|| {}) }
    }

    /// Calls this after each change of its own.
    #[must_use]
    pub fn telling(self, on_change: OnChange) -> Self {
        Self { on_change, ..self }
    }
}

impl Actor for Keeper {
    type Context = Context<Self>;
}

/// Question: the settings as they are.
#[derive(Debug, Message)]
#[rtype(result = "SettingList")]
pub struct ListSettings;

impl Handler<ListSettings> for Keeper {
    type Result = MessageResult<ListSettings>;

    fn handle(&mut self, _: ListSettings, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.settings.view())
    }
}

/// Question: the whole configuration.
#[derive(Debug, Message)]
#[rtype(result = "Result<Document, DbError>")]
pub struct ExportDocument(pub Parts);

impl Handler<ExportDocument> for Keeper {
    type Result = ResponseFuture<Result<Document, DbError>>;

    fn handle(&mut self, ExportDocument(parts): ExportDocument, _: &mut Context<Self>) -> Self::Result {
        let settings = self.settings.clone();
        Box::pin(self.database.read(move |conn| settings.export(conn, parts)))
    }
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error(transparent)]
    Invalid(#[from] InvalidSettings),
    /// Somebody else was quicker.
    #[error("the settings have changed meanwhile")]
    Moved { version: i64 },
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Secrets(#[from] io::Error),
}

/// What became of a change.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub settings: SettingList,
    pub changed: Vec<Changed>,
    /// Names of a document that cannot be set here.
    pub ignored: Vec<String>,
}

/// New values, by the names of settings.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// These; `null` goes back to what the files and the environment say.
    Changes(BTreeMap<String, Value>),
    /// All of a document that differs from what holds.
    Document(BTreeMap<String, Value>),
}

type Planned = (Change, Vec<String>);

impl Keeper {
    fn plan(&self, wanted: Wanted) -> Result<Planned, InvalidSettings> {
        let (changes, ignored) = match wanted {
            Wanted::Changes(changes) => (changes, Vec::new()),
            Wanted::Document(document) => self.settings.differences(document),
        };
        Ok((self.settings.plan(&changes)?, ignored))
    }

    fn plan_for(&self, wanted: Wanted, for_version: Option<i64>) -> Result<Planned, ChangeError> {
        let version = self.settings.version();
        if for_version.is_some_and(|expected| expected != version) {
            return Err(ChangeError::Moved { version });
        }
        Ok(self.plan(wanted)?)
    }

    /// What was stored comes into force.
    fn make(&mut self, mut change: Change, ignored: Vec<String>) -> Outcome {
        let changed = std::mem::take(&mut change.changed);
        for notice in &change.notices {
            warn!("{notice}");
        }
        self.settings.make(change);
        (self.on_change)();
        if !changed.is_empty() {
            let names: Vec<&str> = changed.iter().map(|changed| changed.name).collect();
            info!(settings = names.join(", "), "settings were changed");
        }
        Outcome { settings: self.settings.view(), changed, ignored }
    }
}

/// Command: take in what another node has stored.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct RereadSettings;

/// As with a change, the next message waits.
impl Handler<RereadSettings> for Keeper {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: RereadSettings, _: &mut Context<Self>) -> Self::Result {
        let reading = self.database.read(load_settings);
        AtomicResponse::new(Box::pin(reading.into_actor(self).then(|rows, keeper, _| {
            let (database, store) = (keeper.database.clone(), keeper.reread(rows));
            let enforcing = async move {
                let Some(store) = store else { return };
                match database.write(move |conn| all_or_nothing(conn, store)).await {
                    Ok(enforce) => enforce().await,
                    Err(failure) => {
                        error!(error = %failure, "settings of another node were not put into force")
                    }
                }
            };
            enforcing.into_actor(keeper)
        })))
    }
}

impl Keeper {
    /// What comes with settings that another node has changed; none if they are the same.
    fn reread(&mut self, rows: Result<Vec<StoredSetting>, DbError>) -> Option<Store> {
        let rows = rows.inspect_err(|failure| {
            error!(error = %failure, "settings that another node has changed could not be read");
        });
        let settings = self.settings.reread(rows.ok()?).inspect_err(|problems| {
            error!(%problems, "stored settings do not fit and are left as they were");
        });
        let settings = settings.ok().filter(|settings| !self.settings.is_equal_to(settings))?;
        let store = (self.prepare)(&self.settings.config(), &settings.config()).inspect_err(|failure| {
            error!(error = %failure, "settings of another node cannot be put into force, so they are as they were");
        });
        let store = store.ok()?;
        info!("settings were changed on another node");
        self.settings = settings;
        Some(store)
    }
}

/// Question: which version have the settings? Each change makes a higher one.
#[derive(Debug, Message)]
#[rtype(result = "i64")]
pub struct CurrentVersion;

impl Handler<CurrentVersion> for Keeper {
    type Result = i64;

    fn handle(&mut self, _: CurrentVersion, _: &mut Context<Self>) -> Self::Result {
        self.settings.version()
    }
}

/// Question: what would come of it?
#[derive(Message)]
#[rtype(result = "Result<Outcome, InvalidSettings>")]
pub struct TrySettings(pub Wanted);

impl Handler<TrySettings> for Keeper {
    type Result = Result<Outcome, InvalidSettings>;

    fn handle(&mut self, TrySettings(wanted): TrySettings, _: &mut Context<Self>) -> Self::Result {
        let (change, ignored) = self.plan(wanted)?;
        Ok(Outcome { settings: self.settings.view(), changed: change.changed, ignored })
    }
}

/// Command: make a change, if the settings still have the version that it was made for.
#[derive(Message)]
#[rtype(result = "Result<Outcome, ChangeError>")]
pub struct ChangeSettings {
    pub wanted: Wanted,
    pub for_version: Option<i64>,
    /// What is stored with it, all or nothing.
    pub with: Option<Store>,
}

/// Answered when it is in force. The next message waits until this one is answered, so that no two changes are planned on the same settings.
impl Handler<ChangeSettings> for Keeper {
    type Result = AtomicResponse<Self, Result<Outcome, ChangeError>>;

    fn handle(&mut self, command: ChangeSettings, _: &mut Context<Self>) -> Self::Result {
        let (change, ignored) = match self.plan_for(command.wanted, command.for_version) {
            Ok(planned) => planned,
            Err(error) => return AtomicResponse::new(Box::pin(fut::ready(Err(error)))),
        };
        let store = match (self.prepare)(&self.settings.config(), change.config()) {
            Ok(store) => store,
            Err(failure) => {
                error!(error = %failure, "changed settings cannot be put into force, so they are as they were");
                return AtomicResponse::new(Box::pin(fut::ready(Err(failure.into()))));
            }
        };
        let (set, unset, with) = (change.set.clone(), change.unset.clone(), command.with);
        let saving = self.database.write(move |conn| {
            all_or_nothing(conn, |conn| {
                save_settings(conn, &set, &unset)?;
                [Some(store), with].into_iter().flatten().map(|store| store(conn)).collect()
            })
        });
        AtomicResponse::new(Box::pin(saving.into_actor(self).then(move |saved, keeper, _| {
            let made = match saved {
                Ok(stored) => Ok((keeper.make(change, ignored), stored)),
                Err(failure) => {
                    error!(error = %failure, "changed settings could not be stored, so they are as they were");
                    Err(failure)
                }
            };
            let enforcing = async move {
                let (outcome, stored): (Outcome, Vec<Enforce>) = made?;
                for enforce in stored {
                    enforce().await;
                }
                Ok(outcome)
            };
            enforcing.into_actor(keeper)
        })))
    }
}
