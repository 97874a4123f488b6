//! A request to the Responses API, read and checked.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Map, Value, json};

use super::{
    fields::FIELD_FATES,
    input::{self, Reader},
    tools,
};
use crate::convert::{
    ConvertError, fate,
    gemini::GenerateContentRequest,
    json::{self, At, Object, array, string},
    openai::{
        chat::{self, ChatRequest, ResponseFormat},
        message::Message,
        request::{ChatOptions, to_gemini},
        thinking::Effort,
    },
    schemas,
};

/// Most labels of a response, as OpenAI counts them.
const MAX_METADATA: usize = 16;

#[derive(Debug)]
pub struct ResponsesRequest {
    /// The same request as a chat; its messages come with [`complete`](Self::complete).
    pub chat: ChatRequest,
    pub previous_response_id: Option<String>,
    /// The answer shall be kept, so that another one can follow it.
    pub store: bool,
    /// Nobody waits for the answer.
    pub background: bool,
    /// Thoughts are told, as summaries.
    pub show_thoughts: bool,
    /// Reasoning items carry what a client needs that keeps its conversations itself.
    pub include_encrypted: bool,
    /// What the answer repeats of the request.
    pub echo: Map<String, Value>,
    instructions: Option<String>,
    input: Vec<Value>,
}

/// What is kept of earlier responses and concerns this request.
#[derive(Debug, Default)]
pub struct Earlier {
    /// The items of the conversation so far, oldest first.
    pub items: Vec<Value>,
    /// Items that are referred to, by their ids.
    pub referenced: HashMap<String, Value>,
}

/// Reads the body of a request.
pub fn responses_request(body: &[u8]) -> Result<ResponsesRequest, ConvertError> {
    let mut request = json::body(body)?;
    let at = request.at();
    fate::refuse(&mut request, FIELD_FATES)?;
    let mut echo = Map::new();
    let model = request.require_string("model")?;
    let instructions = request.string("instructions")?;
    let previous_response_id = request.string("previous_response_id")?;
    let input = input(&mut request, previous_response_id.is_some())?;
    let stream = request.boolean("stream")?.unwrap_or(false);
    let store = request.boolean("store")?.unwrap_or(true);
    let background = request.boolean("background")?.unwrap_or(false);
    check_background(background, store)?;
    let (tools, tools_echo) = match request.take("tools") {
        Some(tools) => tools::read(tools, at.key("tools"))?,
        None => Default::default(),
    };
    let tool_choice = request.take("tool_choice");
    echo.insert("tool_choice".to_owned(), tool_choice.clone().unwrap_or_else(|| "auto".into()));
    let read_choice = |choice| tools::choice(choice, at.key("tool_choice"), &tools);
    let tool_choice = tool_choice.map(read_choice).transpose()?.unwrap_or_default();
    let reasoning = reasoning(&mut request, &mut echo)?;
    let response_format = text(&mut request, &mut echo)?;
    let include = include(&mut request)?;
    let has = |name: &str| include.iter().any(|included| included == name);
    let top_logprobs = request.integer("top_logprobs", 0..=20)?;
    let wants_logprobs = has("message.output_text.logprobs") || top_logprobs.is_some_and(|count| count > 0);
    let parallel_tool_calls = request.boolean("parallel_tool_calls")?.unwrap_or(true);
    let max_tokens = request.integer("max_output_tokens", 1..=u64::MAX)?;
    let (temperature, top_p) =
        (request.number("temperature", 0.0..=2.0)?, request.number("top_p", 0.0..=1.0)?);
    let said = json!({
        "background": background, "instructions": instructions, "max_output_tokens": max_tokens,
        "metadata": metadata(&mut request)?, "model": model, "parallel_tool_calls": parallel_tool_calls,
        "previous_response_id": previous_response_id, "store": store, "temperature": temperature.unwrap_or(1.0),
        "tools": tools_echo.as_array().map_or_else(Vec::new, Clone::clone),
        "top_logprobs": top_logprobs.unwrap_or(0), "top_p": top_p.unwrap_or(1.0),
        "max_tool_calls": request.integer("max_tool_calls", 0..=u64::MAX)?,
        "truncation": request.string_or_none("truncation").unwrap_or_else(|| "disabled".to_owned()),
        "user": request.string_or_none("user"), "safety_identifier": request.string_or_none("safety_identifier"),
        "prompt_cache_key": request.string_or_none("prompt_cache_key"),
    });
    if let Value::Object(said) = said {
        echo.extend(said);
    }
    let chat = ChatRequest {
        model,
        stream,
        max_tokens,
        temperature,
        top_p,
        response_format,
        names: Arc::new(tools.names()),
        tools,
        tool_choice,
        parallel_tool_calls,
        reasoning_effort: reasoning.effort,
        log_probabilities: wants_logprobs.then(|| top_logprobs.unwrap_or(0)),
        service_tier: chat::service_tier(&mut request)?,
        google: chat::google(&mut request)?,
        n: 1,
        ..ChatRequest::default()
    };
    Ok(ResponsesRequest {
        show_thoughts: chat.shows_thoughts(reasoning.is_summarised),
        chat,
        previous_response_id,
        store,
        background,
        include_encrypted: has("reasoning.encrypted_content"),
        echo,
        instructions,
        input,
    })
}

