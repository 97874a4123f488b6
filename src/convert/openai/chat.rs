//! A chat completion request, read and checked but not yet translated.
//!
//! Errors are worded as OpenAI's own server words them. What becomes of each field is told in `fields`.

use std::sync::Arc;

use serde_json::Value;

use super::{
    fields,
    json::{self, At, Object, array, string, wrong_type},
    message::Message,
    outputs::{Modality, Speech, modalities, speech},
    thinking::{Effort, ThinkingOverride},
    tools::{ToolChoice, Tools},
};
use crate::convert::{
    ConvertError,
    gemini::{
        media::Media,
        signatures::{TextSignature, text_id},
        stops::StopSequences,
        tool_names::ToolNames,
    },
    schemas,
    traits::ModelTraits,
};

/// Most answers to one request; each is a request of its own to Gemini.
const MAX_N: u64 = 8;
/// More stop sequences than any client sends, OpenAI itself takes 4; a bound on the work of looking for them.
const MAX_STOPS: usize = 100;

#[derive(Debug, Default)]
pub struct ChatRequest {
    /// As the client wrote it.
    pub model: String,
    pub messages: Vec<Message>,
    pub stream: bool,
    /// The stream shall end with a chunk of usage.
    pub include_usage: bool,
    /// Counts thoughts and answer together.
    pub max_tokens: Option<u64>,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    pub top_k: Option<u64>,
    /// -2 to 2.
    pub presence_penalty: Option<f64>,
    /// -2 to 2.
    pub frequency_penalty: Option<f64>,
    pub seed: Option<i32>,
    pub stop: StopSequences,
    pub response_format: ResponseFormat,
    pub tools: Tools,
    pub tool_choice: ToolChoice,
    /// The names of the tools, for Gemini and back.
    pub names: Arc<ToolNames>,
    pub parallel_tool_calls: bool,
    pub reasoning_effort: Option<Effort>,
    pub web_search: bool,
    /// `modalities` named pictures.
    pub image_output: bool,
    /// `modalities` named sound.
    pub speech: Option<Speech>,
    /// How many alternatives to each token, 0 to 20, shall be told with the probability of the token; `None` for neither.
    pub log_probabilities: Option<u64>,
    /// The tools came as `functions`, and so do their calls go back.
    pub are_functions: bool,
    /// Gemini's name of the tier.
    pub service_tier: Option<&'static str>,
    pub google: GoogleOptions,
    pub(super) n: u64,
}

#[derive(Debug, Default, PartialEq)]
pub enum ResponseFormat {
    #[default]
    Text,
    Json,
    /// A JSON Schema, as the client wrote it.
    Schema(Value),
}

/// `extra_body.google` or `google`, as Google's own OpenAI layer takes them.
#[derive(Debug, Default)]
pub struct GoogleOptions {
    pub thinking: ThinkingOverride,
    pub cached_content: Option<String>,
    pub safety_settings: Option<Value>,
}

/// Reads the body of a chat completion request.
pub fn chat_request(body: &[u8]) -> Result<ChatRequest, ConvertError> {
    let mut request = json::body(body)?;
    let at = request.at();
    fields::refuse(&mut request)?;
    check_ignored(&mut request)?;
    let model = request.require_string("model")?;
    let messages = messages(request.require("messages")?, at.key("messages"))?;
    let ToolFields { tools, tool_choice, are_functions } = tools(&mut request)?;
    let outputs = modalities(&mut request)?;
    let speech = if outputs.contains(&Modality::Audio) { Some(speech(&mut request)?) } else { None };
    let stream = request.boolean("stream")?.unwrap_or(false);
    let effort = request.string("reasoning_effort")?;
    let mut max_tokens = request.integer("max_tokens", 1..=u64::MAX)?;
    max_tokens = request.integer("max_completion_tokens", 1..=u64::MAX)?.or(max_tokens);
    Ok(ChatRequest {
        model,
        messages,
        stream,
        include_usage: include_usage(&mut request)?,
        max_tokens,
        temperature: request.number("temperature", 0.0..=2.0)?,
        top_p: request.number("top_p", 0.0..=1.0)?,
        top_k: request.integer("top_k", 0..=u64::MAX)?.filter(|top_k| *top_k > 0),
        presence_penalty: request.number("presence_penalty", -2.0..=2.0)?,
        frequency_penalty: request.number("frequency_penalty", -2.0..=2.0)?,
        seed: seed(&mut request)?,
        stop: stop(&mut request)?,
        response_format: response_format(&mut request)?,
        names: Arc::new(tools.names()),
        tools,
        tool_choice,
        parallel_tool_calls: request.boolean("parallel_tool_calls")?.unwrap_or(true),
        reasoning_effort: effort.map(|word| Effort::read(word, at.key("reasoning_effort"))).transpose()?,
        web_search: request.object("web_search_options")?.is_some(),
        log_probabilities: log_probabilities(&mut request)?,
        are_functions,
        image_output: outputs.contains(&Modality::Image),
        speech,
        service_tier: service_tier(&mut request)?,
        google: google(&mut request)?,
        n: request.integer("n", 1..=MAX_N)?.unwrap_or(1),
    })
}

