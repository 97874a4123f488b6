//! Lists of files, caches, batches and stores. Google's own lists hold what one project has, for whichever client; ours
//! hold what this client has, of whichever key.

use actix_web::{HttpRequest, HttpResponse, http::Method, web::Data};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Map, Value, json};
use tracing::debug;

use super::{Gemini, passing::learn_refusal, relay::get};
use crate::{
    api::{
        auth::ClientToken,
        error::{ApiError, Failure},
        gateway::Gateway,
        journal::{Asked, Journal},
    },
    domain::{model::ModelName, resource::ResourceName},
    upstream::{relay::RelayedBody, trail::Trail},
};

/// Google's own page sizes. Source: discovery document, `files.list`.
const DEFAULT_PAGE: usize = 10;
const LARGEST_PAGE: usize = 100;
/// Resources that are asked for at a time.
const SIDE_BY_SIDE: usize = 8;
/// Collections, and the member that holds them in an answer.
const LISTED: [(&str, &str); 4] = [
    ("files", "files"),
    ("cachedContents", "cachedContents"),
    ("batches", "operations"),
    ("fileSearchStores", "fileSearchStores"),
];

/// A list that a client asks for.
pub struct Listed {
    version: String,
    collection: &'static str,
    member: &'static str,
}

impl Listed {
    /// `None` when the request is for something else; `path` is Google's.
    pub fn asked_for(request: &HttpRequest, path: &str) -> Option<Self> {
        if request.method() != Method::GET {
            return None;
        }
        let (version, collection) = path.strip_prefix('/')?.trim_end_matches('/').split_once('/')?;
        let (collection, member) = LISTED.into_iter().find(|(name, _)| *name == collection)?;
        Some(Self { version: version.to_owned(), collection, member })
    }
}

/// Asks the owner of each resource how it is now. Those that are gone are forgotten, and those whose owner cannot be
/// asked are left out.
pub async fn list(
    request: &HttpRequest,
    gateway: &Data<Gateway>,
    token: ClientToken<Gemini>,
    listed: Listed,
) -> Result<HttpResponse, Failure<Gemini>> {
    let client = token.id.clone();
    let mut journal =
        Journal::begin(gateway, request, token.holder, Asked::of("gemini", "list"), &Bytes::new());
    if let Err(error) = journal.admit_free(&ModelName::none()) {
        return journal.conclude(Err(error));
    }
    let (size, behind) = match paging(request.query_string(), listed.collection) {
        Ok(paging) => paging,
        Err(error) => return journal.conclude(Err(error)),
    };
    let mut names = gateway.registry.page(listed.collection, &client, behind.as_ref(), size + 1);
    let has_more = names.len() > size;
    names.truncate(size);
    let trails = journal.branches(names.len()).iter_mut();
    let asked = names.iter().zip(trails).map(|(name, trail)| find(gateway, &listed.version, name, trail));
    let found: Vec<Option<Value>> = stream::iter(asked).buffered(SIDE_BY_SIDE).collect().await;
    journal.join();
    let mut page = Map::new();
    page.insert(listed.member.to_owned(), found.into_iter().flatten().collect());
    if let Some(last) = names.last().filter(|_| has_more) {
        page.insert("nextPageToken".to_owned(), json!(last.as_str()));
    }
    journal.conclude(Ok::<_, ApiError>(HttpResponse::Ok().json(page)))
}

async fn find(gateway: &Gateway, version: &str, name: &ResourceName, trail: &mut Trail) -> Option<Value> {
    let call = get(format!("/{version}/{name}"));
    match gateway.dispatcher.relay(&call, trail).await {
        Ok(relayed) => match relayed.body {
            RelayedBody::Whole(body) => serde_json::from_slice(&body).ok(),
            RelayedBody::Arriving(_) => None,
        },
        Err(error) => {
            learn_refusal(&gateway.registry, &call, &error);
            debug!(resource = %name, %error, "left out of a list");
            None
        }
    }
}

/// Size of the page, and the name that it begins behind; a page's token is the last name of the one before.
fn paging(query: &str, collection: &str) -> Result<(usize, Option<ResourceName>), ApiError> {
    let (mut size, mut behind) = (DEFAULT_PAGE, None);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty())
    {
        match &*name {
            "pageSize" | "page_size" => {
                let read = value.parse().ok();
                size =
                    read.ok_or_else(|| ApiError::Parameter { name: "pageSize", value: value.to_string() })?;
            }
            "pageToken" | "page_token" => {
                let read = ResourceName::parse(&value).filter(|name| name.collection() == collection);
                let read =
                    read.ok_or_else(|| ApiError::Parameter { name: "pageToken", value: value.to_string() });
                behind = Some(read?);
            }
            _ => {}
        }
    }
    // Google takes 0 for its default.
    Ok((if size == 0 { DEFAULT_PAGE } else { size.min(LARGEST_PAGE) }, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_within_googles_bounds() {
        let read =
            |query| paging(query, "files").map(|(size, behind)| (size, behind.map(|name| name.to_string())));

        assert_eq!(read("").unwrap(), (10, None));
        assert_eq!(read("pageSize=0&pageToken=").unwrap(), (10, None));
        assert_eq!(read("page_size=500&page_token=files/a").unwrap(), (100, Some("files/a".to_owned())));
        assert_eq!(read("pageSize=-1").unwrap_err().to_string(), "`-1` is no pageSize");
        assert_eq!(read("pageToken=batches/a").unwrap_err().to_string(), "`batches/a` is no pageToken");
    }
}
