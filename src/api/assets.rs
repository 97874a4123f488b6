//! The built files of the dashboard, as `build.rs` embedded them, and how one is sent.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{
        ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderName, IF_NONE_MATCH, VARY,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use sha2::{Digest, Sha256};

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// A file of the dashboard, with its compressed forms where these are smaller.
pub struct Asset {
    /// Relative to `/`, as `assets/index-1a2b.js`.
    pub path: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

/// The file of this path, which has no slash in front.
pub fn find(path: &str) -> Option<&'static Asset> {
    let index = FILES.binary_search_by(|asset| asset.path.cmp(path)).ok()?;
    FILES.get(index)
}

impl Asset {
    /// Answers with the file, or with 304 when the client has it.
    pub fn respond(&self, request: &HttpRequest, headers: &[(&str, &str)]) -> HttpResponse {
        let etag = self.etag();
        let is_known = header(request, IF_NONE_MATCH).split(',').any(|known| known.trim() == etag);
        let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        response
            .insert_header((CACHE_CONTROL, self.caching()))
            .insert_header((ETAG, etag))
            .insert_header((VARY, "accept-encoding"))
            .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
        for header in headers {
            response.insert_header(*header);
        }
        if is_known {
            return response.finish();
        }
        let (encoding, body) = self.encoded_for(request);
        if let Some(encoding) = encoding {
            response.insert_header((CONTENT_ENCODING, encoding));
        }
        response.content_type(self.content_type()).body(body)
    }

    /// The best form that the client takes, with its name.
    fn encoded_for(&self, request: &HttpRequest) -> (Option<&'static str>, &'static [u8]) {
        let accepted = header(request, ACCEPT_ENCODING);
        let forms = [("br", self.brotli), ("gzip", self.gzip)];
        forms
            .into_iter()
            .find_map(|(name, form)| form.filter(|_| accepts(accepted, name)).map(|body| (Some(name), body)))
            .unwrap_or((None, self.plain))
    }

    /// A file under `assets/` has its hash in its name and never changes; others are asked for anew each time.
    fn caching(&self) -> &'static str {
        if self.path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" }
    }

    fn etag(&self) -> String {
        let hash: [u8; 32] = Sha256::digest(self.plain).into();
        let hex: String = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        format!("\"{hex}\"")
    }

    fn content_type(&self) -> &'static str {
        match self.path.rsplit('.').next().unwrap_or_default() {
            "html" => "text/html; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            "json" | "webmanifest" => "application/json",
            "png" => "image/png",
            "woff2" => "font/woff2",
            "txt" => "text/plain; charset=utf-8",
            _ => "application/octet-stream",
        }
    }
}

fn header(request: &HttpRequest, name: HeaderName) -> &str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Whether an `Accept-Encoding` names this encoding without refusing it by `q=0`. Source: RFC 9110, section 12.5.3.
fn accepts(accepted: &str, encoding: &str) -> bool {
    accepted.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
        let is_refused = parts.any(|part| {
            let quality = part.strip_prefix("q=").and_then(|number| number.parse::<f32>().ok());
            quality.is_some_and(|quality| quality <= 0.0)
        });
        is_named && !is_refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_counts_when_it_is_named_and_not_refused() {
        assert!(accepts("gzip, deflate, br;q=0.9", "br"));
        assert!(accepts("GZIP", "gzip"));
        assert!(!accepts("gzip, br;q=0", "br"));
        assert!(!accepts("", "gzip"));
    }

    #[test]
    fn files_are_found_by_their_paths_alone() {
        assert!(FILES.is_sorted_by_key(|asset| asset.path));
        assert!(find("../Cargo.toml").is_none());
        assert!(FILES.iter().all(|asset| find(asset.path).is_some_and(|found| found.path == asset.path)));
    }
}
