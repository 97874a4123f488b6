//! The methods of a model that are more to us than a name.

use crate::upstream::call::AnswerKind;

/// What stands behind the colon in `models/{model}:{method}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelMethod {
    Generate,
    StreamGenerate,
    CountTokens,
    EmbedContent,
    BatchEmbedContents,
    /// Relayed as it is; Google says whether it exists.
    Other(String),
}

impl ModelMethod {
    /// `None` for what could not stand in a path of Google's.
    pub fn parse(name: &str) -> Option<Self> {
        let is_plain =
            !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric());
        Some(match name {
            "generateContent" => Self::Generate,
            "streamGenerateContent" => Self::StreamGenerate,
            "countTokens" => Self::CountTokens,
            "embedContent" => Self::EmbedContent,
            "batchEmbedContents" => Self::BatchEmbedContents,
            other if is_plain => Self::Other(other.to_owned()),
            _ => return None,
        })
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(name) => name,
            known => known.label(),
        }
    }

    /// For logs and metrics: one of few values.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Generate => "generateContent",
            Self::StreamGenerate => "streamGenerateContent",
            Self::CountTokens => "countTokens",
            Self::EmbedContent => "embedContent",
            Self::BatchEmbedContents => "batchEmbedContents",
            Self::Other(_) => "other",
        }
    }

    pub fn answer(&self) -> AnswerKind {
        if self.generates() { AnswerKind::Generation } else { AnswerKind::Plain }
    }

    pub fn generates(&self) -> bool {
        matches!(self, Self::Generate | Self::StreamGenerate)
    }
}
