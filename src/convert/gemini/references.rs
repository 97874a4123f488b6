//! `$ref` in a JSON Schema: every reference is replaced by what it names.
//!
//! Google reads `$ref` and `$defs` in some places and refuses them in others, so none is sent. A schema that names itself has
//! no such form and is refused, as is one that would grow beyond all measure.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::schema;

/// Most schemas that references may unfold to; a bound on the work that one request can cause.
const MAX_SCHEMAS: usize = 20_000;
/// Deepest nesting, references counted; JSON itself may be nested half as deep.
const MAX_DEPTH: usize = 200;

/// Why a schema cannot be written without references.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("the schema refers to itself through '$ref': '{0}', and Gemini takes no recursive schemas.")]
    Recursive(String),
    #[error("'$ref': '{0}' names nothing in this schema.")]
    Unknown(String),
    #[error(
        "the references of the schema unfold to more than {MAX_SCHEMAS} schemas, or deeper than {MAX_DEPTH} levels."
    )]
    TooLarge,
}

/// The schema without references; one that has none stays as it is.
pub fn resolve(schema: Value) -> Result<Value, ReferenceError> {
    if !has_references(&schema) {
        return Ok(schema);
    }
    let mut unfolding = Unfolding { root: &schema, open: vec!["#".to_owned()], left: MAX_SCHEMAS };
    unfolding.schema(&schema, 0)
}

/// How deep schemas are nested; 1 for one without others inside.
pub fn levels(schema: &Value) -> usize {
    let Value::Object(fields) = schema else { return 1 };
    let inside = fields.iter().map(|(keyword, value)| match (keyword.as_str(), value) {
        (
            "properties" | "patternProperties" | "dependentSchemas" | "$defs" | "definitions",
            Value::Object(named),
        ) => deepest(named.values()),
        ("items" | "prefixItems" | "anyOf" | "oneOf" | "allOf", Value::Array(list)) => deepest(list.iter()),
        ("items" | "additionalProperties" | "contains" | "not", Value::Object(_)) => levels(value),
        _ => 0,
    });
    1 + inside.max().unwrap_or(0)
}

fn deepest<'v>(schemas: impl Iterator<Item = &'v Value>) -> usize {
    schemas.map(levels).max().unwrap_or(0)
}

/// Also where a property is merely called `$ref`: then nothing is replaced.
fn has_references(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            fields.get("$ref").is_some_and(Value::is_string) || fields.values().any(has_references)
        }
        Value::Array(items) => items.iter().any(has_references),
        _ => false,
    }
}

struct Unfolding<'v> {
    root: &'v Value,
    /// References that are being unfolded.
    open: Vec<String>,
    left: usize,
}

impl<'v> Unfolding<'v> {
    fn schema(&mut self, schema: &'v Value, depth: usize) -> Result<Value, ReferenceError> {
        let Value::Object(fields) = schema else { return Ok(schema.clone()) };
        self.left = self.left.checked_sub(1).filter(|_| depth < MAX_DEPTH).ok_or(ReferenceError::TooLarge)?;
        let mut unfolded = Map::new();
        for (keyword, value) in fields {
            match (keyword.as_str(), value) {
                ("$ref", Value::String(_)) | ("$defs" | "definitions", _) => {}
                ("properties" | "patternProperties" | "dependentSchemas", Value::Object(named)) => {
                    let named =
                        named.iter().map(|(name, one)| Ok((name.clone(), self.schema(one, depth + 1)?)));
                    let named = named.collect::<Result<Map<_, _>, _>>()?;
                    unfolded.insert(keyword.clone(), Value::Object(named));
                }
                ("items" | "prefixItems" | "anyOf" | "oneOf" | "allOf", Value::Array(list)) => {
                    let list =
                        list.iter().map(|one| self.schema(one, depth + 1)).collect::<Result<_, _>>()?;
                    unfolded.insert(keyword.clone(), Value::Array(list));
                }
                ("items" | "additionalProperties" | "contains" | "not", Value::Object(_)) => {
                    unfolded.insert(keyword.clone(), self.schema(value, depth + 1)?);
                }
                _ => {
                    unfolded.insert(keyword.clone(), value.clone());
                }
            }
        }
        // What stands beside a reference adds to what it names.
        if let Some(Value::String(to)) = fields.get("$ref") {
            schema::merge(&mut unfolded, self.named(to, depth)?);
        }
        Ok(Value::Object(unfolded))
    }

