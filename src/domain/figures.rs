//! Sums over requests, and how each of them counts.

use super::histogram::Histogram;

/// How a request went, from its client's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Succeeded,
    /// It was the client's own doing: refused as wrong, or hung up.
    ClientError,
    /// We had no answer: an error of ours or Google's, a rate limit, a stream that broke.
    Failed,
}

impl Ending {
    /// Of a status that the client got; `is_error` says whether it was told an error, perhaps behind a status of 200.
    pub fn of(status: i32, is_error: bool) -> Self {
        match status {
            429 | 500.. => Self::Failed,
            400.. => Self::ClientError,
            _ if is_error => Self::Failed,
            _ => Self::Succeeded,
        }
    }
}

/// What a set of requests comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    pub requests: i64,
    pub succeeded: i64,
    pub client_errors: i64,
    pub failed: i64,
    pub attempts: i64,
    /// Succeeded after more than one attempt.
    pub rescued: i64,
    pub prompt_tokens: i64,
    pub cached_tokens: i64,
    /// Without thoughts.
    pub output_tokens: i64,
    pub thoughts_tokens: i64,
    /// When the last of them began; 0 if there is none.
    pub last_at_ms: i64,
    /// Of those that succeeded.
    pub first_byte: Histogram,
    /// Of those that succeeded.
    pub duration: Histogram,
}

impl Totals {
    pub fn merge(&mut self, other: &Self) {
        self.change(other, 1);
        self.last_at_ms = self.last_at_ms.max(other.last_at_ms);
        self.first_byte.merge(&other.first_byte);
        self.duration.merge(&other.duration);
    }

    /// What is left when a part is taken away.
    pub fn subtract(&mut self, part: &Self) {
        self.change(part, -1);
        self.first_byte.subtract(&part.first_byte);
        self.duration.subtract(&part.duration);
    }

    fn change(&mut self, other: &Self, sign: i64) {
        self.requests += sign * other.requests;
        self.succeeded += sign * other.succeeded;
        self.client_errors += sign * other.client_errors;
        self.failed += sign * other.failed;
        self.attempts += sign * other.attempts;
        self.rescued += sign * other.rescued;
        self.prompt_tokens += sign * other.prompt_tokens;
        self.cached_tokens += sign * other.cached_tokens;
        self.output_tokens += sign * other.output_tokens;
        self.thoughts_tokens += sign * other.thoughts_tokens;
    }

    pub fn tokens(&self) -> i64 {
        self.prompt_tokens + self.output_tokens + self.thoughts_tokens
    }

    /// Of those that were not the client's own doing, 0 to 1; `None` when there are none.
    pub fn success_rate(&self) -> Option<f64> {
        share(self.succeeded, self.succeeded + self.failed)
    }

    /// The part of the prompts' tokens that Google had in its cache.
    pub fn cache_hit_rate(&self) -> Option<f64> {
        share(self.cached_tokens, self.prompt_tokens)
    }
}

fn share(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_was_told_decides_how_a_request_counts() {
        let told = |status| Ending::of(status, true);

        assert_eq!(Ending::of(200, false), Ending::Succeeded);
        assert_eq!(told(200), Ending::Failed, "a stream that broke");
        assert_eq!([told(429), told(500), told(503)], [Ending::Failed; 3]);
        assert_eq!([told(400), told(404), told(499)], [Ending::ClientError; 3]);
    }

    #[test]
    fn a_client_that_errs_does_not_lower_the_success() {
        let totals = Totals { requests: 10, succeeded: 3, client_errors: 6, failed: 1, ..Totals::default() };

        assert_eq!(totals.success_rate(), Some(0.75));
        assert_eq!(Totals::default().success_rate(), None);
    }

    #[test]
    fn taking_a_part_away_leaves_the_rest() {
        let mut one =
            Totals { requests: 2, attempts: 3, prompt_tokens: 10, last_at_ms: 5, ..Totals::default() };
        one.duration.record(100);
        let mut sum = one.clone();
        let mut two = Totals { requests: 1, output_tokens: 7, last_at_ms: 4, ..Totals::default() };
        two.duration.record(9);

        sum.merge(&two);
        sum.subtract(&two);

        assert_eq!(sum, one);
    }
}
