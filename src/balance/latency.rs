//! What is usual for a model, so that keys can be compared whatever they were asked for.

use std::time::Duration;

use foldhash::HashMap;

use crate::domain::model::ModelName;

/// How much one answer moves the average.
const WEIGHT: f32 = 0.05;
/// Nobody minds whether a first byte takes longer than a model's usual time, while it is sooner than this. Without it a
/// pause of the machine would make a key that answers in a millisecond look ten times as slow as the others.
const UNNOTICED: Duration = Duration::from_millis(50);
/// Models that are remembered; beyond it all start anew, since clients can make names up.
const MODELS: usize = 1_000;

/// The usual time to first byte of each model, as an average that forgets.
#[derive(Debug, Default)]
pub struct UsualLatency(HashMap<ModelName, f32>);

impl UsualLatency {
    /// Takes in an answer's time to first byte and tells how many times the usual it is; 1 for the first one.
    pub fn compare(&mut self, model: &ModelName, latency: Duration) -> f32 {
        let seconds = latency.max(UNNOTICED).as_secs_f32();
        let Some(usual) = self.0.get_mut(model) else {
            if self.0.len() >= MODELS {
                self.0.clear();
            }
            self.0.insert(model.clone(), seconds);
            return 1.0;
        };
        let multiple = seconds / *usual;
        *usual += (seconds - *usual) * WEIGHT;
        multiple
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_compared_with_its_own_model() {
        let (slow, quick) = (ModelName::parse("pro").unwrap(), ModelName::parse("flash").unwrap());
        let mut usual = UsualLatency::default();
        for _ in 0..10 {
            usual.compare(&slow, Duration::from_secs(8));
            usual.compare(&quick, Duration::from_millis(200));
        }

        assert!((usual.compare(&slow, Duration::from_secs(8)) - 1.0).abs() < 0.01);
        assert!(usual.compare(&quick, Duration::from_secs(2)) > 9.0);
    }

    #[test]
    fn a_difference_that_nobody_notices_is_none() {
        let model = ModelName::parse("flash").unwrap();
        let mut usual = UsualLatency::default();
        for _ in 0..10 {
            usual.compare(&model, Duration::from_millis(1));
        }

        assert_eq!(usual.compare(&model, Duration::from_millis(40)), 1.0);
        assert!(usual.compare(&model, Duration::from_millis(500)) > 9.0);
    }
}
