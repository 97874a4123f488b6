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
        Self { instant: Instant::now(), utc: Utc::now() }
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

    /// The same moment a while later, on both clocks.
    pub fn after(self, span: Duration) -> Self {
        let delta = TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX);
        Self { instant: self.instant + span, utc: self.utc.checked_add_signed(delta).unwrap_or(self.utc) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_time_comes_back_as_the_same_instant() {
        let now = Now::read();
        let until = now.instant + Duration::from_secs(90);

        assert_eq!(now.instant_at(now.unix_ms_at(until)), until);
        assert_eq!(now.instant_at(now.unix_ms() - 5), now.instant);
        assert_eq!(now.instant_at(i64::MAX), now.instant);
    }
}
