//! Instances of schemas: what a model that keeps to its schema would answer, the same each time.

use serde_json::{Map, Number, Value};

use super::errors::GoogleError;

/// Optional properties are left out below this depth, so that recursion ends.
const DEEP: usize = 6;
/// Nothing is built below this depth, not even what is required.
const TOO_DEEP: usize = 24;
/// Most values of an instance; required recursion would otherwise double them with each level.
const MAX_VALUES: usize = 10_000;
/// Most items of an array, whatever its schema asks for.
const MAX_ITEMS: u64 = 64;

/// Keywords of OpenAPI's subset; source: the `Schema` message of `google/ai/generativelanguage/v1beta/content.proto`.
const SUBSET: [&str; 22] = [
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "items",
    "minItems",
    "maxItems",
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "example",
    "anyOf",
    "propertyOrdering",
    "default",
];

/// Refuses the first keyword that `responseSchema` and `parameters` do not know. Both spellings of a name are known.
pub fn check_subset(schema: &Value, path: &str) -> Result<(), GoogleError> {
    let Some(schema) = schema.as_object() else { return Ok(()) };
    for (keyword, value) in schema {
        if !SUBSET.iter().any(|known| is_spelling_of(keyword, known)) {
            return Err(GoogleError::unknown_name(keyword, path));
        }
        match (keyword.as_str(), value) {
            ("type", Value::Array(_)) => return Err(GoogleError::unknown_name("type", path)),
            ("items", items) => check_subset(items, &format!("{path}.items"))?,
            ("properties", Value::Object(properties)) => {
                for (i, property) in properties.values().enumerate() {
                    check_subset(property, &format!("{path}.properties[{i}].value"))?;
                }
            }
            ("anyOf" | "any_of", Value::Array(variants)) => {
                for (i, variant) in variants.iter().enumerate() {
                    check_subset(variant, &format!("{path}.any_of[{i}]"))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether `keyword` is `known` in camelCase or snake_case.
fn is_spelling_of(keyword: &str, known: &str) -> bool {
    keyword.replace('_', "").eq_ignore_ascii_case(known)
}

/// A value that fits `schema`, in OpenAPI's subset or JSON Schema; `hint` names what it stands for.
pub fn instance(schema: &Value, hint: &str) -> Value {
    Builder { root: schema, values: 0 }.build(schema, hint, 0)
}

/// Builds one instance and keeps it from growing without end.
struct Builder<'a> {
    root: &'a Value,
    values: usize,
}

impl Builder<'_> {
    fn build(&mut self, schema: &Value, hint: &str, depth: usize) -> Value {
        self.values += 1;
        if depth > TOO_DEEP || self.values > MAX_VALUES {
            return Value::Null;
        }
        if let Some(target) = schema["$ref"].as_str() {
            let target = self.root.pointer(target.trim_start_matches('#')).unwrap_or(&Value::Null);
            return self.build(target, hint, depth + 1);
        }
        for given in [&schema["const"], &schema["default"], &schema["example"], &schema["enum"][0]] {
            if !given.is_null() {
                return given.clone();
            }
        }
        for variants in ["anyOf", "any_of", "oneOf", "allOf"] {
            let variants = schema[variants].as_array();
            if let Some(variant) = variants.and_then(|all| all.iter().find(|one| !is_null(one))) {
                return self.build(variant, hint, depth + 1);
            }
        }
        match type_of(schema).as_str() {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, hint, depth),
            "integer" => Value::from(bounded(schema, 1.0) as i64),
            "number" => Number::from_f64(bounded(schema, 1.5)).map_or(Value::Null, Value::Number),
            "boolean" => Value::Bool(true),
            "null" => Value::Null,
            _ => Value::String(string(schema, hint)),
        }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut object = Map::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = required.iter().any(|known| known == name.as_str());
            if is_required || depth < DEEP {
                object.insert(name.clone(), self.build(property, name, depth + 1));
            }
        }
        Value::Object(object)
    }

    fn array(&mut self, schema: &Value, hint: &str, depth: usize) -> Value {
        if let Some(items) = schema["prefixItems"].as_array() {
            return items.iter().map(|item| self.build(item, hint, depth + 1)).collect();
        }
        let bound = |keyword: &str| limit(&schema[keyword]).map(|value| value as u64);
        let least = bound("minItems").unwrap_or(if depth < DEEP { 2 } else { 0 });
        let count = least.min(bound("maxItems").unwrap_or(MAX_ITEMS)).min(MAX_ITEMS);
        (0..count).map(|_| self.build(&schema["items"], hint, depth + 1)).collect()
    }
}

/// Its type in lower case; the first that is not null of several, a guess when it has none.
fn type_of(schema: &Value) -> String {
    let named = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        named => named.as_str(),
    };
    let guessed = if schema["properties"].is_object() {
        "object"
    } else if schema["items"].is_object() || schema["prefixItems"].is_array() {
        "array"
    } else {
        "string"
    };
    named.unwrap_or(guessed).to_ascii_lowercase()
}

