//! Paths of files and caches.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{self, Bytes, Data, Path, ServiceConfig},
};
use serde_json::{Map, Value, json};

use super::{
    auth::{Layer, key_of, query_value},
    errors::GoogleError,
    request::Content,
    routes::record,
    state::World,
    stream,
    tokens::Usage,
};

const COLLECTIONS: &str = "/{version:v1|v1beta|v1alpha}/{collection:files|cachedContents}";

pub fn configure(config: &mut ServiceConfig) {
    config
        .route("/upload/{version:v1|v1beta|v1alpha}/files", web::post().to(upload))
        .route(COLLECTIONS, web::get().to(list))
        .route("/{version:v1|v1beta|v1alpha}/cachedContents", web::post().to(create_cache))
        .service(
            web::resource(format!("{COLLECTIONS}/{{id}}"))
                .route(web::get().to(find))
                .route(web::patch().to(update))
                .route(web::delete().to(delete)),
        );
}

type Named = Path<(String, String, String)>;

/// The key's project, if the key is good.
fn project_of(world: &World, request: &HttpRequest) -> Result<String, GoogleError> {
    let key = key_of(request, Layer::Native)?;
    world.admit_free_call(&key)?;
    Ok(world.project_of(&key))
}

fn respond(answer: Result<Value, GoogleError>) -> HttpResponse {
    answer.map_or_else(|error| stream::error(&error, false), |json| HttpResponse::Ok().json(json))
}

async fn list(request: HttpRequest, path: Path<(String, String)>, world: Data<World>) -> HttpResponse {
    record(&world, &request, &[]);
    let (_, collection) = path.into_inner();
    respond(project_of(&world, &request).map(|project| {
        let listed = world.resources(|resources| resources.list(&project, &collection));
        json!({ collection: listed })
    }))
}

async fn find(request: HttpRequest, path: Named, world: Data<World>) -> HttpResponse {
    record(&world, &request, &[]);
    let (_, collection, id) = path.into_inner();
    let name = format!("{collection}/{id}");
    let found = project_of(&world, &request);
    respond(found.and_then(|project| world.resources(|resources| resources.find(&project, &name))))
}

async fn update(request: HttpRequest, path: Named, body: Bytes, world: Data<World>) -> HttpResponse {
    record(&world, &request, &body);
    let (_, collection, id) = path.into_inner();
    let name = format!("{collection}/{id}");
    let asked = object(&body);
    let found = project_of(&world, &request);
    respond(
        found.and_then(|project| {
            world.resources(|resources| resources.update_cache(&project, &name, &asked?))
        }),
    )
}

async fn delete(request: HttpRequest, path: Named, world: Data<World>) -> HttpResponse {
    record(&world, &request, &[]);
    let (_, collection, id) = path.into_inner();
    let name = format!("{collection}/{id}");
    let found = project_of(&world, &request);
    respond(found.and_then(|project| {
        world.resources(|resources| resources.delete(&project, &name)).map(|()| json!({}))
    }))
}

async fn create_cache(request: HttpRequest, body: Bytes, world: Data<World>) -> HttpResponse {
    record(&world, &request, &body);
    let found = project_of(&world, &request);
    respond(found.and_then(|project| {
        let asked = object(&body)?;
        let contents = asked.get("contents").cloned().unwrap_or_default();
        let contents: Vec<Content> = serde_json::from_value(contents).unwrap_or_default();
        let tokens = Usage::of_contents(&contents).prompt();
        world.resources(|resources| resources.add_cache(&project, &asked, tokens))
    }))
}

/// The resumable protocol, and bare bytes in one request.
async fn upload(request: HttpRequest, body: Bytes, world: Data<World>) -> HttpResponse {
    record(&world, &request, &[]);
    let header =
        |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let project = match project_of(&world, &request) {
        Ok(project) => project,
        Err(error) => return stream::error(&error, false),
    };
    let command = header("x-goog-upload-command");
    if let Some(id) = query_value(request.query_string(), "upload_id") {
        let is_last = command.contains("finalize");
        return match world.resources(|resources| resources.upload(&project, &id, body.len(), is_last)) {
            Ok(Some(file)) => HttpResponse::Ok()
                .insert_header(("x-goog-upload-status", "final"))
                .json(json!({ "file": file })),
            Ok(None) => HttpResponse::Ok().insert_header(("x-goog-upload-status", "active")).finish(),
            Err(error) => stream::error(&error, false),
        };
    }
    if command != "start" {
        let kind = header("content-type");
        let file = world.resources(|resources| resources.add_file(&project, &Value::Null, kind, body.len()));
        return HttpResponse::Ok().json(json!({ "file": file }));
    }
    let told = object(&body).unwrap_or_default().remove("file").unwrap_or_default();
    let kind = header("x-goog-upload-header-content-type");
    let id = world.resources(|resources| resources.begin_upload(&project, told, kind));
    let seen = request.connection_info();
    let (scheme, host, path) = (seen.scheme(), seen.host(), request.path());
    let url = format!("{scheme}://{host}{path}?upload_id={id}&upload_protocol=resumable");
    HttpResponse::Ok()
        .insert_header(("x-goog-upload-status", "active"))
        .insert_header(("x-goog-upload-url", url))
        .insert_header(("x-goog-upload-chunk-granularity", "8388608"))
        .content_type("text/plain; charset=utf-8")
        .finish()
}

fn object(body: &[u8]) -> Result<Map<String, Value>, GoogleError> {
    serde_json::from_slice(body).map_err(|_| GoogleError::invalid_argument("Invalid JSON payload received."))
}