impl ChatRequest {
    /// How many answers are wanted, 1 to 8: the caller sends that many requests.
    pub fn n(&self) -> usize {
        usize::try_from(self.n).unwrap_or(1)
    }

    /// Every picture, sound and file of the conversation.
    pub fn media_mut(&mut self) -> impl Iterator<Item = &mut Media> {
        self.messages.iter_mut().flat_map(Message::media_mut)
    }

    /// Gives what came back without its signature the one that `recall` knows, by id and Gemini's name. Texts have none but
    /// those of models that sign what they say.
    pub fn recall_signatures(&mut self, traits: &ModelTraits, recall: impl Fn(&str, &str) -> Option<String>) {
        for message in &mut self.messages {
            let Message::Assistant { texts, calls, signature } = message else { continue };
            if let ([text], true) = (texts.as_slice(), traits.signatures) {
                *signature = recall(&text_id(text), "").as_deref().and_then(TextSignature::read);
            }
            for call in calls.iter_mut().filter(|call| call.signature.is_none()) {
                call.signature = recall(&call.id, &self.names.to_gemini(&call.name));
            }
        }
    }

    /// Whether thoughts go to the client: its own word, else the setting.
    pub fn shows_thoughts(&self, setting: bool) -> bool {
        self.google.thinking.include_thoughts.unwrap_or(setting)
    }
}

/// What has no effect must still be what it claims to be.
fn check_ignored(request: &mut Object<'_>) -> Result<(), ConvertError> {
    request.boolean("store")?;
    request.object("metadata")?;
    verbosity(request)?;
    Ok(())
}

/// How long the answer shall be, in OpenAI's words.
pub(super) fn verbosity(of: &mut Object<'_>) -> Result<Option<String>, ConvertError> {
    let at = of.at();
    match of.string("verbosity")? {
        Some(value) if !["low", "medium", "high"].contains(&value.as_str()) => {
            let (param, supported) = (at.key("verbosity").to_string(), "'low', 'medium', and 'high'");
            Err(ConvertError::UnknownValue { param, value, supported })
        }
        known => Ok(known),
    }
}

fn messages(value: Value, at: At<'_>) -> Result<Vec<Message>, ConvertError> {
    let list = array(value, &at)?;
    if list.is_empty() {
        return Err(ConvertError::EmptyArray { param: at.to_string() });
    }
    list.into_iter().enumerate().map(|(index, message)| Message::read(message, at.index(index))).collect()
}

fn include_usage(request: &mut Object<'_>) -> Result<bool, ConvertError> {
    let at = request.at();
    let Some(options) = request.take("stream_options") else {
        return Ok(false);
    };
    Ok(Object::read(options, at.key("stream_options"))?.boolean("include_usage")?.unwrap_or(false))
}

/// Gemini's seed has 32 bits; a larger one keeps its lowest 32, so that equal seeds stay equal.
fn seed(request: &mut Object<'_>) -> Result<Option<i32>, ConvertError> {
    let at = request.at();
    let Some(value) = request.take("seed") else {
        return Ok(None);
    };
    let whole = value.as_f64().filter(|seed| seed.fract() == 0.0);
    let seed = value.as_i64().or(value.as_u64().map(|seed| seed as i64)).or(whole.map(|seed| seed as i64));
    seed.map(|seed| Some(seed as i32)).ok_or_else(|| wrong_type(&at.key("seed"), "an integer", &value))
}

