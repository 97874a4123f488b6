//! The cron table: what happens when. It sends messages; the work is done by whoever gets them.

use std::{future::Future, pin::Pin, str::FromStr, sync::Arc, time::Duration};

use actix::prelude::*;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use cron::Schedule;
use serde::Serialize;
use tracing::debug;

use super::{
    SettingsChanged,
    recheck::{Recheck, RecheckSuspects},
    updates::{LookForUpdate, Updates},
};
use crate::{
    actors::{
        Observe,
        archive::{Archive, PruneResponses},
        cluster::Lead,
        logger::{Logger, Prune, PruneSums, StatesSampled},
        registrar::{PruneResources, Registrar, Registry},
        supervisor::{PoolSnapshot, PruneLedgers, PurgeKeys, Supervisor},
    },
    config::Config,
};

/// The clock is looked at this often at least, so that a clock that was set is noticed.
const LONGEST_NAP: Duration = Duration::from_secs(10 * 60);

/// Ten past midnight.
const NIGHTLY: &str = "0 10 0 * * *";
const HOURLY: &str = "0 20 * * * *";
const EVERY_MINUTE: &str = "0 * * * * *";

/// Who does it where several nodes share the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// Each node, as what it does is its own.
    Itself,
    /// The node that has the lead.
    All,
}

type Work = Box<dyn Fn(&Config) -> Pin<Box<dyn Future<Output = ()>>>>;

/// A row of the table.
struct Task {
    name: &'static str,
    is_for: For,
    schedule: Schedule,
    /// Runs every so many times that the schedule says; 0 is never.
    every: fn(&Config) -> u32,
    skipped: u32,
    runs: u64,
    work: Work,
    /// Until it is due; none while it runs.
    nap: Option<SpawnHandle>,
}

/// Snapshot: a row of the table.
#[derive(Debug, Clone, Serialize)]
pub struct TaskSnapshot {
    pub name: &'static str,
    pub runs: u64,
    /// The next time that its schedule says; Unix milliseconds.
    pub next_at_ms: Option<i64>,
}

pub struct Scheduler {
    config: Arc<Config>,
    lead: Arc<Lead>,
    tasks: Vec<Task>,
}

impl Scheduler {
    /// An empty table.
    pub fn new(config: Arc<Config>, lead: Arc<Lead>) -> Self {
        Self { config, lead, tasks: Vec::new() }
    }

    /// Re-checks suspect keys every so many hours, at a moment that differs from node to node: each has its own suspects,
    /// as it judges keys by what it has seen of them.
    #[must_use]
    pub fn rechecking(self, recheck: Addr<Recheck>) -> Self {
        let (minute, second) = (rand::random_range(0..60u8), rand::random_range(0..60u8));
        let expression = format!("{second} {minute} * * * *");
        self.task("re-check of suspect keys", For::Itself, &expression, check_interval_hours, move |_| {
            let recheck = recheck.clone();
            Box::pin(async move {
                let _ = recheck.send(RecheckSuspects).await;
            })
        })
    }

    /// Deletes old log rows and sums every hour.
    #[must_use]
    pub fn pruning(self, logger: Addr<Logger>) -> Self {
        self.task("deletion of old log rows", For::All, HOURLY, always, move |config| {
            let logger = logger.clone();
            let prune = Prune {
                requests_older_than: config.logs.request_retention,
                errors_older_than: config.logs.error_retention,
                events_older_than: Some(config.logs.event_retention),
                max_rows: config.logs.max_rows,
            };
            Box::pin(async move {
                let _ = logger.send(prune).await;
                let _ = logger.send(PruneSums).await;
            })
        })
    }

    /// Notes every minute how many keys are in which state. The table has one row a minute, so one node looks.
    #[must_use]
    pub fn sampling(self, supervisor: Addr<Supervisor>, logger: Addr<Logger>) -> Self {
        self.task("states of keys", For::All, EVERY_MINUTE, always, move |_| {
            let (supervisor, logger) = (supervisor.clone(), logger.clone());
            Box::pin(async move {
                let Ok(pool) = supervisor.send(Observe::<PoolSnapshot>::new()).await else { return };
                let _ = logger.send(StatesSampled(pool.states)).await;
            })
        })
    }

    /// Deletes old responses every night.
    #[must_use]
    pub fn clearing(self, archive: Addr<Archive>) -> Self {
        self.task("deletion of old responses", For::All, NIGHTLY, always, move |config| {
            let archive = archive.clone();
            let prune = PruneResponses { older_than: config.responses.retention };
            Box::pin(async move {
                let _ = archive.send(prune).await;
            })
        })
    }

    /// Forgets resources that have ended at Google.
    #[must_use]
    pub fn forgetting(self, registry: Arc<Registry>, registrar: Addr<Registrar>) -> Self {
        let forgetting = self.task("forgetting of ended resources", For::Itself, HOURLY, always, move |_| {
            let registry = registry.clone();
            Box::pin(async move { registry.expire() })
        });
        forgetting.task("deletion of ended resources", For::All, HOURLY, always, move |_| {
            let registrar = registrar.clone();
            Box::pin(async move {
                let _ = registrar.send(PruneResources).await;
            })
        })
    }

    /// Ends for good what was deleted in the dashboard a while ago.
    #[must_use]
    pub fn purging(self, supervisor: Addr<Supervisor>) -> Self {
        self.task("purging of deleted keys", For::All, EVERY_MINUTE, always, move |_| {
            let supervisor = supervisor.clone();
            Box::pin(async move {
                let _ = supervisor.send(PurgeKeys).await;
            })
        })
    }

