//! How durations are distributed, in few numbers: what percentiles are read from without a look at single requests.

/// Bounds grow by the square root of two, so that a percentile is off by a fifth at most, and from 5 ms to more than an
/// hour forty are enough.
const BUCKETS: usize = 41;
const FIRST_BOUND_MS: f64 = 5.0;

/// Counts of durations by their length. The last bucket has no end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: [u32; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS] }
    }
}

/// Where the bucket ends, in milliseconds.
fn bound(index: usize) -> f64 {
    FIRST_BOUND_MS * (index as f64 / 2.0).exp2()
}

fn index_of(duration_ms: i64) -> usize {
    let steps = (duration_ms as f64 / FIRST_BOUND_MS).log2() * 2.0;
    // What is not above zero has no logarithm and belongs to the first.
    if steps > 0.0 { (steps.ceil() as usize).min(BUCKETS - 1) } else { 0 }
}

impl Histogram {
    pub fn record(&mut self, duration_ms: i64) {
        self.add(index_of(duration_ms), 1);
    }

    fn add(&mut self, index: usize, count: u32) {
        if let Some(bucket) = self.counts.get_mut(index) {
            *bucket = bucket.saturating_add(count);
        }
    }

    pub fn merge(&mut self, other: &Self) {
        for (index, count) in other.counts.iter().enumerate() {
            self.add(index, *count);
        }
    }

    /// What is left when a part is taken away.
    pub fn subtract(&mut self, part: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(part.counts) {
            *mine = mine.saturating_sub(theirs);
        }
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// The duration in milliseconds that this share of them, 0 to 1, does not exceed; `None` when there are none.
    /// Within a bucket they are taken to be spread evenly.
    pub fn percentile(&self, share: f64) -> Option<f64> {
        let rank = share * self.count() as f64;
        let mut below = 0.0;
        for (index, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let count = f64::from(*count);
            if below + count >= rank {
                let lower = if index == 0 { 0.0 } else { bound(index - 1) };
                return Some(lower + (bound(index) - lower) * ((rank - below) / count));
            }
            below += count;
        }
        None
    }

    /// The buckets that are not empty: a byte for which, and a count in LEB128.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16);
        for (index, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            bytes.push(index as u8);
            let mut rest = *count;
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
        }
        bytes
    }

    /// Adds what [`to_bytes`](Self::to_bytes) gave. Whatever else the bytes may be, they do no more than count wrongly.
    pub fn merge_bytes(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.iter().copied();
        while let Some(index) = bytes.next() {
            let (mut count, mut shift) = (0u32, 0);
            for byte in bytes.by_ref() {
                count |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            self.add(index.into(), count);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(durations: impl IntoIterator<Item = i64>) -> Histogram {
        let mut histogram = Histogram::default();
        durations.into_iter().for_each(|duration| histogram.record(duration));
        histogram
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(Histogram::default().percentile(0.5), None);
    }

    #[test]
    fn percentiles_of_an_even_spread_are_near_the_truth() {
        let histogram = of(1..=10_000);

        for (share, truth) in [(0.5, 5_000.0), (0.95, 9_500.0), (0.99, 9_900.0)] {
            let told = histogram.percentile(share).unwrap();
            assert!((told / truth - 1.0).abs() < 0.2, "{told} for {truth}");
        }
    }

    #[test]
    fn odd_durations_belong_to_the_ends() {
        let histogram = of([i64::MIN, -1, 0, 1, i64::MAX]);

        assert_eq!((histogram.counts[0], histogram.counts[BUCKETS - 1]), (4, 1));
        assert_eq!(histogram.count(), 5);
    }

    proptest! {
        #[test]
        fn a_duration_is_told_within_its_bucket(duration in 1i64..3_600_000) {
            let told = of([duration]).percentile(1.0).unwrap();
            let duration = duration as f64;
            prop_assert!(told >= duration * 0.999 && told <= (duration * 1.42).max(5.0), "{told} for {duration}");
        }

        #[test]
        fn bytes_bring_back_what_was_counted_and_add_up(one in prop::collection::vec(0i64..100_000, 0..300), two in prop::collection::vec(0i64..100_000, 0..300)) {
            let mut sum = Histogram::default();
            sum.merge_bytes(&of(one.clone()).to_bytes());
            prop_assert_eq!(&sum, &of(one.clone()));
            sum.merge_bytes(&of(two.clone()).to_bytes());
            prop_assert_eq!(&sum, &of(one.into_iter().chain(two.clone())));
            sum.subtract(&of(two.clone()));
            sum.merge(&of(two.clone()));
            prop_assert!(sum.count() >= two.len() as u64);
        }

        #[test]
        fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            Histogram::default().merge_bytes(&bytes);
        }
    }
}
