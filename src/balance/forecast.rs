//! How long the pool will last: for each model what is left of the quotas, when the next key recovers, and when it runs
//! dry at the present rate.
//!
//! What is not known is not guessed: projects without a known limit are counted, and where there are any, nobody can
//! say when the model runs dry.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::time::Instant;

use super::{
    breaker::{Availability, Routing},
    ledger::{Ledger, ModelUse, WindowUse},
    quota::next_pacific_midnight,
    table::Terms,
};
use crate::domain::{
    model::ModelName,
    placement::ModelRules,
    quota::{LimitSource, LimitTable, ModelLimits},
    time::Now,
};

mod pace;
#[cfg(test)]
mod tests;

pub use pace::{Pace, Rate, SAMPLED_EVERY};

/// Models that are told of, the most used ones; clients can make up any number.
const MODELS: usize = 100;

/// What is to come, model by model, the most used first.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Forecast {
    pub at_ms: i64,
    pub models: Vec<ModelForecast>,
}

#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ModelForecast {
    pub model: ModelName,
    /// Could serve it, now or once they have recovered.
    pub projects: u64,
    /// Have room for a request now.
    pub ready_projects: u64,
    /// What is sent to Google for this model at present, failed attempts included.
    #[serde(flatten)]
    pub rate: Rate,
    /// When the next project that has no room now will have some.
    pub next_recovery_at_ms: Option<i64>,
    pub minute: MinuteForecast,
    pub day: DayForecast,
}

#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct MinuteForecast {
    pub requests: Capacity,
    /// Of prompts.
    pub tokens: Capacity,
    /// Until nothing is left, at the present rate; `null` when that does not happen, or nobody knows.
    pub dry_in_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct DayForecast {
    pub requests: Capacity,
    /// Midnight in Los Angeles.
    pub resets_at_ms: i64,
    /// As for the minute; `null` also when it lasts until the reset.
    pub dry_in_ms: Option<u64>,
}

/// What all projects together may send in a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Capacity {
    /// Of those whose limit is known.
    pub left: u64,
    pub limit: u64,
    /// Projects that may send more, nobody knows how much.
    pub unknown_projects: u64,
    /// Where the limits of the others are known from.
    pub sources: Sources,
}

/// How many projects have their limit from where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Sources {
    pub preset: u64,
    pub observed: u64,
    pub learnt: u64,
    pub hand: u64,
}

impl Sources {
    fn add(&mut self, source: LimitSource, count: u64) {
        *match source {
            LimitSource::Preset => &mut self.preset,
            LimitSource::Observed => &mut self.observed,
            LimitSource::Learnt => &mut self.learnt,
            LimitSource::Hand => &mut self.hand,
        } += count;
    }
}

/// A project: its ledger and, of each of its keys, the verdict and the terms.
pub type Project<'a, K> = (&'a Ledger, K);

/// What was found on a walk over all projects.
#[derive(Debug)]
pub struct Survey {
    now: Now,
    midnight: Instant,
    models: HashMap<ModelName, Tally>,
    /// All projects that are not gone, by what they are alike in. Of most models most of them have no book.
    plain: Vec<Kind>,
}

/// Projects that are alike, as far as no book of theirs says more.
#[derive(Debug)]
struct Kind {
    limits: Arc<LimitTable>,
    /// For some models only, each key by its own; none for all.
    rules: Vec<Arc<ModelRules>>,
    /// They rest today and are back today, they rest for longer, or they do not rest at all.
    rests: Rests,
    /// When the first of them is back.
    back_at: Option<Instant>,
    count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rests {
    No,
    Today,
    Longer,
}

/// Can any key of a project be used?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Presence {
    Ready,
    BackAt(Instant),
    Gone,
}

/// The sums of one model.
#[derive(Debug, Default)]
struct Tally {
    projects: u64,
    ready_projects: u64,
    next_recovery: Option<Instant>,
    minute_requests: Capacity,
    minute_tokens: Capacity,
    day_requests: Capacity,
    used: pace::Used,
    used_today: u64,
    /// How many projects of each kind are counted here by their own books.
    seen: Vec<u64>,
}

/// Walks over all projects; each key comes as its verdict and its terms.
pub fn survey<'a, K>(projects: impl IntoIterator<Item = Project<'a, K>>, now: Now) -> Survey
where
    K: Iterator<Item = (&'a Routing, &'a Terms)> + Clone,
{
    let day_left = (next_pacific_midnight(now.utc) - now.utc).to_std().unwrap_or_default();
    let midnight = now.instant + day_left;
    let mut survey = Survey { now, midnight, models: HashMap::new(), plain: Vec::new() };
    for (ledger, keys) in projects {
        survey.visit(ledger, keys);
    }
    survey
}

