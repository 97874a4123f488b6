//! How much the model thinks: `reasoning_effort`, and Google's own switches where a client knows them.

use serde_json::Value;

use super::json::{At, Object, wrong_type};
use crate::convert::{
    ConvertError,
    gemini::request::{ThinkingConfig, ThinkingLevel},
    traits::{ModelTraits, Thinking},
};

pub use crate::convert::gemini::effort::Effort;

impl Effort {
    pub(super) fn read(word: String, at: At<'_>) -> Result<Self, ConvertError> {
        match word.as_str() {
            "none" => Ok(Self::None),
            "minimal" => Ok(Self::Minimal),
            "low" => Ok(Self::Low),
            "medium" => Ok(Self::Medium),
            "high" => Ok(Self::High),
            "xhigh" | "max" => Ok(Self::Max),
            _ => {
                let supported = "'none', 'minimal', 'low', 'medium', 'high', 'xhigh', and 'max'";
                Err(ConvertError::UnknownValue { param: at.to_string(), value: word, supported })
            }
        }
    }
}

/// `thinking_config` of `extra_body.google`; overrides what the effort says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ThinkingOverride {
    pub include_thoughts: Option<bool>,
    /// Tokens; 0 is off, -1 is automatic.
    pub budget: Option<i64>,
    /// A level's name; Google judges it.
    pub level: Option<String>,
}

impl ThinkingOverride {
    pub(super) fn read(value: Value, at: At<'_>) -> Result<Self, ConvertError> {
        let mut config = Object::read(value, at)?;
        let mut include_thoughts = config.boolean("include_thoughts")?;
        if include_thoughts.is_none() {
            include_thoughts = config.boolean("includeThoughts")?;
        }
        let budget = config.take("thinking_budget").or_else(|| config.take("thinkingBudget"));
        let budget = budget.map(|budget| whole(&budget, &at.key("thinking_budget"))).transpose()?;
        let mut level = config.string("thinking_level")?;
        if level.is_none() {
            level = config.string("thinkingLevel")?;
        }
        let level = level.map(|level| level.to_ascii_uppercase());
        Ok(Self { include_thoughts, budget, level })
    }
}

/// A number of tokens, or one of those below 0 that mean something.
fn whole(value: &Value, at: &At<'_>) -> Result<i64, ConvertError> {
    let float = value.as_f64().filter(|number| number.fract() == 0.0);
    let whole = value.as_i64().or(float.map(|number| number as i64));
    whole.ok_or_else(|| wrong_type(at, "an integer", value))
}

/// `thinkingConfig`; `None` when there is nothing to say, or the model does not think and was not told to.
pub(super) fn config<'a>(
    effort: Option<Effort>,
    client: &'a ThinkingOverride,
    show_thoughts: bool,
    traits: &ModelTraits,
) -> Option<ThinkingConfig<'a>> {
    let mut config = ThinkingConfig::default();
    match (traits.thinking, effort) {
        (Thinking::None, _) | (_, None) => {}
        (Thinking::Budget { min, max, can_disable }, Some(effort)) => {
            config.thinking_budget = Some(effort.budget(min, max, can_disable).into());
        }
        (Thinking::Levels(levels), Some(effort)) => {
            config.thinking_level = effort.level(levels).map(ThinkingLevel::Known);
        }
    }
    if client.budget.is_some() || client.level.is_some() {
        config.thinking_budget = client.budget;
        config.thinking_level = client.level.as_deref().map(ThinkingLevel::Named);
    }
    // Google refuses to show what there is not.
    let shown = show_thoughts && traits.thinks() && config.thinking_budget != Some(0);
    config.include_thoughts = client.include_thoughts.or(shown.then_some(true));
    (config != ThinkingConfig::default()).then_some(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::traits::Level;

    fn budget(model: &str, effort: Effort) -> Option<i64> {
        config(Some(effort), &ThinkingOverride::default(), false, &ModelTraits::of(model))?.thinking_budget
    }

    fn level(model: &str, effort: Effort) -> Option<Level> {
        match config(Some(effort), &ThinkingOverride::default(), false, &ModelTraits::of(model))?
            .thinking_level?
        {
            ThinkingLevel::Known(level) => Some(level),
            ThinkingLevel::Named(_) => None,
        }
    }

    #[test]
    fn efforts_become_budgets_on_gemini_2_5() {
        use Effort::{High, Low, Max, Medium, Minimal, None};
        let row =
            |model| [None, Minimal, Low, Medium, High, Max].map(|effort| budget(model, effort).unwrap());

        assert_eq!(row("gemini-2.5-flash"), [0, 1024, 1024, 8192, 24_576, 24_576]);
        assert_eq!(row("gemini-2.5-flash-lite"), [0, 1024, 1024, 8192, 24_576, 24_576]);
        assert_eq!(row("gemini-2.5-pro"), [128, 1024, 1024, 8192, 24_576, 32_768]);
    }

    #[test]
    fn efforts_become_levels_that_the_model_has() {
        use Effort::{High, Low, Max, Medium, None};
        let row = |model| [None, Low, Medium, High, Max].map(|effort| level(model, effort).unwrap());

        assert_eq!(
            row("gemini-3.6-flash"),
            [Level::Minimal, Level::Low, Level::Medium, Level::High, Level::High]
        );
        for model in ["gemini-3.8-flash", "gemini-flash-latest", "gemini-9-new", "gemini-3.1-pro-preview"] {
            assert_eq!(
                row(model),
                [Level::Low, Level::Low, Level::Medium, Level::High, Level::High],
                "{model}"
            );
        }
    }

    #[test]
    fn a_model_that_does_not_think_is_not_told_to() {
        let traits = ModelTraits::of("gemini-2.0-flash");

        assert_eq!(config(Some(Effort::High), &ThinkingOverride::default(), true, &traits), None);
    }

    #[test]
    fn thoughts_that_there_are_not_are_not_asked_for() {
        let shown = |effort| {
            let traits = ModelTraits::of("gemini-2.5-flash");
            config(Some(effort), &ThinkingOverride::default(), true, &traits).unwrap().include_thoughts
        };

        assert_eq!((shown(Effort::None), shown(Effort::Low)), (None, Some(true)));
    }

    #[test]
    fn the_clients_own_config_overrides_the_effort() {
        let client = ThinkingOverride { include_thoughts: Some(false), budget: Some(800), level: None };

        let config = config(Some(Effort::High), &client, true, &ModelTraits::of("gemini-3.8-flash")).unwrap();

        assert_eq!((config.thinking_budget, config.thinking_level), (Some(800), None));
        assert_eq!(config.include_thoughts, Some(false));
    }
}
