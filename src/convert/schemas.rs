//! Lists of tools and the JSON Schemas in them, as every dialect's requests bring them.

use serde_json::Value;

use super::{
    ConvertError,
    gemini::references,
    json::{At, array},
};

/// Most tools of a request: what Gemini takes, by report; Google does not document it.
const MAX_TOOLS: usize = 512;
/// Deepest nesting of schemas. Nobody writes such, and it bounds what one request can cause.
const MAX_LEVELS: usize = 32;

/// A list of tools that is not too long.
pub(super) fn tool_list(value: Value, at: &At<'_>) -> Result<Vec<Value>, ConvertError> {
    let list = array(value, at)?;
    if list.len() > MAX_TOOLS {
        return Err(ConvertError::ArrayTooLong { param: at.to_string(), max: MAX_TOOLS, length: list.len() });
    }
    Ok(list)
}

/// A schema as Gemini takes it, without references; fails on one that only references can express, and on one that is nested
/// too deep.
pub(super) fn schema(schema: Value, at: &At<'_>) -> Result<Value, ConvertError> {
    let invalid = |reason: String| ConvertError::InvalidValue { param: at.to_string(), reason };
    let schema = references::resolve(schema).map_err(|error| invalid(error.to_string()))?;
    let levels = references::levels(&schema);
    if levels > MAX_LEVELS {
        let reason =
            format!("the schema is nested {levels} levels deep, and at most {MAX_LEVELS} are taken.");
        return Err(invalid(reason));
    }
    Ok(schema)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nested(levels: usize) -> Value {
        (1..levels).fold(json!({"type": "string"}), |inner, _| json!({"properties": {"a": inner}}))
    }

    #[test]
    fn a_schema_may_be_nested_so_deep_and_no_deeper() {
        let at = At::Root.key("tools");

        assert_eq!(schema(nested(MAX_LEVELS), &at), Ok(nested(MAX_LEVELS)));
        let error = schema(nested(50), &at).unwrap_err();
        assert_eq!(error.param(), Some("tools"));
        assert!(error.to_string().contains("50 levels"), "{error}");
    }

    #[test]
    fn levels_are_counted_through_whatever_holds_schemas() {
        for outer in [
            json!({"items": nested(40)}),
            json!({"items": [nested(40)]}),
            json!({"additionalProperties": nested(40)}),
            json!({"anyOf": [true, nested(40)]}),
            json!({"$defs": {"D": nested(40)}, "properties": {"d": {"$ref": "#/$defs/D"}}}),
        ] {
            assert!(schema(outer.clone(), &At::Root).is_err(), "{outer}");
        }
        // Values are data, however deep.
        assert!(schema(json!({"enum": [nested(40)], "default": nested(40)}), &At::Root).is_ok());
    }

    #[test]
    fn a_list_of_tools_may_be_so_long_and_no_longer() {
        let tools = |count: usize| Value::Array(vec![json!({}); count]);

        assert!(tool_list(tools(MAX_TOOLS), &At::Root).is_ok());
        assert_eq!(tool_list(tools(1000), &At::Root).unwrap_err().code(), Some("array_above_max_length"));
    }
}
