//! What is to come, from all ledgers and verdicts: walked over when somebody asks, at most once a second.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use tokio::time::Instant;

use super::Supervisor;
use crate::{
    actors::Observe,
    balance::forecast::{Forecast, Pace, Survey, survey},
    domain::time::Now,
};

/// A walk over 100,000 projects takes some tens of milliseconds, so whoever asks again at once gets the last one.
const GOOD_FOR: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Forecasts {
    pace: Pace,
    last: Option<(Instant, Arc<Forecast>)>,
}

impl Supervisor {
    fn survey(&self, now: Now) -> Survey {
        let projects = self.projects.iter().map(|(ledger, members)| {
            let entries = members.iter().filter_map(|key| self.keys.get(key));
            (ledger, entries.map(|entry| (&*entry.routing, &entry.place.terms)))
        });
        survey(projects, now)
    }

    /// Notes what was sent in the last minute.
    pub(super) fn sample_pace(&mut self) {
        let survey = self.survey(Now::read());
        self.forecasts.pace.sample(&survey);
    }
}

impl Handler<Observe<Arc<Forecast>>> for Supervisor {
    type Result = Arc<Forecast>;

    fn handle(&mut self, _: Observe<Arc<Forecast>>, _: &mut Context<Self>) -> Self::Result {
        let now = Now::read();
        match &self.forecasts.last {
            Some((at, forecast)) if now.instant < *at + GOOD_FOR => forecast.clone(),
            _ => {
                let forecast = Arc::new(self.survey(now).forecast(&self.forecasts.pace));
                self.forecasts.last = Some((now.instant, forecast.clone()));
                forecast
            }
        }
    }
}
