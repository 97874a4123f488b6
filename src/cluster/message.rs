//! What nodes tell each other. Older and newer versions meet here: unknown fields are passed over, missing ones are blank.

use std::{collections::BTreeSet, mem::take, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    balance::allowance::Share,
    domain::{client::TokenId, key::KeyId, node::NodeId},
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
    /// Keys that it has changed in the database.
    #[serde(default, skip_serializing_if = "ChangedKeys::are_none")]
    pub keys: ChangedKeys,
    /// It ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves: bool,
}

impl Word {
    /// Says no more than that its node is there.
    pub fn of(from: &NodeId) -> Self {
        Self {
            from: from.clone(),
            used: Vec::new(),
            changed: Vec::new(),
            keys: ChangedKeys::default(),
            leaves: false,
        }
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

/// Keys that are to be read anew, by their ids: these, or so many that it is all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangedKeys {
    These(BTreeSet<KeyId>),
    All,
}

impl Default for ChangedKeys {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl FromIterator<KeyId> for ChangedKeys {
    fn from_iter<I: IntoIterator<Item = KeyId>>(keys: I) -> Self {
        let mut changed = Self::default();
        changed.add(Self::These(keys.into_iter().collect()));
        changed
    }
}

impl ChangedKeys {
    /// Ids of one word. Whoever hears of more reads everything.
    pub const MOST: usize = 1000;

    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }

    /// These as well.
    pub fn add(&mut self, others: Self) {
        match (&mut *self, others) {
            (Self::These(keys), Self::These(others)) if keys.union(&others).count() <= Self::MOST => {
                keys.extend(others);
            }
            _ => *self = Self::All,
        }
    }

    /// Leaves none.
    pub fn take(&mut self) -> Self {
        take(self)
    }
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

    #[test]
    fn of_more_keys_than_a_word_holds_all_are_meant() {
        let keys = |range: std::ops::Range<i64>| range.map(KeyId).collect::<ChangedKeys>();
        let most = i64::try_from(ChangedKeys::MOST).unwrap();

        let mut changed = keys(0..most);
        changed.add(keys(0..5));
        assert_eq!(changed, keys(0..most));
        changed.add(keys(most..most + 1));
        assert_eq!((&changed, keys(0..most + 1)), (&ChangedKeys::All, ChangedKeys::All));
        changed.add(keys(0..1));
        assert_eq!((changed.take(), changed.are_none()), (ChangedKeys::All, true));
    }

    #[test]
    fn keys_are_told_by_their_ids_alone() {
        let word = Word { keys: [KeyId(7), KeyId(3)].into_iter().collect(), ..Word::of(&NodeId::new("n1")) };

        let told = serde_json::to_string(&word).unwrap();

        assert_eq!(told, r#"{"from":"n1","keys":{"these":[3,7]}}"#);
        assert_eq!(serde_json::from_str::<Word>(&told).unwrap(), word);
    }
}