fn stop(request: &mut Object<'_>) -> Result<StopSequences, ConvertError> {
    let at = request.at();
    let at = at.key("stop");
    let list = match request.take("stop") {
        None => return Ok(StopSequences::default()),
        Some(Value::String(text)) => vec![Value::String(text)],
        Some(Value::Array(list)) => list,
        Some(other) => return Err(wrong_type(&at, "a string or an array of strings", &other)),
    };
    if list.len() > MAX_STOPS {
        return Err(ConvertError::ArrayTooLong { param: at.to_string(), max: MAX_STOPS, length: list.len() });
    }
    let mut stops = StopSequences::default();
    for (index, text) in list.into_iter().enumerate() {
        let text = string(text, &at.index(index))?;
        if !text.is_empty() {
            stops.add(text);
        }
    }
    Ok(stops)
}

fn response_format(request: &mut Object<'_>) -> Result<ResponseFormat, ConvertError> {
    let at = request.at();
    let at = at.key("response_format");
    let Some(format) = request.take("response_format") else {
        return Ok(ResponseFormat::Text);
    };
    let mut format = Object::read(format, at)?;
    let kind = format.require_string("type")?;
    match kind.as_str() {
        "text" => Ok(ResponseFormat::Text),
        "json_object" => Ok(ResponseFormat::Json),
        "json_schema" => {
            let mut named = Object::read(format.require("json_schema")?, at.key("json_schema"))?;
            let Some(schema) = named.object("schema")? else { return Ok(ResponseFormat::Json) };
            let place = at.key("json_schema");
            schemas::schema(Value::Object(schema), &place.key("schema")).map(ResponseFormat::Schema)
        }
        _ => {
            let supported = "'text', 'json_object', and 'json_schema'";
            Err(ConvertError::UnknownValue { param: at.key("type").to_string(), value: kind, supported })
        }
    }
}

struct ToolFields {
    tools: Tools,
    tool_choice: ToolChoice,
    are_functions: bool,
}

/// `tools` and `tool_choice`, or the older `functions` and `function_call` of a client that sends no tools.
fn tools(request: &mut Object<'_>) -> Result<ToolFields, ConvertError> {
    let at = request.at();
    let (functions, function_call) = (request.take("functions"), request.take("function_call"));
    let (tools, tool_choice) = (request.take("tools"), request.take("tool_choice"));
    if let (Some(functions), None) = (functions, &tools) {
        let tools = Tools::read_functions(functions, at.key("functions"))?;
        let read = |choice| ToolChoice::read_function_call(choice, at.key("function_call"), &tools);
        let tool_choice = function_call.map(read).transpose()?.unwrap_or_default();
        return Ok(ToolFields { tools, tool_choice, are_functions: true });
    }
    let tools = tools.map(|tools| Tools::read(tools, at.key("tools"))).transpose()?.unwrap_or_default();
    let read = |choice| ToolChoice::read(choice, at.key("tool_choice"), &tools);
    let tool_choice = tool_choice.map(read).transpose()?.unwrap_or_default();
    Ok(ToolFields { tools, tool_choice, are_functions: false })
}

fn log_probabilities(request: &mut Object<'_>) -> Result<Option<u64>, ConvertError> {
    let wanted = request.boolean("logprobs")?.unwrap_or(false);
    let alternatives = request.integer("top_logprobs", 0..=20)?;
    if !wanted && alternatives.is_some_and(|count| count > 0) {
        let reason = "'top_logprobs' is only allowed when 'logprobs' is true.".to_owned();
        return Err(ConvertError::InvalidValue { param: "top_logprobs".to_owned(), reason });
    }
    Ok(wanted.then(|| alternatives.unwrap_or(0)))
}

