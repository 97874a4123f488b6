//! When a generation is late enough for a second one beside it.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::{balance::percentile::Latencies, domain::model::ModelName};

/// Models whose latencies are remembered; further ones are never hedged.
const MAX_MODELS: usize = 200;

/// How an answer is waited for, which makes a difference of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Awaited {
    /// The whole answer.
    Whole,
    /// The first content of a stream.
    FirstContent,
}

/// What one worker thread has seen of each model's latency.
#[derive(Debug, Default)]
pub struct Latecomers {
    seen: RefCell<HashMap<(ModelName, Awaited), Latencies>>,
}

impl Latecomers {
    /// How long an answer may take before it is late; `None` while too little is known of the model.
    pub fn patience(&self, model: &ModelName, awaited: Awaited) -> Option<Duration> {
        self.seen.borrow().get(&(model.clone(), awaited))?.p95()
    }

    /// An answer took so long, or at least so long if it was cancelled then. Without the cancelled ones the slowest would
    /// be forgotten, and ever more answers be late.
    pub fn record(&self, model: &ModelName, awaited: Awaited, latency: Duration) {
        let (now, mut seen) = (Instant::now(), self.seen.borrow_mut());
        let is_full = seen.len() >= MAX_MODELS;
        let known = seen.get_mut(&(model.clone(), awaited));
        match known {
            Some(latencies) => latencies.record(latency, now),
            None if is_full => {}
            None => {
                let mut latencies = Latencies::new(now);
                latencies.record(latency, now);
                seen.insert((model.clone(), awaited), latencies);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_and_ways_of_waiting_are_told_apart() {
        let (late, model) = (Latecomers::default(), |name: &str| ModelName::parse(name).unwrap());
        for _ in 0..30 {
            late.record(&model("a"), Awaited::Whole, Duration::from_secs(8));
            late.record(&model("a"), Awaited::FirstContent, Duration::from_secs(1));
        }

        assert!(late.patience(&model("a"), Awaited::Whole).unwrap() >= Duration::from_secs(8));
        assert!(late.patience(&model("a"), Awaited::FirstContent).unwrap() < Duration::from_secs(2));
        assert_eq!(late.patience(&model("b"), Awaited::Whole), None);
    }

    #[test]
    fn names_without_end_fill_no_memory() {
        let late = Latecomers::default();

        for n in 0..10_000 {
            let model = ModelName::parse(&format!("m{n}")).unwrap();
            late.record(&model, Awaited::Whole, Duration::ZERO);
        }

        assert_eq!(late.seen.borrow().len(), MAX_MODELS);
    }
}
