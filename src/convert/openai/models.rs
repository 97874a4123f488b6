//! The list of models as OpenAI's clients read it.

use serde::Serialize;

#[derive(Debug, Serialize)]
pub struct ModelList<'a> {
    pub object: &'static str,
    pub data: Vec<ModelObject<'a>>,
    /// The gateway that this one replaces had it, and scripts check it.
    pub success: bool,
}

#[derive(Debug, Serialize)]
pub struct ModelObject<'a> {
    /// Without `models/`.
    pub id: &'a str,
    pub object: &'static str,
    /// Unix seconds; always 0, since Google does not tell and a time of ours would change with every start.
    pub created: i64,
    pub owned_by: &'static str,
    pub permission: [(); 0],
    /// Google's name.
    pub root: &'a str,
    /// Always `null`.
    pub parent: (),
}

/// Answer of `GET /v1/models`, from Google's names.
pub fn models_list<'a>(names: impl Iterator<Item = &'a str>) -> ModelList<'a> {
    ModelList { object: "list", data: names.map(model).collect(), success: true }
}

/// Answer of `GET /v1/models/{id}`; `name` is Google's.
pub fn model(name: &str) -> ModelObject<'_> {
    ModelObject {
        id: name.strip_prefix("models/").unwrap_or(name),
        object: "model",
        created: 0,
        owned_by: "google",
        permission: [],
        root: name,
        parent: (),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_model_is_listed_by_its_short_name() {
        let names = ["models/gemini-2.5-flash"].into_iter();

        assert_eq!(
            serde_json::to_value(models_list(names)).unwrap(),
            json!({"object": "list", "success": true, "data": [{
                "id": "gemini-2.5-flash", "object": "model", "created": 0, "owned_by": "google",
                "permission": [], "root": "models/gemini-2.5-flash", "parent": null,
            }]})
        );
    }
}
