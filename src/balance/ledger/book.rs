//! The windows of one model in one project.

use tokio::time::Instant;

use super::{
    ModelUse, Moment, Reservation, Spent, WindowUse,
    ceiling::{Ceiling, MIN_TOKENS},
    day::Day,
    guess::Guesses,
    minute::Minute,
    quota,
};
use crate::domain::{
    model::ModelName,
    outcome::{QuotaExceeded, QuotaMetric, QuotaWindow},
    quota::ModelLimits,
    time::Now,
};

/// A window that is fuller than this is taken for the one that a refusal without a name means.
const NEARLY_FULL: f32 = 0.1;

#[derive(Debug)]
pub(super) struct Book {
    pub(super) model: ModelName,
    /// The tick of the first reservation: what was reserved before was counted in an older book.
    pub(super) opened: u32,
    pub(super) minute: Minute,
    pub(super) day: Day,
    guesses: Guesses,
    pub(super) minute_requests: Ceiling,
    pub(super) minute_tokens: Ceiling,
    pub(super) day_requests: Ceiling,
    /// Closed by Google, whatever was counted here.
    pub(super) minute_closed: Option<Instant>,
    pub(super) day_closed: Option<Instant>,
    /// Requests that Google refused while the minute has been closed.
    minute_refused: u64,
    /// Google has answered for this model, so it is one.
    pub(super) is_served: bool,
}

impl Book {
    pub(super) fn new(model: ModelName, limits: ModelLimits, now: Moment) -> Self {
        let ceiling = |window, given| Ceiling::new(window, given, now.instant);
        Self {
            model,
            opened: now.tick,
            minute: Minute::default(),
            day: Day::new(now.wall),
            guesses: Guesses::default(),
            minute_requests: ceiling(QuotaWindow::Minute, limits.requests_per_minute),
            minute_tokens: ceiling(QuotaWindow::Minute, limits.tokens_per_minute),
            day_requests: ceiling(QuotaWindow::Day, limits.requests_per_day),
            minute_closed: None,
            day_closed: None,
            minute_refused: 0,
            is_served: false,
        }
    }

    /// Others are given from now on; what was found out stays, unless it is less. A window whose limit has grown is open
    /// again.
    pub(super) fn set_given(&mut self, limits: ModelLimits, now: Instant) {
        let requests_grew = self.minute_requests.set_given(limits.requests_per_minute, now);
        let tokens_grew = self.minute_tokens.set_given(limits.tokens_per_minute, now);
        if requests_grew || tokens_grew {
            self.minute_closed = None;
        }
        if self.day_requests.set_given(limits.requests_per_day, now) {
            self.day_closed = None;
        }
    }

    /// Forgets what Google has refused. What was used stays counted.
    pub(super) fn forget_refusals(&mut self, now: Instant) {
        for ceiling in [&mut self.minute_requests, &mut self.minute_tokens, &mut self.day_requests] {
            ceiling.forget(now);
        }
        (self.minute_closed, self.day_closed, self.minute_refused) = (None, None, 0);
    }

    /// Whether something would be lost with it that only refusals could teach again.
    pub(super) fn is_known(&self) -> bool {
        [&self.minute_requests, &self.minute_tokens, &self.day_requests]
            .iter()
            .any(|ceiling| ceiling.is_found())
            || self.minute_closed.is_some()
            || self.day_closed.is_some()
    }

    pub(super) fn last_used(&self) -> u32 {
        self.minute.newest().max(self.opened)
    }

    pub(super) fn reserve(&mut self, tokens: u64, now: Moment) -> Result<Reservation, Spent> {
        self.advance(now);
        let guess = u32::try_from(tokens).unwrap_or(u32::MAX);
        let tokens = self.guesses.allow_for(guess);
        if let Some(spent) = self.spent(u64::from(tokens), now) {
            return Err(spent);
        }
        let tick = self.minute.add(now.tick, 1, tokens);
        self.day.add();
        Ok(Reservation { tick, day: self.day.serial(), guess, tokens })
    }

