//! What each model of Google's takes and refuses, as one table.
//!
//! Names are matched top down, the first row that fits counts; a model that nobody has heard of is treated as a new Gemini 3,
//! without `MINIMAL`. Sources: Google's model pages of 2026-09, `models.list` and measured errors; rows marked (report) rest
//! on public reports.

use serde::Serialize;

/// `generationConfig.thinkingConfig.thinkingLevel`, from little to much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    Minimal,
    Low,
    Medium,
    High,
}

/// How a model's thinking is steered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thinking {
    /// Does not think; a `thinkingConfig` is answered with 400.
    None,
    /// `thinkingBudget` in tokens, `min..=max`; `can_disable` when 0 is taken too.
    Budget { min: u32, max: u32, can_disable: bool },
    /// `thinkingLevel`, lowest first; cannot be switched off.
    Levels(&'static [Level]),
}

/// The differences between models that a translation has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelTraits {
    pub thinking: Thinking,
    /// The generation from 3 on: function calls of the current turn must come back with their signature, calls have ids, and
    /// media belong into `functionResponse.parts`.
    pub signatures: bool,
    /// Function declarations together with Google Search and the like; others answer 400.
    pub functions_with_search: bool,
    /// A JSON answer together with function declarations; others answer 400.
    pub json_with_functions: bool,
    /// `presencePenalty` and `frequencyPenalty`; others answer 400 "Penalty is not enabled" (report).
    pub penalties: bool,
    /// Continues a conversation that ends with the model's own words; others answer 400 (report).
    pub prefill: bool,
    /// Takes a `systemInstruction`; others get that text in front of the first user turn.
    pub system_instruction: bool,
    /// Google Search, code execution and URL context, alone or together.
    pub built_in_tools: bool,
    /// Speaks its answers.
    pub speech: bool,
}

const GEMINI_2: ModelTraits = ModelTraits {
    thinking: Thinking::None,
    signatures: false,
    functions_with_search: false,
    json_with_functions: false,
    penalties: true,
    prefill: true,
    system_instruction: true,
    built_in_tools: true,
    speech: false,
};

const GEMINI_2_5: ModelTraits = ModelTraits {
    thinking: Thinking::Budget { min: 0, max: 24_576, can_disable: true },
    penalties: false,
    ..GEMINI_2
};

const GEMINI_3: ModelTraits = ModelTraits {
    thinking: Thinking::Levels(FROM_LOW),
    signatures: true,
    functions_with_search: true,
    json_with_functions: true,
    penalties: false,
    prefill: false,
    system_instruction: true,
    built_in_tools: true,
    speech: false,
};

/// Speech, pictures, embeddings and the like: no thinking, no system text.
const SPECIAL: ModelTraits = ModelTraits {
    penalties: false,
    prefill: false,
    system_instruction: false,
    built_in_tools: false,
    ..GEMINI_2
};

/// Pictures, from Gemini 3 on.
const PICTURES_3: ModelTraits =
    ModelTraits { thinking: Thinking::None, system_instruction: false, built_in_tools: false, ..GEMINI_3 };

const FROM_LOW: &[Level] = &[Level::Low, Level::Medium, Level::High];
const FROM_MINIMAL: &[Level] = &[Level::Minimal, Level::Low, Level::Medium, Level::High];
const MINIMAL_OR_HIGH: &[Level] = &[Level::Minimal, Level::High];

