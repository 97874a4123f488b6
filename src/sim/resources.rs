//! Files and caches of the simulation: each belongs to the project of the key that made it, and no other sees it.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::{
    errors::GoogleError,
    request::{GenerateRequest, Part},
};

/// What one project has, and what is on its way to it.
#[derive(Debug, Default)]
pub struct Resources {
    made: u64,
    /// By name, with the project that it belongs to.
    all: BTreeMap<String, (String, Value)>,
    /// Bytes that have come, and what was said of the file, by the id of the upload.
    uploads: BTreeMap<String, Pending>,
}

#[derive(Debug)]
struct Pending {
    project: String,
    file: Value,
    mime_type: String,
    size: usize,
}

impl Resources {
    /// Begins an upload; the answer is its id.
    pub fn begin_upload(&mut self, project: &str, file: Value, mime_type: &str) -> String {
        self.made += 1;
        let id = format!("SimUpload{:06}", self.made);
        let (project, mime_type) = (project.to_owned(), mime_type.to_owned());
        self.uploads.insert(id.clone(), Pending { project, file, mime_type, size: 0 });
        id
    }

    /// Takes in so many bytes; the file, if these were the last.
    pub fn upload(
        &mut self,
        project: &str,
        id: &str,
        size: usize,
        is_last: bool,
    ) -> Result<Option<Value>, GoogleError> {
        let pending = self.uploads.get_mut(id).filter(|pending| pending.project == project);
        let pending =
            pending.ok_or_else(|| GoogleError::invalid_argument("Upload has already been terminated."))?;
        pending.size += size;
        if !is_last {
            return Ok(None);
        }
        let pending = self.uploads.remove(id).expect("it was just found");
        Ok(Some(self.add_file(project, &pending.file, &pending.mime_type, pending.size)))
    }

    /// A file whose bytes have all come.
    pub fn add_file(&mut self, project: &str, told: &Value, mime_type: &str, size: usize) -> Value {
        self.made += 1;
        let id = format!("sim{:09x}", self.made);
        let told_name = ["displayName", "display_name"].iter().find_map(|name| told[*name].as_str());
        let now = Utc::now();
        let mut file = json!({
            "name": format!("files/{id}"),
            "mimeType": mime_type,
            "sizeBytes": size.to_string(),
            "createTime": timestamp(now),
            "updateTime": timestamp(now),
            "expirationTime": timestamp(now + Duration::hours(48)),
            "uri": format!("https://generativelanguage.googleapis.com/v1beta/files/{id}"),
            "state": "ACTIVE",
            "source": "UPLOADED",
        });
        if let Some(name) = told_name {
            file["displayName"] = json!(name);
        }
        self.keep(project, file)
    }

    /// `tokens` is what the cache holds.
    pub fn add_cache(
        &mut self,
        project: &str,
        asked: &Map<String, Value>,
        tokens: u64,
    ) -> Result<Value, GoogleError> {
        let model = asked.get("model").and_then(Value::as_str);
        let model = model.ok_or_else(|| {
            GoogleError::invalid_argument(
                "* CreateCachedContentRequest.cached_content.model: model is required\n",
            )
        })?;
        self.made += 1;
        let now = Utc::now();
        let mut cache = json!({
            "name": format!("cachedContents/sim{:09x}", self.made),
            "model": model,
            "createTime": timestamp(now),
            "updateTime": timestamp(now),
            "expireTime": expiry(asked, now)?,
            "usageMetadata": {"totalTokenCount": tokens},
        });
        if let Some(name) = ["displayName", "display_name"].iter().find_map(|name| asked.get(*name)) {
            cache["displayName"] = name.clone();
        }
        Ok(self.keep(project, cache))
    }

    pub fn find(&self, project: &str, name: &str) -> Result<Value, GoogleError> {
        let found = self.all.get(name).filter(|(owner, _)| owner == project);
        found.map(|(_, resource)| resource.clone()).ok_or_else(|| not_accessible(name))
    }

    /// Moves the end of a cache.
    pub fn update_cache(
        &mut self,
        project: &str,
        name: &str,
        asked: &Map<String, Value>,
    ) -> Result<Value, GoogleError> {
        self.find(project, name)?;
        let now = Utc::now();
        let end = expiry(asked, now)?;
        let (_, cache) = self.all.get_mut(name).expect("it was just found");
        cache["expireTime"] = json!(end);
        cache["updateTime"] = json!(timestamp(now));
        Ok(cache.clone())
    }

