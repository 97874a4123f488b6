//! Tools and the choice among them.

use serde_json::Value;

use super::{
    catalogue::{self, Place},
    json::{At, Object, array, wrong_type},
    messages::MessagesRequest,
};
use crate::convert::{
    ConvertError,
    gemini::{
        hosted::{Hosted, calling},
        request::{CallingMode, FunctionDeclaration, Tool, ToolConfig},
        schema,
        tool_names::ToolNames,
    },
    schemas::{self, tool_list},
    traits::ModelTraits,
};

#[derive(Debug, Default)]
pub struct Tools {
    pub functions: Vec<Function>,
    pub hosted: Hosted,
    /// Names of the tools that run at Google.
    hosted_names: Vec<String>,
}

#[derive(Debug)]
pub struct Function {
    pub name: String,
    pub description: Option<String>,
    /// JSON Schema.
    pub input_schema: Value,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    #[default]
    Auto,
    None,
    Any,
    /// One function, by the client's name.
    Named(String),
}

impl Tools {
    pub(super) fn read(value: Value, at: At<'_>) -> Result<Self, ConvertError> {
        let mut tools = Self::default();
        for (index, tool) in tool_list(value, &at)?.into_iter().enumerate() {
            tools.add(tool, at.index(index))?;
        }
        Ok(tools)
    }

    fn add(&mut self, value: Value, at: At<'_>) -> Result<(), ConvertError> {
        let mut tool = Object::read(value, at)?;
        let kind = tool.string("type")?.unwrap_or_else(|| "custom".to_owned());
        let name = tool.require_string("name")?;
        if name.is_empty() || self.has(&name) {
            let reason = if name.is_empty() {
                "String should have at least 1 character"
            } else {
                "Tool names must be unique"
            };
            return Err(ConvertError::InvalidValue {
                param: at.key("name").to_string(),
                reason: reason.to_owned(),
            });
        }
        if kind == "custom" {
            let (description, input_schema) = (tool.string("description")?, input_schema(&mut tool)?);
            self.functions.push(Function { name, description, input_schema });
            return Ok(());
        }
        match catalogue::find(&kind) {
            Some(Place::Client(description, input_schema)) => {
                let description = Some(description.to_owned());
                self.functions.push(Function { name, description, input_schema });
                return Ok(());
            }
            Some(Place::Search) => self.hosted.search = true,
            Some(Place::UrlContext) => self.hosted.url_context = true,
            Some(Place::CodeExecution) => self.hosted.code_execution = true,
            None => {
                let supported = "'custom', or a version of 'web_search', 'web_fetch', 'code_execution', 'bash', \
                                 'text_editor', 'memory' or 'computer'";
                return Err(ConvertError::UnknownValue {
                    param: at.key("type").to_string(),
                    value: kind,
                    supported,
                });
            }
        }
        refuse_domains(&mut tool)?;
        self.hosted_names.push(name);
        Ok(())
    }

    pub fn names(&self) -> ToolNames {
        ToolNames::new(self.functions.iter().map(|function| function.name.as_str()))
    }

    fn has(&self, name: &str) -> bool {
        self.functions.iter().any(|function| function.name == name)
            || self.hosted_names.iter().any(|known| known == name)
    }
}

fn input_schema(tool: &mut Object<'_>) -> Result<Value, ConvertError> {
    let at = tool.at();
    let at = at.key("input_schema");
    let schema = tool.require("input_schema")?;
    if !schema.is_object() {
        return Err(wrong_type(&at, "an object", &schema));
    }
    match schema.get("type") {
        Some(kind) if kind != "object" => Err(ConvertError::UnknownValue {
            param: at.key("type").to_string(),
            value: kind.as_str().unwrap_or_default().to_owned(),
            supported: "'object'",
        }),
        Some(_) | None => schemas::schema(schema, &at),
    }
}

/// Google searches and reads the whole web; to pass over a bound on it could show what must not be shown.
fn refuse_domains(tool: &mut Object<'_>) -> Result<(), ConvertError> {
    let at = tool.at();
    for name in ["allowed_domains", "blocked_domains"] {
        let domains = tool.take(name).map_or(Ok(Vec::new()), |list| array(list, &at.key(name)))?;
        if !domains.is_empty() {
            let reason = "by Gemini: its search cannot be bound to domains".to_owned();
            return Err(ConvertError::Unsupported { param: at.key(name).to_string(), reason });
        }
    }
    Ok(())
}

