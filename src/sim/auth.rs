//! Who calls: exactly one credential, where Google looks for it.

use actix_web::HttpRequest;

use super::errors::GoogleError;

/// The part of the API that is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    Native,
    /// `/v1beta/openai`: the key is a Bearer token, and errors come in an array.
    OpenAi,
}

/// Headers that name an account at OpenAI; Google's OpenAI layer takes them for credentials.
const FOREIGN: [&str; 2] = ["openai-organization", "openai-project"];

/// The key of a request.
pub fn key_of(request: &HttpRequest, layer: Layer) -> Result<String, GoogleError> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let bearer = header("authorization").map(|value| value.strip_prefix("Bearer ").unwrap_or(value));
    let keys = [header("x-goog-api-key").map(str::to_owned), query_value(request.query_string(), "key")];
    let tokens = [bearer.map(str::to_owned), query_value(request.query_string(), "access_token")];
    let foreign = FOREIGN.iter().filter(|name| layer == Layer::OpenAi && header(name).is_some()).count();
    let found = keys.iter().chain(&tokens).flatten().count();
    if found + foreign > 1 {
        return Err(GoogleError::several_credentials());
    }
    if layer == Layer::Native && tokens.iter().any(Option::is_some) {
        return Err(GoogleError::not_an_access_token());
    }
    let key = keys.into_iter().chain(tokens).flatten().next().filter(|key| !key.is_empty());
    key.ok_or_else(GoogleError::unregistered_caller)
}

/// The first value of that name in a query, decoded.
pub fn query_value(query: &str, name: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn status(request: TestRequest, layer: Layer) -> Result<String, u16> {
        key_of(&request.to_http_request(), layer).map_err(|error| error.http)
    }

    #[test]
    fn a_key_comes_in_a_header_or_in_the_query() {
        let in_header = TestRequest::get().insert_header(("x-goog-api-key", "k"));
        let in_query = TestRequest::get().uri("/v1beta/models?pageSize=1&key=k");

        assert_eq!(status(in_header, Layer::Native), Ok("k".into()));
        assert_eq!(status(in_query, Layer::Native), Ok("k".into()));
    }

    #[test]
    fn a_bearer_token_is_a_key_in_the_openai_layer_only() {
        let request = || TestRequest::get().insert_header(("authorization", "Bearer k"));

        assert_eq!(status(request(), Layer::OpenAi), Ok("k".into()));
        assert_eq!(status(request(), Layer::Native), Err(401));
    }

    #[test]
    fn two_credentials_are_one_too_many() {
        let twice = TestRequest::get().uri("/?key=k").insert_header(("x-goog-api-key", "k"));
        let foreign = TestRequest::get()
            .insert_header(("authorization", "Bearer k"))
            .insert_header(("openai-organization", "o"));

        assert_eq!(status(twice, Layer::Native), Err(400));
        assert_eq!(status(foreign, Layer::OpenAi), Err(400));
    }

    #[test]
    fn no_credential_is_an_unregistered_caller() {
        assert_eq!(status(TestRequest::get(), Layer::Native), Err(403));
    }
}
