//! Keys as operators know them: by id and mask.

use std::collections::HashMap;

use actix::prelude::*;
use serde::Serialize;

use super::Supervisor;
use crate::domain::key::KeyId;

/// A key without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KeyLabel {
    pub id: KeyId,
    pub masked: String,
}

/// Question: the masks of these keys; those that are gone are left out.
#[derive(Debug, Message)]
#[rtype(result = "HashMap<KeyId, String>")]
pub struct MaskKeys(pub Vec<KeyId>);

impl Handler<MaskKeys> for Supervisor {
    type Result = MessageResult<MaskKeys>;

    fn handle(&mut self, MaskKeys(keys): MaskKeys, _: &mut Context<Self>) -> Self::Result {
        let labels = keys.into_iter().filter_map(|key| self.label(key));
        MessageResult(labels.map(|KeyLabel { id, masked }| (id, masked)).collect())
    }
}

impl Supervisor {
    pub(super) fn label(&self, id: KeyId) -> Option<KeyLabel> {
        self.keys.get(&id).map(|entry| KeyLabel { id, masked: entry.secret.masked() })
    }
}
