//! Buckets of time, all in UTC: which ones there are, which cover a range, and how fine a chart of it can be.

/// Length of a bucket that sums are kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    Minute,
    Hour,
    Day,
}

impl Step {
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    pub const fn ms(self) -> i64 {
        match self {
            Self::Minute => MINUTE_MS,
            Self::Hour => HOUR_MS,
            Self::Day => DAY_MS,
        }
    }

    /// The longest bucket that steps of this length are made of.
    pub fn dividing(step_ms: i64) -> Self {
        match step_ms {
            step if step % DAY_MS == 0 => Self::Day,
            step if step % HOUR_MS == 0 => Self::Hour,
            _ => Self::Minute,
        }
    }
}

pub const MINUTE_MS: i64 = 60_000;
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// The beginning of the bucket of this length that a time lies in.
pub fn floor(at_ms: i64, step_ms: i64) -> i64 {
    at_ms - at_ms.rem_euclid(step_ms)
}

/// The beginning of the first bucket that does not begin before.
pub fn ceil(at_ms: i64, step_ms: i64) -> i64 {
    floor(at_ms + step_ms - 1, step_ms)
}

/// Buckets of one length in a row, from the first one's beginning to the last one's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub step: Step,
    pub from_ms: i64,
    pub to_ms: i64,
}

/// The fewest buckets that cover a range, in order: long ones where they fit, and not shorter ones than `finest`, whole
/// ones of which stand at both ends.
pub fn cover(from_ms: i64, to_ms: i64, finest: Step) -> Vec<Stretch> {
    let (from_ms, to_ms) = (floor(from_ms, finest.ms()), ceil(to_ms, finest.ms()));
    let mut stretches = Vec::new();
    fill(from_ms, to_ms, finest, Step::Day, &mut stretches);
    stretches
}

fn fill(from_ms: i64, to_ms: i64, finest: Step, longest: Step, stretches: &mut Vec<Stretch>) {
    let (first, last) = (ceil(from_ms, longest.ms()), floor(to_ms, longest.ms()));
    let shorter = match longest {
        Step::Day => Step::Hour,
        Step::Hour | Step::Minute => Step::Minute,
    };
    if longest == finest || first < last {
        if longest != finest {
            fill(from_ms, first, finest, shorter, stretches);
        }
        if first < last {
            stretches.push(Stretch { step: longest, from_ms: first, to_ms: last });
        }
        if longest != finest {
            fill(last, to_ms, finest, shorter, stretches);
        }
    } else if from_ms < to_ms {
        fill(from_ms, to_ms, finest, shorter, stretches);
    }
}

/// Steps of charts, in milliseconds; all divide a day.
pub const STEPS_MS: [i64; 12] = [
    MINUTE_MS,
    2 * MINUTE_MS,
    5 * MINUTE_MS,
    10 * MINUTE_MS,
    15 * MINUTE_MS,
    30 * MINUTE_MS,
    HOUR_MS,
    2 * HOUR_MS,
    3 * HOUR_MS,
    6 * HOUR_MS,
    12 * HOUR_MS,
    DAY_MS,
];

/// The finest step of at least that length that makes no more points than this of a range.
pub fn chart_step(range_ms: i64, at_least_ms: i64, points: i64) -> i64 {
    let fits = |step: &i64| *step >= at_least_ms && range_ms / step <= points;
    STEPS_MS.into_iter().find(fits).unwrap_or(DAY_MS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_millis()
    }

    #[test]
    fn days_begin_at_midnight_in_utc() {
        assert_eq!(floor(at("2026-03-08T23:59:59.999Z"), DAY_MS), at("2026-03-08T00:00:00Z"));
        assert_eq!(ceil(at("2026-03-08T00:00:00Z"), DAY_MS), at("2026-03-08T00:00:00Z"));
        assert_eq!(floor(-1, HOUR_MS), -HOUR_MS);
    }

    #[test]
    fn a_long_range_has_days_within_and_short_buckets_at_its_ends() {
        let told = cover(at("2026-11-20T22:58:30Z"), at("2026-11-23T01:01:01Z"), Step::Minute);

        let minute = |from, to| Stretch { step: Step::Minute, from_ms: at(from), to_ms: at(to) };
        let hour = |from, to| Stretch { step: Step::Hour, from_ms: at(from), to_ms: at(to) };
        assert_eq!(
            told,
            [
                minute("2026-11-20T22:58:00Z", "2026-11-20T23:00:00Z"),
                hour("2026-11-20T23:00:00Z", "2026-11-21T00:00:00Z"),
                Stretch {
                    step: Step::Day,
                    from_ms: at("2026-11-21T00:00:00Z"),
                    to_ms: at("2026-11-23T00:00:00Z")
                },
                hour("2026-11-23T00:00:00Z", "2026-11-23T01:00:00Z"),
                minute("2026-11-23T01:00:00Z", "2026-11-23T01:02:00Z"),
            ]
        );
    }

    #[test]
    fn without_minutes_the_ends_are_whole_hours() {
        let told = cover(at("2026-11-20T22:58:30Z"), at("2026-11-20T23:01:00Z"), Step::Hour);

        let whole = Stretch {
            step: Step::Hour,
            from_ms: at("2026-11-20T22:00:00Z"),
            to_ms: at("2026-11-21T00:00:00Z"),
        };
        assert_eq!(told, [whole]);
    }

    #[test]
    fn a_chart_has_at_most_so_many_points() {
        assert_eq!(chart_step(15 * MINUTE_MS, MINUTE_MS, 200), MINUTE_MS);
        assert_eq!(chart_step(DAY_MS, MINUTE_MS, 200), 10 * MINUTE_MS);
        assert_eq!(chart_step(7 * DAY_MS, MINUTE_MS, 200), HOUR_MS);
        assert_eq!(chart_step(90 * DAY_MS, MINUTE_MS, 200), 12 * HOUR_MS);
        assert_eq!(chart_step(HOUR_MS, HOUR_MS, 200), HOUR_MS);
    }

    #[test]
    fn a_step_is_made_of_the_longest_buckets_that_divide_it() {
        assert_eq!(Step::dividing(30 * MINUTE_MS), Step::Minute);
        assert_eq!(Step::dividing(12 * HOUR_MS), Step::Hour);
        assert_eq!(Step::dividing(DAY_MS), Step::Day);
    }

    proptest! {
        #[test]
        fn stretches_follow_each_other_without_a_gap(from in 0i64..2_000_000_000_000, span in 1i64..100 * DAY_MS, finest in prop::sample::select(&Step::ALL[..])) {
            let told = cover(from, from + span, finest);
            prop_assert!(told[0].from_ms <= from && from < told[0].from_ms + finest.ms());
            let end = told.last().unwrap().to_ms;
            prop_assert!(end >= from + span && end < from + span + finest.ms());
            for pair in told.windows(2) {
                prop_assert_eq!(pair[0].to_ms, pair[1].from_ms);
            }
            for stretch in told {
                prop_assert_eq!(stretch.from_ms % stretch.step.ms(), 0);
                prop_assert!(stretch.from_ms < stretch.to_ms && stretch.step >= finest);
            }
        }
    }
}
