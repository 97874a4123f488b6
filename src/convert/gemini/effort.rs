//! How hard a model shall think, as each family of models takes it.

use crate::convert::traits::Level;

/// From little to much, in the words of most dialects; `xhigh` and `max` are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Max,
}

impl Effort {
    /// Tokens for thinking, within the model's range. Source: the mapping of Google's own OpenAI layer.
    pub fn budget(self, min: u32, max: u32, can_disable: bool) -> u32 {
        let wanted = match self {
            Self::None if can_disable => return 0,
            Self::None => min,
            Self::Minimal | Self::Low => 1024,
            Self::Medium => 8192,
            Self::High => 24_576,
            Self::Max => max,
        };
        wanted.clamp(min, max)
    }

    /// The model's own level that is nearest from above; its highest when there is none.
    pub fn level(self, levels: &[Level]) -> Option<Level> {
        let wanted = match self {
            Self::None | Self::Minimal => Level::Minimal,
            Self::Low => Level::Low,
            Self::Medium => Level::Medium,
            Self::High | Self::Max => Level::High,
        };
        levels.iter().find(|level| **level >= wanted).or(levels.last()).copied()
    }
}
