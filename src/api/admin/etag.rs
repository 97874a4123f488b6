//! Versions of single objects: who has the newest need not fetch it, and who has an old one cannot overwrite it.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH},
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::error::AdminError;

/// An object's version, in two parts: of what an admin may change, and of all that is shown. Figures that change with
/// every request thus do not stand in the way of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    editable: String,
    whole: String,
}

impl Version {
    pub fn of(editable: &impl Serialize, whole: &impl Serialize) -> Self {
        Self { editable: digest(editable), whole: digest(whole) }
    }

    /// For an object that only admins change.
    pub fn of_whole(object: &impl Serialize) -> Self {
        let digest = digest(object);
        Self { editable: digest.clone(), whole: digest }
    }

    fn header(&self) -> String {
        format!("\"{}.{}\"", self.editable, self.whole)
    }

    /// 200 with the object and its `ETag`, or 304 for whoever has it already.
    pub fn respond(&self, request: &HttpRequest, object: &impl Serialize) -> HttpResponse {
        let tag = self.header();
        if tags(request, IF_NONE_MATCH)
            .is_some_and(|tags| tags.iter().any(|known| *known == tag || known == "*"))
        {
            return HttpResponse::NotModified().insert_header((ETAG, tag)).finish();
        }
        HttpResponse::Ok().insert_header((ETAG, tag)).json(object)
    }

    /// 412 when the request is about an older version; a request that says nothing of versions may change any.
    pub fn require(&self, request: &HttpRequest) -> Result<(), AdminError> {
        let Some(tags) = tags(request, IF_MATCH) else { return Ok(()) };
        let start = format!("\"{}.", self.editable);
        let is_current = tags.iter().any(|tag| tag == "*" || tag.starts_with(&start));
        is_current.then_some(()).ok_or(AdminError::Changed)
    }
}

/// 16 hexadecimal digits; enough to tell a handful of versions apart.
fn digest(object: &impl Serialize) -> String {
    let json = serde_json::to_vec(object).unwrap_or_default();
    Sha256::digest(json)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The tags of such a header; a weak tag counts like a strong one. `None` without the header.
fn tags(request: &HttpRequest, name: HeaderName) -> Option<Vec<String>> {
    let value = request.headers().get(name)?.to_str().unwrap_or_default();
    Some(value.split(',').map(|tag| tag.trim().trim_start_matches("W/").to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn with(name: HeaderName, value: &str) -> HttpRequest {
        TestRequest::get().insert_header((name, value)).to_http_request()
    }

    #[test]
    fn figures_change_what_is_shown_and_not_what_may_be_changed() {
        let (before, after) = (Version::of(&"label", &1), Version::of(&"label", &2));
        let edited = Version::of(&"another", &2);

        assert!(after.require(&with(IF_MATCH, &before.header())).is_ok());
        assert!(edited.require(&with(IF_MATCH, &before.header())).is_err());
        assert!(edited.require(&with(IF_MATCH, "*")).is_ok());
        assert!(edited.require(&TestRequest::get().to_http_request()).is_ok());
    }

    #[test]
    fn whoever_has_the_newest_gets_no_second_one() {
        let version = Version::of_whole(&"settings");
        let known =
            version.respond(&with(IF_NONE_MATCH, &format!("\"x\", W/{}", version.header())), &"settings");
        let old = version.respond(&with(IF_NONE_MATCH, "\"x\""), &"settings");

        assert_eq!((known.status().as_u16(), old.status().as_u16()), (304, 200));
        assert!(old.headers().contains_key(ETAG));
    }
}
