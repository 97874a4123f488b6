//! Tools and the choice among them.

use serde_json::{Value, json};

use super::{
    chat::ChatRequest,
    json::{At, Object, string, wrong_type},
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
    /// Each name once.
    pub functions: Vec<Function>,
    /// Google Search is also asked for by the function name that the Python gateway knew.
    pub hosted: Hosted,
}

#[derive(Debug)]
pub struct Function {
    pub name: String,
    pub description: Option<String>,
    /// JSON Schema, as the client wrote it.
    pub parameters: Option<Value>,
    /// A custom tool: one free text instead of arguments.
    pub free_text: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    #[default]
    Auto,
    None,
    Required,
    /// One function, by the client's name.
    Named(String),
    /// Some of the tools; if `required`, one of the functions among them must be called.
    Allowed {
        required: bool,
        names: Vec<String>,
        hosted: Hosted,
    },
}

impl Tools {
    pub(super) fn read(value: Value, at: At<'_>) -> Result<Self, ConvertError> {
        let list = tool_list(value, &at)?;
        let mut tools = Self::default();
        for (index, tool) in list.into_iter().enumerate() {
            tools.add(tool, at.index(index))?;
        }
        Ok(tools)
    }

    fn add(&mut self, value: Value, at: At<'_>) -> Result<(), ConvertError> {
        let mut tool = Object::read(value, at)?;
        let kind = tool.require_string("type")?;
        match kind.as_str() {
            "function" => {
                self.add_function(tool.require("function")?, at.key("function"))?;
            }
            "custom" => self.declare(custom(tool.require("custom")?, at.key("custom"))?),
            _ if is_search(&kind) => self.hosted.search = true,
            _ => {
                let param = at.key("type").to_string();
                return Err(ConvertError::UnknownValue {
                    param,
                    value: kind,
                    supported: "'function' and 'custom'",
                });
            }
        }
        Ok(())
    }

    /// `functions`, from before there were other tools.
    pub(super) fn read_functions(value: Value, at: At<'_>) -> Result<Self, ConvertError> {
        let mut tools = Self::default();
        for (index, function) in tool_list(value, &at)?.into_iter().enumerate() {
            tools.add_function(function, at.index(index))?;
        }
        Ok(tools)
    }

    pub(super) fn add_function(&mut self, value: Value, at: At<'_>) -> Result<(), ConvertError> {
        let mut function = Object::read(value, at)?;
        let name = function.require_string("name")?;
        if name == "googleSearch" {
            self.hosted.search = true;
            return Ok(());
        }
        let description = function.string("description")?;
        let parameters = function.object("parameters")?;
        let read = |schema| schemas::schema(Value::Object(schema), &at.key("parameters"));
        let parameters = parameters.map(read).transpose()?;
        self.declare(Function { name, description, parameters, free_text: false });
        Ok(())
    }

    /// Of two functions with one name the first counts; Gemini refuses them.
    pub(super) fn declare(&mut self, function: Function) {
        if !self.has(&function.name) {
            self.functions.push(function);
        }
    }

    pub fn names(&self) -> ToolNames {
        let mut names = ToolNames::new(self.functions.iter().map(|function| function.name.as_str()));
        for function in self.functions.iter().filter(|function| function.free_text) {
            names.mark_free_text(&function.name);
        }
        names
    }

    fn has(&self, name: &str) -> bool {
        self.functions.iter().any(|function| function.name == name)
    }
}

fn is_search(kind: &str) -> bool {
    matches!(kind, "google_search" | "googleSearch" | "web_search" | "web_search_preview")
}

