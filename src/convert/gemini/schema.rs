//! JSON Schema as Gemini takes it in `parametersJsonSchema` and `responseJsonSchema`.
//!
//! Google documents the keywords it reads and not what it does with others (some requests with unknown ones were refused as a
//! whole), so only known keywords stay. What can be said with them is rewritten: `const`, `allOf`, `definitions`, exclusive
//! bounds, lists of `items`. Names of properties are data and never touched.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

/// Keywords that are copied as they are: those of Google's JSON Schema subset, and those of its own `Schema` message.
const KEPT: [&str; 25] = [
    "$id",
    "$anchor",
    "type",
    "format",
    "title",
    "description",
    "enum",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "additionalProperties",
    "required",
    "propertyOrdering",
    "nullable",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "default",
    "example",
    "prefixItems",
    "anyOf",
    "oneOf",
];

/// The parameters of a function; `None` when it has none, since an empty object was refused by older versions.
pub fn parameters(schema: &Value) -> Option<Value> {
    let schema = clean(schema);
    let takes_any = schema.get("additionalProperties").is_some_and(|more| more != false);
    let has_shape = ["$ref", "anyOf", "oneOf", "enum"].iter().any(|key| schema.get(key).is_some());
    let has_properties =
        schema.get("properties").and_then(Value::as_object).is_some_and(|all| !all.is_empty());
    (has_properties || takes_any || has_shape).then_some(schema)
}

/// The schema as an instruction, for models that refuse a JSON type beside tools.
pub fn in_words(schema: &Value) -> String {
    format!("Give the final answer as one JSON value and nothing else, valid by this JSON Schema: {schema}")
}

/// A schema with nothing but keywords that Gemini reads.
pub fn clean(schema: &Value) -> Value {
    let Value::Object(schema) = schema else {
        return json!({});
    };
    let mut cleaned = gather(schema);
    drop_undeclared(&mut cleaned);
    drop_empty_unions(&mut cleaned);
    Value::Object(cleaned)
}

/// The keywords of a schema and of what `allOf` adds to it.
fn gather(schema: &Map<String, Value>) -> Map<String, Value> {
    let mut cleaned = Map::new();
    for (keyword, value) in schema {
        clean_keyword(keyword, value, &mut cleaned);
    }
    put_exclusive_bounds(schema, &mut cleaned);
    for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        if let Value::Object(part) = part {
            merge(&mut cleaned, gather(part));
        }
    }
    cleaned
}

fn clean_keyword(keyword: &str, value: &Value, cleaned: &mut Map<String, Value>) {
    match (keyword, value) {
        ("properties", Value::Object(named)) => put_all(cleaned, "properties", named),
        ("$defs" | "definitions", Value::Object(named)) => put_all(cleaned, "$defs", named),
        ("$ref", Value::String(to)) => {
            put(cleaned, "$ref", to.replacen("#/definitions/", "#/$defs/", 1).into())
        }
        ("items", Value::Array(list)) => put(cleaned, "prefixItems", list.iter().map(clean).collect()),
        ("items", item) => put(cleaned, "items", clean(item)),
        ("anyOf" | "oneOf" | "prefixItems", Value::Array(list)) => {
            put(cleaned, keyword, list.iter().map(clean).collect());
        }
        ("additionalProperties", Value::Object(_)) => put(cleaned, keyword, clean(value)),
        ("const", value) => put(cleaned, "enum", json!([value])),
        _ if KEPT.contains(&keyword) => put(cleaned, keyword, value.clone()),
        _ => {}
    }
}

fn put(cleaned: &mut Map<String, Value>, keyword: &str, value: Value) {
    cleaned.insert(keyword.to_owned(), value);
}

/// Adds named schemas under a keyword that may be there already (`$defs` and `definitions` in one schema).
fn put_all(cleaned: &mut Map<String, Value>, keyword: &str, named: &Map<String, Value>) {
    let target = cleaned.entry(keyword).or_insert_with(|| json!({}));
    if let Value::Object(target) = target {
        target.extend(named.iter().map(|(name, schema)| (name.clone(), clean(schema))));
    }
}

/// Exclusive bounds as inclusive ones: the neighbour for whole numbers, the bound itself for others.
fn put_exclusive_bounds(schema: &Map<String, Value>, cleaned: &mut Map<String, Value>) {
    let whole = schema.get("type").is_some_and(|kind| kind == "integer");
    for (exclusive, inclusive, step) in
        [("exclusiveMinimum", "minimum", 1), ("exclusiveMaximum", "maximum", -1)]
    {
        let Some(bound @ Value::Number(number)) = schema.get(exclusive) else {
            continue;
        };
        let neighbour = number.as_i64().filter(|_| whole).and_then(|bound| bound.checked_add(step));
        put(cleaned, inclusive, neighbour.map_or_else(|| bound.clone(), Value::from));
    }
}

