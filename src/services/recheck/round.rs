//! What a round of probes says of each key. Pure; a probe is a question about a key that costs no quota.
//!
//! No kind of probe may declare a pool dead by itself. Where it is refused for nearly every key at once, the question
//! is refused and not the keys: by the network, by the address or by a whim of Google's. Then nothing follows from it.

use crate::domain::outcome::{KeyFault, Outcome, QuotaWindow};

/// What a probe said of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Google took the key.
    Accepted,
    /// Google refused the key for its own sake.
    Refused(KeyFault),
    /// Google could not be asked, or said nothing about the key.
    Unclear,
}

impl Answer {
    /// Reads an answer that was no success.
    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::KeyInvalid(fault) => Self::Refused(*fault),
            // The test model may be gone, or spent; Google looked at the key before it said so.
            Outcome::Success | Outcome::ClientFault | Outcome::ModelUnavailable => Self::Accepted,
            Outcome::Quota(exceeded) if exceeded.window != QuotaWindow::Unknown => Self::Accepted,
            Outcome::Abandoned
            | Outcome::KeySuspect
            | Outcome::Outlier
            | Outcome::Quota(_)
            | Outcome::Billing(_)
            | Outcome::Egress(_)
            | Outcome::NotOwner
            | Outcome::GatewayFault
            | Outcome::ServerFault(_)
            | Outcome::Empty => Self::Unclear,
        }
    }
}

/// The answers to one kind of probe, in the order of the keys.
#[derive(Debug)]
pub struct Answers {
    pub suspects: Vec<Answer>,
    /// For keys that live traffic finds well.
    pub controls: Vec<Answer>,
}

impl Answers {
    /// Whether a refusal means something: healthy keys are accepted, or, where none could be asked, more than a tenth
    /// of the suspects.
    pub fn can_be_trusted(&self) -> bool {
        let clear = |answers: &[Answer]| answers.iter().filter(|answer| **answer != Answer::Unclear).count();
        let accepted =
            |answers: &[Answer]| answers.iter().filter(|answer| **answer == Answer::Accepted).count();
        if clear(&self.controls) > 0 {
            return accepted(&self.controls) > 0;
        }
        accepted(&self.suspects) * 10 > clear(&self.suspects)
    }

    /// Whether there were refusals that mean nothing.
    pub fn are_refused_for_all(&self) -> bool {
        let is_refused = |answer: &Answer| matches!(answer, Answer::Refused(_));
        self.suspects.iter().any(is_refused) && !self.can_be_trusted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outcome::{QuotaExceeded, QuotaMetric};

    const NO: Answer = Answer::Refused(KeyFault::NotFound);

    fn answers(suspects: &[(Answer, usize)], controls: &[Answer]) -> Answers {
        let suspects = suspects.iter().flat_map(|(answer, count)| std::iter::repeat_n(*answer, *count));
        Answers { suspects: suspects.collect(), controls: controls.to_vec() }
    }

    #[test]
    fn a_probe_that_refuses_nearly_every_key_declares_none_dead() {
        for (suspects, controls) in [
            (vec![(NO, 1)], vec![]),
            (vec![(NO, 1000)], vec![]),
            (vec![(NO, 95), (Answer::Accepted, 5)], vec![]),
            (vec![(NO, 5), (Answer::Accepted, 5)], vec![NO, NO, NO]),
            (vec![(NO, 3), (Answer::Unclear, 5)], vec![Answer::Unclear]),
        ] {
            let answers = answers(&suspects, &controls);

            assert!(!answers.can_be_trusted() && answers.are_refused_for_all(), "{answers:?}");
        }
    }

    #[test]
    fn dead_keys_among_living_ones_are_found() {
        for (suspects, controls) in [
            (vec![(NO, 1000)], vec![Answer::Accepted]),
            (vec![(NO, 1)], vec![NO, Answer::Accepted, Answer::Unclear]),
            (vec![(NO, 8), (Answer::Accepted, 1)], vec![]),
        ] {
            let answers = answers(&suspects, &controls);

            assert!(answers.can_be_trusted() && !answers.are_refused_for_all(), "{answers:?}");
        }
    }

    #[test]
    fn an_answer_that_says_nothing_of_the_key_is_neither_yes_nor_no() {
        let spent = |window| {
            Outcome::Quota(QuotaExceeded {
                window,
                metric: QuotaMetric::Unknown,
                retry_after: None,
                limit: None,
            })
        };
        for outcome in [Outcome::KeySuspect, Outcome::GatewayFault, spent(QuotaWindow::Unknown)] {
            assert_eq!(Answer::of(&outcome), Answer::Unclear, "{outcome:?}");
        }
        for outcome in [Outcome::ClientFault, spent(QuotaWindow::Day)] {
            assert_eq!(Answer::of(&outcome), Answer::Accepted, "{outcome:?}");
        }
        assert!(!answers(&[(Answer::Unclear, 9)], &[]).are_refused_for_all());
    }
}
