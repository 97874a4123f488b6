//! One reading of both clocks, so that pure code never asks for the time itself.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// The same moment on the clock that measures (it never jumps) and on the clock that people read.
///
/// Cooldowns run on the first, so that a corrected wall clock neither ends nor stretches them; what is stored or
/// ends at a calendar boundary is converted through the second.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub instant: Instant,
    pub utc: DateTime<Utc>,
}

impl Now {
    pub fn read() -> Self {
        let instant = Instant::now();
        Self { instant, utc: wall_clock(instant) }
    }

    pub fn unix_ms(self) -> i64 {
        self.utc.timestamp_millis()
    }

    /// When that instant is, in Unix milliseconds.
    pub fn unix_ms_at(self, instant: Instant) -> i64 {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        match instant.checked_duration_since(self.instant) {
            Some(ahead) => self.unix_ms().saturating_add(ms(ahead)),
            None => self.unix_ms().saturating_sub(ms(self.instant - instant)),
        }
    }

    /// The instant of a stored time; a time that has passed, or lies more than 400 days ahead, is now.
    pub fn instant_at(self, unix_ms: i64) -> Instant {
        const FARTHEST: Duration = Duration::from_secs(400 * 24 * 60 * 60);
        let ahead = u64::try_from(unix_ms.saturating_sub(self.unix_ms())).unwrap_or(0);
        let ahead = Duration::from_millis(ahead);
        if ahead > FARTHEST { self.instant } else { self.instant + ahead }
    }

    /// The instant of a time that somebody has chosen, however far ahead; one that has passed is now.
    pub fn instant_chosen(self, unix_ms: i64) -> Instant {
        let ahead = u64::try_from(unix_ms.saturating_sub(self.unix_ms())).unwrap_or(0);
        self.instant.checked_add(Duration::from_millis(ahead)).unwrap_or(self.instant)
    }

    /// The same moment a while later, on both clocks.
    pub fn after(self, span: Duration) -> Self {
        let delta = TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX);
        Self { instant: self.instant + span, utc: self.utc.checked_add_signed(delta).unwrap_or(self.utc) }
    }
}

#[cfg(not(test))]
fn wall_clock(_: Instant) -> DateTime<Utc> {
    Utc::now()
}

#[cfg(test)]
use stage::wall_clock;

/// In tests the wall clock follows the steady one, which they may pause and move by hand.
#[cfg(test)]
pub(crate) mod stage {
    use std::cell::Cell;

    use super::{DateTime, Instant, Now, Utc};

    thread_local! {
        /// When both clocks of this thread were read first, or the second was set.
        static BEGAN: Cell<Option<Now>> = const { Cell::new(None) };
    }

    pub(super) fn wall_clock(instant: Instant) -> DateTime<Utc> {
        let began = BEGAN.get().unwrap_or_else(|| Now { instant, utc: Utc::now() });
        BEGAN.set(Some(began));
        began.after(instant.saturating_duration_since(began.instant)).utc
    }

    /// From now on it is that time for whoever asks on this thread.
    pub(crate) fn set_wall_clock(utc: DateTime<Utc>) {
        BEGAN.set(Some(Now { instant: Instant::now(), utc }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn on_a_stage_days_pass_as_soon_as_one_wishes() {
        stage::set_wall_clock("2026-03-08T08:00:00Z".parse().unwrap());

        tokio::time::advance(Duration::from_secs(23 * 60 * 60)).await;

        assert_eq!(Now::read().utc, "2026-03-09T07:00:00Z".parse::<DateTime<Utc>>().unwrap());
    }

    #[test]
    fn a_stored_time_comes_back_as_the_same_instant() {
        let now = Now::read();
        let until = now.instant + Duration::from_secs(90);

        assert_eq!(now.instant_at(now.unix_ms_at(until)), until);
        assert_eq!(now.instant_at(now.unix_ms() - 5), now.instant);
        assert_eq!(now.instant_at(i64::MAX), now.instant);
        let in_ten_years = now.unix_ms() + 10 * 365 * 86_400_000;
        assert_eq!(now.unix_ms_at(now.instant_chosen(in_ten_years)), in_ten_years);
        assert_eq!(now.instant_chosen(5), now.instant);
    }
}
