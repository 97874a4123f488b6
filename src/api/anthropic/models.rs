//! `GET /v1/models` and `GET /v1/models/{id}`, from the catalogue.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use bytes::Bytes;

use super::Anthropic;
use crate::{
    api::{
        auth::ClientToken,
        error::{ApiError, Failure},
        gateway::Gateway,
        gemini::models::catalogue,
        journal::{Asked, Journal},
        openai::models::describe,
    },
    convert::anthropic::models::{self, Cursor, Paging},
};

/// Anthropic's own page sizes.
const DEFAULT_PAGE: usize = 20;
const LARGEST_PAGE: usize = 1000;

pub async fn list_models(
    request: HttpRequest,
    gateway: Data<Gateway>,
    token: ClientToken<Anthropic>,
) -> Result<HttpResponse, Failure<Anthropic>> {
    let asked = Asked::of("anthropic", "models.list");
    let journal = Journal::begin(&gateway, &request, token.holder, asked, &Bytes::new());
    journal.conclude(list(&gateway, request.query_string()).await)
}

async fn list(gateway: &Gateway, query: &str) -> Result<HttpResponse, ApiError> {
    let paging = paging(query)?;
    let list = catalogue(gateway).await?;
    let all = gateway.switches.with_derived(&list.models);
    Ok(HttpResponse::Ok().json(models::models_list(&all, &paging)))
}

/// Reads `limit`, `after_id` and `before_id`; an empty one counts as absent.
fn paging(query: &str) -> Result<Paging, ApiError> {
    let mut paging = Paging { limit: DEFAULT_PAGE, cursor: Cursor::Start };
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty())
    {
        match &*name {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=LARGEST_PAGE).contains(limit));
                paging.limit =
                    limit.ok_or_else(|| ApiError::Parameter { name: "limit", value: value.to_string() })?;
            }
            "after_id" => paging.cursor = Cursor::After(value.into_owned()),
            "before_id" => paging.cursor = Cursor::Before(value.into_owned()),
            _ => {}
        }
    }
    Ok(paging)
}

pub async fn find_model(
    request: HttpRequest,
    path: Path<String>,
    gateway: Data<Gateway>,
    token: ClientToken<Anthropic>,
) -> Result<HttpResponse, Failure<Anthropic>> {
    let id = path.into_inner();
    let asked = Asked::of("anthropic", "models.get").model(&id);
    let journal = Journal::begin(&gateway, &request, token.holder, asked, &Bytes::new());
    journal.conclude(find(&gateway, id).await)
}

async fn find(gateway: &Gateway, id: String) -> Result<HttpResponse, ApiError> {
    let model = describe(gateway, id).await?;
    Ok(HttpResponse::Ok().json(models::model(&model)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_within_anthropics_bounds() {
        let read = |query| paging(query).unwrap();

        assert_eq!(read(""), Paging { limit: DEFAULT_PAGE, cursor: Cursor::Start });
        assert_eq!(read("limit=1000&after_id=a"), Paging { limit: 1000, cursor: Cursor::After("a".into()) });
        assert_eq!(read("before_id=b&limit="), Paging { limit: 20, cursor: Cursor::Before("b".into()) });
        for query in ["limit=0", "limit=1001", "limit=many"] {
            assert!(paging(query).unwrap_err().to_string().ends_with("is no limit"), "{query}");
        }
    }
}
