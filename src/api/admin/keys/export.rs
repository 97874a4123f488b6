//! Keys as a file.

use std::borrow::Cow;

use actix_web::{
    HttpResponse,
    http::header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    web::Data,
};
use serde::Deserialize;
use serde_json::json;
use tracing::info;
use utoipa::{IntoParams, ToSchema};

use super::list::ask;
use crate::{
    actors::directory::{KeyFilter, KeyRow, KeySort, QueryKeys},
    api::{
        admin::{Admin, csv::push_row, parameters::Parameters},
        auth::AdminUser,
        error::Failure,
        gateway::Gateway,
    },
    domain::{
        key_event::{StateName, word},
        model::ModelName,
        placement::Tier,
    },
};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// Lines as in `API_KEYS`.
    #[default]
    Txt,
    Csv,
    Json,
}

/// Which keys, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    #[serde(default)]
    #[param(value_type = Option<Format>, inline)]
    format: Format,
    /// Without the secrets.
    #[serde(default)]
    masked: bool,
    #[serde(default)]
    #[param(style = Form, explode = false)]
    state: Vec<StateName>,
    q: Option<String>,
    tag: Option<String>,
    project: Option<String>,
    tier: Option<Tier>,
    #[param(value_type = Option<String>)]
    model: Option<ModelName>,
}

/// All keys that the filter fits, with their secrets unless `masked`. It is logged that somebody asked for them.
#[utoipa::path(
    get, path = "/api/admin/keys/export", tag = "keys", params(ExportQuery),
    responses((status = 200, description = "A file", content(
        (String = "text/plain"), (String = "text/csv"), (Vec<Object> = "application/json"),
    ))),
)]
pub async fn export_keys(
    _: AdminUser,
    gateway: Data<Gateway>,
    query: Parameters<ExportQuery>,
) -> Result<HttpResponse, Failure<Admin>> {
    let ExportQuery { format, masked, state: states, q: text, tag, project, tier, model } = query.0;
    let filter = KeyFilter { ids: None, states, text, tag, project, tier, model };
    let query = QueryKeys { filter, sort: KeySort::Id, is_descending: false, offset: 0, limit: usize::MAX };
    let rows = ask(&gateway, query).await?.rows;
    if !masked {
        info!(keys = rows.len(), "an admin has exported keys with their secrets");
    }
    let key = |row: &KeyRow| if masked { row.masked() } else { row.secret.expose().to_owned() };
    let (content_type, name, body) = match format {
        Format::Txt => ("text/plain; charset=utf-8", "keys.txt", lines(&rows, key)),
        Format::Csv => ("text/csv; charset=utf-8", "keys.csv", table(&rows, key)),
        Format::Json => ("application/json", "keys.json", objects(&rows, key)),
    };
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .body(body))
}

fn lines(rows: &[KeyRow], key: impl Fn(&KeyRow) -> String) -> String {
    let mut text = String::new();
    for row in rows {
        text.push_str(&key(row));
        let placement = &row.placement;
        if let Some(project) = &placement.project {
            text.push_str(&format!(" project={project}"));
        }
        if let Some(tier) = placement.tier {
            text.push_str(&format!(" tier={}", tier.name()));
        }
        if placement.weight != 1 {
            text.push_str(&format!(" weight={}", placement.weight));
        }
        for (name, patterns) in [("models", &placement.models.only), ("not-models", &placement.models.not)] {
            let names: Vec<&str> = patterns.iter().map(|pattern| pattern.as_str()).collect();
            if !names.is_empty() {
                text.push_str(&format!(" {name}={}", names.join("|")));
            }
        }
        text.push('\n');
    }
    text
}

fn table(rows: &[KeyRow], key: impl Fn(&KeyRow) -> String) -> String {
    let mut text = "id,key,label,tags,project,tier,weight,state\r\n".to_owned();
    for row in rows {
        let cells = [
            row.id.to_string(),
            key(row),
            row.about.label.clone().unwrap_or_default(),
            row.about.tags.join(" "),
            row.placement.project.as_ref().map(ToString::to_string).unwrap_or_default(),
            row.placement.tier.map(|tier| tier.name().to_owned()).unwrap_or_default(),
            row.placement.weight.to_string(),
            word(&row.health.name()).unwrap_or_default(),
        ];
        push_row(&mut text, cells.into_iter().map(Cow::from));
    }
    text
}

fn objects(rows: &[KeyRow], key: impl Fn(&KeyRow) -> String) -> String {
    let object = |row: &KeyRow| {
        json!({
            "id": row.id,
            "key": key(row),
            "label": row.about.label,
            "tags": row.about.tags,
            "project": row.placement.project,
            "tier": row.placement.tier,
            "weight": row.placement.weight,
            "models": row.placement.models,
            "state": row.health.name(),
        })
    };
    serde_json::Value::from_iter(rows.iter().map(object)).to_string()
}
