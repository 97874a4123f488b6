//! The models that clients can name: Google's, those that are made of them, and those that are hidden.

use actix_web::web::{Data, Json, ServiceConfig, get};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{Admin, List, parameters::Parameters};
use crate::{
    api::{auth::AdminUser, gateway::Gateway, only},
    convert::traits::ModelTraits,
};

pub fn routes(config: &mut ServiceConfig) {
    config.service(only::<Admin>("/models", "GET").route(get().to(list_models)));
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ModelQuery {
    /// A part of the id or of the name that is shown, in any case of letters.
    q: Option<String>,
}

/// A model by a name that clients can use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelView {
    /// Without `models/`.
    pub id: String,
    pub display_name: String,
    /// The model of Google's that serves it; `null` when it is one itself.
    pub base: Option<String>,
    /// It exists here only: by a suffix or an alias.
    pub derived: bool,
    /// What `MODEL_ALIASES` says it means.
    pub alias_of: Option<String>,
    /// `FILTERED_MODELS` hides it.
    pub filtered: bool,
    pub capabilities: Capabilities,
    pub input_token_limit: Option<u64>,
    pub output_token_limit: Option<u64>,
    /// As Google names them, such as `generateContent`.
    pub methods: Vec<String>,
    /// Tokens that `THINKING_BUDGET_MAP` gives it; -1 leaves it to the model.
    pub thinking_budget: Option<i64>,
}

/// What a model takes and gives. Google lists the methods; the rest is told by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Capabilities {
    /// It writes.
    pub text: bool,
    /// It sees pictures.
    pub vision: bool,
    /// It hears.
    pub audio: bool,
    pub image_output: bool,
    pub audio_output: bool,
    pub embeddings: bool,
    pub thinking: bool,
    /// It calls functions.
    pub tools: bool,
    /// It searches the web.
    pub search: bool,
}

/// Every model that is known, hidden ones last.
#[utoipa::path(
    get, path = "/api/admin/models", tag = "models", params(ModelQuery),
    responses((status = 200, description = "All models that fit", body = List<ModelView>)),
)]
pub async fn list_models(
    _: AdminUser,
    gateway: Data<Gateway>,
    Parameters(query): Parameters<ModelQuery>,
) -> Json<List<ModelView>> {
    let list = gateway.models.borrow().clone();
    let all = gateway.switches.with_derived(&list.models);
    let shown = all.iter().map(|model| view(&gateway, model, false));
    let hidden = list.hidden.iter().map(|model| view(&gateway, model, true));
    let wanted = query.q.unwrap_or_default().to_lowercase();
    let fits = |model: &ModelView| {
        model.id.to_lowercase().contains(&wanted) || model.display_name.to_lowercase().contains(&wanted)
    };
    Json(List::whole(shown.chain(hidden).filter(fits).collect()))
}

fn view(gateway: &Gateway, model: &Value, filtered: bool) -> ModelView {
    let text = |name: &str| model[name].as_str().unwrap_or_default();
    let id = short(text("name")).to_owned();
    let known = gateway.models.borrow();
    let is_real = |name: &str| {
        known.models.iter().chain(&known.hidden).any(|model| model["name"].as_str().map(short) == Some(name))
    };
    let derived = !is_real(&id);
    let base = derived.then(|| gateway.switches.resolve(&id, is_real).model);
    let aliases = &gateway.switches.aliases;
    let alias_of = aliases.iter().find(|(alias, _)| derived && *alias == id).map(|(_, meant)| meant.clone());
    let methods: Vec<String> = model["supportedGenerationMethods"]
        .as_array()
        .map(|methods| methods.iter().filter_map(|method| method.as_str().map(str::to_owned)).collect())
        .unwrap_or_default();
    let serves = base.as_deref().unwrap_or(&id);
    ModelView {
        display_name: if text("displayName").is_empty() {
            id.clone()
        } else {
            text("displayName").to_owned()
        },
        capabilities: capabilities(&id, serves, &methods),
        thinking_budget: gateway.switches.thinking_budgets.get(serves).copied(),
        input_token_limit: model["inputTokenLimit"].as_u64(),
        output_token_limit: model["outputTokenLimit"].as_u64(),
        id,
        base,
        derived,
        alias_of,
        filtered,
        methods,
    }
}

fn short(name: &str) -> &str {
    name.strip_prefix("models/").unwrap_or(name)
}

/// `id` is what clients say, `serves` the model of Google's behind it.
fn capabilities(id: &str, serves: &str, methods: &[String]) -> Capabilities {
    let has = |method: &str| methods.iter().any(|known| known == method);
    let traits = ModelTraits::of(serves);
    let generates = has("generateContent") || has("bidiGenerateContent");
    let is_picture_model = serves.contains("-image") || serves.contains("imagen");
    let converses = generates && !traits.speech;
    Capabilities {
        text: converses,
        vision: converses && !serves.starts_with("gemma-3-1b"),
        audio: converses && serves.starts_with("gemini-") && !is_picture_model,
        image_output: is_picture_model || id.ends_with("-image"),
        audio_output: traits.speech,
        embeddings: has("embedContent"),
        thinking: generates && traits.thinks() && !id.ends_with("-non-thinking"),
        tools: converses && traits.built_in_tools,
        search: converses && traits.built_in_tools,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(id: &str, methods: &[&str]) -> Capabilities {
        let methods: Vec<String> = methods.iter().map(|method| (*method).to_owned()).collect();
        capabilities(id, id, &methods)
    }

    #[test]
    fn capabilities_are_told_by_methods_and_names() {
        let flash = of("gemini-2.5-flash", &["generateContent", "countTokens"]);
        assert!(flash.text && flash.vision && flash.audio && flash.thinking && flash.tools && flash.search);
        assert!(!flash.image_output && !flash.audio_output && !flash.embeddings);

        let picture = of("gemini-2.5-flash-image", &["generateContent"]);
        assert!(picture.image_output && picture.vision && !picture.thinking && !picture.tools);

        let speech = of("gemini-2.5-flash-preview-tts", &["generateContent"]);
        assert!(speech.audio_output && !speech.text && !speech.vision);

        let embedding = of("gemini-embedding-001", &["embedContent"]);
        assert!(embedding.embeddings && !embedding.text && !embedding.thinking);
    }
}
