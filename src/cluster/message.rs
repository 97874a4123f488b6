//! What nodes tell each other. Older and newer versions meet here: unknown fields are passed over, missing ones are blank.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    balance::allowance::Share,
    domain::{client::TokenId, node::NodeId},
};

/// Told to all nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    pub from: NodeId,
    /// What it has used of client tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used: Vec<(TokenId, Share)>,
    /// What it has changed in the database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Change>,
    /// It ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves: bool,
}

impl Word {
    /// Says no more than that its node is there.
    pub fn of(from: &NodeId) -> Self {
        Self { from: from.clone(), used: Vec::new(), changed: Vec::new(), leaves: false }
    }
}

/// What is to be read anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Tokens,
    Settings,
    /// Something that this version does not know.
    #[serde(other)]
    Other,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCard {
    pub id: NodeId,
    /// `NODE_NAME`.
    pub name: Option<String>,
    pub version: String,
    pub started_at_ms: i64,
}

/// A node, and how long ago it was heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub card: NodeCard,
    pub silent_for: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_other_versions_are_understood_as_far_as_possible() {
        let newer = r#"{"from":"n1","changed":["tokens","weather"],"moon":"full"}"#;

        let word: Word = serde_json::from_str(newer).unwrap();

        assert_eq!(
            word,
            Word { changed: vec![Change::Tokens, Change::Other], ..Word::of(&NodeId::new("n1")) }
        );
        assert_eq!(serde_json::to_string(&Word::of(&word.from)).unwrap(), r#"{"from":"n1"}"#);
    }
}
