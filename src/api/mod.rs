//! The HTTP edge: thin handlers, one file per endpoint, and the whole route table.

pub mod address;
pub mod admin;
pub mod anthropic;
pub mod archive;
pub mod assets;
pub mod auth;
pub mod body;
pub mod converted;
pub mod dashboard;
pub mod error;
pub mod gateway;
pub mod gemini;
pub mod health;
pub mod journal;
pub mod limits;
pub mod media;
pub mod normalize;
pub mod openai;
pub mod outbox;
pub mod peer;
pub mod request_id;
pub mod signatures;
pub mod source;
pub mod stream;
pub mod usage;

use actix_web::{
    HttpRequest, Resource, Scope,
    dev::HttpServiceFactory,
    guard::fn_guard,
    middleware::from_fn,
    web::{self, ServiceConfig, delete, get, post},
};

use self::{
    admin::Admin,
    anthropic::{
        Anthropic, count_tokens::count_tokens, hello::hello, messages::create_message,
        models as anthropic_models, naming::name_answer,
    },
    auth::speaks_anthropic,
    error::{ApiError, Envelope, Failure},
    gemini::{
        Gemini,
        generate::call_method,
        models as gemini_models,
        relay::{relay, relay_unless_openai},
        upload::upload,
    },
    openai::{
        OpenAi,
        chat::create_chat_completion,
        embeddings::create_embeddings,
        models,
        passthrough::pass_through,
        responses::{count_input_tokens, create_response},
        responses_kept as kept,
    },
};

/// A model's resource name in a path; tuned and dynamic models keep their collection.
const MODEL: &str = "models/{model:[^/:]+}";
const COLLECTED_MODEL: &str = "{model:(?:tunedModels|dynamic)/[^/:]+}";

/// Long-running operations of a model, and what can be asked of them.
const OPERATIONS: &str = "/models/{model:[^/:]+}/operations{rest:.*}";

/// Every path that the gateway answers.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            only::<OpenAi>("/health", "GET, HEAD")
                .route(get().to(health::health))
                .route(web::head().to(health::health)),
        )
        .service(
            only::<OpenAi>("/ready", "GET, HEAD")
                .route(get().to(health::ready))
                .route(web::head().to(health::ready)),
        )
        .service(only::<OpenAi>("/metrics", "GET").route(get().to(health::metrics)))
        .configure(dashboard::routes)
        .service(admin_scope())
        .configure(usage::routes)
        .service(gemini_scope("/gemini/v1beta"))
        .service(gemini_scope("/v1beta"))
        .service(gemini_scope("/v1alpha"))
        .service(web::resource(["/upload/{path:.+}", "/gemini/upload/{path:.+}"]).to(upload))
        .service(web::resource(["/download/{path:.+}", "/gemini/download/{path:.+}"]).to(relay))
        .service(
            web::scope("/openai/v1")
                .service(
                    only::<OpenAi>("/{path:.+}", "GET, POST, DELETE")
                        .route(get().to(pass_through))
                        .route(post().to(pass_through))
                        .route(delete().to(pass_through)),
                )
                .default_service(web::to(unknown_path::<OpenAi>)),
        )
        .service(openai_scope("/hf/v1"))
        .service(anthropic_scope(web::scope("/anthropic/v1")))
        .service(anthropic_scope(web::scope("/v1").guard(fn_guard(speaks_anthropic))))
        .service(hello_resource("/api/hello"))
        .service(hello_resource("/anthropic/api/hello"))
        .service(openai_scope("/v1"))
        // The Live API is not served, which its clients are told as Google would; some of Google's SDKs send the slash twice.
        .service(web::resource(["/ws/{path:.+}", "//ws/{path:.+}"]).to(unknown_path::<Gemini>))
        .default_service(web::to(unknown_path::<OpenAi>));
}

