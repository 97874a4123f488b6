//! What a simulation is made of: its keys, how each behaves, and the weather over all of them.
//!
//! Everything here is JSON on the control endpoints too. A fault is written as `"empty"`, `{"refuse": "leaked"}` or `{"cut": 3}`.

use serde::{Deserialize, Serialize};

use super::{
    errors::Refusal,
    quota::{Minutes, Quota},
};

/// Everything that `sim::start` needs to know.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Threads that serve; one is enough for tests.
    pub workers: usize,
    pub keys: Vec<KeyPlan>,
    /// Whether a key outside `keys` is served; otherwise it is answered as an invalid one.
    pub is_open: bool,
    /// Faults that do not depend on the key.
    pub weather: Vec<Spell>,
    /// Pace of keys that have none of their own.
    pub pace: Pace,
    /// Length of a quota's minute in milliseconds; tests shorten it.
    pub minute_ms: u64,
    pub minutes: Minutes,
    /// How many received requests are kept for `GET /_sim/requests`; 0 keeps none.
    pub record_last: usize,
}

/// One key and how it behaves.
#[derive(Debug, Clone, Serialize)]
pub struct KeyPlan {
    pub key: String,
    #[serde(flatten)]
    pub behaviour: Behaviour,
}

/// How a key behaves; the default is a healthy key without limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// Keys of one project share its quota; without one the key is its own project.
    pub project: Option<String>,
    pub faults: Vec<Spell>,
    pub quota: Quota,
    pub pace: Option<Pace>,
}

/// A fault and when it strikes. The first one in a list that strikes wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spell {
    pub fault: Fault,
    /// Only this model; absent means all.
    #[serde(default)]
    pub model: Option<String>,
    /// Share of the attempts that are struck, 0 to 100.
    #[serde(default = "all")]
    pub share_percent: u8,
    /// Length of one round in milliseconds; 0 is always.
    #[serde(default)]
    pub every_ms: u64,
    /// How long the spell lasts at the end of each round, in milliseconds.
    #[serde(default)]
    pub for_ms: u64,
}

fn all() -> u8 {
    100
}

/// What goes wrong with an answer. A number says after how many events (of a stream; one half for a whole answer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    Refuse(Refusal),
    /// 200, `STOP` and no content.
    Empty,
    /// 200 and `promptFeedback.blockReason`.
    Blocked,
    /// No byte at all, until the peer gives up.
    Hang,
    /// Events come, then nothing more, until the peer gives up.
    Stall(usize),
    /// The connection breaks; with 0 before any byte was sent.
    Cut(usize),
    /// The stream ends properly, but without a `finishReason`.
    Truncate(usize),
    /// A bare JSON error in the middle of the stream, not framed as an event.
    BareError(usize),
    /// An event that holds an error.
    EventError(usize),
}

/// How long an answer takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pace {
    /// Before the first byte, in milliseconds.
    pub first_byte_ms: u64,
    /// Between two events, in milliseconds.
    pub gap_ms: u64,
    /// How much longer the first byte may take, in percent of `first_byte_ms`.
    pub jitter_percent: u64,
}

impl Spell {
    /// A fault that is always there.
    pub fn always(fault: Fault) -> Self {
        Self { fault, model: None, share_percent: 100, every_ms: 0, for_ms: 0 }
    }

    /// A fault that strikes this share of the attempts.
    pub fn now_and_then(fault: Fault, share_percent: u8) -> Self {
        Self { share_percent, ..Self::always(fault) }
    }

    /// Whether it strikes the `nth` attempt on `model`, this long after the start.
    pub fn strikes(&self, model: &str, elapsed_ms: u64, nth: u64) -> bool {
        let calm_ms = self.every_ms.saturating_sub(self.for_ms);
        let is_on = self.every_ms == 0 || elapsed_ms % self.every_ms >= calm_ms;
        let is_meant = self.model.as_deref().is_none_or(|name| name == model);
        is_on && is_meant && spread(nth) < u64::from(self.share_percent)
    }
}

impl Pace {
    /// Wait before the first byte of the `nth` attempt, in milliseconds.
    pub fn first_byte_of(&self, nth: u64) -> u64 {
        self.first_byte_ms + self.first_byte_ms * self.jitter_percent * spread(nth) / 10_000
    }
}

/// Spreads consecutive numbers over 0 to 99 without chance; 61 and 100 have no common factor.
fn spread(nth: u64) -> u64 {
    (nth % 100) * 61 % 100
}

impl KeyPlan {
    pub fn healthy(key: impl Into<String>) -> Self {
        Self { key: key.into(), behaviour: Behaviour::default() }
    }