pub(super) fn custom(value: Value, at: At<'_>) -> Result<Function, ConvertError> {
    let mut custom = Object::read(value, at)?;
    let format = custom.take("format");
    if format.is_some_and(|format| format.get("type").is_some_and(|kind| kind != "text")) {
        let reason = "by Gemini's models: the text of a custom tool cannot be bound to a grammar.".to_owned();
        return Err(ConvertError::Unsupported { param: at.key("format").to_string(), reason });
    }
    let input = json!({"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]});
    let name = custom.require_string("name")?;
    Ok(Function {
        name,
        description: custom.string("description")?,
        parameters: Some(input),
        free_text: true,
    })
}

impl ToolChoice {
    pub(super) fn read(value: Value, at: At<'_>, tools: &Tools) -> Result<Self, ConvertError> {
        let choice = match value {
            Value::String(word) => Self::from_word(word, &at)?,
            Value::Object(_) => Self::from_object(value, at)?,
            other => return Err(wrong_type(&at, "a string or an object", &other)),
        };
        choice.check(tools, &at)?;
        Ok(choice)
    }

    /// `function_call`, from before there were other tools.
    pub(super) fn read_function_call(value: Value, at: At<'_>, tools: &Tools) -> Result<Self, ConvertError> {
        let choice = match value {
            Value::String(word) if word != "required" => Self::from_word(word, &at)?,
            Value::Object(_) => Self::Named(Object::read(value, at)?.require_string("name")?),
            other => return Err(wrong_type(&at, "'none', 'auto' or an object", &other)),
        };
        choice.check(tools, &at)?;
        Ok(choice)
    }

    pub(super) fn from_word(word: String, at: &At<'_>) -> Result<Self, ConvertError> {
        match word.as_str() {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            "required" | "any" => Ok(Self::Required),
            _ => {
                let supported = "'none', 'auto', and 'required'";
                Err(ConvertError::UnknownValue { param: at.to_string(), value: word, supported })
            }
        }
    }

    fn from_object(value: Value, at: At<'_>) -> Result<Self, ConvertError> {
        let mut choice = Object::read(value, at)?;
        let kind = choice.require_string("type")?;
        match kind.as_str() {
            "function" => Object::read(choice.require("function")?, at.key("function"))?
                .require_string("name")
                .map(Self::Named),
            "custom" => Object::read(choice.require("custom")?, at.key("custom"))?
                .require_string("name")
                .map(Self::Named),
            "allowed_tools" => allowed(choice.require("allowed_tools")?, at.key("allowed_tools")),
            _ => {
                let (param, supported) =
                    (at.key("type").to_string(), "'function', 'custom', and 'allowed_tools'");
                Err(ConvertError::UnknownValue { param, value: kind, supported })
            }
        }
    }

    /// Whether `mode` of allowed tools asks for a call.
    pub(super) fn is_required(allowed: &mut Object<'_>) -> Result<bool, ConvertError> {
        let at = allowed.at();
        match allowed.string("mode")?.as_deref() {
            None | Some("auto") => Ok(false),
            Some("required") => Ok(true),
            Some(other) => Err(ConvertError::UnknownValue {
                param: at.key("mode").to_string(),
                value: other.to_owned(),
                supported: "'auto' and 'required'",
            }),
        }
    }

    pub(super) fn check(&self, tools: &Tools, at: &At<'_>) -> Result<(), ConvertError> {
        let reason = match self {
            Self::Auto | Self::None => return Ok(()),
            Self::Required if !tools.functions.is_empty() => return Ok(()),
            Self::Required => "'tool_choice' is only allowed when 'tools' are specified.".to_owned(),
            Self::Named(name) if tools.has(name) => return Ok(()),
            Self::Named(name) => format!("the tool '{name}' is not found in 'tools'."),
            Self::Allowed { names, .. } => match names.iter().find(|name| !tools.has(name)) {
                None => return Ok(()),
                Some(name) => format!("the tool '{name}' is not found in 'tools'."),
            },
        };
        Err(ConvertError::InvalidValue { param: at.to_string(), reason })
    }
}

fn allowed(value: Value, at: At<'_>) -> Result<ToolChoice, ConvertError> {
    let mut choice = Object::read(value, at)?;
    let required = ToolChoice::is_required(&mut choice)?;
    let at_tools = at.key("tools");
    let (mut names, mut hosted) = (Vec::new(), Hosted::default());
    for (index, tool) in tool_list(choice.require("tools")?, &at_tools)?.into_iter().enumerate() {
        let at = at_tools.index(index);
        let mut tool = Object::read(tool, at)?;
        if tool.string_or_none("type").is_some_and(|kind| is_search(&kind)) {
            hosted.search = true;
            continue;
        }
        let inner = tool.take("custom").map_or_else(|| tool.require("function"), Ok)?;
        names.push(string(Object::read(inner, at.key("function"))?.require("name")?, &at)?);
    }
    if names.is_empty() && !hosted.is_any() {
        return Err(ConvertError::EmptyArray { param: at_tools.to_string() });
    }
    Ok(ToolChoice::Allowed { required, names, hosted })
}

/// `tools` and `toolConfig`; fails where the model cannot combine a search with functions.
pub(super) fn to_gemini<'a>(
    request: &'a ChatRequest,
    traits: &ModelTraits,
) -> Result<(Vec<Tool<'a>>, Option<ToolConfig<'a>>), ConvertError> {
    let declarations = declarations(request);
    let hosted = hosted(request);
    if hosted.is_any() && !declarations.is_empty() && !traits.functions_with_search {
        let param = if request.web_search { "web_search_options" } else { "tools" };
        let what = if hosted.search { "a web search" } else { "running code" };
        let reason = format!("with this model: it cannot combine {what} with functions.");
        return Err(ConvertError::Unsupported { param: param.to_owned(), reason });
    }
    let config = if declarations.is_empty() { None } else { tool_config(request) };
    Ok((hosted.beside(declarations), config))
}

/// None where no tool is to be called: unlike functions, Google's tools know no mode that would keep them from it.
fn hosted(request: &ChatRequest) -> Hosted {
    let ChatRequest { tools, tool_choice, web_search, .. } = request;
    let offered = match tool_choice {
        ToolChoice::None => return Hosted::default(),
        ToolChoice::Allowed { hosted, .. } => tools.hosted.only(*hosted),
        ToolChoice::Auto | ToolChoice::Required | ToolChoice::Named(_) => tools.hosted,
    };
    Hosted { search: offered.search || *web_search, ..offered }
}

fn declarations(request: &ChatRequest) -> Vec<FunctionDeclaration<'_>> {
    let offered = |function: &&Function| match &request.tool_choice {
        ToolChoice::Allowed { names, .. } => names.contains(&function.name),
        ToolChoice::Auto | ToolChoice::None | ToolChoice::Required | ToolChoice::Named(_) => true,
    };
    let mut declarations = Vec::new();
    for function in request.tools.functions.iter().filter(offered) {
        declarations.push(FunctionDeclaration {
            name: request.names.to_gemini(&function.name),
            description: function.description.as_deref(),
            parameters_json_schema: function.parameters.as_ref().and_then(schema::parameters),
        });
    }
    declarations
}

