//! Names of what clients make at Google: files, caches, batches, operations and their like. Only keys of the project
//! that made a thing can see it.

use std::{borrow::Borrow, fmt, sync::Arc};

/// A resource's name, such as `files/abc`, `cachedContents/x` or `models/m/operations/o`.
///
/// What lies inside another resource goes by the name of the whole: a document of `fileSearchStores/s` is that.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName(Arc<str>);

/// A resource that a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InPath {
    pub name: ResourceName,
    /// The path names the resource, neither something inside it nor a method of it.
    pub is_itself: bool,
}

impl ResourceName {
    /// Longest name that is taken for one, in bytes; Google's ids have about 40.
    const MAX_BYTES: usize = 300;
    /// What every key sees alike, and names that are secrets.
    const NOT_OWNED: [&str; 4] = ["models", "dynamic", "openai", "auth_tokens"];

    /// Reads a name as answers tell it; `None` for what no key owns, such as a model.
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text).map(|found| found.name)
    }

    /// Reads a path with its version, as clients write it:
    /// `/v1beta/files/abc:download`, `/upload/v1/fileSearchStores/s:uploadToFileSearchStore`.
    pub fn in_path(path: &str) -> Option<InPath> {
        let path = path.split('?').next()?.strip_prefix('/')?;
        let path =
            ["upload/", "download/"].iter().find_map(|prefix| path.strip_prefix(prefix)).unwrap_or(path);
        let (version, rest) = path.split_once('/')?;
        is_version(version).then(|| Self::read(rest)).flatten()
    }

    /// Reads what a body refers to a resource by: its name, or the address of a file.
    pub fn in_reference(text: &str) -> Option<Self> {
        match text.split_once("://") {
            Some((_, address)) => Self::in_path(&address[address.find('/')?..]).map(|found| found.name),
            None => Self::parse(text),
        }
    }

    fn read(text: &str) -> Option<InPath> {
        let mut segments = text.split('/');
        let (collection, id) = (segments.next()?, segments.next()?);
        let rest: Vec<&str> = segments.collect();
        let plain = |id: &str| id.split(':').next().filter(|id| is_id(id)).map(str::to_owned);
        let (name, is_itself) = match (collection, rest.as_slice()) {
            ("models", ["operations", operation]) => {
                let operation = plain(operation)?;
                (format!("models/{}/operations/{operation}", plain(id)?), text.ends_with(&operation))
            }
            _ if Self::NOT_OWNED.contains(&collection) || !is_id(collection) => return None,
            (_, rest) => (format!("{collection}/{}", plain(id)?), rest.is_empty() && !id.contains(':')),
        };
        (name.len() <= Self::MAX_BYTES).then(|| InPath { name: Self(name.into()), is_itself })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part in front of the id: `files`.
    pub fn collection(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(collection, _)| collection)
    }
}

/// Whether it is a version of Google's API, such as `v1beta`.
pub fn is_version(segment: &str) -> bool {
    let mut bytes = segment.bytes();
    bytes.next() == Some(b'v')
        && bytes.next().is_some_and(|byte| byte.is_ascii_digit())
        && bytes.all(|byte| byte.is_ascii_alphanumeric())
}

fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(plain)
}

impl fmt::Debug for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for ResourceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_the_resource_that_has_an_owner() {
        for (path, name, is_itself) in [
            ("/v1beta/files/abc-1", "files/abc-1", true),
            ("/v1/files/abc:download?alt=media", "files/abc", false),
            ("/download/v1beta/files/abc:download?alt=media", "files/abc", false),
            ("/v1beta/cachedContents/x?updateMask=ttl", "cachedContents/x", true),
            ("/v1/batches/b:cancel", "batches/b", false),
            ("/v1beta/models/veo-3/operations/o1", "models/veo-3/operations/o1", true),
            ("/v1beta/fileSearchStores/s/documents/d", "fileSearchStores/s", false),
            ("/upload/v1/fileSearchStores/s:uploadToFileSearchStore", "fileSearchStores/s", false),
            ("/v1/interactions/v1_abc/cancel", "interactions/v1_abc", false),
            ("/v1beta/tunedModels/t:generateContent", "tunedModels/t", false),
        ] {
            let found = ResourceName::in_path(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!((found.name.as_str(), found.is_itself), (name, is_itself), "{path}");
        }
    }

    #[test]
    fn what_nobody_owns_or_could_own_has_no_name() {
        for path in [
            "/v1beta/models/gemini-2.5-flash:generateContent",
            "/v1beta/models/m/operations",
            "/v1beta/files",
            "/v1beta/files/",
            "/v1beta/files:register",
            "/v1beta/files/..",
            "/v1beta/files/%2e%2e",
            "/v1beta/files/a b",
            "/v1beta/openai/files/abc",
            "/v1beta/auth_tokens/secret",
            "/files/abc",
            "files/abc",
            "",
        ] {
            assert_eq!(ResourceName::in_path(path), None, "{path}");
        }
        assert_eq!(ResourceName::parse(&format!("files/{}", "a".repeat(400))), None);
    }

    #[test]
    fn a_body_refers_by_name_or_by_address() {
        let named = |text| ResourceName::in_reference(text).map(|name| name.to_string());

        assert_eq!(named("cachedContents/c1").as_deref(), Some("cachedContents/c1"));
        assert_eq!(
            named("https://generativelanguage.googleapis.com/v1beta/files/abc").as_deref(),
            Some("files/abc")
        );
        for other in
            ["https://www.youtube.com/watch?v=1", "gs://bucket/v1/files", "https://x", "Hello", "a/b c"]
        {
            assert_eq!(named(other), None, "{other}");
        }
    }
}
