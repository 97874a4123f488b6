//! Responses that clients asked to keep, as the handlers of one worker see them. Everything that looks into the database
//! does so on another thread.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use actix::Addr;
use bytes::Bytes;
use serde_json::Value;
use tracing::{error, warn};

use super::{error::ApiError, openai::background::Background};
use crate::{
    actors::archive::{Archive, Keep, Unwritten, Waiting},
    convert::{
        ConvertError,
        openai::responses::{Earlier, response_of_item, stored},
    },
    db::{
        Database, DbConnection, DbError,
        responses::{Chain, StoredResponse, delete_response, find_chain, find_response},
    },
    domain::client::TokenId,
};

/// Larger requests are answered but not kept.
pub const LARGEST_KEPT: usize = 16 * 1024 * 1024;
/// Responses that the references of one request may lead to; each may be as large as that.
const MAX_REFERRED: usize = 50;

#[derive(Clone)]
pub struct Responses {
    pub archive: Addr<Archive>,
    pub unwritten: Arc<Unwritten>,
    pub database: Database,
    /// Those that are being made while nobody has to wait.
    pub background: Arc<Background>,
    /// Otherwise nothing is kept.
    pub is_on: bool,
}

/// A response that is to be kept once it is told.
pub struct ToKeep {
    responses: Responses,
    id: String,
    owner: TokenId,
    previous_id: Option<String>,
    /// Of the request.
    body: Bytes,
}

impl Responses {
    /// Whether a response to this request can be kept.
    pub fn takes(&self, body: &Bytes) -> bool {
        self.is_on && body.len() <= LARGEST_KEPT
    }

    pub fn to_keep(&self, id: String, owner: &TokenId, previous_id: Option<String>, body: Bytes) -> ToKeep {
        ToKeep { responses: self.clone(), id, owner: owner.clone(), previous_id, body }
    }

    /// `None` when there is none, or when it is another client's.
    pub async fn find(&self, owner: &TokenId, id: String) -> Result<Option<StoredResponse>, ApiError> {
        let (unwritten, owner) = (self.unwritten.clone(), owner.clone());
        let found = self.database.read(move |conn| find_either(conn, &unwritten, owner.as_str(), &id));
        found.await.map_err(|error| failed(&error))
    }

    /// Answers whether there was one.
    pub async fn delete(&self, owner: &TokenId, id: String) -> Result<bool, ApiError> {
        let owner = owner.clone();
        let is_mine = self.unwritten.find(&id).is_some_and(|waiting| waiting.row().owner == owner.as_str());
        let was_waiting = is_mine && self.unwritten.remove(&id);
        // What was being written just now is deleted behind that.
        let deleted = self.database.write(move |conn| delete_response(conn, owner.as_str(), &id));
        Ok(deleted.await.map_err(|error| failed(&error))? || was_waiting)
    }

    /// The conversation so far, and the items that a request refers to.
    pub async fn earlier(
        &self,
        owner: &TokenId,
        previous_id: Option<String>,
        references: Vec<String>,
    ) -> Result<Earlier, ApiError> {
        if previous_id.is_none() && references.is_empty() {
            return Ok(Earlier::default());
        }
        let (unwritten, owner) = (self.unwritten.clone(), owner.clone());
        let found = self.database.read(move |conn| {
            let mut find = |id: &str| find_either(conn, &unwritten, owner.as_str(), id);
            let chain = match &previous_id {
                Some(id) => find_chain(owner.as_str(), id, &mut find)?,
                None => Chain::Whole(Vec::new()),
            };
            let chain = match chain {
                Chain::Whole(chain) => chain,
                Chain::Broken { missing } => return Ok(Err(ConvertError::PreviousNotFound { id: missing })),
                Chain::TooLong => return Ok(Err(too_long())),
            };
            let items: Vec<Value> = chain.iter().flat_map(items_of).collect();
            let in_chain: Vec<_> = stored::references(&items).map(str::to_owned).collect();
            let mut wanted: HashSet<String> = references.into_iter().chain(in_chain).collect();
            let mut referenced = HashMap::new();
            take(&mut wanted, &items, &mut referenced);
            // Each response is read once, however many of its items are referred to.
            let others: BTreeSet<_> = wanted.iter().filter_map(|item| response_of_item(item)).collect();
            if others.len() > MAX_REFERRED {
                return Ok(Err(too_scattered(others.len())));
            }
            for id in others {
                if let Some(row) = find(&id)? {
                    take(&mut wanted, &items_of(&row), &mut referenced);
                }
            }
            Ok(Ok(Earlier { items, referenced }))
        });
        Ok(found.await.map_err(|error| failed(&error))??)
    }
}

impl ToKeep {
    /// Hands over the response, as JSON with everything in it. What is left to do is done on another thread.
    pub fn keep(self, response: String) {
        let Self { responses, id, owner, previous_id, body } = self;
        let (bytes, row_id) = (body.len() + response.len(), id.clone());
        let waiting = Arc::new(Waiting::new(id, bytes, move || StoredResponse {
            input: stored::input_to_keep(&body, &row_id).unwrap_or_default(),
            id: row_id,
            owner: owner.to_string(),
            previous_id,
            response,
        }));
        match responses.unwritten.add(waiting.clone()) {
            Ok(()) => responses.archive.do_send(Keep(waiting)),
            Err(full) => warn!(reason = %full, "a response is not kept"),
        }
    }
}

/// Looks at what is not written yet first: it leaves there only when it is written.
fn find_either(
    conn: &mut DbConnection,
    unwritten: &Unwritten,
    owner: &str,
    id: &str,
) -> Result<Option<StoredResponse>, diesel::result::Error> {
    match unwritten.find(id) {
        Some(waiting) => Ok(Some(waiting.row().clone()).filter(|row| row.owner == owner)),
        None => find_response(conn, owner, id),
    }
}

/// What a response began with, and what it said.
fn items_of(row: &StoredResponse) -> Vec<Value> {
    let mut items = stored::items(&row.input);
    items.extend(stored::output(&row.response));
    items
}

/// Takes those of the items that are wanted; the item itself, not one that refers to it.
fn take(wanted: &mut HashSet<String>, items: &[Value], into: &mut HashMap<String, Value>) {
    let is_reference = |item| stored::references(std::slice::from_ref(item)).next().is_some();
    for item in items {
        let id = item["id"].as_str().unwrap_or_default();
        if wanted.contains(id) && !is_reference(item) {
            wanted.remove(id);
            into.insert(id.to_owned(), item.clone());
        }
    }
}

fn too_scattered(count: usize) -> ConvertError {
    let reason =
        format!("its references lead to {count} other responses, and at most {MAX_REFERRED} are read.");
    ConvertError::InvalidValue { param: "input".to_owned(), reason }
}

fn too_long() -> ConvertError {
    let reason = "the conversation is too long to be continued from here; begin a new one, or send its items as 'input'.";
    ConvertError::InvalidValue { param: "previous_response_id".to_owned(), reason: reason.to_owned() }
}

fn failed(error: &DbError) -> ApiError {
    error!(%error, "kept responses cannot be read");
    ApiError::Internal
}