fn tool_config(request: &ChatRequest) -> Option<ToolConfig<'_>> {
    let (mode, only): (_, &[String]) = match &request.tool_choice {
        ToolChoice::Auto | ToolChoice::Allowed { required: false, .. } => return None,
        ToolChoice::None => (CallingMode::None, &[]),
        ToolChoice::Required => (CallingMode::Any, &[]),
        ToolChoice::Named(name) => (CallingMode::Any, std::slice::from_ref(name)),
        ToolChoice::Allowed { required: true, names, .. } => (CallingMode::Any, names),
    };
    Some(calling(mode, only.iter().map(|name| request.names.to_gemini(name))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::openai::chat_request;

    fn convert(fields: Value, model: &str) -> Result<Value, ConvertError> {
        let mut body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let request = chat_request(body.to_string().as_bytes())?;
        let (tools, config) = to_gemini(&request, &ModelTraits::of(model))?;
        Ok(json!({"tools": tools, "config": config}))
    }

    fn function(name: &str) -> Value {
        json!({"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}})
    }

    #[test]
    fn every_choice_has_its_mode() {
        let config = |choice: Value| {
            let fields = json!({"tools": [function("f"), function("g h")], "tool_choice": choice});
            convert(fields, "gemini-2.5-flash").unwrap()["config"]["functionCallingConfig"].clone()
        };
        let allowed = |mode| {
            let tools = json!([{"type": "function", "function": {"name": "f"}}]);
            json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}})
        };

        assert_eq!(config(json!("auto")), Value::Null);
        assert_eq!(config(json!("none")), json!({"mode": "NONE"}));
        assert_eq!(config(json!("required")), json!({"mode": "ANY"}));
        assert_eq!(
            config(json!({"type": "function", "function": {"name": "g h"}})),
            json!({"mode": "ANY", "allowedFunctionNames": ["g_h"]})
        );
        assert_eq!(config(allowed("required")), json!({"mode": "ANY", "allowedFunctionNames": ["f"]}));
        assert_eq!(config(allowed("auto")), Value::Null);
    }

    #[test]
    fn a_choice_of_a_tool_that_is_not_there_is_refused() {
        let choice = json!({"type": "function", "function": {"name": "x"}});

        let error = convert(json!({"tools": [function("f")], "tool_choice": choice}), "gemini-2.5-flash")
            .unwrap_err();

        assert_eq!(error.param(), Some("tool_choice"));
        assert!(convert(json!({"tool_choice": "required"}), "gemini-2.5-flash").is_err());
        assert!(convert(json!({"tool_choice": "auto"}), "gemini-2.5-flash").is_ok());
    }

    #[test]
    fn parameters_that_are_no_schema_are_refused() {
        for parameters in [json!("x"), json!(5), json!([])] {
            let tool = json!({"type": "function", "function": {"name": "f", "parameters": parameters}});

            let error = convert(json!({"tools": [tool]}), "gemini-2.5-flash").unwrap_err();

            assert_eq!(error.param(), Some("tools[0].function.parameters"));
        }
        let none = json!({"type": "function", "function": {"name": "f", "parameters": null}});
        assert!(convert(json!({"tools": [none]}), "gemini-2.5-flash").is_ok());
    }

    #[test]
    fn an_unknown_mode_of_allowed_tools_is_refused() {
        let tools = json!([{"type": "function", "function": {"name": "f"}}]);
        let choice = json!({"type": "allowed_tools", "allowed_tools": {"mode": "bogus", "tools": tools}});

        let error = convert(json!({"tools": [function("f")], "tool_choice": choice}), "gemini-2.5-flash")
            .unwrap_err();

        assert_eq!(error.param(), Some("tool_choice.allowed_tools.mode"));
    }

    #[test]
    fn of_two_functions_with_one_name_the_first_counts() {
        let mut second = function("f");
        second["function"]["description"] = "other".into();

        let tools =
            convert(json!({"tools": [function("f"), second]}), "gemini-2.5-flash").unwrap()["tools"].clone();

        assert_eq!(tools, json!([{"functionDeclarations": [{"name": "f"}]}]));
    }

    #[test]
    fn a_search_beside_functions_needs_gemini_3() {
        let fields = json!({"tools": [function("f")], "web_search_options": {}});

        let tools = convert(fields.clone(), "gemini-3.8-flash").unwrap()["tools"].clone();
        let error = convert(fields, "gemini-2.5-flash").unwrap_err();

        assert_eq!(tools, json!([{"functionDeclarations": [{"name": "f"}]}, {"googleSearch": {}}]));
        assert_eq!(
            (error.param(), error.code()),
            (Some("web_search_options"), Some("unsupported_parameter"))
        );
    }

    #[test]
    fn a_search_that_the_choice_leaves_out_is_not_offered() {
        let tools = |choice: Value| {
            let fields = json!({"tools": [function("f"), {"type": "web_search"}], "tool_choice": choice});
            convert(fields, "gemini-3.8-flash").unwrap()["tools"].clone()
        };
        let allowed = |tool: Value| {
            tools(json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [tool]}}))
        };
        let functions = json!([{"functionDeclarations": [{"name": "f"}]}]);

        assert_eq!(tools(json!("none")), functions);
        assert_eq!(allowed(function("f")), functions);
        assert_eq!(allowed(json!({"type": "web_search"})), json!([{"googleSearch": {}}]));
        let asked_for_beside =
            json!({"web_search_options": {}, "tools": [function("f")], "tool_choice": "none"});
        assert_eq!(convert(asked_for_beside, "gemini-2.5-flash").unwrap()["tools"], functions);
    }

    #[test]
    fn a_custom_tool_is_a_function_with_one_text() {
        let fields = json!({"tools": [{"type": "custom", "custom": {"name": "sh", "description": "runs"}}]});

        let tools = convert(fields, "gemini-2.5-flash").unwrap()["tools"].clone();

        let declared = &tools[0]["functionDeclarations"][0];
        assert_eq!(declared["parametersJsonSchema"]["properties"], json!({"input": {"type": "string"}}));
    }
}
