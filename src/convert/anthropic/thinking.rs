//! How much the model thinks, and whether the client sees it: `thinking` and `output_config.effort`.

use serde_json::Value;

use super::json::{At, Object, string};
use crate::convert::{
    ConvertError,
    gemini::{
        effort::Effort,
        request::{ThinkingConfig, ThinkingLevel},
    },
    traits::{ModelTraits, Thinking as Family},
};

/// Least budget that Anthropic's server takes, in tokens.
const MIN_BUDGET: u64 = 1024;
/// Budgets below are little thinking, from here on it is some.
const MEDIUM_BUDGET: u64 = 4096;
/// From here on it is much.
const HIGH_BUDGET: u64 = 16_384;

/// What the client says of thinking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Thinking {
    pub amount: Amount,
    /// Thoughts are answered as blocks with text.
    pub is_shown: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Amount {
    /// As the model does by itself, or as the effort says.
    #[default]
    Unsaid,
    Disabled,
    /// Tokens.
    Budget(u64),
}

impl Thinking {
    pub(super) fn read(value: Value, at: At<'_>) -> Result<Self, ConvertError> {
        let mut thinking = Object::read(value, at)?;
        let kind = thinking.require_string("type")?;
        let amount =
            match kind.as_str() {
                "enabled" => {
                    let budget = thinking.integer("budget_tokens", MIN_BUDGET..=u64::MAX)?;
                    Amount::Budget(budget.ok_or_else(|| ConvertError::Missing {
                        param: at.key("budget_tokens").to_string(),
                    })?)
                }
                "adaptive" | "between_tools" => Amount::Unsaid,
                "disabled" => Amount::Disabled,
                _ => {
                    let supported = "'enabled', 'adaptive', 'between_tools' or 'disabled'";
                    let param = at.key("type").to_string();
                    return Err(ConvertError::UnknownValue { param, value: kind, supported });
                }
            };
        let is_shown = match thinking.string("display")?.as_deref() {
            None | Some("summarized" | "updates") => amount != Amount::Disabled,
            Some("omitted") => false,
            Some(other) => {
                let (param, value) = (at.key("display").to_string(), other.to_owned());
                let supported = "'summarized', 'updates' or 'omitted'";
                return Err(ConvertError::UnknownValue { param, value, supported });
            }
        };
        Ok(Self { amount, is_shown })
    }
}

/// The effort in the `output_config` of a request, or of a system's message.
pub(super) fn effort_of(of: &mut Object<'_>) -> Result<Option<Effort>, ConvertError> {
    let at = of.at();
    let at = at.key("output_config");
    let Some(Value::Object(config)) = of.peek("output_config") else { return Ok(None) };
    let word = config.get("effort").filter(|effort| !effort.is_null()).cloned();
    word.map(|word| effort(string(word, &at.key("effort"))?, at.key("effort"))).transpose()
}

fn effort(word: String, at: At<'_>) -> Result<Effort, ConvertError> {
    match word.as_str() {
        "low" => Ok(Effort::Low),
        "medium" => Ok(Effort::Medium),
        "high" => Ok(Effort::High),
        "xhigh" | "max" => Ok(Effort::Max),
        _ => {
            let supported = "'low', 'medium', 'high', 'xhigh' or 'max'";
            Err(ConvertError::UnknownValue { param: at.to_string(), value: word, supported })
        }
    }
}

/// `thinkingConfig`; `None` when there is nothing to say, or the model does not think.
///
/// Models with a budget get the client's own number within their range; models with levels the level of the effort, else
/// that of the budget. A budget that would use up all of `max_tokens` leaves half of them for the answer.
pub(super) fn config(
    thinking: Thinking,
    effort: Option<Effort>,
    max_tokens: Option<u64>,
    traits: &ModelTraits,
) -> Option<ThinkingConfig<'static>> {
    let mut config = ThinkingConfig::default();
    match (traits.thinking, thinking.amount) {
        (Family::None, _) => return None,
        (Family::Budget { min, max, .. }, Amount::Budget(budget)) => {
            let budget = max_tokens.filter(|most| *most <= budget).map_or(budget, |most| most / 2);
            let budget = u32::try_from(budget).unwrap_or(u32::MAX).clamp(min, max);
            config.thinking_budget = Some(budget.into());
        }
        (Family::Budget { min, max, can_disable }, amount) => {
            let effort = of_amount(amount, effort);
            config.thinking_budget = effort.map(|effort| effort.budget(min, max, can_disable).into());
        }
        (Family::Levels(levels), amount) => {
            let level = of_amount(amount, effort).and_then(|effort| effort.level(levels));
            config.thinking_level = level.map(ThinkingLevel::Known);
        }
    }
    config.include_thoughts = thinking.is_shown.then_some(true);
    (config != ThinkingConfig::default()).then_some(config)
}

