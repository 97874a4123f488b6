//! Keys that an operator has taken out of use. What is known of them is kept, and goes on to run out.

use tokio::time::Instant;

use super::KeyHealth;

/// Until when a key is out of use by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disabled {
    Until(Instant),
    /// Until somebody enables it.
    ForGood,
}

impl Disabled {
    pub fn new(until: Option<Instant>) -> Self {
        until.map_or(Self::ForGood, Self::Until)
    }

    pub fn until(self) -> Option<Instant> {
        match self {
            Self::Until(at) => Some(at),
            Self::ForGood => None,
        }
    }

    pub fn has_ended(self, now: Instant) -> bool {
        self.until().is_some_and(|at| at <= now)
    }
}

impl KeyHealth {
    /// Takes the key out of use until then, or until it is enabled.
    pub fn disable(&mut self, until: Option<Instant>) {
        self.disabled = Some(Disabled::new(until));
    }

    /// Ends [`disable`](Self::disable); the key is what it was, or has become by the passing of time.
    pub fn enable(&mut self) {
        self.disabled = None;
    }

    /// Forgets everything that is held against the key; a disabled one stays so.
    pub fn reset(&mut self) {
        *self = Self { disabled: self.disabled, ..Self::new(self.max_failures) };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        balance::breaker::{Availability, KeyState},
        domain::{
            model::ModelName,
            outcome::{KeyFault, Outcome},
            time::Now,
        },
    };

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_disabled_key_is_out_until_its_time_and_then_what_it_was() {
        let (mut health, now) = (KeyHealth::new(3), Now::read());
        health.disable(Some(now.instant + HOUR));

        assert_eq!(health.routing().availability, Availability::Out);
        assert_eq!(health.next_expiry(), Some(now.instant + HOUR));
        assert!(!health.snapshot(now).is_suspect(), "no re-check looks at it");
        let mut restored = KeyHealth::restore(&health.snapshot(now), 3, now);
        assert_eq!(restored.routing().availability, Availability::Out);
        assert!(restored.expire(now.instant + HOUR + Duration::from_secs(1)));
        assert_eq!(restored.routing().availability, Availability::Ready);
    }

    #[test]
    fn late_answers_do_not_enable_a_key_and_enabling_forgives_nothing() {
        let (mut health, now) = (KeyHealth::new(3), Now::read());
        let model = ModelName::parse("m").unwrap();
        health.disable(None);
        health.record(&model, &Outcome::Success, now, 0.5);
        health.record(&model, &Outcome::KeyInvalid(KeyFault::Leaked), now, 0.5);

        assert_eq!(health.routing().availability, Availability::Out);
        health.enable();
        assert_eq!(health.state(), KeyState::Invalid { reason: KeyFault::Leaked });
        health.reset();
        assert_eq!(health.routing().availability, Availability::Ready);
    }
}
