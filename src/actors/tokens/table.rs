//! Who may come in: a replica for each worker, so that a look-up takes no lock and a change acts with the next request.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use tokio::sync::watch;

use super::holder::{Holder, Standing};
use crate::domain::client::{TokenId, TokenPrint};

/// All tokens at one moment.
#[derive(Debug, Default)]
pub struct TokenTable {
    by_print: HashMap<TokenPrint, Accepted>,
    /// Those that are listed, the oldest first.
    holders: Vec<Arc<Holder>>,
    /// Where they are in the list.
    by_id: HashMap<TokenId, usize>,
}

#[derive(Debug)]
struct Accepted {
    holder: Arc<Holder>,
    /// A token that was replaced is accepted for a while.
    until_ms: Option<i64>,
}

/// Why nobody comes in with that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAccepted {
    Unknown,
    Disabled,
    Expired,
}

impl TokenTable {
    pub(super) fn new(holders: Vec<Arc<Holder>>, unlisted: impl Iterator<Item = Arc<Holder>>) -> Self {
        let mut by_print = HashMap::with_capacity(holders.len());
        for holder in holders.iter().cloned().chain(unlisted) {
            let row = &holder.row;
            let old = row.old_fingerprint.as_deref().zip(row.old_valid_until_ms);
            for (print, until_ms) in old
                .map(|(print, until_ms)| (print, Some(until_ms)))
                .into_iter()
                .chain([(&*row.fingerprint, None)])
            {
                if let Ok(print) = print.try_into() {
                    by_print.insert(print, Accepted { holder: holder.clone(), until_ms });
                }
            }
        }
        let by_id = holders.iter().enumerate().map(|(at, holder)| (holder.id.clone(), at)).collect();
        Self { by_print, holders, by_id }
    }

    pub fn find(&self, print: &TokenPrint, now_ms: i64) -> Result<&Arc<Holder>, NotAccepted> {
        let accepted = self.by_print.get(print).ok_or(NotAccepted::Unknown)?;
        if accepted.until_ms.is_some_and(|until_ms| until_ms <= now_ms) {
            return Err(NotAccepted::Expired);
        }
        match accepted.holder.standing(now_ms) {
            Standing::Active => Ok(&accepted.holder),
            Standing::Disabled => Err(NotAccepted::Disabled),
            Standing::Expired => Err(NotAccepted::Expired),
        }
    }

    /// Whoever goes by that name and would be let in.
    pub fn holder_of(&self, id: &TokenId, now_ms: i64) -> Option<&Arc<Holder>> {
        let accepted = self.by_print.values().find(|accepted| accepted.holder.id == *id)?;
        Some(&accepted.holder).filter(|holder| holder.standing(now_ms) == Standing::Active)
    }

    pub fn holders(&self) -> &[Arc<Holder>] {
        &self.holders
    }

    pub fn get(&self, id: &str) -> Option<&Arc<Holder>> {
        self.by_id.get(id).and_then(|at| self.holders.get(*at))
    }
}

/// One worker's copy.
pub struct TokenReplica(RefCell<Seen>);

struct Seen {
    news: watch::Receiver<Arc<TokenTable>>,
    table: Arc<TokenTable>,
}

impl TokenReplica {
    pub(super) fn new(mut news: watch::Receiver<Arc<TokenTable>>) -> Self {
        let table = news.borrow_and_update().clone();
        Self(Seen { news, table }.into())
    }

    /// The newest table. While nothing has changed, that is a look at an atomic.
    pub fn table(&self) -> Arc<TokenTable> {
        let mut seen = self.0.borrow_mut();
        if seen.news.has_changed().unwrap_or(false) {
            let table = seen.news.borrow_and_update().clone();
            seen.table = table;
        }
        seen.table.clone()
    }
}