fn of_amount(amount: Amount, effort: Option<Effort>) -> Option<Effort> {
    match amount {
        Amount::Disabled => Some(Effort::None),
        Amount::Unsaid => effort,
        Amount::Budget(budget) => effort.or(Some(match budget {
            ..MEDIUM_BUDGET => Effort::Low,
            MEDIUM_BUDGET..HIGH_BUDGET => Effort::Medium,
            HIGH_BUDGET.. => Effort::High,
        })),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::convert::traits::Level;

    fn read(value: Value) -> Result<Thinking, ConvertError> {
        Thinking::read(value, At::Root.key("thinking"))
    }

    fn told(model: &str, thinking: Value, effort: Option<Effort>) -> (Option<i64>, Option<Level>, bool) {
        let config =
            config(read(thinking).unwrap(), effort, None, &ModelTraits::of(model)).unwrap_or_default();
        let level = config.thinking_level.map(|level| match level {
            ThinkingLevel::Known(level) => level,
            ThinkingLevel::Named(name) => panic!("{name}"),
        });
        (config.thinking_budget, level, config.include_thoughts == Some(true))
    }

    fn enabled(budget: u64) -> Value {
        json!({"type": "enabled", "budget_tokens": budget})
    }

    #[test]
    fn budgets_go_to_gemini_2_5_within_its_range() {
        assert_eq!(told("gemini-2.5-flash", enabled(2000), None), (Some(2000), None, true));
        assert_eq!(told("gemini-2.5-flash", enabled(99_999), Some(Effort::Low)), (Some(24_576), None, true));
        assert_eq!(told("gemini-2.5-pro", json!({"type": "disabled"}), None), (Some(128), None, false));
        assert_eq!(
            told("gemini-2.5-flash", json!({"type": "disabled"}), Some(Effort::High)),
            (Some(0), None, false)
        );
        assert_eq!(
            told("gemini-2.5-flash", json!({"type": "adaptive"}), Some(Effort::Medium)),
            (Some(8192), None, true)
        );
    }

    #[test]
    fn budgets_become_levels_from_gemini_3_on() {
        let level = |thinking, effort| told("gemini-3.6-flash", thinking, effort).1;

        let levels = [1024, 4096, 16_384].map(|budget| level(enabled(budget), None));
        assert_eq!(levels, [Some(Level::Low), Some(Level::Medium), Some(Level::High)]);
        assert_eq!(level(enabled(1024), Some(Effort::Max)), Some(Level::High));
        assert_eq!(level(json!({"type": "disabled"}), None), Some(Level::Minimal));
        assert_eq!(level(json!({"type": "adaptive"}), None), None);
    }

    #[test]
    fn thoughts_are_shown_unless_the_client_omits_them() {
        assert!(read(json!({"type": "adaptive"})).unwrap().is_shown);
        assert!(!read(json!({"type": "adaptive", "display": "omitted"})).unwrap().is_shown);
        assert!(!read(json!({"type": "disabled"})).unwrap().is_shown);
        assert!(!Thinking::default().is_shown);
    }

    #[test]
    fn a_model_that_does_not_think_is_not_told_to() {
        let thinking = read(enabled(2048)).unwrap();

        assert_eq!(config(thinking, Some(Effort::High), None, &ModelTraits::of("gemini-2.0-flash")), None);
    }

    #[test]
    fn a_budget_leaves_room_for_the_answer() {
        let budget = |budget, max_tokens| {
            let thinking = read(enabled(budget)).unwrap();
            config(thinking, None, Some(max_tokens), &ModelTraits::of("gemini-2.5-flash"))
                .unwrap()
                .thinking_budget
        };

        assert_eq!(
            [budget(16_000, 8000), budget(8000, 8000), budget(7999, 8000)],
            [4000, 4000, 7999].map(Some)
        );
    }

    #[test]
    fn a_budget_is_needed_and_has_a_least_value() {
        assert_eq!(read(json!({"type": "enabled"})).unwrap_err().param(), Some("thinking.budget_tokens"));
        assert_eq!(read(enabled(100)).unwrap_err().param(), Some("thinking.budget_tokens"));
        assert_eq!(read(json!({"type": "on"})).unwrap_err().param(), Some("thinking.type"));
    }
}
