//! Paths that are almost right: with a prefix of somebody's proxy, a version twice, or none (`URL_NORMALIZATION_ENABLED`).
//!
//! A path that the gateway answers is never touched, and of one that it does not only what stands in front of the known part
//! is changed, so a method stays that method. Google's own address of its OpenAI layer means ours.

use std::borrow::Cow;

use actix_web::{
    dev::ServiceRequest,
    http::uri::{PathAndQuery, Uri},
};

use super::dashboard::is_of_a_browser;

/// What OpenAI's clients ask for, without the version.
const OPENAI: [&str; 6] =
    ["chat/completions", "embeddings", "models", "images/generations", "audio/speech", "responses"];
/// Prefixes under which these are found, the more special first.
const OPENAI_PREFIXES: [&str; 3] = ["openai/v1", "hf/v1", "v1"];
const GEMINI_VERSIONS: [&str; 2] = ["v1alpha", "v1beta"];

/// Sends a request to the path that was meant.
pub fn normalize_path(request: &mut ServiceRequest) {
    // A page of the dashboard has the name of a list.
    if is_of_a_browser(request.headers()) {
        return;
    }
    let Some(path) = meant(request.path()) else { return };
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = request.uri().clone().into_parts();
    if let Ok(target) = PathAndQuery::try_from(format!("{path}{query}")) {
        parts.path_and_query = Some(target);
        if let Ok(uri) = Uri::from_parts(parts) {
            request.match_info_mut().get_mut().update(&uri);
            request.head_mut().uri = uri;
        }
    }
}

/// The path that was meant; `None` when this one is right, or when nothing in it is known.
fn meant(path: &str) -> Option<String> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if is_answered(&segments) {
        return None;
    }
    let meant = gemini(&segments).or_else(|| anthropic(&segments)).or_else(|| openai(&segments))?;
    (meant != path).then_some(meant)
}

/// Paths of the gateway's own that end like those below.
fn is_answered(segments: &[&str]) -> bool {
    match segments {
        ["api", "admin", ..] | ["api", "usage" | "hello"] | ["assets" | "upload" | "download", ..] => true,
        ["anthropic", "v1", rest @ ..] => {
            matches!(rest, ["messages" | "models"] | ["messages", "count_tokens"] | ["models", _])
        }
        _ => false,
    }
}

/// `…/models/{model}:{method}`, and lists and single models behind a version of Gemini's.
fn gemini(segments: &[&str]) -> Option<String> {
    let at = segments.iter().rposition(|segment| matches!(*segment, "models" | "tunedModels" | "dynamic"))?;
    let (before, behind) = segments.split_at(at);
    let version = before.iter().rev().find(|segment| GEMINI_VERSIONS.contains(segment));
    let is_call = matches!(behind, [_, model] if model.contains(':'));
    let is_openais = !is_call && before.contains(&"openai");
    if is_openais || behind.len() > 2 || !is_call && version.is_none() {
        return None;
    }
    let is_v1 = before.last() == Some(&"v1");
    let version = version.map_or(if is_v1 { "v1" } else { "v1beta" }, |version| version);
    let family = if before.contains(&"gemini") && version == "v1beta" { "/gemini" } else { "" };
    Some(format!("{family}/{version}/{}", behind.join("/")))
}

/// `…/messages` of Anthropic's clients, and their lists of models.
fn anthropic(segments: &[&str]) -> Option<String> {
    match segments {
        [.., "threads", _, "messages"] => None,
        [.., "anthropic", "v1", "models"] => Some("/anthropic/v1/models".to_owned()),
        [.., "anthropic", "v1", "models", model] => Some(format!("/anthropic/v1/models/{model}")),
        [.., "messages", "count_tokens"] => Some("/v1/messages/count_tokens".to_owned()),
        [.., "messages"] => Some("/v1/messages".to_owned()),
        _ => None,
    }
}

/// What OpenAI's clients ask for, behind whatever stands in front of it.
fn openai(segments: &[&str]) -> Option<String> {
    let found = OPENAI.iter().find_map(|known| {
        let known: Vec<&str> = known.split('/').collect();
        let at = segments.windows(known.len()).rposition(|window| window == known)?;
        Some((at, segments.split_at(at)))
    });
    let (_, (before, behind)) = found?;
    let before: Cow<'_, str> = before.join("/").into();
    let prefix = OPENAI_PREFIXES.iter().find(|prefix| format!("/{before}/").contains(&format!("/{prefix}/")));
    let prefix = prefix.copied().unwrap_or(if before.contains("openai") { "openai/v1" } else { "v1" });
    Some(format!("/{prefix}/{}", behind.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_right_is_left_alone() {
        for path in [
            "/v1/chat/completions",
            "/hf/v1/chat/completions",
            "/openai/v1/embeddings",
            "/openai/v1/chat/completions",
            "/v1/models",
            "/v1/models/gemini-2.5-flash",
            "/v1/models/gemini-2.5-flash:generateContent",
            "/v1beta/models",
            "/v1beta/models/gemini-2.5-flash",
            "/gemini/v1beta/models/gemini-2.5-flash:countTokens",
            "/v1alpha/tunedModels/x:generateContent",
            "/v1/messages",
            "/health",
            "/",
            "/v1/responses/resp_1/input_items",
            "/api/admin/models",
            "/api/admin/keys",
            "/api/admin/v1/chat/completions",
            "/api/usage",
            "/api/hello",
            "/anthropic/v1/models",
            "/anthropic/v1/models/gemini-2.5-flash",
            "/anthropic/v1/messages",
            "/v1/threads/thread_1/messages",
        ] {
            assert_eq!(meant(path), None, "{path}");
        }
    }

    #[test]
    fn what_was_meant_is_found_behind_prefixes_and_doubled_versions() {
        for (path, expected) in [
            ("/proxy/v1/chat/completions", "/v1/chat/completions"),
            ("/api/v1/chat/completions", "/v1/chat/completions"),
            ("/api/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"),
            ("/v1/v1/chat/completions", "/v1/chat/completions"),
            ("//v1//chat/completions/", "/v1/chat/completions"),
            ("/chat/completions", "/v1/chat/completions"),
            ("/v1/chat/completions/chat/completions", "/v1/chat/completions"),
            ("/openai/chat/completions", "/openai/v1/chat/completions"),
            ("/v1beta/openai/chat/completions", "/openai/v1/chat/completions"),
            ("/proxy/hf/v1/embeddings", "/hf/v1/embeddings"),
            ("/models", "/v1/models"),
            ("/proxy/v1beta/models", "/v1beta/models"),
            ("/v1beta/v1beta/models/m:streamGenerateContent", "/v1beta/models/m:streamGenerateContent"),
            ("/models/m:countTokens", "/v1beta/models/m:countTokens"),
            ("/v1/v1beta/models/m:embedContent", "/v1beta/models/m:embedContent"),
            ("/proxy/gemini/v1beta/models/m:generateContent", "/gemini/v1beta/models/m:generateContent"),
            ("/v1beta/openai/models", "/openai/v1/models"),
            ("/anthropic/v1/v1/messages", "/v1/messages"),
            ("/proxy/anthropic/v1/models/m", "/anthropic/v1/models/m"),
            ("/v1/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ] {
            assert_eq!(meant(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn what_nobody_knows_stays_unknown() {
        for path in ["/proxy/v1/nothing", "/admin", "/v1beta/cachedContents", "/chat", "/upload/v1beta/files"]
        {
            assert_eq!(meant(path), None, "{path}");
        }
    }
}
