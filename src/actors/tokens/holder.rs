//! A client token as the workers know it: its terms, and what is used of them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use crate::{
    actors::cluster::News,
    balance::allowance::{Allowance, Exceeded, Need, Reservation, Share},
    db::client_tokens::{CONFIGURED, StoredToken, TokenUsage},
    domain::{client::TokenId, node::NodeId, terms::Terms, time::Now},
};

/// `last_used` is written down to this precision, so that workers do not fight for it.
const PRECISION_MS: i64 = 1000;

/// Whoever shows a token. What changes while it is used is shared by all versions of the holder.
#[derive(Debug)]
pub struct Holder {
    pub id: TokenId,
    /// As it is stored, but for its use.
    pub row: StoredToken,
    pub terms: Terms,
    use_of: Arc<UseOf>,
}

#[derive(Debug)]
struct UseOf {
    allowance: Allowance,
    /// Unix milliseconds; 0 is never.
    last_used_ms: AtomicI64,
    last_saved_ms: AtomicI64,
    /// Where there may be other nodes, they are told by this.
    news: Option<Arc<News>>,
    /// It is among the news already.
    is_news: AtomicBool,
    /// What other nodes have written down of it was taken in.
    has_joined: AtomicBool,
}

/// Whether a token is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Active,
    Disabled,
    Expired,
}

impl Holder {
    /// A token of the database. `None` when its terms cannot be read: nobody is let in on unknown ones.
    pub(super) fn restore(row: StoredToken, news: Option<&Arc<News>>, now: Now) -> Option<Self> {
        let terms = serde_json::from_str(&row.terms).ok()?;
        Some(Self::new(row, terms, news, now))
    }

    pub(super) fn new(row: StoredToken, terms: Terms, news: Option<&Arc<News>>, now: Now) -> Self {
        let used = row.usage.as_deref().and_then(|usage| serde_json::from_str(usage).ok());
        let allowance = match used {
            Some(used) => Allowance::restore(&used, terms.time_zone, now),
            None => Allowance::new(now),
        };
        let last_used_ms = row.last_used_at_ms.unwrap_or(0);
        if let Some(news) = news {
            allowance.share_with_others(news.others(), terms.time_zone, now);
        }
        let use_of = UseOf {
            allowance,
            last_used_ms: last_used_ms.into(),
            last_saved_ms: last_used_ms.into(),
            news: news.cloned(),
            is_news: false.into(),
            has_joined: false.into(),
        };
        let (id, row) = (TokenId::new(&*row.id), StoredToken { terms: stored(&terms), ..row });
        Self { id, row, terms, use_of: Arc::new(use_of) }
    }

    /// The same after a change.
    pub(super) fn changed(&self, mut row: StoredToken, terms: Terms) -> Self {
        row.terms = stored(&terms);
        Self { id: self.id.clone(), row, terms, use_of: self.use_of.clone() }
    }

    /// The same as it is stored by now; `None` when its terms cannot be read.
    pub(super) fn reread(&self, row: StoredToken) -> Option<Self> {
        let terms = serde_json::from_str(&row.terms).ok()?;
        Some(self.changed(row, terms))
    }

    pub fn standing(&self, now_ms: i64) -> Standing {
        if !self.row.enabled {
            Standing::Disabled
        } else if self.row.expires_at_ms.is_some_and(|end| end <= now_ms) {
            Standing::Expired
        } else {
            Standing::Active
        }
    }

    pub fn is_configured(&self) -> bool {
        self.row.origin == CONFIGURED
    }

    pub fn last_used_at_ms(&self) -> Option<i64> {
        Some(self.use_of.last_used_ms.load(Ordering::Relaxed)).filter(|at_ms| *at_ms > 0)
    }

    pub fn note_use(&self, now_ms: i64) {
        let last = &self.use_of.last_used_ms;
        if now_ms - last.load(Ordering::Relaxed) >= PRECISION_MS {
            last.store(now_ms, Ordering::Relaxed);
        }
    }

    pub fn allowance(&self) -> &Allowance {
        &self.use_of.allowance
    }

    /// Lets a request in, if the limits have room for it. Without limits nothing is counted.
    pub fn admit(self: &Arc<Self>, need: Need, now: Now) -> Result<Admission, Exceeded> {
        let reservation = match self.terms.has_limits() {
            true => Some(self.allowance().reserve(&self.terms, need, now)?),
            false => None,
        };
        if reservation.is_some() {
            self.is_used();
        }
        Ok(Admission { holder: self.clone(), reservation })
    }

    /// Other nodes are to be told. While they have not been, that is a look at an atomic.
    pub(in crate::actors) fn is_used(self: &Arc<Self>) {
        if let Some(news) = &self.use_of.news
            && !self.use_of.is_news.swap(true, Ordering::AcqRel)
        {
            news.used(self.clone());
        }
    }

    /// What other nodes have to know of it; `None` if it was not used here.
    pub(in crate::actors) fn share(&self, now: Now) -> Option<Share> {
        // Whatever is used from here on is news again.
        self.use_of.is_news.store(false, Ordering::Release);
        self.allowance().share(self.terms.time_zone, now)
    }

    pub(in crate::actors) fn hear(&self, node: &NodeId, share: &Share, now: Now) {
        self.allowance().hear(node, share, self.terms.time_zone, now);
    }

    /// Takes in what nodes have written down of it.
    pub(in crate::actors) fn join(
        &self,
        shares: &[(NodeId, Share)],
        alive: impl Fn(&NodeId) -> bool,
        now: Now,
    ) {
        self.allowance().hear_stored(shares, alive, self.terms.time_zone, now);
        self.use_of.has_joined.store(true, Ordering::Release);
    }

    pub(in crate::actors) fn has_joined(&self) -> bool {
        self.use_of.has_joined.load(Ordering::Acquire)
    }

    /// What is to be written down, if anything was used since this was asked last.
    pub(super) fn take_use(&self, now: Now) -> Option<TokenUsage> {
        let change = self.allowance().take_change(now);
        let last_used_ms = self.use_of.last_used_ms.load(Ordering::Relaxed);
        let was_used = self.use_of.last_saved_ms.swap(last_used_ms, Ordering::Relaxed) != last_used_ms;
        (was_used || change.is_some()).then(|| TokenUsage {
            id: self.row.id.clone(),
            last_used_at_ms: Some(last_used_ms).filter(|at_ms| *at_ms > 0),
            usage: change.and_then(|change| serde_json::to_string(&change).ok()),
        })
    }

    /// It could not be written down.
    pub(super) fn keep_use(&self) {
        self.allowance().keep_change();
        self.use_of.last_saved_ms.store(0, Ordering::Relaxed);
    }
}

fn stored(terms: &Terms) -> String {
    serde_json::to_string(terms).expect("terms are plain JSON")
}

/// A request that was let in: settled once, or taken back when it is dropped.
pub struct Admission {
    holder: Arc<Holder>,
    reservation: Option<Reservation>,
}

impl Admission {
    /// The request has ended. `tokens` is what Google counted, if it said so; `images` how many pictures there are.
    pub fn settle(mut self, tokens: Option<u64>, images: u64) {
        if let Some(reservation) = self.reservation.take() {
            self.holder.allowance().settle(reservation, tokens, images, Now::read());
            self.holder.is_used();
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            self.holder.allowance().refund(reservation, Now::read());
            self.holder.is_used();
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Admission({})", self.holder.id)
    }
}