impl Survey {
    fn visit<'a>(&mut self, ledger: &Ledger, keys: impl Iterator<Item = (&'a Routing, &'a Terms)> + Clone) {
        let presence = |model: Option<&ModelName>| {
            let keys = keys.clone().map(|(routing, terms)| of_key(routing, terms, model));
            keys.min().unwrap_or(Presence::Gone)
        };
        let kind = self.kind_of(ledger, presence(None), keys.clone());
        let mut usage = ledger.usage(self.now);
        usage.retain(|known| known.model.is_asked());
        for model in &usage {
            let tally = self.models.entry(model.model.clone()).or_default();
            tally.count_use(model);
            let Some(kind) = kind else { continue };
            tally.has_seen(kind);
            tally.add(presence(Some(&model.model)), &model.windows, 1, self.midnight);
        }
        // A model may be closed to a key that never had a book of it.
        let Some(kind) = kind else { return };
        let cooldowns = keys.clone().flat_map(|(routing, _)| &routing.cooldowns);
        for cooldown in cooldowns.filter(|cooldown| cooldown.model.is_asked()) {
            if usage.iter().all(|known| known.model != cooldown.model) {
                self.visit_bookless(ledger, &cooldown.model, presence(Some(&cooldown.model)), kind);
            }
        }
    }

    fn visit_bookless(&mut self, ledger: &Ledger, model: &ModelName, presence: Presence, kind: usize) {
        let windows = WindowUse::unused(ledger.limits().find(model.as_str()));
        let tally = self.models.entry(model.clone()).or_default();
        tally.has_seen(kind);
        tally.add(presence, &windows, 1, self.midnight);
    }

    /// Counts the project among those that it is like; the answer is their number, and `None` for one that is gone.
    fn kind_of<'a>(
        &mut self,
        ledger: &Ledger,
        presence: Presence,
        keys: impl Iterator<Item = (&'a Routing, &'a Terms)> + Clone,
    ) -> Option<usize> {
        let (rests, back_at) = match presence {
            Presence::Gone => return None,
            Presence::Ready => (Rests::No, None),
            Presence::BackAt(at) if at < self.midnight => (Rests::Today, Some(at)),
            Presence::BackAt(at) => (Rests::Longer, Some(at)),
        };
        let has_rules = keys.clone().all(|(_, terms)| terms.models.is_some());
        let rules =
            if has_rules { keys.filter_map(|(_, terms)| terms.models.clone()).collect() } else { Vec::new() };
        let limits = ledger.limits();
        let is_like =
            |kind: &Kind| Arc::ptr_eq(&kind.limits, &limits) && kind.rests == rests && kind.rules == rules;
        let at = self.plain.iter().position(is_like).unwrap_or(self.plain.len());
        if at == self.plain.len() {
            self.plain.push(Kind { limits, rules, rests, back_at, count: 0 });
        }
        let kind = &mut self.plain[at];
        kind.count += 1;
        kind.back_at = kind.back_at.min(back_at);
        Some(at)
    }

    /// Requests and prompt tokens of the last minute, model by model.
    pub fn used(&self) -> impl Iterator<Item = (&ModelName, pace::Used)> {
        self.models.iter().map(|(model, tally)| (model, tally.used))
    }

    /// What follows from it at that pace.
    pub fn forecast(mut self, pace: &Pace) -> Forecast {
        let mut models: Vec<_> = self.models.drain().collect();
        models.sort_by(|(a, left), (b, right)| {
            let weight = |tally: &Tally| (tally.used.requests, tally.used_today);
            weight(right).cmp(&weight(left)).then_with(|| a.cmp(b))
        });
        models.truncate(MODELS);
        let models = models.into_iter().map(|(model, tally)| self.foretell(model, tally, pace));
        Forecast { at_ms: self.now.unix_ms(), models: models.collect() }
    }

    fn foretell(&self, model: ModelName, mut tally: Tally, pace: &Pace) -> ModelForecast {
        for (number, kind) in self.plain.iter().enumerate() {
            let left = kind.count - tally.seen.get(number).copied().unwrap_or(0);
            if left > 0 && kind.allows(&model) {
                let windows = WindowUse::unused(kind.limits.find(model.as_str()));
                let presence = kind.back_at.map_or(Presence::Ready, Presence::BackAt);
                tally.add(presence, &windows, left, self.midnight);
            }
        }
        let rate = pace.rate(&model, tally.used);
        let day_left = self.midnight.saturating_duration_since(self.now.instant);
        let in_ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let minute = [
            tally.minute_requests.minute_dry_in(rate.requests_per_minute, tally.used.requests),
            tally.minute_tokens.minute_dry_in(rate.tokens_per_minute, tally.used.tokens),
        ];
        let day = tally.day_requests.dry_in(rate.requests_per_minute).filter(|dry_in| *dry_in < day_left);
        ModelForecast {
            projects: tally.projects,
            ready_projects: tally.ready_projects,
            rate,
            next_recovery_at_ms: tally.next_recovery.map(|at| self.now.unix_ms_at(at)),
            minute: MinuteForecast {
                requests: tally.minute_requests,
                tokens: tally.minute_tokens,
                dry_in_ms: minute.into_iter().flatten().min().map(in_ms),
            },
            day: DayForecast {
                requests: tally.day_requests,
                resets_at_ms: self.now.unix_ms_at(self.midnight),
                dry_in_ms: day.map(in_ms),
            },
            model,
        }
    }
}

