//! A request for a message as a request to Gemini.

use std::borrow::Cow;

use serde_json::{json, value::RawValue};

use super::{
    content::{Block, Message, Role},
    messages::MessagesRequest,
    signature::unmark,
    thinking, tools,
};
use crate::convert::{
    ConvertError,
    gemini::{
        Content, GenerateContentRequest, Part,
        count_tokens::{CountTokensRequest, CountedRequest},
        request::{GenerationConfig, SafetySettings, Tool, ToolConfig},
        schema,
        turns::{Conversation, Orphan, PastCall, PastResult, object_or_result, to_raw},
    },
    traits::ModelTraits,
};

/// What a translation depends on beside the request.
#[derive(Debug, Clone, Copy)]
pub struct MessagesOptions<'a> {
    /// The gateway's `safetySettings`.
    pub safety_settings: Option<&'a RawValue>,
    /// Gemini's short name of the model, which tells its own signatures from others.
    pub model: &'a str,
    pub traits: &'a ModelTraits,
    /// The most tokens that the model writes, where that is known.
    pub output_limit: Option<u64>,
}

/// Fails only where this model cannot do what is asked, or where the history does not fit together.
pub fn to_gemini<'a>(
    request: &'a MessagesRequest,
    options: &MessagesOptions<'a>,
) -> Result<GenerateContentRequest<'a>, ConvertError> {
    let Prompt { system, contents, tools, tool_config, json_in_words } = prompt(request, options)?;
    let schema = request.schema.as_ref().filter(|_| !json_in_words);
    // The least that Gemini writes; what it says is not passed on where nothing was to be said.
    let max_tokens = request.max_tokens.map(|max| max.min(options.output_limit.unwrap_or(max)).max(1));
    Ok(GenerateContentRequest {
        system_instruction: system,
        contents,
        tools,
        tool_config,
        safety_settings: options.safety_settings.map(SafetySettings::Gateway),
        generation_config: GenerationConfig {
            temperature: request.temperature,
            top_p: request.top_p,
            top_k: request.top_k,
            max_output_tokens: max_tokens,
            stop_sequences: request.stops.geminis(),
            response_mime_type: schema.map(|_| "application/json"),
            response_json_schema: schema.map(schema::clean),
            thinking_config: thinking::config(request.thinking, request.effort, max_tokens, options.traits),
            ..GenerationConfig::default()
        },
        ..GenerateContentRequest::default()
    })
}

/// The same prompt to be counted; `resource` is Google's name of the model, such as `models/gemini-2.5-flash`.
pub fn to_count<'a>(
    request: &'a MessagesRequest,
    options: &MessagesOptions<'a>,
    resource: &'a str,
) -> Result<CountTokensRequest<'a>, ConvertError> {
    let Prompt { system, contents, tools, tool_config, .. } = prompt(request, options)?;
    let request = GenerateContentRequest {
        system_instruction: system,
        contents,
        tools,
        tool_config,
        ..GenerateContentRequest::default()
    };
    Ok(CountTokensRequest { generate_content_request: CountedRequest { model: resource, request } })
}

/// Everything that the model reads.
struct Prompt<'a> {
    system: Option<Content<'a>>,
    contents: Vec<Content<'a>>,
    tools: Vec<Tool<'a>>,
    tool_config: Option<ToolConfig<'a>>,
    /// The form of the answer is asked for in the system instruction.
    json_in_words: bool,
}

fn prompt<'a>(
    request: &'a MessagesRequest,
    options: &MessagesOptions<'a>,
) -> Result<Prompt<'a>, ConvertError> {
    let traits = options.traits;
    let (tools, tool_config) = tools::to_gemini(request, traits)?;
    let json_in_words = !tools.is_empty() && !traits.json_with_functions;
    let mut conversation = Conversation::default();
    request.system.iter().for_each(|text| conversation.system(text.as_str()));
    if json_in_words && let Some(schema) = &request.schema {
        conversation.system(schema::in_words(schema));
    }
    for (index, message) in request.messages.iter().enumerate() {
        match message.role {
            Role::System => read_system(message, &mut conversation),
            Role::User => read_user(message, index, &mut conversation),
            Role::Assistant => read_assistant(request, message, options.model, &mut conversation),
        }
    }
    let (system, contents) = conversation.finish(traits).map_err(|lost| orphan(request, lost))?;
    Ok(Prompt { system, contents, tools, tool_config, json_in_words })
}

/// Names the block of a result without a call.
fn orphan(request: &MessagesRequest, orphan: Orphan) -> ConvertError {
    let Orphan { message, id: lost } = orphan;
    let is_lost = |block: &Block| matches!(block, Block::ToolResult { id, .. } if *id == lost);
    let block = request.messages[message].blocks.iter().position(is_lost).unwrap_or_default();
    ConvertError::OrphanToolResult { param: format!("messages[{message}].content[{block}]"), id: lost }
}

fn read_system<'a>(message: &'a Message, conversation: &mut Conversation<'a>) {
    for block in &message.blocks {
        if let Block::Text(text) = block {
            conversation.system(text.as_str());
        }
    }
}

