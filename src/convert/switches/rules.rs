//! Rules of the operator: what requests to some models say, whatever the client says.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::convert::traits::fits;

/// One rule; `models` are names or patterns.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelRule {
    pub models: Vec<String>,
    /// Fields of Gemini's JSON, by their path: `generationConfig.temperature`.
    pub body: Edits<Value>,
    /// Headers of the call to Google, by their name in lower case.
    pub headers: Edits<String>,
}

/// What to do to named values.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, bound(deserialize = "V: Deserialize<'de>"))]
pub struct Edits<V> {
    /// Whatever the client says.
    #[serde(deserialize_with = "pairs")]
    pub set: Vec<(String, V)>,
    /// Where the client says nothing.
    #[serde(rename = "default", deserialize_with = "pairs")]
    pub defaults: Vec<(String, V)>,
    pub remove: Vec<String>,
}

impl<V> Default for Edits<V> {
    fn default() -> Self {
        Self { set: Vec::new(), defaults: Vec::new(), remove: Vec::new() }
    }
}

impl ModelRule {
    pub fn is_for(&self, model: &str) -> bool {
        self.models.iter().any(|pattern| fits(pattern, model))
    }
}

impl<V: Clone> Edits<V> {
    /// Of two rules the later counts.
    pub fn together<'r>(rules: impl Iterator<Item = &'r Self>) -> Self
    where
        V: 'r,
    {
        let mut all = Self::default();
        for rule in rules {
            all.set.extend(rule.set.iter().cloned());
            all.defaults.extend(rule.defaults.iter().cloned());
            all.remove.extend(rule.remove.iter().cloned());
        }
        all
    }

    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.defaults.is_empty() && self.remove.is_empty()
    }
}

impl Edits<Value> {
    /// The fields at the top that these edits are about.
    pub fn is_about(&self, field: &str) -> bool {
        let changed = self.set.iter().chain(&self.defaults).map(|(path, _)| path);
        changed.chain(&self.remove).any(|path| top(path) == field)
    }

    /// The names of those fields, each once.
    pub fn fields(&self) -> Vec<&str> {
        let changed = self.set.iter().chain(&self.defaults).map(|(path, _)| path);
        let mut fields: Vec<&str> = changed.chain(&self.remove).map(|path| top(path)).collect();
        fields.sort_unstable();
        fields.dedup();
        fields
    }

    /// Changes what stands in a request; objects on the way are made where they are missing.
    pub fn apply(&self, request: &mut Map<String, Value>) {
        for path in &self.remove {
            if let Some((parent, name)) = parent(request, path, false) {
                parent.remove(&name);
            }
        }
        for (path, value) in &self.defaults {
            if let Some((parent, name)) = parent(request, path, true) {
                parent.entry(name).or_insert_with(|| value.clone());
            }
        }
        for (path, value) in &self.set {
            if let Some((parent, name)) = parent(request, path, true) {
                parent.insert(name, value.clone());
            }
        }
    }
}

fn top(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

/// The object that holds the last name of a path; `None` where something else stands in the way.
fn parent<'r>(
    request: &'r mut Map<String, Value>,
    path: &str,
    make: bool,
) -> Option<(&'r mut Map<String, Value>, String)> {
    let (mut parent, mut names) = (request, path.split('.').peekable());
    loop {
        let name = spelled(parent, names.next()?);
        if names.peek().is_none() {
            return Some((parent, name));
        }
        if make && parent.get(&name).is_none_or(Value::is_null) {
            parent.insert(name.clone(), Value::Object(Map::new()));
        }
        parent = parent.get_mut(&name)?.as_object_mut()?;
    }
}

/// A field's name as the client wrote it: Google takes `generationConfig` and `generation_config`.
pub fn spelled(object: &Map<String, Value>, name: &str) -> String {
    if object.contains_key(name) {
        return name.to_owned();
    }
    Some(snake(name)).filter(|snake| object.contains_key(snake)).unwrap_or_else(|| name.to_owned())
}

/// `generation_config` for `generationConfig`.
pub fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

fn pairs<'de, D, V>(deserializer: D) -> Result<Vec<(String, V)>, D::Error>
where
    D: serde::Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct Pairs<V>(std::marker::PhantomData<V>);

    impl<'de, V: Deserialize<'de>> serde::de::Visitor<'de> for Pairs<V> {
        type Value = Vec<(String, V)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a map")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }
    deserializer.deserialize_map(Pairs(std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn applied(rule: Value, request: Value) -> Value {
        let rule: ModelRule = serde_json::from_value(rule).unwrap();
        let Value::Object(mut request) = request else { panic!("an object") };
        rule.body.apply(&mut request);
        Value::Object(request)
    }

    #[test]
    fn values_are_set_defaulted_and_removed_by_their_path() {
        let rule = json!({"models": ["*"], "body": {
            "set": {"generationConfig.temperature": 1.0},
            "default": {"generationConfig.topP": 0.9, "serviceTier": "flex"},
            "remove": ["generationConfig.topK", "labels.none"],
        }});

        assert_eq!(
            applied(rule.clone(), json!({"generation_config": {"temperature": 0.1, "topP": 0.5, "topK": 3}})),
            json!({"generation_config": {"temperature": 1.0, "topP": 0.5}, "serviceTier": "flex"})
        );
        assert_eq!(
            applied(rule, json!({"contents": []})),
            json!({"contents": [], "generationConfig": {"topP": 0.9, "temperature": 1.0}, "serviceTier": "flex"})
        );
    }

    #[test]
    fn what_stands_in_the_way_is_left_alone() {
        let rule = json!({"body": {"set": {"contents.text": 1}}});

        assert_eq!(applied(rule, json!({"contents": []})), json!({"contents": []}));
    }

    #[test]
    fn a_rule_with_an_unknown_word_is_no_rule() {
        assert!(serde_json::from_value::<ModelRule>(json!({"models": ["*"], "sett": {}})).is_err());
        assert!(serde_json::from_value::<ModelRule>(json!({"body": {"set": ["x"]}})).is_err());
    }
}