    pub fn delete(&mut self, project: &str, name: &str) -> Result<(), GoogleError> {
        self.find(project, name)?;
        self.all.remove(name);
        Ok(())
    }

    /// All of one collection that the project has.
    pub fn list(&self, project: &str, collection: &str) -> Vec<Value> {
        let is_listed = |name: &str| name.strip_prefix(collection).is_some_and(|rest| rest.starts_with('/'));
        let listed = self.all.iter().filter(|(name, (owner, _))| owner == project && is_listed(name));
        listed.map(|(_, (_, resource))| resource.clone()).collect()
    }

    /// Whether the project may use everything that a generation names.
    pub fn check(&self, project: &str, request: &GenerateRequest) -> Result<(), GoogleError> {
        let parts = request.contents.iter().flat_map(|content| &content.parts);
        for name in parts.filter_map(file_of).chain(request.cached_content.clone()) {
            self.find(project, &name)?;
        }
        Ok(())
    }

    fn keep(&mut self, project: &str, resource: Value) -> Value {
        let name = resource["name"].as_str().unwrap_or_default().to_owned();
        self.all.insert(name, (project.to_owned(), resource.clone()));
        resource
    }
}

/// The file of Google's that a part names; other addresses are fetched by the model.
fn file_of(part: &Part) -> Option<String> {
    let uri = &part.file_data.as_ref()?.file_uri;
    let at = uri.rfind("/files/").filter(|_| uri.contains("generativelanguage.googleapis.com"))?;
    Some(uri[at + 1..].to_owned())
}

fn not_accessible(name: &str) -> GoogleError {
    let message = match name.strip_prefix("files/") {
        Some(id) => format!("You do not have permission to access the File {id} or it may not exist."),
        None => "CachedContent not found (or permission denied)".to_owned(),
    };
    GoogleError::new(403, "PERMISSION_DENIED", message)
}

/// When a cache ends that was asked for with `ttl` or `expireTime`; an hour is Google's default.
fn expiry(asked: &Map<String, Value>, now: DateTime<Utc>) -> Result<String, GoogleError> {
    let text = |names: [&str; 2]| names.iter().find_map(|name| asked.get(*name)?.as_str());
    if let Some(time) = text(["expireTime", "expire_time"]) {
        return Ok(time.to_owned());
    }
    let ttl = text(["ttl", "ttl"]).unwrap_or("3600s");
    let seconds = ttl.strip_suffix('s').and_then(|seconds| seconds.parse::<f64>().ok());
    let seconds = seconds.filter(|seconds| (0.0..1e9).contains(seconds));
    let seconds =
        seconds.ok_or_else(|| GoogleError::invalid_argument("Invalid value at 'cached_content.ttl'"))?;
    Ok(timestamp(now + Duration::milliseconds((seconds * 1000.0) as i64)))
}

fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::recordings, *};

    #[test]
    fn a_file_of_another_project_is_refused_in_googles_words() {
        let mut resources = Resources::default();
        let file = resources.add_file("mine", &json!({"display_name": "x"}), "text/plain", 5);
        let name = file["name"].as_str().unwrap();

        assert_eq!(resources.find("mine", name).unwrap(), file);
        assert_eq!(resources.find("other", name).unwrap_err().http, 403);
        assert_eq!((resources.list("mine", "files").len(), resources.list("other", "files").len()), (1, 0));
        for (recording, recorded) in recordings("gemini/errors") {
            if recording == "403-file-not-accessible" {
                let error = resources.find("mine", "files/abc-123").unwrap_err().to_json();
                assert_eq!(error["error"]["message"], recorded["body"]["error"]["message"]);
                assert_eq!(error["error"]["status"], recorded["body"]["error"]["status"]);
            }
        }
    }

    #[test]
    fn an_upload_is_a_file_with_its_last_bytes() {
        let mut resources = Resources::default();
        let id = resources.begin_upload("mine", json!({}), "video/mp4");

        assert_eq!(resources.upload("mine", &id, 3, false), Ok(None));
        assert!(resources.upload("other", &id, 3, true).is_err());
        let file = resources.upload("mine", &id, 4, true).unwrap().unwrap();

        assert_eq!((&file["sizeBytes"], &file["mimeType"]), (&json!("7"), &json!("video/mp4")));
        assert!(resources.upload("mine", &id, 1, true).is_err());
    }
}
