//! Puts settings into force that are changed while the gateway runs: what of them is stored, and who hears of it.

use std::{collections::HashSet, io, sync::Arc};

use tokio::sync::watch;
use tracing::{error, info};

use super::{access, crew::Crew, live::Live};
use crate::{
    actors::{
        Observe,
        balancer::BalancerSnapshot,
        supervisor::{AddKeys, LimitProjects, PlaceKeys, RemoveKeys},
        tokens::TokenStore,
    },
    api::gateway::AdminDoor,
    config::{Auth, Config},
    db::{
        client_tokens::sync_configured_tokens,
        keys::{KeysFollowed, follow_configured},
    },
    domain::{client::TokenId, time::Now},
    secrets::{Sealer, Secret, TokenSet},
    settings::keeper::{Prepare, Store},
    telemetry::LevelSwitch,
};

/// Whom settings concern.
#[derive(Clone)]
pub struct Enforcer {
    pub live: watch::Sender<Arc<Live>>,
    pub log_level: LevelSwitch,
    pub crew: Crew,
    pub sealer: Sealer,
    pub tokens: Arc<TokenStore>,
    pub admin: Arc<AdminDoor>,
}

/// What of a change was stored.
#[derive(Default)]
struct Stored {
    /// Those of `API_KEYS`, if it is another list.
    keys: Option<KeysFollowed>,
    /// Those of the configuration that hold, if they are others.
    tokens: Option<HashSet<TokenId>>,
}

impl Enforcer {
    pub fn prepare(self) -> Prepare {
        Box::new(move |old, new| self.change(old, new))
    }

    fn change(&self, old: &Arc<Config>, new: &Arc<Config>) -> io::Result<Store> {
        let (enforcer, old, new) = (self.clone(), old.clone(), new.clone());
        let admin = (old.auth.auth_token != new.auth.auth_token)
            .then(|| access::admin_tokens(&new.auth, &new.storage, &self.sealer))
            .transpose()?;
        Ok(Box::new(move |conn| {
            let (sealer, now_ms) = (&enforcer.sealer, Now::read().unix_ms());
            let keys = new.pool.api_keys.as_ref().filter(|_| old.pool.api_keys != new.pool.api_keys);
            let keys = keys.map(|keys| follow_configured(conn, sealer, keys, now_ms)).transpose()?;
            let tokens = (who(&old.auth) != who(&new.auth)).then(|| {
                let (allowed, auth) = who(&new.auth);
                sync_configured_tokens(conn, sealer, allowed, auth, now_ms)
            });
            let stored = Stored { keys, tokens: tokens.transpose()? };
            Ok(Box::new(move || Box::pin(async move { enforcer.enforce(&old, new, admin, stored).await })))
        }))
    }

    /// Answers when every worker has heard of it.
    async fn enforce(&self, old: &Config, new: Arc<Config>, admin: Option<TokenSet>, stored: Stored) {
        let next = Arc::new(self.live.borrow().next(new.clone()));
        self.log_level.set(new.logs.level);
        self.live.send_replace(next.clone());
        self.crew.follow(&next);
        self.admin.sessions.set_lasts(new.auth.session_expire);
        let limits = (&new.pool.limits, new.pool.default_tier);
        let are_other_limits = (&old.pool.limits, old.pool.default_tier) != limits;
        if are_other_limits {
            let (limits, default_tier) = (new.pool.limits.clone(), new.pool.default_tier);
            self.crew.supervisor.do_send(LimitProjects { limits, default_tier });
        }
        let are_other_keys = stored.keys.is_some();
        if let Some(keys) = stored.keys {
            self.follow_keys(keys);
        }
        if are_other_limits || are_other_keys {
            // Mailboxes keep the order: who answers this has heard of all before.
            let _ = self.crew.supervisor.send(Observe::<Option<BalancerSnapshot>>::new()).await;
        }
        if let Some(configured) = stored.tokens
            && let Err(failure) = self.tokens.follow_configured(configured).await
        {
            error!(error = %failure, "changed client tokens could not be read, so they hold from the next start on");
        }
        if let Some(admin) = admin {
            self.admin.change_tokens(admin);
            info!("the admin token was changed; sessions end, but for the one that changed it");
        }
    }

    fn follow_keys(&self, keys: KeysFollowed) {
        let KeysFollowed { added, placed, gone, sync } = keys;
        let supervisor = &self.crew.supervisor;
        supervisor.do_send(RemoveKeys(gone));
        supervisor.do_send(AddKeys(added.into_iter().map(Into::into).collect()));
        supervisor.do_send(PlaceKeys(placed));
        info!(
            added = sync.added,
            removed = sync.removed,
            kept = sync.kept,
            "the keys of API_KEYS were changed"
        );
    }
}

/// Whoever the configuration lets use the gateway.
fn who(auth: &Auth) -> (&[Secret], Option<&Secret>) {
    (&auth.allowed_tokens, auth.auth_token.as_ref())
}
