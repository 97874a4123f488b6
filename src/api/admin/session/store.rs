//! Sessions that are open, shared by all workers; a restart ends them.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::Rng;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// More admins are not at work at once; with one more the session that would end first ends.
const CAPACITY: usize = 1000;

/// What opens a session is kept as its hash: whoever reads the memory of sessions cannot use one.
type Hash = [u8; 32];

#[derive(Debug, Clone)]
struct Session {
    csrf: String,
    expires: Instant,
    /// It does not end with the others when the admin token changes, as its holder is who changes it.
    is_spared: bool,
}

/// An open session as its holder may see it.
#[derive(Debug, Clone)]
pub struct Opened {
    pub csrf: String,
    pub expires: Instant,
}

/// A lock and no actor, since every worker asks with every request of the dashboard, and holds it for a look-up.
#[derive(Debug)]
pub struct Sessions {
    lasts_ms: AtomicU64,
    open: Mutex<HashMap<Hash, Session>>,
}

impl Sessions {
    /// Sessions that end after so long without a request.
    pub fn new(lasts: Duration) -> Self {
        Self { lasts_ms: as_ms(lasts).into(), open: Mutex::default() }
    }

    pub fn lasts(&self) -> Duration {
        Duration::from_millis(self.lasts_ms.load(Ordering::Relaxed))
    }

    /// Those that are open last so long from their next request on.
    pub fn set_lasts(&self, lasts: Duration) {
        self.lasts_ms.store(as_ms(lasts), Ordering::Relaxed);
    }

    /// Opens one; its id is a secret.
    pub fn open(&self) -> (String, Opened) {
        let (id, now) = (random_text(), Instant::now());
        let session = Session { csrf: random_text(), expires: now + self.lasts(), is_spared: false };
        let opened = Opened { csrf: session.csrf.clone(), expires: session.expires };
        let mut open = self.lock();
        open.retain(|_, session| session.expires > now);
        if open.len() >= CAPACITY
            && let Some(first) = open.iter().min_by_key(|(_, session)| session.expires).map(|(hash, _)| *hash)
        {
            open.remove(&first);
        }
        open.insert(hash(&id), session);
        (id, opened)
    }

    /// The session of that id, which lasts longer now.
    pub fn find(&self, id: &str) -> Option<Opened> {
        let now = Instant::now();
        let mut open = self.lock();
        let session = open.get_mut(&hash(id)).filter(|session| session.expires > now)?;
        session.expires = now + self.lasts();
        Some(Opened { csrf: session.csrf.clone(), expires: session.expires })
    }

    /// Whether it has not ended, which says nothing of its holder being there still.
    pub fn is_open(&self, id: &str) -> bool {
        self.lock().get(&hash(id)).is_some_and(|session| session.expires > Instant::now())
    }

    pub fn close(&self, id: &str) {
        self.lock().remove(&hash(id));
    }

    /// Says whether the session outlives [`close_all`](Self::close_all).
    pub fn spare(&self, id: &str, is_spared: bool) {
        if let Some(session) = self.lock().get_mut(&hash(id)) {
            session.is_spared = is_spared;
        }
    }

    /// Closes all but those that are spared.
    pub fn close_all(&self) {
        self.lock().retain(|_, session| session.is_spared);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Hash, Session>> {
        // Nothing panics while it is held, and a map is whole after each of its calls.
        self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Opened {
    /// Compares hashes, so that the time tells nothing of the token.
    pub fn has_csrf(&self, token: &str) -> bool {
        hash(&self.csrf) == hash(token)
    }
}

fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn hash(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

/// 256 bits that nobody can guess.
fn random_text() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn a_session_lasts_as_long_as_it_is_used() {
        let sessions = Sessions::new(HOUR);
        let (id, opened) = sessions.open();

        for _ in 0..3 {
            tokio::time::advance(HOUR - Duration::from_secs(1)).await;
            assert!(sessions.find(&id).is_some_and(|found| found.csrf == opened.csrf));
        }
        tokio::time::advance(HOUR).await;
        assert!(sessions.find(&id).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_session_and_a_made_up_one_open_nothing() {
        let sessions = Sessions::new(HOUR);
        let (id, opened) = sessions.open();
        let (other, others) = sessions.open();

        assert!(opened.has_csrf(&opened.csrf) && !opened.has_csrf(&others.csrf));
        sessions.close(&id);

        assert!(sessions.find(&id).is_none() && sessions.find("").is_none());
        assert!(sessions.find(&other).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_of_sessions_is_bounded() {
        let sessions = Sessions::new(HOUR);
        let (first, _) = sessions.open();
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..CAPACITY {
            sessions.open();
        }

        assert_eq!(sessions.lock().len(), CAPACITY);
        assert!(sessions.find(&first).is_none());
    }
}
