//! The range of time that figures are asked for.

use crate::{
    api::admin::error::AdminError,
    db::rollups::Kind,
    domain::timeline::{DAY_MS, HOUR_MS, MINUTE_MS, Step, Stretch, cover},
};

/// Days, and an hour for those who count them by their own clocks.
const LONGEST_MS: i64 = 90 * DAY_MS + HOUR_MS;
/// Buckets that are about to be deleted are not relied upon.
const MARGIN_MS: i64 = HOUR_MS;

/// From one time to another, in Unix milliseconds; the second is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub from_ms: i64,
    pub to_ms: i64,
}

impl Range {
    /// Ends now and is a day long where nothing else is said. 400 if it is empty or longer than 90 days.
    pub fn read(from_ms: Option<i64>, to_ms: Option<i64>, now_ms: i64) -> Result<Self, AdminError> {
        let to_ms = to_ms.unwrap_or(now_ms).clamp(0, now_ms + MINUTE_MS);
        let from_ms = from_ms.unwrap_or(to_ms - DAY_MS);
        if from_ms < 0 || from_ms >= to_ms {
            return Err(AdminError::parameter("from_ms", "has to lie before `to_ms` and now"));
        }
        if to_ms - from_ms > LONGEST_MS {
            return Err(AdminError::parameter("from_ms", "lies more than 90 days before `to_ms`"));
        }
        Ok(Self { from_ms, to_ms })
    }

    pub fn span_ms(self) -> i64 {
        self.to_ms - self.from_ms
    }

    /// What lies as long before.
    pub fn previous(self) -> Self {
        Self { from_ms: self.from_ms - self.span_ms(), to_ms: self.from_ms }
    }

    /// The shortest buckets that reach back to its beginning.
    pub fn finest(self, kind: Kind, now_ms: i64) -> Step {
        let reaches = |step: &Step| {
            kind.kept_ms(*step).is_some_and(|kept_ms| now_ms - kept_ms + MARGIN_MS <= self.from_ms)
        };
        Step::ALL.into_iter().find(reaches).unwrap_or(Step::Day)
    }

    /// The buckets that cover it.
    pub fn stretches(self, kind: Kind, now_ms: i64) -> Vec<Stretch> {
        cover(self.from_ms, self.to_ms, self.finest(kind, now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    fn problem(from_ms: i64, to_ms: i64) -> String {
        Range::read(Some(from_ms), Some(to_ms), NOW).expect_err("it is refused").to_string()
    }

    #[test]
    fn a_range_is_the_last_day_unless_it_is_said() {
        let read = |from, to| Range::read(from, to, NOW).unwrap();

        assert_eq!(read(None, None), Range { from_ms: NOW - DAY_MS, to_ms: NOW });
        assert_eq!(read(None, Some(NOW - 5)), Range { from_ms: NOW - 5 - DAY_MS, to_ms: NOW - 5 });
        assert_eq!(read(Some(NOW - 7), Some(i64::MAX)), Range { from_ms: NOW - 7, to_ms: NOW + MINUTE_MS });
    }

    #[test]
    fn a_range_that_is_none_is_refused() {
        assert!(problem(NOW, NOW - 1).contains("before `to_ms`"));
        assert!(problem(-1, NOW).contains("from_ms"));
        assert!(problem(i64::MIN, i64::MAX).contains("from_ms"));
        assert!(problem(i64::MIN, i64::MIN).contains("from_ms"));
        assert!(Range::read(None, Some(i64::MIN), NOW).is_err());
        assert!(problem(NOW - 91 * DAY_MS, NOW).contains("90 days"));
    }

    #[test]
    fn older_ranges_have_coarser_ends() {
        let ending = |days: i64| Range { from_ms: NOW - days * DAY_MS, to_ms: NOW };

        assert_eq!(ending(1).finest(Kind::Total, NOW), Step::Minute);
        assert_eq!(ending(3).finest(Kind::Total, NOW), Step::Hour);
        assert_eq!(ending(120).finest(Kind::Total, NOW), Step::Day);
        assert_eq!(ending(1).finest(Kind::Key, NOW), Step::Hour);
        assert_eq!(ending(7).finest(Kind::Key, NOW), Step::Day);
        assert_eq!(ending(7).previous(), Range { from_ms: NOW - 14 * DAY_MS, to_ms: NOW - 7 * DAY_MS });
    }
}