impl ToolChoice {
    /// The choice, and whether several calls at once are wanted.
    pub(super) fn read(value: Value, at: At<'_>, tools: &Tools) -> Result<(Self, bool), ConvertError> {
        let mut choice = Object::read(value, at)?;
        let kind = choice.require_string("type")?;
        let is_parallel = !choice.boolean("disable_parallel_tool_use")?.unwrap_or(false);
        let chosen = match kind.as_str() {
            "auto" => Self::Auto,
            "none" => Self::None,
            "any" => Self::Any,
            "tool" => Self::Named(choice.require_string("name")?),
            _ => {
                let supported = "'auto', 'any', 'tool' or 'none'";
                return Err(ConvertError::UnknownValue {
                    param: at.key("type").to_string(),
                    value: kind,
                    supported,
                });
            }
        };
        chosen.check(tools, &at)?;
        Ok((chosen, is_parallel))
    }

    fn check(&self, tools: &Tools, at: &At<'_>) -> Result<(), ConvertError> {
        let reason = match self {
            Self::Auto | Self::None => return Ok(()),
            Self::Any if tools.functions.is_empty() && !tools.hosted.is_any() => {
                "'any' may only be specified while providing tools".to_owned()
            }
            Self::Named(name) if !tools.has(name) => format!("Tool '{name}' not found in provided tools"),
            Self::Any | Self::Named(_) => return Ok(()),
        };
        Err(ConvertError::InvalidValue { param: at.to_string(), reason })
    }
}

/// `tools` and `toolConfig`; fails where the model cannot combine tools of Google's with functions.
pub(super) fn to_gemini<'a>(
    request: &'a MessagesRequest,
    traits: &ModelTraits,
) -> Result<(Vec<Tool<'a>>, Option<ToolConfig<'a>>), ConvertError> {
    let functions = &request.tools.functions;
    // Unlike functions, tools of Google's know no mode that would keep them from being called.
    let hosted = match request.tool_choice {
        ToolChoice::None => Hosted::default(),
        ToolChoice::Auto | ToolChoice::Any | ToolChoice::Named(_) => request.tools.hosted,
    };
    if hosted.is_any() && !functions.is_empty() && !traits.functions_with_search {
        let reason =
            "with this model: it cannot combine web search, web fetch or code execution with functions";
        return Err(ConvertError::Unsupported { param: "tools".to_owned(), reason: reason.to_owned() });
    }
    let declarations = functions.iter().map(|function| declaration(request, function)).collect();
    let config = if functions.is_empty() { None } else { tool_config(request) };
    Ok((hosted.beside(declarations), config))
}

fn declaration<'a>(request: &'a MessagesRequest, function: &'a Function) -> FunctionDeclaration<'a> {
    FunctionDeclaration {
        name: request.names.to_gemini(&function.name),
        description: function.description.as_deref(),
        parameters_json_schema: schema::parameters(&function.input_schema),
    }
}

