//! The limit of one window: given, learnt from Google, or felt for.
//!
//! Google's word counts, but neither presets nor what was once learnt are true for ever: a project moves to another
//! tier, a preset was a guess. A ceiling that holds requests back therefore gives way by a step now and then; if Google
//! agrees it goes on by larger ones, if not the answer teaches the right limit again. What nothing but a preset speaks for
//! is put to the test within seconds, even where the window is a day. Limits set by hand never give way.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{
    outcome::QuotaWindow,
    quota::{Limit, LimitSource},
};

/// How long Google's own figure is not put to the test, for a window of a minute and of a day. Each test that fails
/// costs one refused request.
const LEARNT_FOR_MINUTE: Duration = Duration::from_secs(24 * 60 * 60);
const LEARNT_FOR_DAY: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long an assumption may hold requests back before it is put to the test: long enough for the answers to the last.
const ASSUMED_FOR: Duration = Duration::from_secs(10);
/// Refusals in a row below a learnt limit, without a figure, until it is doubted.
const DOUBTS: u8 = 3;
/// The patience after refusals doubles up to this power of two of windows.
const MAX_REFUSALS: u8 = 10;
/// A single prompt may well have a thousand tokens; a ceiling below would hold up everything.
pub(super) const MIN_TOKENS: u64 = 1000;

