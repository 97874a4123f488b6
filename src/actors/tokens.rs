//! Client tokens while the gateway runs: who has which, what changes of them, and the writing down of what was used.

use std::{collections::HashSet, sync::Arc, time::Duration};

use actix::prelude::*;
use tokio::sync::{Mutex, MutexGuard, watch};
use tracing::error;

use super::cluster::News;
use crate::{
    cluster::Change,
    db::{
        Database, DbError,
        client_tokens::{
            StoredToken, TokenUsage, count_changes, delete_token, insert_token, load_tokens, note_change,
            save_usage, update_token,
        },
    },
    domain::{client::TokenId, terms::Terms, time::Now},
};

mod holder;
mod table;

pub use holder::{Admission, Holder, Standing};
pub use table::{NotAccepted, TokenReplica, TokenTable};

/// What was used is written down this often, so a crash forgets no more than that.
const SAVE_EVERY: Duration = Duration::from_secs(3);

/// All client tokens. Workers have replicas of it; whoever changes something does so one after the other.
pub struct TokenStore {
    database: Database,
    published: watch::Sender<Arc<TokenTable>>,
    /// Held while something is changed.
    editing: Mutex<Editing>,
    /// Held while what was used is written down, so that the newest figures are the last.
    saving: Mutex<()>,
    /// For other nodes, if there may be any.
    news: Option<Arc<News>>,
}

/// What whoever changes something has to know.
#[derive(Default)]
struct Editing {
    /// Those of the configuration that hold.
    configured: HashSet<TokenId>,
    /// Tokens that only this process knows.
    unlisted: Vec<Arc<Holder>>,
}

/// Why a change did not come about.
#[derive(Debug, thiserror::Error)]
pub enum EditError<E> {
    #[error("there is no such token")]
    NotFound,
    #[error("{0}")]
    Refused(E),
    #[error(transparent)]
    Database(#[from] DbError),
}

impl TokenStore {
    /// `rows` are all that are stored; of those that come from the configuration only `configured` still hold.
    /// With `news`, other nodes hear of what is used and changed.
    pub fn new(
        database: Database,
        rows: Vec<StoredToken>,
        configured: HashSet<TokenId>,
        news: Option<Arc<News>>,
        now: Now,
    ) -> Self {
        let editing = Editing { configured, unlisted: Vec::new() };
        let holders = editing.holders(rows, &TokenTable::default(), news.as_ref(), now);
        let published = watch::Sender::new(Arc::new(TokenTable::new(holders, std::iter::empty())));
        Self { database, published, editing: editing.into(), saving: Mutex::default(), news }
    }

    /// For one worker.
    pub fn replica(&self) -> TokenReplica {
        TokenReplica::new(self.published.subscribe())
    }

    /// As it is at this moment.
    pub fn table(&self) -> Arc<TokenTable> {
        self.published.borrow().clone()
    }

    /// Takes in what is stored by now, of which those of the configuration are these.
    pub async fn follow_configured(&self, configured: HashSet<TokenId>) -> Result<(), DbError> {
        self.editing.lock().await.configured = configured;
        self.reload().await
    }

    /// Takes in what is stored by now. What was used stays.
    pub async fn reload(&self) -> Result<(), DbError> {
        let editing = self.editing.lock().await;
        let rows = self.database.read(load_tokens).await?;
        let known = self.table();
        self.publish(&editing, |holders| {
            *holders = editing.holders(rows, &known, self.news.as_ref(), Now::read());
        });
        Ok(())
    }

    /// Stores a new token and lets it in.
    pub async fn create(&self, row: StoredToken, terms: Terms) -> Result<Arc<Holder>, DbError> {
        let editing = self.editing.lock().await;
        let holder = Arc::new(Holder::new(row, terms, self.news.as_ref(), Now::read()));
        let row = holder.row.clone();
        let store = move |conn: &mut _| insert_token(conn, &row).and_then(|()| note_change(conn));
        self.database.write(store).await?;
        self.publish(&editing, |holders| holders.push(holder.clone()));
        self.tell_others();
        Ok(holder)
    }

    /// Changes a token as `change` says of what it is now; it may refuse.
    pub async fn edit<E>(
        &self,
        id: &str,
        change: impl FnOnce(&Holder) -> Result<(StoredToken, Terms), E>,
    ) -> Result<Arc<Holder>, EditError<E>> {
        let editing = self.editing.lock().await;
        let before = self.table().get(id).cloned().ok_or(EditError::NotFound)?;
        let (row, terms) = change(&before).map_err(EditError::Refused)?;
        let after = Arc::new(before.changed(row, terms));
        let row = after.row.clone();
        let store = move |conn: &mut _| {
            let is_stored = update_token(conn, &row)?;
            note_change(conn)?;
            Ok(is_stored)
        };
        if !self.database.write(store).await? {
            return Err(EditError::NotFound);
        }
        self.publish(&editing, |holders| {
            holders.iter_mut().filter(|holder| holder.id == after.id).for_each(|old| *old = after.clone());
        });
        self.tell_others();
        Ok(after)
    }

