//! Who is told of keys: the balancer, and what it holds.

use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::{KeyRoute, KeysRouted, Supervisor};
use crate::actors::{Observe, balancer::BalancerSnapshot};

/// A thread that takes longer to answer is left out of the picture.
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
        self.balancers.retain(|known| known.routes.connected());
        balancer.routes.do_send(KeysRouted(self.keys.values().map(|entry| entry.route()).collect()));
        self.balancers.push(balancer);
    }
}

impl Supervisor {
    pub(super) fn announce(&self, routes: &[KeyRoute]) {
        for balancer in &self.balancers {
            balancer.routes.do_send(KeysRouted(routes.to_vec()));
        }
    }
}

/// Every balancer's own, as far as they answer.
impl Handler<Observe<Vec<BalancerSnapshot>>> for Supervisor {
    type Result = ResponseFuture<Vec<BalancerSnapshot>>;

    fn handle(&mut self, _: Observe<Vec<BalancerSnapshot>>, _: &mut Context<Self>) -> Self::Result {
        let asked = self.balancers.iter().map(|balancer| balancer.observe.send(Observe::new()));
        let asked = join_all(asked.map(|answer| timeout(PATIENCE, answer)));
        Box::pin(async { asked.await.into_iter().filter_map(|answer| answer.ok()?.ok()).collect() })
    }
}
