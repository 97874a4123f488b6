//! A request for a message, read and checked but not yet translated.
//!
//! What becomes of each field is told in `fields`.

use std::sync::Arc;

use serde_json::Value;

use super::{
    content::{self, Block, Message, Role},
    fields,
    json::{self, At, Object, array, string},
    thinking::{self, Amount, Thinking},
    tools::{ToolChoice, Tools},
};
use crate::convert::{
    ConvertError,
    gemini::{
        effort::Effort,
        media::Media,
        signatures::{TextSignature, text_id},
        stops::StopSequences,
        tool_names::ToolNames,
    },
    schemas,
    traits::ModelTraits,
};

/// A bound on the work of looking for stop sequences.
const MAX_STOPS: usize = 100;

#[derive(Debug)]
pub struct MessagesRequest {
    /// As the client wrote it.
    pub model: String,
    pub system: Vec<String>,
    pub messages: Vec<Message>,
    pub stream: bool,
    /// Counts thoughts and answer together; 0 only fills the cache. `None` where tokens are only counted.
    pub max_tokens: Option<u64>,
    /// 0 to 1.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    pub top_k: Option<u64>,
    pub tools: Tools,
    pub tool_choice: ToolChoice,
    /// The names of the tools, for Gemini and back.
    pub names: Arc<ToolNames>,
    pub parallel_tool_use: bool,
    pub thinking: Thinking,
    pub effort: Option<Effort>,
    /// JSON Schema of the answer.
    pub schema: Option<Value>,
    pub stops: StopSequences,
}

/// Reads the body of `messages`.
pub fn messages_request(body: &[u8]) -> Result<MessagesRequest, ConvertError> {
    let request = interleaved_request(body)?;
    match (request.thinking.amount, request.max_tokens) {
        (Amount::Budget(budget), Some(max_tokens)) if budget >= max_tokens => {
            Err(ConvertError::InvalidValue {
                param: "thinking.budget_tokens".to_owned(),
                reason: "`max_tokens` must be greater than `thinking.budget_tokens`".to_owned(),
            })
        }
        (Amount::Budget(_) | Amount::Unsaid | Amount::Disabled, _) => Ok(request),
    }
}

/// The same of a client that lets the model think between calls: its budget is that of all the answers until the next
/// question, so it may be larger than the limit of one.
pub fn interleaved_request(body: &[u8]) -> Result<MessagesRequest, ConvertError> {
    let request = read(body)?;
    if request.max_tokens.is_none() {
        return Err(ConvertError::Missing { param: "max_tokens".to_owned() });
    }
    Ok(request)
}

/// What the header `anthropic-beta` says of a client that does so.
pub fn interleaves(betas: &str) -> bool {
    betas.split(',').any(|beta| beta.trim().starts_with("interleaved-thinking"))
}

/// Reads the body of `messages/count_tokens`.
pub fn count_request(body: &[u8]) -> Result<MessagesRequest, ConvertError> {
    read(body)
}

fn read(body: &[u8]) -> Result<MessagesRequest, ConvertError> {
    let mut request = json::body(body)?;
    let at = request.at();
    fields::refuse(&mut request)?;
    let tools =
        request.take("tools").map_or(Ok(Tools::default()), |tools| Tools::read(tools, at.key("tools")))?;
    let choice = request.take("tool_choice");
    let choice = choice.map(|choice| ToolChoice::read(choice, at.key("tool_choice"), &tools)).transpose()?;
    let (tool_choice, parallel_tool_use) = choice.unwrap_or((ToolChoice::Auto, true));
    let thinking =
        request.take("thinking").map(|value| Thinking::read(value, at.key("thinking"))).transpose()?;
    let system = request.take("system").map(|value| content::system(value, at.key("system"))).transpose()?;
    let (effort, schema) = output_config(&mut request)?;
    check_metadata(&mut request)?;
    let model = request.require_string("model")?;
    let messages = messages(request.require("messages")?, at.key("messages"))?;
    Ok(MessagesRequest {
        model,
        system: system.unwrap_or_default(),
        effort: messages.iter().rev().find_map(|message| message.effort).or(effort),
        messages,
        stream: request.boolean("stream")?.unwrap_or(false),
        max_tokens: request.integer("max_tokens", 0..=u64::MAX)?,
        temperature: request.number("temperature", 0.0..=1.0)?,
        top_p: request.number("top_p", 0.0..=1.0)?,
        top_k: request.integer("top_k", 0..=u64::MAX)?.filter(|top_k| *top_k > 0),
        names: Arc::new(tools.names()),
        tools,
        tool_choice,
        parallel_tool_use,
        thinking: thinking.unwrap_or_default(),
        schema,
        stops: stop_sequences(&mut request)?,
    })
}

