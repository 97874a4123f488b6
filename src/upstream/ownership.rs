//! Which resources a call names, in its path and its body, and whose they are; which ones an answer tells of.

use std::sync::LazyLock;

use regex::bytes::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::{call::Call, dispatch::UpstreamError};
use crate::{
    actors::registrar::Registry,
    balance::owners::Found,
    domain::{client::TokenId, key::KeyId, resource::ResourceName},
};

/// Members of a request that refer to resources, in both spellings that Google takes, with their value: a text or a
/// list of texts. A name inside a text is no match, since its quotes are escaped there.
static REFERENCES: LazyLock<Regex> = LazyLock::new(|| {
    let names = "fileUri|file_uri|cachedContent|cached_content|fileName|file_name|fileSearchStoreNames|\
                 file_search_store_names|previousInteractionId|previous_interaction_id";
    let text = r#""(?:[^"\\]|\\.)*""#;
    Regex::new(&format!(r#"(?s-u)"({names})"\s*:\s*({text}|\[[^\]]*\])"#)).expect("it is written here")
});
/// Members of an answer that tell of resources.
const TELLING: [&str; 6] = ["name", "uri", "fileUri", "downloadUri", "responsesFile", "fileName"];
/// So deep do answers hold what they tell of.
const DEEPEST: usize = 12;

#[derive(Deserialize)]
#[serde(untagged)]
enum Reference {
    One(String),
    Many(Vec<String>),
}

/// The one key that can serve the call, with a resource that says so; `None` where any key can, as far as is known.
pub fn owner(
    call: &Call,
    client: &TokenId,
    registry: &Registry,
) -> Result<Option<(ResourceName, KeyId)>, UpstreamError> {
    if registry.is_empty() {
        return Ok(None);
    }
    let mut owner: Option<(ResourceName, KeyId)> = None;
    let in_path = ResourceName::in_path(&call.target).map(|found| found.name);
    for resource in in_path.into_iter().chain(references(&call.body)) {
        let key = match registry.find(&resource, client) {
            Found::Unknown => continue,
            Found::Foreign => return Err(UpstreamError::NotYours { resource }),
            Found::Owner(key) => key,
        };
        match &owner {
            Some((first, other)) if *other != key => {
                return Err(UpstreamError::Apart { first: first.clone(), second: resource });
            }
            Some(_) => {}
            None => owner = Some((resource, key)),
        }
    }
    Ok(owner)
}

/// The resources that a body refers to.
fn references(body: &[u8]) -> impl Iterator<Item = ResourceName> {
    REFERENCES.captures_iter(body).flat_map(|found| {
        let is_interaction = found[1].to_ascii_lowercase().ends_with(b"id");
        let values = match serde_json::from_slice(&found[2]) {
            Ok(Reference::One(value)) => vec![value],
            Ok(Reference::Many(values)) => values,
            Err(_) => Vec::new(),
        };
        values.into_iter().filter_map(move |value| {
            if is_interaction { interaction(&value) } else { ResourceName::in_reference(&value) }
        })
    })
}

/// Interactions go by their bare ids.
fn interaction(id: &str) -> Option<ResourceName> {
    ResourceName::parse(&format!("interactions/{id}"))
}

/// The resources that an answer tells of, each with the time at which Google forgets it, where it says so.
pub fn told(answer: &Value, path: &str) -> Vec<(ResourceName, Option<String>)> {
    let mut told = Vec::new();
    tell(answer, DEEPEST, &mut told);
    let is_interaction = path.split('?').next().is_some_and(|path| path.contains("/interactions"));
    if let Some(id) = answer["id"].as_str().filter(|_| is_interaction) {
        told.extend(interaction(id).map(|name| (name, None)));
    }
    told
}

fn tell(value: &Value, depth: usize, told: &mut Vec<(ResourceName, Option<String>)>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Value::Array(values) => values.iter().for_each(|value| tell(value, depth, told)),
        Value::Object(members) => {
            let end = ["expirationTime", "expireTime"].iter().find_map(|name| members.get(*name)?.as_str());
            for (name, value) in members {
                match value {
                    Value::String(text) if TELLING.contains(&&**name) => {
                        told.extend(
                            ResourceName::in_reference(text).map(|name| (name, end.map(str::to_owned))),
                        );
                    }
                    other => tell(other, depth, told),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(body: &str) -> Vec<String> {
        references(body.as_bytes()).map(|name| name.to_string()).collect()
    }

    #[test]
    fn references_are_found_in_both_spellings_and_however_slashes_are_written() {
        assert_eq!(named(r#"{"cachedContent": "cachedContents/c1"}"#), ["cachedContents/c1"]);
        assert_eq!(named(r#"{"cached_content":"cachedContents\/c1"}"#), ["cachedContents/c1"]);
        assert_eq!(
            named(
                r#"{"contents":[{"parts":[
                    {"fileData":{"fileUri":"https://generativelanguage.googleapis.com/v1beta/files/a"}},
                    {"file_data":{"file_uri" : "https://generativelanguage.googleapis.com/v1/files/b"}}]}]}"#
            ),
            ["files/a", "files/b"]
        );
        assert_eq!(named(r#"{"batch":{"inputConfig":{"fileName":"files/abc-123"}}}"#), ["files/abc-123"]);
        assert_eq!(
            named(
                r#"{"tools":[{"fileSearch":{"file_search_store_names":["fileSearchStores/s","fileSearchStores/t"]}}]}"#
            ),
            ["fileSearchStores/s", "fileSearchStores/t"]
        );
        assert_eq!(named(r#"{"previous_interaction_id":"v1_abc"}"#), ["interactions/v1_abc"]);
    }

    #[test]
    fn words_of_a_prompt_and_addresses_of_others_are_no_references() {
        for body in [
            r#"{"text":"\"cachedContent\": \"cachedContents/c1\""}"#,
            r#"{"text":"see files/abc"}"#,
            r#"{"fileData":{"fileUri":"https://www.youtube.com/watch?v=9hE5"}}"#,
            r#"{"cachedContent":17}"#,
            r#"{"cachedContent":"cachedContents/"#,
            "\u{feff}no JSON at all",
        ] {
            assert_eq!(named(body), Vec::<String>::new(), "{body}");
        }
        assert_eq!(references(b"{\"fileUri\":\"files/\xff\"}").count(), 0);
    }

    #[test]
    fn an_answer_tells_what_was_made_and_until_when() {
        let names = |answer: Value, path| {
            told(&answer, path).into_iter().map(|(name, end)| (name.to_string(), end)).collect::<Vec<_>>()
        };
        let end = Some("2026-11-26T03:00:00Z".to_owned());

        assert_eq!(
            names(
                json!({"file": {"name": "files/a", "expirationTime": end, "uri": "https://g/v1beta/files/a"}}),
                "/"
            ),
            [("files/a".to_owned(), end.clone()), ("files/a".to_owned(), end.clone())]
        );
        assert_eq!(
            names(json!({"name": "cachedContents/c", "model": "models/m", "expireTime": end}), "/"),
            [("cachedContents/c".to_owned(), end)]
        );
        assert_eq!(
            names(json!({"name": "batches/b", "response": {"responsesFile": "files/out"}}), "/"),
            [("batches/b".to_owned(), None), ("files/out".to_owned(), None)]
        );
        assert_eq!(
            names(json!({"id": "v1_abc", "status": "completed"}), "/v1/interactions"),
            [("interactions/v1_abc".to_owned(), None)]
        );
        assert_eq!(names(json!({"name": "models/m"}), "/v1beta/models/m"), []);
    }
}