/// Joins a part of `allOf` to the rest; what is there already wins, lists and properties grow.
fn merge(into: &mut Map<String, Value>, part: Map<String, Value>) {
    for (keyword, value) in part {
        match (into.get_mut(&keyword), value) {
            (None, value) => put(into, &keyword, value),
            (Some(Value::Object(there)), Value::Object(more)) => {
                for (name, schema) in more {
                    there.entry(name).or_insert(schema);
                }
            }
            (Some(Value::Array(there)), Value::Array(more)) if keyword == "required" => there.extend(more),
            _ => {}
        }
    }
}

/// Requiring a property that is not declared is refused by Gemini.
fn drop_undeclared(schema: &mut Map<String, Value>) {
    let Some(Value::Object(properties)) = schema.get("properties") else {
        schema.remove("required");
        return;
    };
    let names: HashSet<String> = properties.keys().cloned().collect();
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|name| name.as_str().is_some_and(|name| names.contains(name)));
    }
}

/// A union of which one branch allows everything says nothing; such are those that only require properties of the whole.
fn drop_empty_unions(schema: &mut Map<String, Value>) {
    for union in ["anyOf", "oneOf"] {
        let branches = schema.get(union).and_then(Value::as_array);
        if branches.is_some_and(|branches| branches.contains(&json!({}))) {
            schema.remove(union);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_named_like_keywords_survive() {
        let schema = json!({"type": "object", "$schema": "x", "properties": {
            "$schema": {"type": "string"}, "examples": {"type": "array", "items": {"type": "string", "examples": ["a"]}},
            "const": {"const": 1}, "allOf": {"type": "integer"}, "properties": {"type": "object", "properties": {"strict": {}}},
        }, "required": ["$schema", "const"]});

        let cleaned = clean(&schema);

        assert_eq!(
            cleaned,
            json!({"type": "object", "properties": {
                "$schema": {"type": "string"}, "examples": {"type": "array", "items": {"type": "string"}},
                "const": {"enum": [1]}, "allOf": {"type": "integer"}, "properties": {"type": "object", "properties": {"strict": {}}},
            }, "required": ["$schema", "const"]})
        );
    }

    #[test]
    fn older_spellings_become_the_ones_that_gemini_reads() {
        let schema = json!({
            "definitions": {"P": {"type": "integer", "exclusiveMinimum": 0}, "F": {"type": "number", "exclusiveMaximum": 1}},
            "allOf": [{"properties": {"a": {"$ref": "#/definitions/P"}}, "required": ["a", "gone"]}],
            "items": [{"type": "string"}],
        });

        let cleaned = clean(&schema);

        assert_eq!(
            cleaned,
            json!({
                "$defs": {"P": {"type": "integer", "minimum": 1}, "F": {"type": "number", "maximum": 1}},
                "prefixItems": [{"type": "string"}],
                "properties": {"a": {"$ref": "#/$defs/P"}},
                "required": ["a"],
            })
        );
    }

    #[test]
    fn what_only_requires_properties_of_another_schema_is_left_out() {
        let schema = json!({
            "type": "object", "properties": {"id": {"type": "string"}, "name": {"type": "string"}},
            "anyOf": [{"required": ["id"]}, {"required": ["name"]}],
        });
        let open = json!({"type": "object", "required": ["a"], "additionalProperties": true});
        let apart = json!({"allOf": [{"required": ["a"]}, {"properties": {"a": {"type": "string"}}}]});

        assert_eq!(clean(&schema), json!({"type": "object", "properties": schema["properties"]}));
        assert_eq!(clean(&open), json!({"type": "object", "additionalProperties": true}));
        assert_eq!(clean(&apart), json!({"required": ["a"], "properties": {"a": {"type": "string"}}}));
    }

    #[test]
    fn a_function_without_parameters_has_no_schema() {
        for empty in [
            json!({}),
            json!(null),
            json!({"type": "object", "properties": {}, "additionalProperties": false}),
        ] {
            assert_eq!(parameters(&empty), None, "{empty}");
        }
        assert!(parameters(&json!({"type": "object", "additionalProperties": true})).is_some());
    }
}
