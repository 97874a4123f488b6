//! Why a key was chosen, and what kept the others: the short answer to "why did it go there".

use serde::{Deserialize, Serialize, Serializer};

use super::{
    Placed, RoutingTable,
    lists::{ModelTable, RANKS, ReadyFor},
};
use crate::domain::model::ModelName;

/// Why this key, and what else there was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Choice {
    pub reason: ChoiceReason,
    /// What the key costs by [`crate::balance::cost`]; 1 is an idle key of which nothing bad is known.
    #[serde(serialize_with = "in_hundredths")]
    pub cost: f32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rank: u8,
    pub others: Census,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChoiceReason {
    /// It decides over a half-open key.
    Probe,
    /// The resource that the request names belongs to it.
    Owner,
    /// It served this conversation or prompt before.
    Preferred,
    /// The policy's choice.
    Policy,
}

/// The pool at the moment of a choice, as seen for one model. A key may be kept from it by more than one thing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Census {
    pub keys: u32,
    pub ready: u32,
    /// Of these, cost money, and are used only when none of the others is ready.
    #[serde(skip_serializing_if = "is_zero")]
    pub paid: u32,
    /// Have no quota left for the model.
    #[serde(skip_serializing_if = "is_zero")]
    pub spent: u32,
    /// Cool for the model by Google's word.
    #[serde(skip_serializing_if = "is_zero")]
    pub cooling: u32,
    /// Cool as a whole.
    #[serde(skip_serializing_if = "is_zero")]
    pub open: u32,
    /// May have one attempt, which decides over them.
    #[serde(skip_serializing_if = "is_zero")]
    pub half_open: u32,
    /// Are kept from the model by the operator's rules.
    #[serde(skip_serializing_if = "is_zero")]
    pub denied: u32,
    /// Are out of use until somebody acts.
    #[serde(skip_serializing_if = "is_zero")]
    pub out: u32,
    /// Were tried by this request already.
    #[serde(skip_serializing_if = "is_zero")]
    pub tried: u32,
}

fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

fn in_hundredths<S: Serializer>(number: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f32((number * 100.0).round() / 100.0)
}

impl<T: Placed> RoutingTable<T> {
    /// Counts the keys by what keeps them from a model; `tried` of them by one request that has had them.
    pub fn census(&self, model: &ModelName, tried: usize) -> Census {
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let of_model = self.models.get(model);
        let ready = ReadyFor::new(&self.ready, of_model);
        let (half_open, open) = (self.half_open.len(), self.cooling.len());
        Census {
            keys: count(self.len()),
            ready: count(ready.len()),
            paid: count(ready.rank_len(RANKS - 1)),
            spent: count(of_model.map_or(0, ModelTable::held_len)),
            cooling: count(of_model.map_or(0, |table| table.cooling.len())),
            open: count(open),
            half_open: count(half_open),
            denied: count(of_model.map_or(0, ModelTable::denied_len)),
            // Whatever is in use is in one of the lists of all models.
            out: count(self.len().saturating_sub(self.ready.len() + half_open + open)),
            tried: count(tried),
        }
    }
}
