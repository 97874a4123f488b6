//! Chat requests, read and turned into Gemini's.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::sim::{
    errors::GoogleError,
    request::{
        Content, FunctionCall, FunctionCallingConfig, FunctionDeclaration, FunctionResponse, GenerateRequest,
        GenerationConfig, Media, Part, Tool,
    },
};

/// Body of `chat/completions`. Clients send many fields as `null`, and fields that we do not know.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ChatRequest {
    pub model: String,
    pub messages: Vec<Message>,
    pub stream: Option<bool>,
    pub stream_options: Option<StreamOptions>,
    pub max_tokens: Option<u64>,
    pub max_completion_tokens: Option<u64>,
    pub n: Option<u32>,
    /// A string or a list.
    pub stop: Value,
    pub tools: Option<Vec<ChatTool>>,
    pub tool_choice: Value,
    pub response_format: Value,
    pub reasoning_effort: Option<String>,
    /// Google's own options, as its samples send them.
    pub extra_body: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct StreamOptions {
    pub include_usage: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Message {
    pub role: String,
    /// A string, a list of parts, or null.
    pub content: Value,
    pub tool_calls: Option<Vec<ToolCall>>,
    pub tool_call_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ToolCall {
    pub id: String,
    pub function: CalledFunction,
    pub extra_content: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct CalledFunction {
    pub name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ChatTool {
    pub function: ChatFunction,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ChatFunction {
    pub name: String,
    pub parameters: Option<Value>,
}

impl ChatRequest {
    pub fn includes_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false)
    }

    /// The same request in Gemini's words; `Err` when a message has a role that does not exist.
    pub fn to_gemini(&self) -> Result<GenerateRequest, GoogleError> {
        let mut request = GenerateRequest { generation_config: self.config(), ..GenerateRequest::default() };
        for message in &self.messages {
            self.add_message(&mut request, message)?;
        }
        if let Some(tools) = &self.tools {
            let declare = |tool: &ChatTool| FunctionDeclaration {
                name: tool.function.name.clone(),
                parameters: None,
                parameters_json_schema: tool.function.parameters.clone(),
            };
            request.tools =
                vec![Tool { function_declarations: tools.iter().map(declare).collect(), ..Tool::default() }];
        }
        request.tool_config.function_calling_config = self.calling_config();
        Ok(request)
    }

    fn add_message(&self, request: &mut GenerateRequest, message: &Message) -> Result<(), GoogleError> {
        let mut parts = parts(&message.content);
        match message.role.as_str() {
            "system" | "developer" => {
                request.system_instruction.get_or_insert_default().parts.append(&mut parts);
            }
            "user" => request.contents.push(Content { role: Some("user".into()), parts }),
            "assistant" => {
                parts.extend(message.tool_calls.iter().flatten().map(call_part));
                request.contents.push(Content { role: Some("model".into()), parts });
            }
            "tool" => {
                let result = self.result_part(message);
                match request.contents.last_mut() {
                    Some(last) if last.has_function_response() => last.parts.push(result),
                    _ => request.contents.push(Content { role: Some("user".into()), parts: vec![result] }),
                }
            }
            role => {
                let message = format!("Invalid role: {role}. Please use a valid role.");
                return Err(GoogleError::invalid_argument(message));
            }
        }
        Ok(())
    }

    /// A tool's result; its function is found by the id of the call.
    fn result_part(&self, message: &Message) -> Part {
        let calls = self.messages.iter().flat_map(|message| message.tool_calls.iter().flatten());
        let id = message.tool_call_id.as_deref().unwrap_or_default();
        let name = calls.into_iter().find(|call| call.id == id).map(|call| call.function.name.clone());
        let text: String = parts(&message.content).into_iter().filter_map(|part| part.text).collect();
        let response = serde_json::from_str(&text).unwrap_or_else(|_| json!({"result": text}));
        let result = FunctionResponse { name: name.unwrap_or_default(), response };
        Part { function_response: Some(result), ..Part::default() }
    }

    fn config(&self) -> GenerationConfig {
        let mut config = GenerationConfig {
            max_output_tokens: self.max_completion_tokens.or(self.max_tokens),
            candidate_count: self.n,
            stop_sequences: strings(&self.stop),
            ..GenerationConfig::default()
        };
        match self.response_format["type"].as_str() {
            Some("json_object") => config.response_mime_type = Some("application/json".into()),
            Some("json_schema") => {
                config.response_mime_type = Some("application/json".into());
                config.response_json_schema = Some(self.response_format["json_schema"]["schema"].clone());
            }
            _ => {}
        }
        let thinking = &self.extra_body["google"]["thinking_config"];
        config.thinking_config.include_thoughts = thinking["include_thoughts"].as_bool().unwrap_or(false);
        if self.reasoning_effort.as_deref() == Some("none") {
            config.thinking_config.thinking_budget = Some(0);
        }
        config
    }

    fn calling_config(&self) -> FunctionCallingConfig {
        let named = self.tool_choice["function"]["name"].as_str().map(str::to_owned);
        let mode = match self.tool_choice.as_str() {
            Some("none") => "NONE",
            Some("required") => "ANY",
            _ if named.is_some() => "ANY",
            _ => "AUTO",
        };
        let allowed_function_names = named.into_iter().collect();
        FunctionCallingConfig { mode: Some(mode.into()), allowed_function_names }
    }
}

fn call_part(call: &ToolCall) -> Part {
    let signature = call.extra_content["google"]["thought_signature"].as_str().map(str::to_owned);
    let function_call = Some(FunctionCall { name: call.function.name.clone() });
    Part { function_call, thought_signature: signature, ..Part::default() }
}

/// The parts of a content, which is a string or a list.
fn parts(content: &Value) -> Vec<Part> {
    match content {
        Value::String(text) => vec![Part { text: Some(text.clone()), ..Part::default() }],
        Value::Array(items) => items.iter().map(part).collect(),
        _ => Vec::new(),
    }
}

fn part(item: &Value) -> Part {
    if let Some(text) = item["text"].as_str() {
        return Part { text: Some(text.to_owned()), ..Part::default() };
    }
    let url = item["image_url"]["url"].as_str().unwrap_or_default();
    let mime_type =
        url.strip_prefix("data:").and_then(|rest| rest.split([';', ',']).next()).unwrap_or("image/png");
    Part {
        inline_data: Some(Media { mime_type: mime_type.to_owned(), ..Media::default() }),
        ..Part::default()
    }
}

/// One string or a list of them.
pub fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gemini(body: Value) -> GenerateRequest {
        serde_json::from_value::<ChatRequest>(body).unwrap().to_gemini().unwrap()
    }

    #[test]
    fn results_of_parallel_calls_share_one_turn_and_find_their_functions() {
        let call = |id: &str, name: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}});
        let request = gemini(json!({"model": "m", "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": null, "tool_calls": [call("1", "f"), call("2", "g")]},
            {"role": "tool", "tool_call_id": "1", "content": "{\"a\": 1}"},
            {"role": "tool", "tool_call_id": "2", "content": "plain"},
        ]}));

        let results: Vec<_> =
            request.contents[2].parts.iter().filter_map(|part| part.function_response.as_ref()).collect();
        assert_eq!(request.contents.len(), 3);
        assert_eq!((results[0].name.as_str(), &results[0].response), ("f", &json!({"a": 1})));
        assert_eq!((results[1].name.as_str(), &results[1].response), ("g", &json!({"result": "plain"})));
    }

    #[test]
    fn a_named_tool_choice_allows_that_function_only() {
        let request = gemini(json!({"tool_choice": {"type": "function", "function": {"name": "f"}}}));

        let config = request.tool_config.function_calling_config;
        assert_eq!(
            (config.mode.as_deref(), config.allowed_function_names),
            (Some("ANY"), vec!["f".to_owned()])
        );
    }

    #[test]
    fn nulls_are_as_good_as_absent_fields() {
        let request =
            gemini(json!({"stop": null, "n": null, "tools": null, "stream_options": null, "messages": []}));

        assert!(request.tools.is_empty());
        assert!(request.generation_config.stop_sequences.is_empty());
    }
}