    pub(super) fn settle(&mut self, reservation: Reservation, spent: u64, now: u32) {
        self.minute.advance(now);
        self.is_served = true;
        let spent = u32::try_from(spent).unwrap_or(u32::MAX);
        self.guesses.learn(reservation.guess, spent);
        if reservation.tick >= self.opened {
            self.minute.settle(reservation.tick, reservation.tokens, spent);
        }
    }

    pub(super) fn refund(&mut self, reservation: Reservation, now: u32) {
        self.minute.advance(now);
        if reservation.tick >= self.opened {
            self.minute.refund(reservation.tick, reservation.tokens);
            self.day.refund(reservation.day);
        }
    }

    /// See [`Ledger::exceeded`](super::Ledger::exceeded).
    pub(super) fn exceeded(&mut self, exceeded: &QuotaExceeded, now: Now, moment: Moment) -> Option<Instant> {
        self.advance(moment);
        let window = match exceeded.window {
            QuotaWindow::Unknown => self.nearly_full(moment)?,
            named => named,
        };
        let cooldown = quota::quota_cooldown(&QuotaExceeded { window, ..*exceeded }, now.utc)?;
        let until = now.instant + cooldown;
        // Those that were on their way when the window closed repeat what the first has said.
        let closed = match window {
            QuotaWindow::Day => &mut self.day_closed,
            QuotaWindow::Minute | QuotaWindow::Unknown => &mut self.minute_closed,
        };
        let is_first = closed.is_none();
        let until = closed.map_or(until, |end| end.max(until));
        *closed = Some(until);
        if window == QuotaWindow::Minute {
            self.minute_refused = if is_first { 1 } else { self.minute_refused + 1 };
        }
        self.learn(window, exceeded, is_first, moment);
        self.day.refund(self.day.serial());
        Some(until)
    }

    pub(super) fn headroom(&mut self, now: Moment) -> f32 {
        self.advance(now);
        if self.minute_closed.is_some() || self.day_closed.is_some() {
            return 0.0;
        }
        self.minute_requests
            .share_left(self.minute.requests())
            .min(self.minute_tokens.share_left(self.minute.tokens()))
            .min(self.day_requests.share_left(self.day.used(now.wall)))
    }

    pub(super) fn usage(&mut self, now: Moment) -> ModelUse {
        self.advance(now);
        let minute_resets = (self.minute.requests() > 0).then(|| now.ticks.expiry(self.minute.newest()));
        let used_today = self.day.used(now.wall);
        let day_resets = (used_today > 0).then(|| now.instant + self.day.ends_in(now.wall));
        let window = |window, metric, used, ceiling: &Ceiling, resets, closed_until| WindowUse {
            window,
            metric,
            used,
            limit: ceiling.limit(),
            resets,
            closed_until,
            free_at: None,
        };
        use QuotaMetric::{Requests, Tokens};
        use QuotaWindow::{Day, Minute};
        let (minute, closed) = (&self.minute, self.minute_closed);
        let mut windows = [
            window(Minute, Requests, minute.requests(), &self.minute_requests, minute_resets, closed),
            window(Minute, Tokens, minute.tokens(), &self.minute_tokens, minute_resets, closed),
            window(Day, Requests, used_today, &self.day_requests, day_resets, self.day_closed),
        ];
        for (window, full_until) in windows.iter_mut().zip(self.full_until(1, now)) {
            window.free_at = full_until.max(window.closed_until);
        }
        ModelUse { model: self.model.clone(), windows }
    }

    /// Lets pass what has passed: old ticks, yesterday, closures, and ceilings that give way.
    pub(super) fn advance(&mut self, now: Moment) {
        self.minute.advance(now.tick);
        self.day.advance(now.wall);
        for closed in [&mut self.minute_closed, &mut self.day_closed] {
            if closed.is_some_and(|until| until <= now.instant) {
                *closed = None;
            }
        }
        for ceiling in [&mut self.minute_requests, &mut self.minute_tokens, &mut self.day_requests] {
            ceiling.advance(now.instant);
        }
    }