impl ResponsesRequest {
    /// The ids of items that the input refers to.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        input::references(&self.input)
    }

    /// Nothing shall be kept of this one, whatever was asked for; fails where it has to be.
    pub fn keep_nothing(&mut self) -> Result<(), ConvertError> {
        self.store = false;
        self.echo.insert("store".to_owned(), false.into());
        check_background(self.background, false)
    }

    /// Reads the input, behind the conversation so far. `model` is Gemini's name.
    pub fn complete(&mut self, earlier: Earlier, model: &str) -> Result<(), ConvertError> {
        let Earlier { items, referenced } = earlier;
        let mut reader = Reader::new(model);
        if let Some(instructions) = self.instructions.take().filter(|text| !text.is_empty()) {
            reader.messages.push(Message::System(vec![instructions]));
        }
        let (before, now) = (At::Root.key("previous_response_id"), At::Root.key("input"));
        let find = |id: &str| referenced.get(id).cloned();
        reader.read(items, before, find)?;
        reader.read(std::mem::take(&mut self.input), now, find)?;
        self.chat.messages = reader.messages;
        input::or_a_space(&mut self.chat.messages);
        Ok(())
    }

    /// The request to Gemini; fails only where this model cannot do what is asked, or where the history does not fit
    /// together.
    pub fn to_gemini<'a>(
        &'a self,
        options: &'a ChatOptions<'a>,
    ) -> Result<GenerateContentRequest<'a>, ConvertError> {
        to_gemini(&self.chat, options).map_err(|error| match error {
            ConvertError::OrphanToolResult { id, .. } => ConvertError::OrphanOutput { id },
            error => error,
        })
    }
}

/// Who does not wait must be able to come back.
fn check_background(background: bool, store: bool) -> Result<(), ConvertError> {
    if background && !store {
        let reason = "a response in the background has to be kept: 'store' must be true, the request not too large, and \
                      STORE_RESPONSES on.";
        return Err(ConvertError::InvalidValue { param: "background".to_owned(), reason: reason.to_owned() });
    }
    Ok(())
}

/// May be missing, or empty, only where something was said before.
fn input(request: &mut Object<'_>, has_history: bool) -> Result<Vec<Value>, ConvertError> {
    let at = request.at();
    let at = at.key("input");
    let value = if has_history { request.take("input") } else { Some(request.require("input")?) };
    let items = input::list(value, at)?;
    if items.is_empty() && !has_history {
        return Err(ConvertError::EmptyArray { param: at.to_string() });
    }
    Ok(items)
}