/// Every area puts its own paths in; `admin::openapi` describes them.
fn admin_scope() -> impl HttpServiceFactory {
    web::scope(admin::PREFIX)
        .configure(admin::errors::routes)
        .configure(admin::events::routes)
        .configure(admin::jobs::routes)
        .configure(admin::keys::routes)
        .configure(admin::models::routes)
        .configure(admin::openapi::routes)
        .configure(admin::proxies::routes)
        .configure(admin::requests::routes)
        .configure(admin::session::routes)
        .configure(admin::settings::routes)
        .configure(admin::stats::routes)
        .configure(admin::system::routes)
        .configure(admin::tokens::routes)
        .default_service(web::to(unknown_path::<Admin>))
        .wrap(from_fn(admin::keep_private))
}

fn gemini_scope(prefix: &str) -> Scope {
    web::scope(prefix)
        .service(only::<Gemini>("/models", "GET").route(get().to(gemini_models::list_models)))
        .service(model_methods(MODEL))
        .service(model_methods(COLLECTED_MODEL))
        .route(OPERATIONS, web::to(relay))
        .service(only::<Gemini>("/models/{model:[^:]+}", "GET").route(get().to(gemini_models::find_model)))
        .default_service(web::to(relay))
}

/// OpenAI's paths, and those that Google's newer SDKs put under `/v1` as well.
fn openai_scope(prefix: &str) -> Scope {
    web::scope(prefix)
        .service(only::<OpenAi>("/chat/completions", "POST").route(post().to(create_chat_completion)))
        .service(only::<OpenAi>("/responses", "POST").route(post().to(create_response)))
        .service(only::<OpenAi>("/responses/input_tokens", "POST").route(post().to(count_input_tokens)))
        .service(
            only::<OpenAi>("/responses/{id}", "GET, DELETE")
                .route(get().to(kept::find_response))
                .route(delete().to(kept::delete_response)),
        )
        .service(only::<OpenAi>("/responses/{id}/input_items", "GET").route(get().to(kept::list_input_items)))
        .service(only::<OpenAi>("/responses/{id}/cancel", "POST").route(post().to(kept::cancel_response)))
        .service(only::<OpenAi>("/embeddings", "POST").route(post().to(create_embeddings)))
        .service(only::<OpenAi>("/models", "GET").route(get().to(models::list_models_of_either)))
        .service(model_methods(MODEL))
        .service(model_methods(COLLECTED_MODEL))
        .route(OPERATIONS, web::to(relay))
        .service(only::<OpenAi>("/models/{model:[^:]+}", "GET").route(get().to(models::find_model_of_either)))
        .default_service(web::to(relay_unless_openai))
}

fn anthropic_scope(scope: Scope) -> impl HttpServiceFactory {
    scope
        .service(only::<Anthropic>("/messages", "POST").route(post().to(create_message)))
        .service(only::<Anthropic>("/messages/count_tokens", "POST").route(post().to(count_tokens)))
        .service(only::<Anthropic>("/models", "GET").route(get().to(anthropic_models::list_models)))
        .service(
            only::<Anthropic>("/models/{model:[^:]+}", "GET").route(get().to(anthropic_models::find_model)),
        )
        .default_service(web::to(unknown_path::<Anthropic>))
        .wrap(from_fn(name_answer))
}

fn hello_resource(path: &str) -> Resource {
    only::<Anthropic>(path, "GET, HEAD").route(get().to(hello)).route(web::head().to(hello))
}

fn model_methods(model: &str) -> Resource {
    only::<Gemini>(&format!("/{model}:{{method}}"), "POST").route(post().to(call_method))
}

/// A resource that tells, in its dialect, which methods it takes.
pub(crate) fn only<F: Envelope>(path: &str, allowed: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move |request: HttpRequest| async move {
        let (method, path) = (request.method().clone(), request.path().to_owned());
        Err::<String, _>(Failure::<F>::from(ApiError::WrongMethod { method, path, allowed }))
    }))
}

async fn unknown_path<F: Envelope>(request: HttpRequest) -> Result<String, Failure<F>> {
    Err(ApiError::unknown_path(&request).into())
}