fn read_user<'a>(message: &'a Message, index: usize, conversation: &mut Conversation<'a>) {
    for block in &message.blocks {
        match block {
            Block::Text(text) => conversation.user(Part::text(text.as_str())),
            Block::Media(media) => conversation.user(media.to_part()),
            Block::ToolResult { id, text, media, is_error } => conversation.result(PastResult {
                id,
                response: if *is_error { to_raw(&json!({ "error": text })) } else { object_or_result(text) },
                media: media.iter().map(|media| media.to_part()).collect(),
                message: index,
            }),
            Block::Thinking { .. } | Block::ToolUse { .. } => {}
        }
    }
}

/// A signature belongs to the call directly behind its block; that of a client that drops such blocks is remembered.
fn read_assistant<'a>(
    request: &'a MessagesRequest,
    message: &'a Message,
    model: &str,
    conversation: &mut Conversation<'a>,
) {
    let (mut signature, mut pictures) = (None, Vec::new());
    for block in &message.blocks {
        let signed = signature.take();
        match block {
            Block::Thinking { signature: marked } => signature = unmark(marked, model),
            Block::Text(text) => conversation.said(text, message.signature.as_ref(), &mut pictures),
            Block::Media(media) => pictures.push(media.to_part()),
            Block::ToolUse { id, name, input, remembered } => conversation.call(PastCall {
                id,
                name: request.names.to_gemini(name),
                args: Cow::Borrowed(input),
                signature: signed.or(remembered.as_deref()),
            }),
            Block::ToolResult { .. } => {}
        }
    }
    pictures.into_iter().for_each(|picture| conversation.user(picture));
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::convert::{
        anthropic::{count_request, messages_request, signature::mark, words},
        fixtures,
        gemini::signatures::SIGNATURE_PLACEHOLDER,
    };

    const GEMINI_2_5: &str = "gemini-2.5-flash";
    const GEMINI_3: &str = "gemini-3.8-flash";

    fn convert(model: &str, messages: Value, fields: Value) -> Result<Value, String> {
        let mut body = json!({"model": model, "max_tokens": 3000, "messages": messages});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        convert_body(model, &body)
    }

    fn convert_body(model: &str, body: &Value) -> Result<Value, String> {
        let request = messages_request(body.to_string().as_bytes());
        let traits = ModelTraits::of(model);
        let options = MessagesOptions { safety_settings: None, model, traits: &traits, output_limit: None };
        let converted = request.and_then(|request| Ok(to_gemini(&request, &options)?.to_json()));
        converted.map(|json| serde_json::from_slice(&json).unwrap()).map_err(|error| words::message(&error))
    }

    fn tool_use(id: &str) -> Value {
        json!({"type": "tool_use", "id": id, "name": "get weather", "input": {"city": "Rome"}})
    }

    #[test]
    fn a_tool_round_trip_keeps_ids_signatures_order_and_pictures() {
        let png =
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}});
        let messages = json!([
            {"role": "user", "content": "weather?"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": mark(GEMINI_3, "c2ln")}, tool_use("toolu_1"), tool_use("toolu_2"),
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": [{"type": "text", "text": "rain"}, png], "cache_control": {"type": "ephemeral"}},
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "gone", "is_error": true},
                {"type": "text", "text": "Hurry."},
            ]},
        ]);
        let fields =
            json!({"system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]});

        let request = convert(GEMINI_3, messages, fields).unwrap();

        let call = |id: &str| json!({"name": "get_weather", "args": {"city": "Rome"}, "id": id});
        assert_eq!(
            request,
            json!({
                "systemInstruction": {"parts": [{"text": "be brief"}]},
                "contents": [
                    {"role": "user", "parts": [{"text": "weather?"}]},
                    {"role": "model", "parts": [
                        {"functionCall": call("toolu_1"), "thoughtSignature": "c2ln"}, {"functionCall": call("toolu_2")},
                    ]},
                    {"role": "user", "parts": [
                        {"text": "Hurry."},
                        {"functionResponse": {"name": "get_weather", "response": {"error": "gone"}, "id": "toolu_1"}},
                        {"functionResponse": {"name": "get_weather", "response": {"result": "rain"}, "id": "toolu_2",
                            "parts": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}]}},
                    ]},
                ],
                "generationConfig": {"maxOutputTokens": 3000},
            })
        );
    }

    #[test]
    fn lost_and_foreign_signatures_become_the_placeholder() {
        let signature = |signature: &str| {
            let thinking = json!({"type": "thinking", "thinking": "hm", "signature": signature});
            let messages = json!([{"role": "user", "content": "go"}, {"role": "assistant", "content": [thinking, tool_use("a")]}]);
            convert(GEMINI_3, messages, json!({})).unwrap()["contents"][1]["parts"][0]["thoughtSignature"]
                .clone()
        };

        assert_eq!(signature(&mark(GEMINI_3, "c2ln")), "c2ln");
        for lost in ["", "EqQBCgIYAhIM", &mark("gemini-3.5-flash", "c2ln"), &mark(GEMINI_3, "")] {
            assert_eq!(signature(lost), SIGNATURE_PLACEHOLDER, "{lost}");
        }
    }

    #[test]
    fn a_result_for_no_call_names_its_block() {
        let result = json!({"type": "tool_result", "tool_use_id": "x", "content": "y"});
        let messages = json!([{"role": "user", "content": [{"type": "text", "text": "hi"}, result]}]);

        let message = convert(GEMINI_2_5, messages, json!({})).unwrap_err();

        assert!(
            message.starts_with(
                "messages.0.content.1: unexpected `tool_use_id` found in `tool_result` blocks: x"
            )
        );
    }

    #[test]
    fn sampling_thinking_and_format_go_to_the_generation_config() {
        let fields = json!({
            "temperature": 0.2, "top_p": 0.9, "top_k": 40, "stop_sequences": ["a"],
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "output_config": {"format": {"type": "json_schema", "schema": {"$schema": "x", "type": "object", "properties": {}}}},
        });

        let config = convert(GEMINI_2_5, json!([{"role": "user", "content": "hi"}]), fields).unwrap();

        assert_eq!(
            config["generationConfig"],
            json!({
                "temperature": 0.2, "topP": 0.9, "topK": 40, "maxOutputTokens": 3000, "stopSequences": ["a"],
                "responseMimeType": "application/json", "responseJsonSchema": {"type": "object", "properties": {}},
                "thinkingConfig": {"includeThoughts": true, "thinkingBudget": 1024},
            })
        );
    }

    #[test]
    fn no_more_is_asked_for_than_the_model_can_write() {
        let body =
            json!({"model": "m", "max_tokens": 64_000, "messages": [{"role": "user", "content": "hi"}]});
        let (request, traits) =
            (messages_request(body.to_string().as_bytes()).unwrap(), ModelTraits::of("m"));
        let limit = |output_limit| {
            let options =
                MessagesOptions { safety_settings: None, model: "m", traits: &traits, output_limit };
            to_gemini(&request, &options).unwrap().generation_config.max_output_tokens
        };

        assert_eq!([None, Some(8192), Some(65_536)].map(limit), [Some(64_000), Some(8192), Some(64_000)]);
    }

    #[test]
    fn to_fill_the_cache_one_token_is_written() {
        let config =
            convert(GEMINI_2_5, json!([{"role": "user", "content": "hi"}]), json!({"max_tokens": 0}));

        assert_eq!(config.unwrap()["generationConfig"], json!({"maxOutputTokens": 1}));
    }

    #[test]
    fn gemini_2_5_reads_the_format_in_words_when_there_are_tools() {
        let fields = json!({
            "output_format": {"type": "json_schema", "schema": {"type": "object"}},
            "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        });
        let hi = json!([{"role": "user", "content": "hi"}]);

        let words = convert(GEMINI_2_5, hi.clone(), fields.clone()).unwrap();
        let typed = convert(GEMINI_3, hi, fields).unwrap();

        assert!(words["systemInstruction"]["parts"][0]["text"].as_str().unwrap().contains("JSON Schema"));
        assert_eq!(words["generationConfig"], json!({"maxOutputTokens": 3000}));
        assert_eq!(typed["generationConfig"]["responseMimeType"], "application/json");
    }

    #[test]
    fn a_count_holds_what_the_model_reads_and_its_name() {
        let body = json!({"model": GEMINI_2_5, "system": "s", "messages": [{"role": "user", "content": "hi"}],
            "tools": [{"name": "f", "input_schema": {"type": "object"}}], "temperature": 0.5});
        let request = count_request(body.to_string().as_bytes()).unwrap();
        let traits = ModelTraits::of(GEMINI_2_5);
        let options =
            MessagesOptions { safety_settings: None, model: GEMINI_2_5, traits: &traits, output_limit: None };

        let count = to_count(&request, &options, "models/gemini-2.5-flash").unwrap().to_json();

        assert_eq!(
            serde_json::from_slice::<Value>(&count).unwrap(),
            json!({"generateContentRequest": {
                "model": "models/gemini-2.5-flash",
                "systemInstruction": {"parts": [{"text": "s"}]},
                "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
                "tools": [{"functionDeclarations": [{"name": "f"}]}],
            }})
        );
    }

    #[test]
    fn every_recorded_request_converts() {
        let mut seen = 0;
        for (path, text) in fixtures::files("anthropic/exchanges", ".json") {
            let file: Value = serde_json::from_str(&text).unwrap();
            for exchange in file["exchanges"].as_array().unwrap() {
                let (mut body, status) =
                    (exchange["request"]["body"].clone(), &exchange["response"]["status"]);
                if *status == 200 && body["messages"].is_array() {
                    body["max_tokens"] = body["max_tokens"].as_u64().unwrap_or(9).into();
                    for model in [GEMINI_2_5, GEMINI_3] {
                        let request =
                            convert_body(model, &body).unwrap_or_else(|error| panic!("{path}: {error}"));
                        assert!(request["contents"].as_array().is_some_and(|contents| !contents.is_empty()));
                    }
                    seen += 1;
                }
            }
        }
        assert!(seen > 15 || fixtures::folder().is_none(), "only {seen} recorded requests");
    }
}