impl MessagesRequest {
    /// Everything that may have to be fetched first.
    pub fn media_mut(&mut self) -> impl Iterator<Item = &mut Media> {
        self.messages.iter_mut().flat_map(|message| &mut message.blocks).flat_map(Block::media_mut)
    }

    /// Gives what came back without its signature the one that `recall` knows, by id and Gemini's name. Texts have none but
    /// those of models that sign what they say.
    pub fn recall_signatures(&mut self, traits: &ModelTraits, recall: impl Fn(&str, &str) -> Option<String>) {
        for message in self.messages.iter_mut().filter(|message| message.role == Role::Assistant) {
            let texts = message.blocks.iter().filter_map(Block::text).collect::<Vec<_>>();
            if let ([text], true) = (texts.as_slice(), traits.signatures) {
                message.signature = recall(&text_id(text), "").as_deref().and_then(TextSignature::read);
            }
            for block in &mut message.blocks {
                if let Block::ToolUse { id, name, remembered, .. } = block {
                    *remembered = recall(id, &self.names.to_gemini(name));
                }
            }
        }
    }
}

/// Only the last message may be empty, and only an assistant's.
fn messages(value: Value, at: At<'_>) -> Result<Vec<Message>, ConvertError> {
    let list = array(value, &at)?;
    let last = list.len().checked_sub(1).ok_or_else(|| ConvertError::InvalidValue {
        param: at.to_string(),
        reason: "at least one message is required".to_owned(),
    })?;
    let mut messages = Vec::with_capacity(list.len());
    for (index, message) in list.into_iter().enumerate() {
        let at = at.index(index);
        let is_empty = says_nothing(&message["content"]);
        let may_be_empty = index == last && message["role"] == "assistant";
        let message = Message::read(message, at)?;
        if is_empty && !may_be_empty {
            let reason =
                "all messages must have non-empty content except for the optional final assistant message";
            return Err(ConvertError::InvalidValue { param: at.to_string(), reason: reason.to_owned() });
        }
        messages.push(message);
    }
    forget_passed(&mut messages);
    Ok(messages)
}

/// What a system's message said for one turn is over once the user has spoken again. The message stays, so that places are
/// those of the client.
fn forget_passed(messages: &mut [Message]) {
    let last_user = messages.iter().rposition(|message| message.role == Role::User).unwrap_or_default();
    messages[..last_user]
        .iter_mut()
        .filter(|message| message.is_passing)
        .for_each(|message| message.blocks.clear());
}

fn says_nothing(content: &Value) -> bool {
    *content == "" || content.as_array().is_some_and(Vec::is_empty)
}

fn stop_sequences(request: &mut Object<'_>) -> Result<StopSequences, ConvertError> {
    let at = request.at();
    let at = at.key("stop_sequences");
    let list = request.take("stop_sequences").map_or(Ok(Vec::new()), |list| array(list, &at))?;
    if list.len() > MAX_STOPS {
        return Err(ConvertError::ArrayTooLong { param: at.to_string(), max: MAX_STOPS, length: list.len() });
    }
    let mut stops = StopSequences::default();
    for (index, text) in list.into_iter().enumerate() {
        let at = at.index(index);
        let text = string(text, &at)?;
        if text.trim().is_empty() {
            let reason = "each stop sequence must contain non-whitespace".to_owned();
            return Err(ConvertError::InvalidValue { param: at.to_string(), reason });
        }
        stops.add(text);
    }
    Ok(stops)
}

/// Effort and schema from `output_config`; the schema also from the older `output_format`.
fn output_config(request: &mut Object<'_>) -> Result<(Option<Effort>, Option<Value>), ConvertError> {
    let at = request.at();
    let (effort, mut schema) = (thinking::effort_of(request)?, None);
    if let Some(format) = request.take("output_format") {
        schema = json_schema(format, at.key("output_format"))?;
    }
    if let Some(config) = request.take("output_config") {
        let at = at.key("output_config");
        let mut config = Object::read(config, at)?;
        if let Some(format) = config.take("format") {
            schema = json_schema(format, at.key("format"))?;
        }
    }
    Ok((effort, schema))
}

fn json_schema(value: Value, at: At<'_>) -> Result<Option<Value>, ConvertError> {
    let mut format = Object::read(value, at)?;
    let kind = format.require_string("type")?;
    if kind != "json_schema" {
        let param = at.key("type").to_string();
        return Err(ConvertError::UnknownValue { param, value: kind, supported: "'json_schema'" });
    }
    let at = at.key("schema");
    let schema = Object::read(format.require("schema")?, at)?;
    schemas::schema(Value::Object(schema.into_fields()), &at).map(Some)
}

