//! The balancer as requests of all threads know it: asked by a call, not by a message.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actix::Addr;
use tokio::{sync::oneshot, time::Instant};

use super::{Acquire, Balancer, Settled, State};
use crate::{
    actors::lease::Lease,
    balance::{
        egresses::Egresses,
        table::{Census, Unavailable},
        waiting::Place,
    },
    domain::{key::KeyId, model::ModelName, outcome::Outcome, policy::Balancing, time::Now},
};

pub(super) type Acquired = Result<Lease, Unavailable>;

/// A handle on the balancer. Every call is over at once, but the wait of [`acquire`](Self::acquire).
///
/// The lock is held for a choice or a settlement, which take well below a microsecond each, and never while somebody waits.
#[derive(Clone)]
pub struct BalancerHandle(Arc<Mutex<State>>);

impl fmt::Debug for BalancerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BalancerHandle")
    }
}

impl BalancerHandle {
    pub(super) fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn is_kept_by(&self, actor: Addr<Balancer>) {
        self.state().actor = Some(actor);
    }

    /// The actor behind it.
    #[cfg(test)]
    pub(in crate::actors) fn actor(&self) -> Addr<Balancer> {
        self.state().actor.clone().expect("it has started before anybody has a handle")
    }

    /// A key for this request, when there is one, or why it is not worth waiting for. Whoever drops the future while it
    /// waits leaves the place to the next.
    pub async fn acquire(&self, acquire: Acquire) -> Acquired {
        let asked = self.state().ask(acquire, Now::read(), self);
        match asked {
            Asked::Answered(acquired) => acquired,
            Asked::Waits { place, answered } => {
                let mut seat = Seat { place, answered, balancer: self };
                let acquired = (&mut seat.answered).await;
                seat.place = None;
                acquired.unwrap_or(Err(Unavailable::NoUsableKey))
            }
        }
    }

    /// When could this model be served, should no key be picked for it, and what keeps the keys? `tried` is how many keys
    /// the request has had.
    pub fn foresee(&self, model: &ModelName, tried: usize) -> (Unavailable, Census) {
        let state = self.state();
        (state.table.outlook(model, Now::read()), state.table.census(model, tried))
    }

    /// Finds keys so from now on, and sends requests off by these addresses.
    pub fn rebalance(&self, balancing: Balancing, egresses: Arc<Egresses>) {
        self.state().rebalance(balancing, egresses, Now::read(), self);
    }

    /// Is there an address that this model can be asked through with better hope than by one that refuses?
    pub fn has_open_egress(&self, model: &ModelName) -> bool {
        self.state().egresses.has_open(model, Now::read())
    }

    /// A key failed by no visible fault of its own where another one then succeeded with the same request.
    pub fn is_outlier(&self, key: KeyId, model: &ModelName) {
        self.settle(Settled {
            key,
            model: model.clone(),
            outcome: Outcome::Outlier,
            latency: None,
            leased_at: Instant::now(),
            is_probe: false,
            reservation: None,
            ledger: None,
            is_unused: false,
            group: None,
            usage: None,
            consumer: None,
            egress: None,
        });
    }

    /// Takes a lease back.
    pub(in crate::actors) fn settle(&self, settled: Settled) {
        self.state().settle(settled, Now::read(), self);
    }

    /// Whoever panicked with it left a single key or request in doubt, and the others have to go on.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a question.
pub(super) enum Asked {
    Answered(Acquired),
    Waits { place: Option<Place>, answered: oneshot::Receiver<Acquired> },
}

/// Somebody who waits, for as long as they do.
struct Seat<'a> {
    /// None before any key is known, and once there is an answer.
    place: Option<Place>,
    answered: oneshot::Receiver<Acquired>,
    balancer: &'a BalancerHandle,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        // Nothing was sent with a key that arrives as its request goes, so it counts for nothing. None arrives later.
        self.answered.close();
        if let Ok(Ok(lease)) = self.answered.try_recv() {
            lease.cancel();
        }
        if let Some(place) = self.place.take() {
            self.balancer.state().leave(&place);
        }
    }
}