struct Reasoning {
    effort: Option<Effort>,
    is_summarised: bool,
}

fn reasoning(request: &mut Object<'_>, echo: &mut Map<String, Value>) -> Result<Reasoning, ConvertError> {
    let at = request.at();
    let at = at.key("reasoning");
    let told = request.take("reasoning").unwrap_or_else(|| json!({}));
    let mut reasoning = Object::read(told, at)?;
    let effort = reasoning.string("effort")?;
    let mut summary = reasoning.string("summary")?;
    let deprecated = reasoning.string("generate_summary")?;
    summary = summary.or(deprecated);
    let is_known = |word: &String| matches!(word.as_str(), "auto" | "concise" | "detailed" | "none");
    if let Some(value) = summary.clone().filter(|word| !is_known(word)) {
        let (param, supported) = (at.key("summary").to_string(), "'auto', 'concise', and 'detailed'");
        return Err(ConvertError::UnknownValue { param, value, supported });
    }
    summary = summary.filter(|word| word != "none");
    echo.insert("reasoning".to_owned(), json!({"effort": effort, "summary": summary}));
    let effort = effort.map(|word| Effort::read(word, at.key("effort"))).transpose()?;
    Ok(Reasoning { effort, is_summarised: summary.is_some() })
}

fn text(request: &mut Object<'_>, echo: &mut Map<String, Value>) -> Result<ResponseFormat, ConvertError> {
    let at = request.at();
    let at = at.key("text");
    let told = request.take("text").unwrap_or_else(|| json!({}));
    let mut text = Object::read(told, at)?;
    let verbosity = chat::verbosity(&mut text)?.unwrap_or_else(|| "medium".to_owned());
    let format = text.take("format").unwrap_or_else(|| json!({"type": "text"}));
    echo.insert("text".to_owned(), json!({"format": format, "verbosity": verbosity}));
    format_of(format, at.key("format"))
}

fn format_of(value: Value, at: At<'_>) -> Result<ResponseFormat, ConvertError> {
    let mut format = Object::read(value, at)?;
    let kind = format.require_string("type")?;
    match kind.as_str() {
        "text" => Ok(ResponseFormat::Text),
        "json_object" => Ok(ResponseFormat::Json),
        "json_schema" => {
            format.require_string("name")?;
            let place = at.key("schema");
            let schema = format.object("schema")?;
            let schema = schema.ok_or_else(|| ConvertError::Missing { param: place.to_string() })?;
            schemas::schema(Value::Object(schema), &place).map(ResponseFormat::Schema)
        }
        _ => {
            let supported = "'text', 'json_object', and 'json_schema'";
            Err(ConvertError::UnknownValue { param: at.key("type").to_string(), value: kind, supported })
        }
    }
}

/// What shall be told beside the usual; whatever is unknown here has no counterpart.
fn include(request: &mut Object<'_>) -> Result<Vec<String>, ConvertError> {
    let at = request.at();
    let at = at.key("include");
    let list = request.take("include").map_or(Ok(Vec::new()), |list| array(list, &at))?;
    list.into_iter().enumerate().map(|(index, name)| string(name, &at.index(index))).collect()
}

/// Labels: at most 16 texts.
fn metadata(request: &mut Object<'_>) -> Result<Map<String, Value>, ConvertError> {
    let at = request.at();
    let at = at.key("metadata");
    let labels = request.object("metadata")?.unwrap_or_default();
    if labels.len() > MAX_METADATA {
        let reason = format!("at most {MAX_METADATA} labels are kept, but got {}.", labels.len());
        return Err(ConvertError::InvalidValue { param: at.to_string(), reason });
    }
    match labels.values().find(|value| !value.is_string()) {
        Some(other) => Err(json::wrong_type(&at, "an object of strings", other)),
        None => Ok(labels),
    }
}

#[cfg(test)]
pub(super) mod tests;
