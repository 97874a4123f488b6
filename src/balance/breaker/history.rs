//! What has become of a key between two looks at it, for whoever reads its history later.

use super::{HealthSnapshot, StateSnapshot};
use crate::domain::{
    key::KeyId,
    key_event::{KeyEvent, KeyEventBy, KeyEventKind, word},
};

/// What brought a change about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// An attempt; the name of its outcome.
    Attempt(&'static str),
    /// A free probe of the cron table.
    Recheck,
    /// A free probe that an operator has asked for.
    Verify,
    /// Another key of the project fell.
    Sibling,
    /// What was held against the key was a storm.
    Storm,
    /// Something has run out.
    Time,
    /// An operator disabled or enabled it.
    Switch,
    Reset,
    /// An operator has done it on another node, which has told the history.
    Elsewhere,
}

impl Cause {
    fn by(self) -> KeyEventBy {
        match self {
            Self::Attempt(_) | Self::Storm => KeyEventBy::Traffic,
            Self::Recheck => KeyEventBy::Recheck,
            Self::Sibling => KeyEventBy::Project,
            Self::Time => KeyEventBy::Time,
            Self::Verify | Self::Switch | Self::Reset | Self::Elsewhere => KeyEventBy::Operator,
        }
    }

    /// What `by` leaves open.
    fn word(self) -> Option<&'static str> {
        match self {
            Self::Attempt(outcome) => Some(outcome),
            Self::Storm => Some("storm"),
            Self::Verify => Some("verify"),
            Self::Recheck | Self::Sibling | Self::Time | Self::Switch | Self::Reset | Self::Elsewhere => None,
        }
    }
}

/// What is worth telling of a key that was so before, and is so now.
pub fn history(
    key: KeyId,
    before: &HealthSnapshot,
    after: &HealthSnapshot,
    cause: Cause,
    at_ms: i64,
) -> Vec<KeyEvent> {
    if cause == Cause::Elsewhere {
        return Vec::new();
    }
    let event = |kind| KeyEvent {
        cause: cause.word().map(str::to_owned),
        ..KeyEvent::new(key, at_ms, kind, cause.by())
    };
    let mut events = Vec::new();
    if cause == Cause::Reset || is_another_state(before, after) {
        let kind = if cause == Cause::Reset { KeyEventKind::Reset } else { KeyEventKind::State };
        let (reason, until_ms) = reason(before, after);
        let (from, to) = (Some(before.name()), Some(after.name()));
        events.push(KeyEvent { from, to, reason, until_ms, ..event(kind) });
    }
    for cooldown in &after.cooldowns {
        let mut known = before.cooldowns.iter().filter(|known| known.model == cooldown.model);
        if !known.any(|known| known.reason == cooldown.reason) {
            events.push(KeyEvent {
                reason: word(&cooldown.reason),
                model: Some(cooldown.model.clone()),
                until_ms: Some(cooldown.until_ms),
                ..event(KeyEventKind::ModelCooling)
            });
        }
    }
    events
}

/// A cooldown that grows longer is the same one.
fn is_another_state(before: &HealthSnapshot, after: &HealthSnapshot) -> bool {
    before.name() != after.name()
        || before.reason().0 != after.reason().0
        || !ends_alike(before, after)
        || has_fallen_unseen(before, after)
}

/// Disabled until the same time. Of two looks, one may see it a moment off, as the clocks are read anew.
fn ends_alike(before: &HealthSnapshot, after: &HealthSnapshot) -> bool {
    let end = |health: &HealthSnapshot| health.disabled.and_then(|disabled| disabled.until_ms);
    match (end(before), end(after)) {
        (Some(one), Some(other)) => one.abs_diff(other) < 1000,
        (one, other) => one == other,
    }
}

/// A late answer may say that a disabled key is of no use any more.
fn has_fallen_unseen(before: &HealthSnapshot, after: &HealthSnapshot) -> bool {
    matches!(after.state, StateSnapshot::Invalid { .. }) && before.state != after.state
}