/// A tool of Google's cannot be forced; the model decides then.
fn tool_config(request: &MessagesRequest) -> Option<ToolConfig<'_>> {
    let (mode, only) = match &request.tool_choice {
        ToolChoice::Auto => return None,
        ToolChoice::None => (CallingMode::None, None),
        ToolChoice::Any => (CallingMode::Any, None),
        ToolChoice::Named(name) if request.tools.hosted_names.contains(name) => return None,
        ToolChoice::Named(name) => (CallingMode::Any, Some(request.names.to_gemini(name))),
    };
    Some(calling(mode, only))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::convert::anthropic::{messages_request, words};

    fn convert(fields: Value, model: &str) -> Result<Value, String> {
        let mut body =
            json!({"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let converted = messages_request(body.to_string().as_bytes()).and_then(|request| {
            let (tools, config) = to_gemini(&request, &ModelTraits::of(model))?;
            Ok(json!({"tools": tools, "config": config}))
        });
        converted.map_err(|error| words::message(&error))
    }

    fn tool(name: &str) -> Value {
        json!({"name": name, "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}})
    }

    #[test]
    fn every_choice_has_its_mode() {
        let config = |choice: Value| {
            let fields = json!({"tools": [tool("f"), tool("g h"), {"type": "web_search_20250305", "name": "web_search"}], "tool_choice": choice});
            convert(fields, "gemini-3.6-flash").unwrap()["config"]["functionCallingConfig"].clone()
        };

        assert_eq!(config(json!({"type": "auto"})), Value::Null);
        assert_eq!(config(json!({"type": "none"})), json!({"mode": "NONE"}));
        assert_eq!(config(json!({"type": "any"})), json!({"mode": "ANY"}));
        let named = json!({"mode": "ANY", "allowedFunctionNames": ["g_h"]});
        assert_eq!(config(json!({"type": "tool", "name": "g h"})), named);
        assert_eq!(config(json!({"type": "tool", "name": "web_search"})), Value::Null);
    }

    #[test]
    fn a_choice_of_none_offers_no_tool_of_googles() {
        let search = json!({"type": "web_search_20250305", "name": "web_search"});
        let tools = |tools: Value| {
            let fields = json!({"tools": tools, "tool_choice": {"type": "none"}});
            convert(fields, "gemini-2.5-flash").unwrap()["tools"].clone()
        };

        assert_eq!(tools(json!([search])), json!([]));
        assert_eq!(tools(json!([tool("f"), search])).as_array().unwrap().len(), 1);
    }

    #[test]
    fn malformed_tools_and_choices_are_named() {
        for (fields, message) in [
            (json!({"tools": [{"name": "f"}]}), "tools.0.input_schema: Field required"),
            (json!({"tools": [{"input_schema": {}}]}), "tools.0.name: Field required"),
            (json!({"tools": [tool("f"), tool("f")]}), "tools.1.name: Tool names must be unique"),
            (
                json!({"tools": [{"name": "f", "input_schema": {"type": "string"}}]}),
                "tools.0.input_schema.type: Input should be 'object', but is 'string'",
            ),
            (
                json!({"tools": [tool("f")], "tool_choice": {"type": "tool", "name": "x"}}),
                "tool_choice: Tool 'x' not found in provided tools",
            ),
            (
                json!({"tool_choice": {"type": "any"}}),
                "tool_choice: 'any' may only be specified while providing tools",
            ),
            (json!({"tool_choice": "auto"}), "tool_choice: Input should be a valid dictionary"),
            (
                json!({"tools": [{"type": "web_search_20250305", "name": "s", "allowed_domains": ["a.com"]}]}),
                "tools.0.allowed_domains: Not supported by Gemini: its search cannot be bound to domains",
            ),
        ] {
            assert_eq!(convert(fields, "gemini-2.5-flash").unwrap_err(), message);
        }
        let unknown = json!({"tools": [{"type": "mcp_toolset", "name": "x"}]});
        assert!(
            convert(unknown, "gemini-2.5-flash")
                .unwrap_err()
                .starts_with("tools.0.type: Input should be 'custom'")
        );
    }

    #[test]
    fn tools_of_anthropic_become_googles_or_functions() {
        let hosted = json!({"tools": [
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
            {"type": "web_fetch_20250910", "name": "web_fetch"},
            {"type": "code_execution_20250825", "name": "code_execution"},
        ]});
        assert_eq!(
            convert(hosted, "gemini-2.5-flash").unwrap()["tools"],
            json!([{"googleSearch": {}}, {"urlContext": {}}, {"codeExecution": {}}])
        );

        let editor =
            json!({"tools": [{"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}]});
        let declared =
            convert(editor, "gemini-2.5-flash").unwrap()["tools"][0]["functionDeclarations"][0].clone();
        assert_eq!(declared["name"], "str_replace_based_edit_tool");
        assert_eq!(declared["parametersJsonSchema"]["required"], json!(["command", "path"]));

        let both = json!({"tools": [tool("f"), {"type": "web_search_20250305", "name": "web_search"}]});
        assert!(convert(both.clone(), "gemini-3.6-flash").is_ok());
        assert!(
            convert(both, "gemini-2.5-flash")
                .unwrap_err()
                .starts_with("tools: Not supported with this model")
        );
    }
}
