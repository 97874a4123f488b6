//! Telling the balancer of keys, and asking it what it holds behind everything that it was told before.

use std::time::Duration;

use actix::prelude::*;
use tokio::time::timeout;

use super::{KeyRoute, KeysRouted, Supervisor};
use crate::actors::{Observe, balancer::BalancerSnapshot};

/// Whoever takes longer to answer is left out of the picture.
const PATIENCE: Duration = Duration::from_secs(1);

/// Command: tell this balancer of every key, now and whenever one changes.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Subscribe {
    pub routes: Recipient<KeysRouted>,
    pub observe: Recipient<Observe<BalancerSnapshot>>,
}

impl Handler<Subscribe> for Supervisor {
    type Result = ();

    fn handle(&mut self, balancer: Subscribe, _: &mut Context<Self>) {
        balancer.routes.do_send(KeysRouted(self.keys.values().map(|entry| entry.route()).collect()));
        self.balancer = Some(balancer);
    }
}

impl Supervisor {
    pub(super) fn announce(&self, routes: &[KeyRoute]) {
        if let Some(balancer) = &self.balancer {
            balancer.routes.do_send(KeysRouted(routes.to_vec()));
        }
    }
}

/// The balancer's own snapshot, if it answers.
impl Handler<Observe<Option<BalancerSnapshot>>> for Supervisor {
    type Result = ResponseFuture<Option<BalancerSnapshot>>;

    fn handle(&mut self, _: Observe<Option<BalancerSnapshot>>, _: &mut Context<Self>) -> Self::Result {
        let asked =
            self.balancer.as_ref().map(|balancer| timeout(PATIENCE, balancer.observe.send(Observe::new())));
        Box::pin(async { asked?.await.ok()?.ok() })
    }
}
