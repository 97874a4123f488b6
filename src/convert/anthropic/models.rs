//! The list of models as Anthropic's clients read it.

use serde::Serialize;
use serde_json::Value;

#[derive(Debug, Serialize)]
pub struct ModelList<'a> {
    pub data: Vec<ModelInfo<'a>>,
    /// There are more in the direction of the request.
    pub has_more: bool,
    pub first_id: Option<&'a str>,
    pub last_id: Option<&'a str>,
}

#[derive(Debug, Serialize)]
pub struct ModelInfo<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Without `models/`.
    pub id: &'a str,
    pub display_name: &'a str,
    /// Always the epoch, which stands for a date that is not known.
    pub created_at: &'static str,
    pub lifecycle: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
}

/// Which part of the list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paging {
    /// 1 to 1000.
    pub limit: usize,
    pub cursor: Cursor,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    Start,
    /// Behind the model of that id.
    After(String),
    /// The last ones before the model of that id.
    Before(String),
}

/// Those of Google's models that answer messages, a page of them; an id that is not among them gives an empty page.
pub fn models_list<'a>(models: &'a [Value], paging: &Paging) -> ModelList<'a> {
    let models: Vec<_> = models.iter().filter(|model| generates(model)).map(model).collect();
    let place = |id: &String| models.iter().position(|model| model.id == id.as_str());
    let page = match &paging.cursor {
        Cursor::Start => 0..paging.limit.min(models.len()),
        Cursor::After(id) => {
            let start = place(id).map_or(models.len(), |place| place + 1);
            start..(start + paging.limit).min(models.len())
        }
        Cursor::Before(id) => {
            let end = place(id).unwrap_or(0);
            end.saturating_sub(paging.limit)..end
        }
    };
    let has_more = match &paging.cursor {
        Cursor::Start | Cursor::After(_) => page.end < models.len(),
        Cursor::Before(_) => page.start > 0,
    };
    let data: Vec<_> = models.into_iter().skip(page.start).take(page.len()).collect();
    let (first_id, last_id) = (data.first().map(|model| model.id), data.last().map(|model| model.id));
    ModelList { data, has_more, first_id, last_id }
}

/// Answer of `GET /v1/models/{id}`, from Google's description.
pub fn model(model: &Value) -> ModelInfo<'_> {
    let name = model["name"].as_str().unwrap_or_default();
    let id = name.strip_prefix("models/").unwrap_or(name);
    ModelInfo {
        kind: "model",
        id,
        display_name: model["displayName"].as_str().unwrap_or(id),
        created_at: "1970-01-01T00:00:00Z",
        lifecycle: "active",
        max_input_tokens: model["inputTokenLimit"].as_u64(),
        max_tokens: model["outputTokenLimit"].as_u64(),
    }
}

/// Whether it can be asked for a message; a description that does not tell counts as yes.
fn generates(model: &Value) -> bool {
    let methods = model["supportedGenerationMethods"].as_array();
    methods.is_none_or(|methods| methods.iter().any(|method| method == "generateContent"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn models() -> Vec<Value> {
        let model = |name: &str, method: &str| {
            json!({"name": format!("models/{name}"), "displayName": name.to_uppercase(), "inputTokenLimit": 10,
                "outputTokenLimit": 5, "supportedGenerationMethods": [method]})
        };
        ["a", "b", "c", "d"]
            .map(|name| model(name, "generateContent"))
            .into_iter()
            .chain([model("e", "embedContent")])
            .collect()
    }

    fn ids(limit: usize, cursor: Cursor) -> (Vec<String>, bool) {
        let models = models();
        let list = models_list(&models, &Paging { limit, cursor });
        (list.data.iter().map(|model| model.id.to_owned()).collect(), list.has_more)
    }

    #[test]
    fn a_model_is_described_as_anthropic_does() {
        assert_eq!(
            serde_json::to_value(model(&models()[0])).unwrap(),
            json!({"type": "model", "id": "a", "display_name": "A", "created_at": "1970-01-01T00:00:00Z",
                "lifecycle": "active", "max_input_tokens": 10, "max_tokens": 5})
        );
    }

    #[test]
    fn pages_go_both_ways_over_the_models_that_answer() {
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();

        assert_eq!(ids(2, Cursor::Start), (owned(&["a", "b"]), true));
        assert_eq!(ids(2, Cursor::After("b".into())), (owned(&["c", "d"]), false));
        assert_eq!(ids(2, Cursor::Before("d".into())), (owned(&["b", "c"]), true));
        assert_eq!(ids(9, Cursor::Before("c".into())), (owned(&["a", "b"]), false));
        assert_eq!(ids(9, Cursor::After("z".into())), (owned(&[]), false));
    }
}