    fn refused(key: impl Into<String>, refusal: Refusal) -> Self {
        let faults = vec![Spell::always(Fault::Refuse(refusal))];
        Self { key: key.into(), behaviour: Behaviour { faults, ..Behaviour::default() } }
    }

    fn limited(key: impl Into<String>, quota: Quota) -> Self {
        Self { key: key.into(), behaviour: Behaviour { quota, ..Behaviour::default() } }
    }
}

impl Plan {
    /// These keys, all healthy and at full speed; any other key is invalid.
    pub fn healthy<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self {
            port: 0,
            workers: 1,
            keys: keys.into_iter().map(KeyPlan::healthy).collect(),
            is_open: false,
            weather: Vec::new(),
            pace: Pace::default(),
            minute_ms: 60_000,
            minutes: Minutes::default(),
            record_last: 0,
        }
    }

    /// Every key is served, at full speed: the upstream of benchmarks.
    pub fn open() -> Self {
        Self { is_open: true, ..Self::healthy::<String>([]) }
    }

    /// A dozen keys as an operator knows them: most are well, some dead, tight, spent, flaky or slow.
    pub fn demo() -> Self {
        let minute = |limit| Quota { requests_per_minute: Some(limit), ..Quota::default() };
        let spent = Quota { requests_per_day: Some(20), used_today: 20, ..Quota::default() };
        let mut flaky = KeyPlan::healthy("demo-key-09-flaky");
        flaky.behaviour.faults = vec![
            Spell::now_and_then(Fault::Refuse(Refusal::Internal), 25),
            Spell::now_and_then(Fault::Empty, 35),
        ];
        let mut slow = KeyPlan::healthy("demo-key-10-slow");
        slow.behaviour.pace = Some(Pace { first_byte_ms: 2_500, gap_ms: 120, jitter_percent: 60 });
        let mut keys: Vec<_> =
            ["01", "02", "03", "11", "12"].map(|n| KeyPlan::healthy(format!("demo-key-{n}-well"))).into();
        keys.extend([
            KeyPlan::refused("demo-key-04-invalid", Refusal::InvalidKey),
            KeyPlan::refused("demo-key-05-leaked", Refusal::Leaked),
            KeyPlan::limited("demo-key-06-tight", minute(3)),
            KeyPlan::limited("demo-key-07-tight", minute(5)),
            KeyPlan::limited("demo-key-08-spent", spent),
            flaky,
            slow,
        ]);
        keys.sort_by(|a, b| a.key.cmp(&b.key));
        let spell = Spell {
            model: Some("gemini-2.5-pro".into()),
            every_ms: 120_000,
            for_ms: 20_000,
            ..Spell::always(Fault::Refuse(Refusal::Overloaded))
        };
        Self {
            keys,
            weather: vec![spell],
            pace: Pace { first_byte_ms: 180, gap_ms: 40, jitter_percent: 150 },
            ..Self::healthy::<String>([])
        }
    }

    /// The demo's dozen names, all healthy, without pauses or weather: what the suites of the client SDKs run on.
    pub fn demo_healthy() -> Self {
        Self::healthy(Self::demo().key_names())
    }

    pub fn key_names(&self) -> Vec<String> {
        self.keys.iter().map(|plan| plan.key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_strikes_that_share_of_a_hundred_attempts() {
        let spell = Spell::now_and_then(Fault::Empty, 25);

        let struck = (0..100).filter(|nth| spell.strikes("any", 0, *nth)).count();

        assert_eq!(struck, 25);
    }

    #[test]
    fn a_spell_comes_and_goes_for_its_model() {
        let spell = Spell {
            model: Some("gemini-2.5-pro".into()),
            every_ms: 100,
            for_ms: 20,
            ..Spell::always(Fault::Refuse(Refusal::Overloaded))
        };

        assert!(!spell.strikes("gemini-2.5-pro", 79, 0));
        assert!(spell.strikes("gemini-2.5-pro", 80, 0));
        assert!(!spell.strikes("gemini-2.5-pro", 100, 0));
        assert!(!spell.strikes("gemini-3.6-flash", 80, 0));
    }

    #[test]
    fn a_fault_is_short_in_json() {
        let behaviour: Behaviour = serde_json::from_str(
            r#"{"faults": [{"fault": {"cut": 3}}, {"fault": "empty", "share_percent": 5}]}"#,
        )
        .unwrap();

        assert_eq!(behaviour.faults[0], Spell::always(Fault::Cut(3)));
        assert_eq!(behaviour.faults[1], Spell::now_and_then(Fault::Empty, 5));
    }

    #[test]
    fn the_demo_has_a_dozen_keys_in_order() {
        let names = Plan::demo().key_names();

        assert_eq!(names.len(), 12);
        assert!(names.is_sorted());
    }
}
