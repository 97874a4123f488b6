//! `GET /v1/models` and `GET /v1/models/{id}`, from the catalogue.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use bytes::Bytes;
use serde_json::Value;

use super::OpenAi;
use crate::{
    api::{
        auth::{ClientToken, speaks_gemini},
        error::{ApiError, Failure},
        gateway::Gateway,
        gemini::{self, models::catalogue},
        journal::{Asked, Journal},
    },
    convert::openai::models,
};

pub async fn list_models(
    request: HttpRequest,
    gateway: Data<Gateway>,
    token: ClientToken<OpenAi>,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let asked = Asked::of("openai", "models.list");
    let journal = Journal::begin(&gateway, &request, token.holder, asked, &Bytes::new());
    journal.conclude(list(&gateway).await)
}

pub async fn list(gateway: &Gateway) -> Result<HttpResponse, ApiError> {
    let list = catalogue(gateway).await?;
    let all = gateway.switches.with_derived(&list.models);
    let names = all.iter().filter_map(|model| model["name"].as_str());
    Ok(HttpResponse::Ok().json(models::models_list(names)))
}

pub async fn find_model(
    request: HttpRequest,
    path: Path<String>,
    gateway: Data<Gateway>,
    token: ClientToken<OpenAi>,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let id = path.into_inner();
    let asked = Asked::of("openai", "models.get").model(&id);
    let journal = Journal::begin(&gateway, &request, token.holder, asked, &Bytes::new());
    journal.conclude(find(&gateway, id).await)
}

pub async fn find(gateway: &Gateway, id: String) -> Result<HttpResponse, ApiError> {
    let model = describe(gateway, id).await?;
    Ok(HttpResponse::Ok().json(models::model(model["name"].as_str().unwrap_or_default())))
}

/// Google's description of a model that is listed, also of one that only exists here.
pub async fn describe(gateway: &Gateway, id: String) -> Result<Value, ApiError> {
    let name = id.strip_prefix("google/").unwrap_or(&id);
    let hidden = gateway.model(name);
    let list = catalogue(gateway).await?;
    let all = gateway.switches.with_derived(&list.models);
    let resource = format!("models/{}", name.strip_prefix("models/").unwrap_or(name));
    let found = all.into_iter().find(|model| model["name"] == resource.as_str());
    // A name that no model can have is told as such.
    found.ok_or_else(|| hidden.err().unwrap_or(ApiError::UnknownModel { model: id }))
}

/// `GET /v1/models` belongs to two dialects; the credential tells which one is spoken.
pub async fn list_models_of_either(
    request: HttpRequest,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, actix_web::Error> {
    use actix_web::FromRequest;
    if speaks_gemini(&request) {
        let token = ClientToken::extract(&request).await?;
        Ok(gemini::models::list_models(request, gateway, token).await?)
    } else {
        let token = ClientToken::extract(&request).await?;
        Ok(list_models(request, gateway, token).await?)
    }
}

/// `GET /v1/models/{id}`, likewise.
pub async fn find_model_of_either(
    request: HttpRequest,
    path: Path<String>,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, actix_web::Error> {
    use actix_web::FromRequest;
    if speaks_gemini(&request) {
        let token = ClientToken::extract(&request).await?;
        Ok(gemini::models::find_model(request, path, gateway, token).await?)
    } else {
        let token = ClientToken::extract(&request).await?;
        Ok(find_model(request, path, gateway, token).await?)
    }
}
