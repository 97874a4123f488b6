//! The list of keys, with filters, in any order, a page at a time.

use actix_web::web::{Data, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::view::KeyView;
use crate::{
    actors::{
        directory::{KeyFilter, KeyPage, KeySort, QueryKeys},
        supervisor::StateCounts,
    },
    api::{
        admin::{
            Admin,
            error::AdminError,
            list::{Cursor, Limit},
            parameters::Parameters,
        },
        auth::AdminUser,
        error::{ApiError, Failure},
        gateway::Gateway,
    },
    domain::{key_event::StateName, model::ModelName, placement::Tier, time::Now},
};

/// Which keys, and which page of them.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct KeyQuery {
    /// One or more of them, separated by commas.
    #[serde(default)]
    #[param(style = Form, explode = false)]
    state: Vec<StateName>,
    /// Part of the label, mask, project or a tag, or the id.
    q: Option<String>,
    tag: Option<String>,
    project: Option<String>,
    tier: Option<Tier>,
    /// A model that the key is for.
    #[param(value_type = Option<String>)]
    model: Option<ModelName>,
    /// id, label, state, last_used, requests, failures, in_flight or created; with `-` in front descending.
    #[param(pattern = "^-?(id|label|state|last_used|requests|failures|in_flight|created)$")]
    sort: Option<String>,
    /// Where the page begins, as the page before told.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// The same as a number; excludes `cursor`.
    offset: Option<usize>,
    /// Keys of a page.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: Limit,
}

/// A page of keys, and what there is besides.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyList {
    pub items: Vec<KeyView>,
    pub next_cursor: Option<String>,
    /// Keys that the filter fits.
    pub total: usize,
    /// Of all keys.
    pub counts: CountsView,
    /// Of all keys, for choosing from.
    pub tags: Vec<String>,
    pub projects: Vec<String>,
}

/// How many keys are in each state.
#[derive(Debug, Serialize, ToSchema)]
pub struct CountsView {
    pub all: usize,
    #[serde(flatten)]
    pub states: StateCounts,
}

/// The keys.
#[utoipa::path(
    get, path = "/api/admin/keys", tag = "keys", params(KeyQuery),
    responses((status = 200, description = "A page of them", body = KeyList)),
)]
pub async fn list_keys(
    _: AdminUser,
    gateway: Data<Gateway>,
    query: Parameters<KeyQuery>,
) -> Result<Json<KeyList>, Failure<Admin>> {
    let query = query.0.read()?;
    let (offset, limit) = (query.offset, query.limit);
    let page = ask(&gateway, query).await?;
    let now = Now::read();
    let end = offset + page.rows.len();
    let states = page.counts;
    let all = states.active + states.cooling + states.half_open + states.invalid + states.disabled;
    Ok(Json(KeyList {
        items: page.rows.iter().map(|row| KeyView::of(row, now)).collect(),
        next_cursor: (page.rows.len() == limit && end < page.total).then(|| Cursor::text(&end)),
        total: page.total,
        counts: CountsView { all, states },
        tags: page.tags,
        projects: page.projects,
    }))
}

pub async fn ask(gateway: &Gateway, query: QueryKeys) -> Result<KeyPage, ApiError> {
    gateway.directory.send(query).await.map_err(|_| ApiError::Internal)
}

impl KeyQuery {
    fn read(self) -> Result<QueryKeys, AdminError> {
        let offset = match (self.cursor, self.offset) {
            (Some(_), Some(_)) => {
                return Err(AdminError::parameter("offset", "cannot stand beside `cursor`"));
            }
            (Some(cursor), None) => cursor.place()?,
            (None, offset) => offset.unwrap_or(0),
        };
        let (sort, is_descending) = read_sort(self.sort.as_deref().unwrap_or_default())?;
        let filter = KeyFilter {
            ids: None,
            states: self.state,
            text: self.q,
            tag: self.tag,
            project: self.project,
            tier: self.tier,
            model: self.model,
        };
        // No list has so many, and the end of the page must be a number.
        let offset = offset.min(usize::MAX / 2);
        Ok(QueryKeys { filter, sort, is_descending, offset, limit: self.limit.0 })
    }
}

fn read_sort(text: &str) -> Result<(KeySort, bool), AdminError> {
    let (name, is_descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
    let sort = match name {
        "" if !is_descending => KeySort::Id,
        "id" => KeySort::Id,
        "label" => KeySort::Label,
        "state" => KeySort::State,
        "last_used" => KeySort::LastUsed,
        "requests" => KeySort::Requests,
        "failures" => KeySort::Failures,
        "in_flight" => KeySort::InFlight,
        "created" => KeySort::Created,
        _ => {
            let known = "is none of id, label, state, last_used, requests, failures, in_flight, created";
            return Err(AdminError::parameter("sort", known));
        }
    };
    Ok((sort, is_descending))
}

/// Which keys an action is about; the parameters of the list without its pages.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    #[serde(default)]
    pub state: Vec<StateName>,
    pub q: Option<String>,
    pub tag: Option<String>,
    pub project: Option<String>,
    pub tier: Option<Tier>,
    #[schema(value_type = Option<String>)]
    pub model: Option<ModelName>,
}

impl From<Selection> for KeyFilter {
    fn from(selection: Selection) -> Self {
        let Selection { state: states, q: text, tag, project, tier, model } = selection;
        Self { ids: None, states, text, tag, project, tier, model }
    }
}