    /// Nobody comes in with it any more; `check` may refuse.
    pub async fn delete<E>(
        &self,
        id: &str,
        check: impl FnOnce(&Holder) -> Result<(), E>,
    ) -> Result<(), EditError<E>> {
        let editing = self.editing.lock().await;
        let holder = self.table().get(id).cloned().ok_or(EditError::NotFound)?;
        check(&holder).map_err(EditError::Refused)?;
        let gone = holder.row.id.clone();
        let store = move |conn: &mut _| delete_token(conn, &gone).and_then(|_| note_change(conn));
        self.database.write(store).await?;
        self.publish(&editing, |holders| holders.retain(|other| other.id != holder.id));
        self.tell_others();
        Ok(())
    }

    /// A token that is stored nowhere and ends with this process, if not before.
    pub async fn lend(&self, row: StoredToken, terms: Terms) {
        let now = Now::read();
        let mut editing = self.editing.lock().await;
        editing.unlisted.retain(|holder| holder.standing(now.unix_ms()) == Standing::Active);
        editing.unlisted.push(Arc::new(Holder::new(row, terms, None, now)));
        self.publish(&editing, |_| {});
    }

    fn tell_others(&self) {
        if let Some(news) = &self.news {
            news.change(Change::Tokens);
        }
    }

    fn publish(&self, editing: &MutexGuard<'_, Editing>, change: impl FnOnce(&mut Vec<Arc<Holder>>)) {
        let mut holders = self.table().holders().to_vec();
        change(&mut holders);
        self.published.send_replace(Arc::new(TokenTable::new(holders, editing.unlisted.iter().cloned())));
    }

    fn take_use(&self) -> Vec<TokenUsage> {
        let now = Now::read();
        self.table().holders().iter().filter_map(|holder| holder.take_use(now)).collect()
    }

    /// Takes in what another process, such as the command line, has changed since `seen`; answers what is seen now.
    async fn follow(&self, seen: i64) -> i64 {
        let changes = match self.database.read(count_changes).await {
            Ok(changes) if changes != seen => changes,
            _ => return seen,
        };
        match self.reload().await {
            Ok(()) => changes,
            Err(failure) => {
                error!(error = %failure, "changed client tokens could not be read, trying again");
                seen
            }
        }
    }

    /// Writes down what was used since this was called last.
    async fn save_use(&self) {
        let _saving = self.saving.lock().await;
        let used = self.take_use();
        if used.is_empty() {
            return;
        }
        let ids: HashSet<_> = used.iter().map(|used| used.id.clone()).collect();
        if let Err(failure) = self.database.write(move |conn| save_usage(conn, &used)).await {
            error!(error = %failure, tokens = ids.len(), "what client tokens have used could not be saved, trying again");
            let table = self.table();
            let unsaved = table.holders().iter().filter(|holder| ids.contains(holder.id.as_str()));
            unsaved.for_each(|holder| holder.keep_use());
        }
    }
}

impl Editing {
    /// Those of the rows that hold; of whom is known already what was used is kept.
    fn holders(
        &self,
        rows: Vec<StoredToken>,
        known: &TokenTable,
        news: Option<&Arc<News>>,
        now: Now,
    ) -> Vec<Arc<Holder>> {
        let holder = |row: StoredToken| match known.get(&row.id) {
            Some(known) => known.reread(row),
            None => restore(row, news, now),
        };
        let holds = |holder: &Holder| !holder.is_configured() || self.configured.contains(&holder.id);
        rows.into_iter().filter_map(holder).filter(holds).map(Arc::new).collect()
    }
}

fn restore(row: StoredToken, news: Option<&Arc<News>>, now: Now) -> Option<Holder> {
    let id = row.id.clone();
    let holder = Holder::restore(row, news, now);
    if holder.is_none() {
        error!(token.id = id, "the terms of a client token cannot be read, so it is not let in");
    }
    holder
}

/// Writes down what was used, every few seconds and at the end, and takes in what other processes have changed.
pub struct TokenKeeper {
    store: Arc<TokenStore>,
    /// Changes of others that were taken in.
    seen: i64,
}

impl TokenKeeper {
    pub fn new(store: Arc<TokenStore>) -> Self {
        Self { store, seen: 0 }
    }

    fn save(&mut self, ctx: &mut Context<Self>) {
        let (store, seen) = (self.store.clone(), self.seen);
        let round = async move {
            store.save_use().await;
            store.follow(seen).await
        };
        ctx.spawn(round.into_actor(self).map(|seen, keeper, ctx| {
            keeper.seen = seen;
            ctx.run_later(SAVE_EVERY, Self::save);
        }));
    }
}

impl Actor for TokenKeeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(SAVE_EVERY, Self::save);
    }
}

/// Command: write down what was used, and answer when that is done; the last one before the process ends.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct SaveUse;

impl Handler<SaveUse> for TokenKeeper {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: SaveUse, _: &mut Context<Self>) -> Self::Result {
        let store = self.store.clone();
        Box::pin(async move { store.save_use().await })
    }
}