/// Patterns (`*` stands for anything) and what the models that fit can do.
const TABLE: &[(&str, ModelTraits)] = &[
    ("*-tts*", ModelTraits { speech: true, ..SPECIAL }),
    ("*-native-audio*", ModelTraits { speech: true, ..GEMINI_2_5 }),
    ("*embedding*", SPECIAL),
    ("gemini-2.5-flash-image*", SPECIAL),
    ("gemini-2.0-flash*-image*", SPECIAL),
    (
        "gemini-3.1-flash-lite-image*",
        ModelTraits { thinking: Thinking::Levels(MINIMAL_OR_HIGH), ..PICTURES_3 },
    ),
    ("*-image*", PICTURES_3),
    ("*nano-banana*", PICTURES_3),
    ("*-transcribe*", ModelTraits { thinking: Thinking::None, ..GEMINI_3 }),
    (
        "gemma-*",
        ModelTraits { penalties: false, system_instruction: false, built_in_tools: false, ..GEMINI_2 },
    ),
    ("gemini-1.*", GEMINI_2),
    ("gemini-2.0-*", GEMINI_2),
    (
        "gemini-2.5-flash-lite*",
        ModelTraits { thinking: Thinking::Budget { min: 512, max: 24_576, can_disable: true }, ..GEMINI_2_5 },
    ),
    (
        "gemini-2.5-pro*",
        ModelTraits {
            thinking: Thinking::Budget { min: 128, max: 32_768, can_disable: false },
            ..GEMINI_2_5
        },
    ),
    ("gemini-2.5-*", GEMINI_2_5),
    (
        "gemini-3-pro-preview*",
        ModelTraits { thinking: Thinking::Levels(&[Level::Low, Level::High]), prefill: true, ..GEMINI_3 },
    ),
    ("gemini-3-flash*", ModelTraits { thinking: Thinking::Levels(FROM_MINIMAL), prefill: true, ..GEMINI_3 }),
    (
        "gemini-3.1-flash-lite*",
        ModelTraits { thinking: Thinking::Levels(FROM_MINIMAL), prefill: true, ..GEMINI_3 },
    ),
    ("gemini-3.1-*", ModelTraits { prefill: true, ..GEMINI_3 }),
    ("gemini-3.5-flash-lite*", ModelTraits { thinking: Thinking::Levels(FROM_MINIMAL), ..GEMINI_3 }),
    (
        "gemini-3.5-flash*",
        ModelTraits { thinking: Thinking::Levels(FROM_MINIMAL), prefill: true, ..GEMINI_3 },
    ),
    ("gemini-3.6-flash*", ModelTraits { thinking: Thinking::Levels(FROM_MINIMAL), ..GEMINI_3 }),
];

impl ModelTraits {
    /// What is known of a model, by its short name (without `models/`, without the gateway's suffixes).
    pub fn of(model: &str) -> Self {
        let row = TABLE.iter().find(|(pattern, _)| fits(pattern, model));
        row.map_or(GEMINI_3, |(_, traits)| *traits)
    }

    pub fn thinks(&self) -> bool {
        self.thinking != Thinking::None
    }
}

/// Whether a name fits a pattern in which `*` stands for any text, also none.
pub fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(head) else {
        return false;
    };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    for literal in middle.split('*').filter(|literal| !literal.is_empty()) {
        let Some((_, behind)) = name.split_once(literal) else {
            return false;
        };
        name = behind;
    }
    name.ends_with(tail)
}

/// Whether answers of that model are pictures, as far as its name tells.
pub fn makes_pictures(model: &str) -> bool {
    ["*-image*", "imagen-*"].iter().any(|pattern| fits(pattern, model))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_model_is_a_new_gemini_3_without_minimal() {
        let traits = ModelTraits::of("gemini-4-argon");

        assert_eq!(traits.thinking, Thinking::Levels(FROM_LOW));
        assert!(traits.signatures && traits.functions_with_search && !traits.prefill);
    }

    #[test]
    fn the_more_special_name_wins_over_its_family() {
        assert_eq!(
            ModelTraits::of("gemini-2.5-flash-lite-preview-09-2025").thinking,
            Thinking::Budget { min: 512, max: 24_576, can_disable: true }
        );
        assert!(!ModelTraits::of("gemini-2.5-flash-preview-tts").thinks());
        assert!(!ModelTraits::of("gemini-3-pro-image").thinks());
        assert!(ModelTraits::of("gemini-3-flash-preview").prefill);
        assert!(!ModelTraits::of("gemini-3.5-flash-lite").prefill);
    }

    #[test]
    fn a_star_stands_for_anything_even_nothing() {
        assert!(fits("a*c", "ac") && fits("a*c", "abbc") && fits("*b*", "abc"));
        assert!(!fits("a*c", "ab") && !fits("abc", "abcd"));
        assert!(fits("*é*", "aé"));
    }

    #[test]
    fn every_pattern_is_reachable() {
        for (index, (pattern, _)) in TABLE.iter().enumerate() {
            let name = pattern.replace('*', "");
            let first = TABLE.iter().position(|(pattern, _)| fits(pattern, &name));
            assert_eq!(first, Some(index), "{pattern} is shadowed");
        }
    }
}