pub(super) fn service_tier(request: &mut Object<'_>) -> Result<Option<&'static str>, ConvertError> {
    let tier = request.string("service_tier")?;
    Ok(match tier.as_deref() {
        Some("flex") => Some("flex"),
        Some("priority" | "fast") => Some("priority"),
        _ => None,
    })
}

pub(super) fn google(request: &mut Object<'_>) -> Result<GoogleOptions, ConvertError> {
    let at = request.at();
    let extra =
        request.take("extra_body").map(|extra| Object::read(extra, at.key("extra_body"))).transpose()?;
    let Some(google) = extra.and_then(|mut extra| extra.take("google")).or_else(|| request.take("google"))
    else {
        return Ok(GoogleOptions::default());
    };
    let at = at.key("google");
    let mut google = Object::read(google, at)?;
    let thinking = google.take("thinking_config").or_else(|| google.take("thinkingConfig"));
    let thinking =
        thinking.map(|config| ThinkingOverride::read(config, at.key("thinking_config"))).transpose()?;
    Ok(GoogleOptions {
        thinking: thinking.unwrap_or_default(),
        cached_content: google.string("cached_content")?,
        safety_settings: safety_settings(&mut google)?,
    })
}

/// A list of objects; Google judges what is in them.
fn safety_settings(google: &mut Object<'_>) -> Result<Option<Value>, ConvertError> {
    let at = google.at();
    let at = at.key("safety_settings");
    let Some(value) = google.take("safety_settings") else { return Ok(None) };
    let list = array(value, &at)?;
    if let Some((index, other)) = list.iter().enumerate().find(|(_, setting)| !setting.is_object()) {
        return Err(wrong_type(&at.index(index), "an object", other));
    }
    Ok(Some(Value::Array(list)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(fields: Value) -> Result<ChatRequest, ConvertError> {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        chat_request(body.to_string().as_bytes())
    }

    fn error(body: &str) -> (String, Option<String>) {
        let error = chat_request(body.as_bytes()).unwrap_err();
        (error.to_string(), error.param().map(str::to_owned))
    }

    #[test]
    fn what_is_missing_or_of_another_type_is_named() {
        let message = |text: &str, param: &str| (text.to_owned(), Some(param.to_owned()));

        assert_eq!(error(r#"{"messages":[]}"#), message("Missing required parameter: 'model'.", "model"));
        assert_eq!(error(r#"{"model":"m"}"#), message("Missing required parameter: 'messages'.", "messages"));
        assert_eq!(
            error(r#"{"model":"m","messages":"hi"}"#),
            message("Invalid type for 'messages': expected an array, but got a string instead.", "messages")
        );
        assert_eq!(
            error(r#"{"model":"m","messages":[{"role":"user"}]}"#),
            message("Missing required parameter: 'messages[0].content'.", "messages[0].content")
        );
        assert_eq!(error(r#"{"model":"m","messages":[]}"#).1.as_deref(), Some("messages"));
    }

    #[test]
    fn unreadable_json_is_refused_with_its_place() {
        let (message, param) = error("{\"model\": \"m\",\n oops}");

        assert!(message.contains("line 2 column 2"), "{message}");
        assert_eq!(param, None);
    }

    #[test]
    fn temperature_and_n_stay_in_their_ranges() {
        assert_eq!(read(json!({"temperature": 2.5})).unwrap_err().code(), Some("decimal_above_max_value"));
        assert_eq!(read(json!({"temperature": -0.1})).unwrap_err().param(), Some("temperature"));
        assert_eq!(read(json!({"n": 9})).unwrap_err().code(), Some("integer_above_max_value"));
        assert_eq!(read(json!({"n": 8})).unwrap().n(), 8);
    }

    #[test]
    fn gemini_looks_for_five_stops_and_the_gateway_for_the_others() {
        let stops = |stop: Value| {
            let stops = read(json!({ "stop": stop })).unwrap().stop;
            [stops.geminis().to_vec(), stops.own().to_vec()]
        };

        assert_eq!(stops(json!("a")), [vec!["a"], vec![]]);
        assert_eq!(stops(json!(["a", "", "a", "b"])), [vec!["a", "b"], vec![]]);
        assert_eq!(stops(json!(["a", "b", "c", "d", "e", "f"])), [vec!["a", "b", "c", "d", "e"], vec!["f"]]);
        let error = read(json!({"stop": vec!["a"; 101]})).unwrap_err();
        assert_eq!((error.param(), error.code()), (Some("stop"), Some("array_above_max_length")));
    }

    #[test]
    fn a_large_seed_is_reduced_and_a_small_one_kept() {
        assert_eq!(read(json!({"seed": 7})).unwrap().seed, Some(7));
        assert_eq!(read(json!({"seed": -1})).unwrap().seed, Some(-1));
        assert_eq!(read(json!({"seed": 4_294_967_297_i64})).unwrap().seed, Some(1));
        assert_eq!(read(json!({"seed": u64::MAX})).unwrap().seed, Some(-1));
    }

    #[test]
    fn the_newer_limit_of_tokens_wins() {
        let request = read(json!({"max_tokens": 10, "max_completion_tokens": 20})).unwrap();

        assert_eq!(request.max_tokens, Some(20));
    }

    #[test]
    fn googles_own_options_are_read_from_both_places() {
        let options = json!({"thinking_config": {"thinking_budget": 800, "include_thoughts": true}});
        for body in [json!({ "google": options }), json!({"extra_body": {"google": options}})] {
            let request = read(body).unwrap();

            assert_eq!(request.google.thinking.budget, Some(800));
            assert!(request.shows_thoughts(false));
        }
    }

    #[test]
    fn malformed_fields_are_refused_by_name_also_where_they_have_no_effect() {
        let thinking = |config: Value| json!({"extra_body": {"google": {"thinking_config": config}}});
        let safety = |settings: Value| json!({"google": {"safety_settings": settings}});
        for (fields, param) in [
            (json!({"metadata": 5}), "metadata"),
            (json!({"store": "yes"}), "store"),
            (json!({"verbosity": 7}), "verbosity"),
            (json!({"verbosity": "chatty"}), "verbosity"),
            (json!({"service_tier": 1}), "service_tier"),
            (thinking(json!({"thinking_budget": "high"})), "google.thinking_config.thinking_budget"),
            (thinking(json!({"thinking_budget": 0.5})), "google.thinking_config.thinking_budget"),
            (thinking(json!({"thinking_level": 3})), "google.thinking_config.thinking_level"),
            (safety(json!("off")), "google.safety_settings"),
            (safety(json!({})), "google.safety_settings"),
            (safety(json!(["off"])), "google.safety_settings[0]"),
        ] {
            assert_eq!(read(fields.clone()).unwrap_err().param(), Some(param), "{fields}");
        }
        let well_formed =
            json!({"metadata": {"a": "b"}, "store": null, "verbosity": "low", "service_tier": "auto"});
        assert!(read(well_formed).is_ok());
        assert_eq!(
            read(thinking(json!({"thinking_budget": -1.0}))).unwrap().google.thinking.budget,
            Some(-1)
        );
    }

    #[test]
    fn alternatives_to_tokens_need_the_tokens_probabilities() {
        assert_eq!(read(json!({"logprobs": true, "top_logprobs": 3})).unwrap().log_probabilities, Some(3));
        assert_eq!(read(json!({"logprobs": false, "top_logprobs": 0})).unwrap().log_probabilities, None);
        assert_eq!(read(json!({"top_logprobs": 3})).unwrap_err().param(), Some("top_logprobs"));
        assert_eq!(
            read(json!({"logprobs": true, "top_logprobs": 21})).unwrap_err().param(),
            Some("top_logprobs")
        );
    }

    #[test]
    fn functions_of_old_clients_are_tools() {
        let functions = json!({"functions": [{"name": "f"}], "function_call": {"name": "f"}});

        let request = read(functions).unwrap();

        assert!(request.are_functions);
        assert_eq!(request.tool_choice, ToolChoice::Named("f".into()));
        assert_eq!(read(json!({"functions": [{}]})).unwrap_err().param(), Some("functions[0].name"));
        assert_eq!(
            read(json!({"functions": [{"name": "f"}], "function_call": {"name": "g"}})).unwrap_err().param(),
            Some("function_call")
        );
    }

    #[test]
    fn a_schema_that_names_itself_is_refused_by_its_place() {
        let tree = json!({"$ref": "#/$defs/T", "$defs": {"T": {"properties": {"t": {"$ref": "#/$defs/T"}}}}});
        let tools = json!([{"type": "function", "function": {"name": "f", "parameters": tree}}]);
        let format = json!({"type": "json_schema", "json_schema": {"name": "t", "schema": tree}});

        let of_tools = read(json!({ "tools": tools })).unwrap_err();
        let of_format = read(json!({ "response_format": format })).unwrap_err();

        assert_eq!(of_tools.param(), Some("tools[0].function.parameters"));
        assert!(of_tools.to_string().contains("recursive"), "{of_tools}");
        assert_eq!(of_format.param(), Some("response_format.json_schema.schema"));
    }
}
