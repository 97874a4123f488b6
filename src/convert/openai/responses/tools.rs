//! Tools as the Responses API writes them: flat, and with hosted ones, of which Gemini has two.

use serde_json::{Map, Value, json};

use crate::convert::{
    ConvertError,
    gemini::hosted::Hosted,
    json::{At, Object, wrong_type},
    openai::tools::{ToolChoice, Tools, custom},
    schemas::tool_list,
};

const SEARCHES_EVERYWHERE: &str = "by Gemini: its search cannot be bound to domains.";
const HAS_NO_FILES: &str =
    "by Gemini: code runs without files of OpenAI's; send their content as 'input_file'.";
const KINDS: &str = "'function', 'custom', 'web_search', and 'code_interpreter'";

/// Reads `tools`, and how the answer shall repeat them.
pub(super) fn read(value: Value, at: At<'_>) -> Result<(Tools, Value), ConvertError> {
    let (mut tools, mut echo) = (Tools::default(), Vec::new());
    for (index, tool) in tool_list(value, &at)?.into_iter().enumerate() {
        echo.push(add(&mut tools, tool, at.index(index))?);
    }
    Ok((tools, Value::Array(echo)))
}

fn add(tools: &mut Tools, value: Value, at: At<'_>) -> Result<Value, ConvertError> {
    let told = value.clone();
    let kind = Object::read(value.clone(), at)?.require_string("type")?;
    match kind.as_str() {
        "function" => {
            tools.add_function(value, at)?;
            Ok(with_defaults(told, json!({"description": null, "parameters": null, "strict": true})))
        }
        "custom" => {
            tools.declare(custom(value, at)?);
            Ok(told)
        }
        _ if is_search(&kind) => {
            tools.hosted.search = true;
            refuse_lists(value, at, "filters", &["allowed_domains", "blocked_domains"], SEARCHES_EVERYWHERE)?;
            Ok(with_defaults(told, json!({"search_context_size": "medium", "user_location": null})))
        }
        "code_interpreter" => {
            tools.hosted.code_execution = true;
            refuse_lists(value, at, "container", &["file_ids"], HAS_NO_FILES)?;
            Ok(with_defaults(told, json!({"container": {"type": "auto"}})))
        }
        "file_search"
        | "computer"
        | "computer_use_preview"
        | "mcp"
        | "image_generation"
        | "local_shell"
        | "shell"
        | "apply_patch"
        | "tool_search"
        | "namespace" => {
            let reason =
                format!("with the value '{kind}': this tool runs at OpenAI, and Gemini has none like it.");
            Err(ConvertError::Unsupported { param: at.key("type").to_string(), reason })
        }
        _ => Err(ConvertError::UnknownValue {
            param: at.key("type").to_string(),
            value: kind,
            supported: KINDS,
        }),
    }
}