fn reason(before: &HealthSnapshot, after: &HealthSnapshot) -> (Option<String>, Option<i64>) {
    let is_hidden = before.disabled.is_some() && after.disabled.is_some() && ends_alike(before, after);
    if is_hidden && has_fallen_unseen(before, after) {
        return after.state.reason();
    }
    after.reason()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        balance::breaker::KeyHealth,
        domain::{
            key_event::StateName,
            model::ModelName,
            outcome::{KeyFault, Outcome, QuotaExceeded, QuotaMetric, QuotaWindow},
            time::Now,
        },
    };

    /// What is told of a key of which two failures in a row are too many.
    struct Told {
        health: KeyHealth,
        now: Now,
    }

    impl Told {
        fn new() -> Self {
            Self { health: KeyHealth::new(2), now: Now::read() }
        }

        fn of(&mut self, cause: Cause, change: impl FnOnce(&mut KeyHealth, Now)) -> Vec<KeyEvent> {
            let before = self.health.snapshot(self.now);
            change(&mut self.health, self.now);
            history(KeyId(7), &before, &self.health.snapshot(self.now), cause, self.now.unix_ms())
        }

        fn after(&mut self, outcome: &Outcome) -> Vec<KeyEvent> {
            let model = ModelName::parse("flash").unwrap();
            self.of(Cause::Attempt(outcome.name()), |health, now| {
                health.record(&model, outcome, now, 0.5);
            })
        }
    }

    fn states(event: &KeyEvent) -> (Option<StateName>, Option<StateName>, Option<&str>) {
        (event.from, event.to, event.reason.as_deref())
    }

    fn quota(window: QuotaWindow) -> Outcome {
        let metric = QuotaMetric::Requests;
        Outcome::Quota(QuotaExceeded { window, metric, retry_after: None, limit: None })
    }

    #[test]
    fn a_trip_is_told_with_what_was_too_much_and_a_single_failure_is_not() {
        let mut key = Told::new();

        assert_eq!(key.after(&Outcome::KeySuspect), []);
        let told = key.after(&Outcome::Outlier);

        assert_eq!(told.len(), 1);
        assert_eq!(states(&told[0]), (Some(StateName::Active), Some(StateName::Cooling), Some("failures")));
        assert_eq!((told[0].cause.as_deref(), told[0].by), (Some("outlier"), KeyEventBy::Traffic));
        assert!(told[0].until_ms > Some(told[0].at_ms));
    }

    #[test]
    fn a_model_is_told_of_once_while_it_cools_for_the_same_reason() {
        let mut key = Told::new();

        let minute = key.after(&quota(QuotaWindow::Minute));
        assert_eq!((minute[0].kind, minute.len()), (KeyEventKind::ModelCooling, 1));
        assert_eq!(minute[0].model.as_ref().map(ModelName::as_str), Some("flash"));
        assert_eq!(key.after(&quota(QuotaWindow::Minute)), []);
        assert_eq!(key.after(&quota(QuotaWindow::Day))[0].reason.as_deref(), Some("quota_day"));
    }

    #[test]
    fn what_an_operator_does_is_told_as_theirs() {
        let mut key = Told::new();
        key.after(&Outcome::KeyInvalid(KeyFault::Leaked));

        let off = key.of(Cause::Switch, |health, _| health.disable(None));
        let on = key.of(Cause::Switch, |health, _| health.enable());
        let reset = key.of(Cause::Reset, |health, _| health.reset());
        let again = key.of(Cause::Reset, |health, _| health.reset());

        assert_eq!(states(&off[0]), (Some(StateName::Invalid), Some(StateName::Disabled), Some("by_hand")));
        assert_eq!(states(&on[0]), (Some(StateName::Disabled), Some(StateName::Invalid), Some("leaked")));
        assert_eq!((reset[0].kind, reset[0].to), (KeyEventKind::Reset, Some(StateName::Active)));
        assert_eq!(again[0].from, Some(StateName::Active), "it may have forgotten cooldowns");
        assert!([off, on, reset].iter().flatten().all(|event| event.by == KeyEventBy::Operator));
    }

    #[test]
    fn a_key_that_falls_while_it_is_disabled_is_told_of_all_the_same() {
        let mut key = Told::new();
        key.of(Cause::Switch, |health, _| health.disable(None));

        let told = key.after(&Outcome::KeyInvalid(KeyFault::Leaked));

        assert_eq!(states(&told[0]), (Some(StateName::Disabled), Some(StateName::Disabled), Some("leaked")));
    }

    #[test]
    fn a_verified_key_is_in_use_and_one_without_money_on_trial() {
        use crate::domain::outcome::BillingFault;
        for (outcome, expected) in [
            (Outcome::KeyInvalid(KeyFault::NotFound), StateName::Active),
            (Outcome::Billing(BillingFault::PrepayDepleted), StateName::HalfOpen),
        ] {
            let mut key = Told::new();
            key.after(&outcome);

            let told = key.of(Cause::Verify, |health, now| {
                health.verified(now.instant);
            });

            assert_eq!(
                (told[0].to, told[0].cause.as_deref()),
                (Some(expected), Some("verify")),
                "{outcome:?}"
            );
        }
    }
}