fn is_null(schema: &Value) -> bool {
    schema["type"].as_str().is_some_and(|name| name.eq_ignore_ascii_case("null"))
}

/// A limit written as a number or, as protobuf does with 64 bits, as a string.
fn limit(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

fn bounded(schema: &Value, wish: f64) -> f64 {
    let at_least = limit(&schema["minimum"]).map_or(wish, |least| wish.max(least));
    limit(&schema["maximum"]).map_or(at_least, |most| at_least.min(most))
}

fn string(schema: &Value, hint: &str) -> String {
    let text = match schema["format"].as_str() {
        Some("date-time") => return "2026-11-23T12:00:00Z".into(),
        Some("date") => return "2026-11-23".into(),
        Some("time") => return "12:00:00Z".into(),
        Some("email") => return "someone@example.com".into(),
        Some("uri" | "url") => return "https://example.com/".into(),
        Some("uuid") => return "018f3b6c-0000-7000-8000-000000000001".into(),
        _ => format!("a {}", hint.replace('_', " ")),
    };
    let most = limit(&schema["maxLength"]).map_or(usize::MAX, |most| most as usize);
    let least = limit(&schema["minLength"]).map_or(0, |least| (least as usize).min(10_000));
    let padded = format!("{text:.<least$}");
    padded.chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_instance_has_the_types_that_the_schema_asks_for() {
        let schema = json!({"type": "OBJECT", "properties": {
            "city": {"type": "STRING"}, "days": {"type": "INTEGER", "minimum": 3}, "unit": {"enum": ["C", "F"]},
            "hours": {"type": "array", "items": {"type": "number"}, "maxItems": "1"},
            "note": {"type": ["null", "string"]},
        }});

        assert_eq!(
            instance(&schema, "answer"),
            json!({"city": "a city", "days": 3, "unit": "C", "hours": [1.5], "note": "a note"})
        );
    }

    #[test]
    fn recursion_through_references_ends() {
        let schema = json!({"$ref": "#/$defs/Node", "$defs": {"Node": {
            "type": "object", "required": ["name"], "properties": {
                "name": {"type": "string"},
                "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Node"}]},
            },
        }}});

        let node = instance(&schema, "node");

        assert_eq!(node["name"], "a name");
        assert_eq!(node["next"]["name"], "a name");
    }

    #[test]
    fn a_recursion_that_is_required_ends_too() {
        let schema = json!({"type": "object", "required": ["self"], "properties": {"self": {"$ref": "#"}}});

        assert!(instance(&schema, "endless").is_object());
    }

    #[test]
    fn a_recursion_that_doubles_at_every_level_stays_small() {
        let twice = json!({"left": {"$ref": "#"}, "right": {"$ref": "#"}});
        let schema = json!({"type": "object", "required": ["left", "right"], "properties": twice});

        assert!(instance(&schema, "tree").to_string().len() < 1_000_000);
    }

    #[test]
    fn lengths_are_kept() {
        assert_eq!(instance(&json!({"type": "string", "maxLength": 3}), "city"), "a c");
        assert_eq!(instance(&json!({"type": "string", "minLength": 8}), "city"), "a city..");
    }

    #[test]
    fn keywords_outside_the_subset_are_refused_where_they_stand() {
        let schema =
            json!({"type": "object", "properties": {"a": {"type": "object", "additionalProperties": false}}});

        let error = check_subset(&schema, "parameters").unwrap_err();

        assert!(error.message.contains("\"additionalProperties\" at 'parameters.properties[0].value'"));
        assert!(check_subset(&json!({"any_of": [{"min_items": "1"}]}), "x").is_ok());
    }

    #[test]
    fn a_property_may_be_named_like_a_keyword() {
        let schema = json!({"type": "object", "properties": {"additionalProperties": {"type": "string"}}});

        assert!(check_subset(&schema, "x").is_ok());
    }
}