/// To pass over such a bound could show what must not be shown, or leave out what was to be seen.
fn refuse_lists(
    tool: Value,
    at: At<'_>,
    name: &'static str,
    lists: &[&'static str],
    reason: &str,
) -> Result<(), ConvertError> {
    let Some(Value::Object(fields)) = Object::read(tool, at)?.take(name) else { return Ok(()) };
    let asked = lists
        .iter()
        .find(|list| fields.get(**list).and_then(Value::as_array).is_some_and(|list| !list.is_empty()));
    match asked {
        None => Ok(()),
        Some(list) => {
            let param = at.key(name).key(list).to_string();
            Err(ConvertError::Unsupported { param, reason: reason.to_owned() })
        }
    }
}

fn is_search(kind: &str) -> bool {
    kind.starts_with("web_search") || kind == "google_search"
}

/// The tool with those fields that clients expect and the request left out.
fn with_defaults(tool: Value, defaults: Value) -> Value {
    match (tool, defaults) {
        (Value::Object(tool), Value::Object(mut all)) => {
            all.extend(tool);
            Value::Object(all)
        }
        (tool, _) => tool,
    }
}

/// Reads `tool_choice`. Hosted tools cannot be forced: a choice of one of them leaves it to the model.
pub(super) fn choice(value: Value, at: At<'_>, tools: &Tools) -> Result<ToolChoice, ConvertError> {
    let choice = match value {
        Value::String(word) => ToolChoice::from_word(word, &at)?,
        Value::Object(fields) => from_object(fields, at)?,
        other => return Err(wrong_type(&at, "a string or an object", &other)),
    };
    if choice == ToolChoice::Required && tools.functions.is_empty() && tools.hosted.is_any() {
        return Ok(ToolChoice::Auto);
    }
    choice.check(tools, &at)?;
    Ok(choice)
}

fn from_object(fields: Map<String, Value>, at: At<'_>) -> Result<ToolChoice, ConvertError> {
    let mut choice = Object::read(Value::Object(fields), at)?;
    let kind = choice.require_string("type")?;
    match kind.as_str() {
        "function" | "custom" => choice.require_string("name").map(ToolChoice::Named),
        "allowed_tools" => allowed(&mut choice),
        "code_interpreter" => Ok(ToolChoice::Auto),
        _ if is_search(&kind) => Ok(ToolChoice::Auto),
        _ => {
            let (param, supported) = (
                at.key("type").to_string(),
                "'function', 'custom', 'allowed_tools', 'web_search', and 'code_interpreter'",
            );
            Err(ConvertError::UnknownValue { param, value: kind, supported })
        }
    }
}

fn allowed(choice: &mut Object<'_>) -> Result<ToolChoice, ConvertError> {
    let at = choice.at();
    let at = at.key("tools");
    let required = ToolChoice::is_required(choice)?;
    let (mut names, mut hosted) = (Vec::new(), Hosted::default());
    for (index, tool) in tool_list(choice.require("tools")?, &at)?.into_iter().enumerate() {
        let mut tool = Object::read(tool, at.index(index))?;
        let kind = tool.require_string("type")?;
        match kind.as_str() {
            "function" | "custom" => names.push(tool.require_string("name")?),
            "code_interpreter" => hosted.code_execution = true,
            _ => hosted.search |= is_search(&kind),
        }
    }
    Ok(ToolChoice::Allowed { required, names, hosted })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(value: Value) -> Result<(Tools, Value), ConvertError> {
        read(value, At::Root.key("tools"))
    }

    #[test]
    fn hosted_tools_are_those_that_gemini_has() {
        let (tools, echo) = tools(json!([
            {"type": "function", "name": "f"},
            {"type": "web_search_2025_08_26", "search_context_size": "low"},
            {"type": "code_interpreter"},
            {"type": "custom", "name": "c"},
        ]))
        .unwrap();

        assert!(tools.hosted.search && tools.hosted.code_execution);
        assert_eq!(tools.functions.len(), 2);
        assert_eq!(
            echo[0],
            json!({"type": "function", "name": "f", "description": null, "parameters": null, "strict": true})
        );
        assert_eq!(echo[1]["search_context_size"], "low");
    }

    #[test]
    fn other_hosted_tools_are_refused_by_name() {
        for kind in ["file_search", "mcp", "computer_use_preview", "image_generation", "local_shell"] {
            let error = tools(json!([{"type": "web_search"}, {"type": kind}])).unwrap_err();

            assert_eq!(error.param(), Some("tools[1].type"));
            assert!(error.to_string().contains(kind), "{error}");
        }
        assert_eq!(tools(json!([{"type": "nonsense"}])).unwrap_err().code(), Some("invalid_value"));
    }

    #[test]
    fn parameters_that_are_no_schema_are_refused() {
        for parameters in [json!("x"), json!(5), json!([])] {
            let error =
                tools(json!([{"type": "function", "name": "f", "parameters": parameters}])).unwrap_err();

            assert_eq!(error.param(), Some("tools[0].parameters"));
        }
    }

    #[test]
    fn bounds_of_hosted_tools_that_gemini_cannot_keep_are_refused_by_name() {
        for (tool, param) in [
            (
                json!({"type": "web_search", "filters": {"allowed_domains": ["example.com"]}}),
                "tools[0].filters.allowed_domains",
            ),
            (
                json!({"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}}),
                "tools[0].container.file_ids",
            ),
        ] {
            assert_eq!(tools(json!([tool])).unwrap_err().param(), Some(param));
        }
        let asks_for_nothing = json!([{"type": "web_search", "filters": {"allowed_domains": []}},
            {"type": "code_interpreter", "container": "cntr_1"}, {"type": "web_search", "filters": null}]);
        assert!(tools(asks_for_nothing).is_ok());
    }

    #[test]
    fn a_choice_is_flat_and_never_forces_a_hosted_tool() {
        let (tools, _) = tools(json!([{"type": "function", "name": "f"}, {"type": "web_search"}])).unwrap();
        let read = |value| choice(value, At::Root.key("tool_choice"), &tools);
        let allowed = |tool: Value| json!({"type": "allowed_tools", "mode": "required", "tools": [tool]});

        assert_eq!(read(json!({"type": "function", "name": "f"})), Ok(ToolChoice::Named("f".into())));
        assert_eq!(read(json!({"type": "web_search_preview"})), Ok(ToolChoice::Auto));
        let search = Hosted { search: true, ..Hosted::default() };
        assert_eq!(
            read(allowed(json!({"type": "web_search"}))),
            Ok(ToolChoice::Allowed { required: true, names: vec![], hosted: search })
        );
        assert_eq!(
            read(allowed(json!({"type": "function", "name": "f"}))),
            Ok(ToolChoice::Allowed { required: true, names: vec!["f".into()], hosted: Hosted::default() })
        );
        let bogus = json!({"type": "allowed_tools", "mode": "bogus", "tools": []});
        assert_eq!(read(bogus).unwrap_err().param(), Some("tool_choice.mode"));
        assert_eq!(read(json!({"type": "function", "name": "g"})).unwrap_err().param(), Some("tool_choice"));
    }
}