fn at_least_one(limit: Limit) -> Limit {
    Limit { value: limit.value.max(1), ..limit }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Ceiling {
    window: QuotaWindow,
    /// By hand or from a preset.
    given: Option<Limit>,
    /// Learnt or observed.
    found: Option<Limit>,
    /// Not to be put to the test before this.
    firm_until: Instant,
    /// It held requests back and gives way by a step then.
    grows_at: Option<Instant>,
    /// Refusals since it last grew twice.
    refusals: u8,
    /// Steps since the last refusal.
    steps: u8,
    doubts: u8,
}

impl Ceiling {
    /// A given limit of 0 counts as 1: a model that must not be used at all is no matter of quotas.
    pub(super) fn new(window: QuotaWindow, given: Option<Limit>, now: Instant) -> Self {
        Self {
            window,
            given: given.map(at_least_one),
            found: None,
            firm_until: now,
            grows_at: None,
            refusals: 0,
            steps: 0,
            doubts: 0,
        }
    }

    /// Another limit is given from now on. One that is higher than what was found out says that the project has grown
    /// since, so that Google's figure of then is forgotten. True if it was.
    pub(super) fn set_given(&mut self, given: Option<Limit>, now: Instant) -> bool {
        let given = given.map(at_least_one);
        let is_news = given != std::mem::replace(&mut self.given, given);
        let is_higher = given.zip(self.found).is_some_and(|(given, found)| given.value > found.value);
        if is_news && is_higher {
            self.forget(now);
        }
        is_news && is_higher
    }

    /// As if nothing had been found out.
    pub(super) fn forget(&mut self, now: Instant) {
        *self = Self::new(self.window, self.given, now);
    }

    /// What holds now: what was found out before a preset, and never more than a limit by hand.
    pub(super) fn limit(&self) -> Option<Limit> {
        match (self.given, self.found) {
            (Some(hand), Some(found)) if hand.source == LimitSource::Hand && hand.value <= found.value => {
                Some(hand)
            }
            (_, Some(found)) => Some(found),
            (given, None) => given,
        }
    }

    /// How much may be used for a request of that size to have room; no limit is a limit of `u64::MAX`. One that is
    /// larger than the limit goes when nothing else is counted, as Google is the judge of it.
    pub(super) fn allows(&self, need: u64) -> u64 {
        self.limit().map_or(u64::MAX, |limit| limit.value.saturating_sub(need))
    }

    pub(super) fn is_found(&self) -> bool {
        self.found.is_some()
    }

    /// The share that is left of it, from 0 to 1; nothing known leaves everything.
    pub(super) fn share_left(&self, used: u64) -> f32 {
        match self.limit() {
            Some(Limit { value: 0, .. }) => 0.0,
            Some(limit) => 1.0 - (used.min(limit.value) as f32 / limit.value as f32),
            None => 1.0,
        }
    }

    /// It holds a request back until then. If it is due for a test, it gives way at that time, or before. Returns when
    /// there is room.
    pub(super) fn held_back(&mut self, now: Instant, until: Instant) -> Instant {
        let by_hand = self.limit().is_some_and(|limit| limit.source == LimitSource::Hand);
        if !by_hand && self.grows_at.is_none() && now >= self.firm_until {
            let test_at = if self.is_assumed() { until.min(now + ASSUMED_FOR) } else { until };
            self.grows_at = Some(test_at);
        }
        self.grows_at.map_or(until, |test_at| test_at.min(until))
    }

    /// Google has neither named it nor refused anything for it lately.
    fn is_assumed(&self) -> bool {
        self.refusals == 0 && self.found.is_none_or(|found| found.source == LimitSource::Observed)
    }

    /// What it gives way by: little at first, as a test that fails costs requests, and twice as much with each that goes
    /// well.
    fn step(&self, value: u64) -> u64 {
        let largest = if self.is_assumed() { value / 2 } else { value / 8 };
        (value / 64).max(1).saturating_mul(1 << self.steps.min(32)).min(largest.max(1))
    }

    /// Takes the step that is due.
    pub(super) fn advance(&mut self, now: Instant) {
        if self.grows_at.is_none_or(|due| now < due) {
            return;
        }
        self.grows_at = None;
        self.firm_until = if self.is_assumed() { now } else { now + Self::span(self.window) };
        let Some(limit) = self.limit() else { return };
        let value = limit.value.saturating_add(self.step(limit.value));
        self.found = Some(Limit { value, source: LimitSource::Observed });
        self.steps = self.steps.saturating_add(1);
        if self.steps >= 2 {
            self.refusals = 0;
        }
    }

    /// Google named its limit. One of 0 means that the model is not offered, which is no limit to learn.
    pub(super) fn learn(&mut self, value: u64, now: Instant) {
        self.found = Some(Limit { value: value.max(1), source: LimitSource::Learnt });
        let firm = if self.window == QuotaWindow::Day { LEARNT_FOR_DAY } else { LEARNT_FOR_MINUTE };
        self.firm_until = now + firm;
        (self.grows_at, self.refusals, self.steps, self.doubts) = (None, 0, 0, 0);
    }

    /// Google refused without naming a limit, when this much had gone well.
    pub(super) fn observe(&mut self, went_well: u64, now: Instant) {
        let went_well = went_well.max(1);
        let known = self.limit();
        if let Some(Limit { value, source: LimitSource::Learnt }) = known {
            // Somebody else may use the project; only a habit means that the limit was lowered.
            self.doubts = if went_well < value { self.doubts.saturating_add(1) } else { 0 };
            if self.doubts < DOUBTS {
                return;
            }
        }
        let value = known.map_or(went_well, |limit| limit.value.min(went_well));
        self.found = Some(Limit { value, source: LimitSource::Observed });
        self.refusals = (self.refusals + 1).min(MAX_REFUSALS);
        self.firm_until = now + Self::span(self.window) * (1 << self.refusals);
        (self.grows_at, self.steps, self.doubts) = (None, 0, 0);
    }

    /// Google refused another of the same burst: less had gone well than the first refusal let think.
    pub(super) fn observe_again(&mut self, went_well: u64) {
        if let Some(Limit { value, source: LimitSource::Observed }) = &mut self.found {
            *value = went_well.clamp(1, *value);
        }
    }

    /// What was found, and until when it is firm: what a restart must not forget.
    pub(super) fn stored(&self) -> Option<(Limit, Instant)> {
        self.found.map(|found| (found, self.firm_until))
    }

    /// Of what was stored, limits of nothing and sources that no ceiling finds are left out.
    pub(super) fn restore(&mut self, found: Limit, firm_until: Instant, now: Instant) {
        let is_found = matches!(found.source, LimitSource::Learnt | LimitSource::Observed);
        if is_found && found.value > 0 {
            self.found = Some(found);
            self.firm_until = firm_until.min(now + LEARNT_FOR_DAY);
        }
    }

    /// A day gives way at midnight anyhow, so it need not be patient besides.
    fn span(window: QuotaWindow) -> Duration {
        match window {
            QuotaWindow::Minute => Duration::from_secs(60),
            QuotaWindow::Day | QuotaWindow::Unknown => Duration::ZERO,
        }
    }
}
