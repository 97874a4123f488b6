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

/// Most values of two unions whose branches are paired: pairs multiply, and unions may stand within unions.
const MAX_UNIONS: usize = 100;

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

/// Adds what must hold as well, such as a part of `allOf`: lists, properties and unions are joined; of what cannot be joined
/// the one that is there already stays, which allows more than both together and never less.
pub(super) fn merge(into: &mut Map<String, Value>, part: Map<String, Value>) {
    for (keyword, value) in part {
        match (keyword.as_str(), into.get_mut(&keyword), value) {
            (_, None, value) => put(into, &keyword, value),
            (
                "properties" | "patternProperties" | "dependentSchemas" | "$defs",
                Some(Value::Object(there)),
                Value::Object(more),
            ) => merge_named(there, more),
            ("items" | "additionalProperties", Some(Value::Object(there)), Value::Object(more)) => {
                merge(there, more);
            }
            ("required", Some(Value::Array(there)), Value::Array(more)) => {
                let new = more.into_iter().filter(|name| !there.contains(name)).collect::<Vec<_>>();
                there.extend(new);
            }
            ("allOf", Some(Value::Array(there)), Value::Array(more)) => there.extend(more),
            ("anyOf" | "oneOf", Some(Value::Array(there)), Value::Array(more)) => merge_unions(there, more),
            _ => {}
        }
    }
}

fn merge_named(into: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, schema) in more {
        match (into.get_mut(&name), schema) {
            (None, schema) => put(into, &name, schema),
            (Some(Value::Object(there)), Value::Object(more)) => merge(there, more),
            _ => {}
        }
    }
}

/// Of two unions that both hold, a union of all pairs of their branches: Gemini reads no `allOf` that could hold the two.
fn merge_unions(there: &mut Vec<Value>, more: Vec<Value>) {
    if there.iter().any(says_nothing) {
        *there = more;
        return;
    }
    if more.iter().any(says_nothing) || weight(there) + weight(&more) > MAX_UNIONS {
        return;
    }
    let mut pairs = Vec::new();
    for (one, other) in there.iter().flat_map(|one| more.iter().map(move |other| (one, other))) {
        let (Value::Object(one), Value::Object(other)) = (one, other) else { return };
        if !are_apart(one, other) {
            let mut both = one.clone();
            merge(&mut both, other.clone());
            pairs.push(Value::Object(both));
        }
    }
    if !pairs.is_empty() {
        *there = pairs;
    }
}

fn says_nothing(schema: &Value) -> bool {
    *schema == true || schema.as_object().is_some_and(Map::is_empty)
}

/// How many values a list of schemas is made of.
fn weight(schemas: &[Value]) -> usize {
    let of = |schema: &Value| match schema {
        Value::Object(fields) => fields.values().map(|value| weight(std::slice::from_ref(value))).sum(),
        Value::Array(list) => weight(list),
        _ => 0,
    };
    schemas.iter().map(|schema| 1 + of(schema)).sum()
}

/// Whether no value can be of the types of both.
fn are_apart(one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    match (&one.get("type"), &other.get("type")) {
        (Some(Value::String(one)), Some(Value::String(other))) => {
            let is_number = |kind: &str| matches!(kind, "integer" | "number");
            one != other && !(is_number(one) && is_number(other))
        }
        _ => false,
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
        if branches.is_some_and(|branches| branches.iter().any(says_nothing)) {
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
    fn two_unions_that_both_hold_become_one_of_pairs() {
        let named = |name: &str| json!({"properties": {name: {"type": "string"}}, "required": [name]});
        let pair = |a: &str, b: &str| json!({"properties": {a: {"type": "string"}, b: {"type": "string"}}, "required": [a, b]});
        let schema = json!({"description": "both", "allOf": [
            {"anyOf": [named("a"), named("b")], "description": "part"}, {"anyOf": [named("c"), named("d")]},
        ]});
        let kinds = json!({"anyOf": [{"type": "string"}, {"type": "integer"}],
            "allOf": [{"anyOf": [{"type": "null"}, {"type": "number"}, {"type": "string", "minLength": 1}]}]});
        let pairs = [pair("a", "c"), pair("a", "d"), pair("b", "c"), pair("b", "d")];

        assert_eq!(clean(&schema), json!({"description": "both", "anyOf": pairs}));
        assert_eq!(
            clean(&kinds),
            json!({"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer"}]})
        );
    }

    #[test]
    fn of_unions_with_too_many_pairs_the_first_stays() {
        let union = |from: usize| {
            let branches =
                (from..from + 30).map(|at| json!({"properties": {format!("p{at}"): {"type": "string"}}}));
            json!({"anyOf": branches.collect::<Value>()})
        };

        let cleaned = clean(&json!({"description": "d", "allOf": [union(0), union(30)]}));

        assert_eq!(cleaned, json!({"description": "d", "anyOf": union(0)["anyOf"]}));
    }

    #[test]
    fn one_property_in_two_parts_is_described_by_both() {
        let part = |schema: Value| json!({"properties": {"a": schema}, "required": ["a"]});

        let cleaned =
            clean(&json!({"allOf": [part(json!({"type": "string"})), part(json!({"description": "d"}))]}));

        assert_eq!(cleaned, part(json!({"type": "string", "description": "d"})));
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
