//! `HEAD /api/hello`: what coding agents ask for at their start to warm up the connection.

use actix_web::HttpResponse;

/// Needs no token and says nothing.
pub async fn hello() -> HttpResponse {
    HttpResponse::Ok().finish()
}