/// It has no effect, but what is malformed is told.
fn check_metadata(request: &mut Object<'_>) -> Result<(), ConvertError> {
    let at = request.at();
    let Some(metadata) = request.take("metadata") else { return Ok(()) };
    Object::read(metadata, at.key("metadata"))?.string("user_id").map(|_| ())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::convert::anthropic::words;

    fn read(fields: Value) -> Result<MessagesRequest, String> {
        let mut body =
            json!({"model": "m", "max_tokens": 2048, "messages": [{"role": "user", "content": "hi"}]});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        messages_request(body.to_string().as_bytes()).map_err(|error| words::message(&error))
    }

    #[test]
    fn malformed_fields_are_named_as_anthropics_server_does() {
        for (fields, message) in [
            (json!({"model": null}), "model: Field required"),
            (json!({"model": 1}), "model: Input should be a valid string"),
            (json!({"max_tokens": null}), "max_tokens: Field required"),
            (json!({"max_tokens": "9"}), "max_tokens: Input should be a valid integer"),
            (json!({"messages": null}), "messages: Field required"),
            (json!({"messages": []}), "messages: at least one message is required"),
            (json!({"messages": ["hi"]}), "messages.0: Input should be a valid dictionary"),
            (json!({"messages": [{"role": "user"}]}), "messages.0.content: Field required"),
            (
                json!({"messages": [{"role": "user", "content": 1}]}),
                "messages.0.content: Input should be a valid string or list",
            ),
            (
                json!({"messages": [{"role": "user", "content": []}]}),
                "messages.0: all messages must have non-empty content except for the optional final assistant message",
            ),
            (json!({"system": 1}), "system: Input should be a valid string or list"),
            (json!({"stream": "yes"}), "stream: Input should be a valid boolean"),
            (
                json!({"stop_sequences": [" "]}),
                "stop_sequences.0: each stop sequence must contain non-whitespace",
            ),
            (json!({"stop_sequences": "END"}), "stop_sequences: Input should be a valid list"),
            (json!({"metadata": {"user_id": 1}}), "metadata.user_id: Input should be a valid string"),
            (
                json!({"output_config": {"effort": "some"}}),
                "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max', but is 'some'",
            ),
            (
                json!({"output_config": {"format": {"type": "json_schema"}}}),
                "output_config.format.schema: Field required",
            ),
            (
                json!({"thinking": {"type": "enabled", "budget_tokens": 2048}}),
                "thinking.budget_tokens: `max_tokens` must be greater than `thinking.budget_tokens`",
            ),
        ] {
            assert_eq!(read(fields.clone()).unwrap_err(), message, "{fields}");
        }
        for (fields, path) in
            [(json!({"temperature": 1.5}), "temperature: "), (json!({"max_tokens": -1}), "max_tokens: ")]
        {
            assert!(read(fields).unwrap_err().starts_with(path));
        }
    }

    #[test]
    fn a_budget_may_be_larger_than_one_answer_where_thoughts_are_interleaved() {
        let thinking = json!({"type": "enabled", "budget_tokens": 4096});
        let body = json!({"model": "m", "max_tokens": 2048, "messages": [{"role": "user", "content": "hi"}],
            "thinking": thinking})
        .to_string();

        assert!(messages_request(body.as_bytes()).is_err());
        let request = interleaved_request(body.as_bytes()).unwrap();
        assert_eq!(request.thinking.amount, Amount::Budget(4096));
        assert!(interleaves("fine-grained-tool-streaming-2025-05-14, interleaved-thinking-2025-05-14"));
        assert!(!interleaves("context-1m-2025-08-07"));
    }

    #[test]
    fn what_the_system_says_for_one_turn_is_over_with_the_next_and_its_last_effort_counts() {
        let system = |text: &str, effort: &str| json!({"role": "system", "content": text, "clear_at": "next_user_message", "output_config": {"effort": effort}});
        let messages = json!([{"role": "user", "content": "a"}, system("gone", "low"), {"role": "user", "content": "b"},
            system("here", "high")]);

        let request = read(json!({"messages": messages, "output_config": {"effort": "max"}})).unwrap();

        assert_eq!(request.effort, Some(Effort::High));
        let said: Vec<_> = request.messages.iter().map(|message| message.blocks.len()).collect();
        assert_eq!(said, [1, 0, 1, 1]);
    }

    #[test]
    fn a_final_assistant_message_may_be_empty() {
        let messages = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": ""}]);

        assert!(read(json!({ "messages": messages })).is_ok());
    }

    #[test]
    fn counting_needs_no_limit() {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).to_string();

        assert_eq!(count_request(body.as_bytes()).unwrap().max_tokens, None);
        assert!(messages_request(body.as_bytes()).is_err());
    }

    #[test]
    fn stop_sequences_beyond_geminis_number_are_left_to_the_gateway() {
        let request = read(json!({"stop_sequences": ["a", "b", "a", "c", "d", "e", "f", "g"]})).unwrap();

        assert_eq!(request.stops.geminis(), ["a", "b", "c", "d", "e"]);
        assert_eq!(request.stops.own(), ["f", "g"]);
    }
}