    /// Forgets the quota ledgers of projects that are gone.
    #[must_use]
    pub fn forgetting_projects(self, supervisor: Addr<Supervisor>) -> Self {
        self.task("forgetting of projects without keys", For::All, NIGHTLY, always, move |_| {
            let supervisor = supervisor.clone();
            Box::pin(async move {
                let _ = supervisor.send(PruneLedgers).await;
            })
        })
    }

    /// Looks for newer releases once a day, at a moment that differs from node to node: each shows what it has found.
    #[must_use]
    pub fn updating(self, updates: Addr<Updates>) -> Self {
        let (hour, minute) = (rand::random_range(0..24u8), rand::random_range(0..60u8));
        let expression = format!("0 {minute} {hour} * * *");
        self.task("look for a newer release", For::Itself, &expression, always, move |_| {
            let updates = updates.clone();
            Box::pin(async move {
                let _ = updates.send(LookForUpdate).await;
            })
        })
    }

    fn task(
        mut self,
        name: &'static str,
        is_for: For,
        expression: &str,
        every: fn(&Config) -> u32,
        work: impl Fn(&Config) -> Pin<Box<dyn Future<Output = ()>>> + 'static,
    ) -> Self {
        let schedule =
            Schedule::from_str(expression).expect("the expressions of this table are written here");
        self.tasks.push(Task {
            name,
            is_for,
            schedule,
            every,
            skipped: 0,
            runs: 0,
            work: Box::new(work),
            nap: None,
        });
        self
    }

    /// Sleeps until the task is due, in naps; it is planned again when its work has ended, so that two runs never
    /// overlap.
    fn plan(&mut self, index: usize, ctx: &mut Context<Self>) {
        let timezone = self.config.logs.timezone;
        if let Some(due) = next_due(&self.tasks[index].schedule, timezone, Utc::now()) {
            self.wait(index, due, ctx);
        }
    }

    fn wait(&mut self, index: usize, due: DateTime<Utc>, ctx: &mut Context<Self>) {
        let ahead = (due - Utc::now()).to_std().unwrap_or(Duration::ZERO);
        let nap = ctx.run_later(ahead.min(LONGEST_NAP), move |scheduler, ctx| {
            if Utc::now() < due {
                scheduler.wait(index, due, ctx);
            } else {
                scheduler.run(index, ctx);
            }
        });
        self.tasks[index].nap = Some(nap);
    }

    fn run(&mut self, index: usize, ctx: &mut Context<Self>) {
        let task = &mut self.tasks[index];
        task.nap = None;
        if task.is_for == For::All && !self.lead.is_ours() {
            return self.plan(index, ctx);
        }
        task.skipped += 1;
        let every = (task.every)(&self.config);
        if every == 0 || task.skipped < every {
            return self.plan(index, ctx);
        }
        (task.skipped, task.runs) = (0, task.runs + 1);
        debug!(task = task.name, "scheduled work begins");
        let work = (task.work)(&self.config);
        ctx.spawn(work.into_actor(self).map(move |(), scheduler, ctx| scheduler.plan(index, ctx)));
    }
}

fn always(_: &Config) -> u32 {
    1
}

fn check_interval_hours(config: &Config) -> u32 {
    let hours = config.pool.check_interval.map_or(0, |interval| interval.as_secs() / 3600);
    u32::try_from(hours).unwrap_or(u32::MAX)
}

/// The next time that the schedule names on the clocks of that zone.
fn next_due(schedule: &Schedule, timezone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    schedule.after(&now.with_timezone(&timezone)).next().map(|due| due.with_timezone(&Utc))
}

impl Actor for Scheduler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        (0..self.tasks.len()).for_each(|index| self.plan(index, ctx));
    }
}

/// What runs now is planned anew when it has ended.
impl Handler<SettingsChanged> for Scheduler {
    type Result = ();

    fn handle(&mut self, changed: SettingsChanged, ctx: &mut Context<Self>) {
        self.config = changed.config;
        for index in 0..self.tasks.len() {
            if let Some(nap) = self.tasks[index].nap.take() {
                ctx.cancel_future(nap);
                self.plan(index, ctx);
            }
        }
    }
}

impl Handler<Observe<Vec<TaskSnapshot>>> for Scheduler {
    type Result = MessageResult<Observe<Vec<TaskSnapshot>>>;

    fn handle(&mut self, _: Observe<Vec<TaskSnapshot>>, _: &mut Context<Self>) -> Self::Result {
        let (now, timezone) = (Utc::now(), self.config.logs.timezone);
        let snapshot = |task: &Task| TaskSnapshot {
            name: task.name,
            runs: task.runs,
            next_at_ms: next_due(&task.schedule, timezone, now).map(|due| due.timestamp_millis()),
        };
        MessageResult(self.tasks.iter().map(snapshot).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(expression: &str, timezone: Tz, now: &str) -> String {
        let schedule = Schedule::from_str(expression).unwrap();
        next_due(&schedule, timezone, now.parse().unwrap()).unwrap().to_rfc3339()
    }

    #[test]
    fn the_night_is_that_of_the_configured_zone() {
        assert_eq!(due(NIGHTLY, Tz::UTC, "2026-11-23T12:00:00Z"), "2026-11-24T00:10:00+00:00");
        assert_eq!(due(NIGHTLY, Tz::Asia__Shanghai, "2026-11-23T12:00:00Z"), "2026-11-23T16:10:00+00:00");
    }

    #[test]
    fn every_night_has_its_run_also_when_clocks_change() {
        let zone = Tz::America__Los_Angeles;
        // The days of 2026 on which clocks go forward and back.
        assert_eq!(due(NIGHTLY, zone, "2026-03-08T20:00:00Z"), "2026-03-09T07:10:00+00:00");
        assert_eq!(due(NIGHTLY, zone, "2026-11-01T20:00:00Z"), "2026-11-02T08:10:00+00:00");
    }
}