    /// Why there is no room, if there is none: of all windows that are full, the one that is so for longest.
    fn spent(&mut self, need: u64, now: Moment) -> Option<Spent> {
        let [mut requests, mut tokens, mut day] = self.full_until(need, now);
        if requests.is_none() && tokens.is_none() && day.is_none() && !self.is_closed() {
            return None;
        }
        // A prompt that is larger than its limit says nothing about the limit.
        let fits = self.minute_tokens.limit().is_none_or(|limit| need <= limit.value);
        for (ceiling, until) in [
            (&mut self.minute_requests, requests.as_mut()),
            (&mut self.minute_tokens, tokens.as_mut().filter(|_| fits)),
            (&mut self.day_requests, day.as_mut()),
        ] {
            if let Some(until) = until {
                *until = ceiling.held_back(now.instant, *until);
            }
        }
        use QuotaMetric::{Requests, Tokens, Unknown};
        use QuotaWindow::{Day, Minute};
        let blocks = [
            (requests, Minute, Requests),
            (tokens, Minute, Tokens),
            (day, Day, Requests),
            (self.minute_closed, Minute, Unknown),
            (self.day_closed, Day, Unknown),
        ];
        let blocks = blocks
            .into_iter()
            .filter_map(|(until, window, metric)| Some(Spent { until: until?, window, metric }));
        blocks.max_by_key(|spent| spent.until)
    }

    /// Until when the requests and tokens of the minute and the requests of the day leave no room for such a prompt.
    fn full_until(&self, tokens: u64, now: Moment) -> [Option<Instant>; 3] {
        let requests = self.minute.blocking_tick(self.minute_requests.allows(1), u64::MAX);
        let tokens = self.minute.blocking_tick(u64::MAX, self.minute_tokens.allows(tokens));
        let day = self.day.blocked_for(now.wall, self.day_requests.allows(1));
        [
            requests.map(|tick| now.ticks.expiry(tick)),
            tokens.map(|tick| now.ticks.expiry(tick)),
            day.map(|left| now.instant + left),
        ]
    }

    fn is_closed(&self) -> bool {
        self.minute_closed.is_some() || self.day_closed.is_some()
    }

    fn learn(&mut self, window: QuotaWindow, exceeded: &QuotaExceeded, is_first: bool, now: Moment) {
        let used_today = self.day.used(now.wall);
        let (ceiling, went_well) = match (window, exceeded.metric) {
            (QuotaWindow::Minute, QuotaMetric::Requests) => {
                (&mut self.minute_requests, self.minute.requests().saturating_sub(self.minute_refused))
            }
            // How large the refused prompt was is not known here.
            (QuotaWindow::Minute, QuotaMetric::Tokens) => {
                let used = self.minute.tokens();
                (&mut self.minute_tokens, (used - used / 8).max(MIN_TOKENS))
            }
            (QuotaWindow::Day, QuotaMetric::Requests) => {
                (&mut self.day_requests, used_today.saturating_sub(1))
            }
            // Pictures, tokens of a day, and what Google may think of next are not counted here.
            _ => return,
        };
        match exceeded.limit {
            Some(limit) if limit > 0 => ceiling.learn(limit, now.instant),
            // A day that was not seen from its beginning tells nothing.
            _ if window == QuotaWindow::Day && self.day.serial() == 0 => {}
            _ if is_first => ceiling.observe(went_well, now.instant),
            _ => ceiling.observe_again(went_well),
        }
    }

    /// The window that is as good as full by our own count.
    fn nearly_full(&self, now: Moment) -> Option<QuotaWindow> {
        let day = self.day_requests.share_left(self.day.used(now.wall));
        let minute = self.minute_requests.share_left(self.minute.requests());
        let tokens = self.minute_tokens.share_left(self.minute.tokens());
        if day <= NEARLY_FULL {
            Some(QuotaWindow::Day)
        } else if minute.min(tokens) <= NEARLY_FULL {
            Some(QuotaWindow::Minute)
        } else {
            None
        }
    }
}