    /// A reference is the fragment of an address, in which some generators escape the brackets of generic types.
    fn find(&self, to: &str) -> Option<&'v Value> {
        let pointer = percent_decode_str(to.strip_prefix('#')?).decode_utf8().ok()?;
        self.root.pointer(&pointer)
    }

    fn named(&mut self, to: &str, depth: usize) -> Result<Map<String, Value>, ReferenceError> {
        if self.open.iter().any(|open| open == to) {
            return Err(ReferenceError::Recursive(to.to_owned()));
        }
        let target = self.find(to).ok_or_else(|| ReferenceError::Unknown(to.to_owned()))?;
        self.open.push(to.to_owned());
        let unfolded = self.schema(target, depth + 1)?;
        self.open.pop();
        Ok(match unfolded {
            Value::Object(fields) => fields,
            // `true`: anything goes.
            _ => Map::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reference_becomes_what_it_names_and_what_stands_beside_it() {
        let schema = json!({
            "type": "object",
            "properties": {
                "from": {"$ref": "#/$defs/City", "description": "start"},
                "to": {"anyOf": [{"$ref": "#/$defs/City"}, {"type": "null"}]},
            },
            "$defs": {"City": {"type": "object", "properties": {"name": {"$ref": "#/definitions/Name"}}}},
            "definitions": {"Name": {"type": "string"}},
        });

        let city = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        let mut from = city.clone();
        from["description"] = "start".into();
        assert_eq!(
            resolve(schema).unwrap(),
            json!({"type": "object", "properties": {"from": from, "to": {"anyOf": [city, {"type": "null"}]}}})
        );
    }

    #[test]
    fn properties_beside_a_reference_join_those_that_it_names() {
        let schema = json!({
            "$ref": "#/$defs/Base", "properties": {"x": {"type": "integer"}, "id": {"description": "own"}},
            "required": ["x", "id"],
            "$defs": {"Base": {
                "type": "object", "description": "base", "properties": {"id": {"type": "string"}}, "required": ["id"],
            }},
        });

        assert_eq!(
            resolve(schema).unwrap(),
            json!({
                "type": "object", "description": "base",
                "properties": {"x": {"type": "integer"}, "id": {"description": "own", "type": "string"}},
                "required": ["x", "id"],
            })
        );
    }

    #[test]
    fn a_reference_may_be_escaped_as_addresses_are() {
        for to in ["#/definitions/Page%3CCity%3E", "#/definitions/Page<City>"] {
            let schema = json!({"items": {"$ref": to}, "definitions": {"Page<City>": {"type": "string"}}});

            assert_eq!(resolve(schema), Ok(json!({"items": {"type": "string"}})));
        }
    }

    #[test]
    fn a_schema_without_references_is_not_touched() {
        let schema = json!({"properties": {"$ref": {"type": "string"}}, "$defs": {"unused": {}}});

        assert_eq!(resolve(schema.clone()), Ok(schema));
    }

    #[test]
    fn recursion_is_refused_by_the_name_that_it_goes_through() {
        let tree = json!({"$ref": "#/$defs/Tree", "$defs": {"Tree": {"properties": {
            "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
        }}}});
        let root = json!({"properties": {"next": {"$ref": "#"}}});

        assert_eq!(resolve(tree), Err(ReferenceError::Recursive("#/$defs/Tree".into())));
        assert_eq!(resolve(root), Err(ReferenceError::Recursive("#".into())));
    }

    #[test]
    fn a_reference_to_nothing_and_an_avalanche_are_refused() {
        let gone = json!({"items": {"$ref": "#/$defs/Gone"}});
        let other = json!({"items": {"$ref": "https://example.com/schema"}});
        assert_eq!(resolve(gone), Err(ReferenceError::Unknown("#/$defs/Gone".into())));
        assert!(matches!(resolve(other), Err(ReferenceError::Unknown(_))));

        let twice = |next: usize| {
            let next = json!({"$ref": format!("#/$defs/D{next}")});
            json!({"properties": {"a": next, "b": next}})
        };
        let definitions: Map<String, Value> = (0..40).map(|at| (format!("D{at}"), twice(at + 1))).collect();
        let mut schema = json!({"$ref": "#/$defs/D0", "$defs": definitions});
        schema["$defs"]["D40"] = json!({});
        assert_eq!(resolve(schema), Err(ReferenceError::TooLarge));
    }

    #[test]
    fn fifty_levels_can_be_unfolded() {
        let deep =
            (0..50).fold(json!({"$ref": "#/$defs/Leaf"}), |inner, _| json!({"properties": {"a": inner}}));
        let mut schema = deep;
        schema["$defs"] = json!({"Leaf": {"type": "string"}});

        assert!(!resolve(schema).unwrap().to_string().contains("$ref"));
    }
}