/// As the verdict of its actor and its own rules go, for one model or for any.
fn of_key(routing: &Routing, terms: &Terms, model: Option<&ModelName>) -> Presence {
    let whole = match routing.availability {
        Availability::Ready | Availability::HalfOpen => Presence::Ready,
        Availability::CoolingUntil(until) => Presence::BackAt(until),
        Availability::Out => Presence::Gone,
    };
    let Some(model) = model else { return whole };
    if !terms.allow(model) {
        return Presence::Gone;
    }
    routing.cooldown(model).map_or(whole, |cooldown| whole.max(Presence::BackAt(cooldown.until)))
}

impl Kind {
    fn allows(&self, model: &ModelName) -> bool {
        self.rules.is_empty() || self.rules.iter().any(|rules| rules.allow(model.as_str()))
    }
}

impl Tally {
    fn count_use(&mut self, model: &ModelUse) {
        let [requests, tokens, today] = &model.windows;
        self.used.requests += requests.used;
        self.used.tokens += tokens.used;
        self.used_today += today.used;
    }

    /// A project of that kind is counted by its own book.
    fn has_seen(&mut self, kind: usize) {
        if self.seen.len() <= kind {
            self.seen.resize(kind + 1, 0);
        }
        self.seen[kind] += 1;
    }

    /// Takes in so many projects whose windows stand like this.
    fn add(&mut self, presence: Presence, windows: &[WindowUse; 3], count: u64, midnight: Instant) {
        let back_at = match presence {
            Presence::Gone => return,
            Presence::Ready => None,
            Presence::BackAt(at) => Some(at),
        };
        self.projects += count;
        let [requests, tokens, today] = windows;
        let free_at = windows.iter().filter_map(|window| window.free_at).chain(back_at).max();
        match free_at {
            None => self.ready_projects += count,
            Some(at) => self.next_recovery = Some(self.next_recovery.map_or(at, |next| next.min(at))),
        }
        let is_over_today = free_at.is_some_and(|at| at >= midnight);
        self.day_requests.add(today, is_over_today, count, u64::MAX);
        if !is_over_today {
            let left_today = today.left().unwrap_or(u64::MAX);
            self.minute_requests.add(requests, free_at.is_some(), count, left_today);
            self.minute_tokens.add(tokens, free_at.is_some(), count, u64::MAX);
        }
    }
}

impl Capacity {
    /// Takes in the window of so many projects, of which no more than `at_most` can be used.
    fn add(&mut self, window: &WindowUse, is_blocked: bool, count: u64, at_most: u64) {
        match window.left() {
            Some(left) => {
                let left = if is_blocked { 0 } else { left.min(at_most) };
                self.left = self.left.saturating_add(left.saturating_mul(count));
                if let Some(limit) = window.limit {
                    self.limit = self.limit.saturating_add(limit.value.saturating_mul(count));
                    self.sources.add(limit.source, count);
                }
            }
            None if is_blocked => {}
            None => self.unknown_projects += count,
        }
    }

    /// Until nothing is left, if nothing comes back meanwhile.
    fn dry_in(self, per_minute: f64) -> Option<Duration> {
        if self.unknown_projects > 0 || self.limit == 0 {
            return None;
        }
        if self.left == 0 {
            return Some(Duration::ZERO);
        }
        let seconds = self.left as f64 / per_minute * 60.0;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// The same for the running minute, out of which `used` falls back bit by bit.
    fn minute_dry_in(self, per_minute: f64, used: u64) -> Option<Duration> {
        if self.left > 0 && per_minute <= self.limit as f64 {
            return None;
        }
        self.dry_in((per_minute - used as f64).max(f64::MIN_POSITIVE))
    }
}

impl WindowUse {
    /// What may still be used, where that is known.
    fn left(&self) -> Option<u64> {
        self.limit.map(|limit| limit.value.saturating_sub(self.used))
    }

    /// The windows of a model that was not asked for yet.
    fn unused(limits: ModelLimits) -> [Self; 3] {
        use crate::domain::outcome::{
            QuotaMetric::{Requests, Tokens},
            QuotaWindow::{Day, Minute},
        };
        [
            (Minute, Requests, limits.requests_per_minute),
            (Minute, Tokens, limits.tokens_per_minute),
            (Day, Requests, limits.requests_per_day),
        ]
        .map(|(window, metric, limit)| Self {
            window,
            metric,
            used: 0,
            limit,
            resets: None,
            closed_until: None,
            free_at: None,
        })
    }
}
