//! A chat completion request as a request to Gemini.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    chat::{ChatRequest, ResponseFormat},
    message::{Message, ToolCall, UserPart},
    thinking, tools,
};
use crate::convert::{
    ConvertError,
    gemini::{
        GenerateContentRequest, Part,
        request::{GenerationConfig, SafetySettings, SpeechConfig},
        schema,
        turns::{Conversation, Orphan, PastCall, PastResult, object_or_result},
    },
    traits::ModelTraits,
};

/// What a translation depends on beside the request.
#[derive(Debug, Clone)]
pub struct ChatOptions<'a> {
    /// Thoughts are asked for, unless the client says otherwise.
    pub show_thoughts: bool,
    /// The gateway's `safetySettings`; the client's own win.
    pub safety_settings: Option<&'a RawValue>,
    pub model: ModelTraits,
    /// The most tokens that the model writes, where that is known.
    pub output_limit: Option<u64>,
}

impl Default for ChatOptions<'_> {
    fn default() -> Self {
        Self { show_thoughts: false, safety_settings: None, model: ModelTraits::of(""), output_limit: None }
    }
}

/// Fails only where this model cannot do what is asked, or where the history does not fit together.
pub fn to_gemini<'a>(
    request: &'a ChatRequest,
    options: &'a ChatOptions<'a>,
) -> Result<GenerateContentRequest<'a>, ConvertError> {
    let traits = &options.model;
    let (tools, tool_config) = tools::to_gemini(request, traits)?;
    let json_in_words = !tools.is_empty() && !traits.json_with_functions;
    let mut conversation = Conversation::default();
    if json_in_words && let Some(words) = format_in_words(&request.response_format) {
        conversation.system(words);
    }
    read_messages(request, &mut conversation);
    let (system_instruction, contents) = conversation.finish(traits).map_err(orphan)?;
    let clients_own = request.google.safety_settings.as_ref().map(SafetySettings::Client);
    let mut generation_config = generation_config(request, options)?;
    if !json_in_words {
        set_format(&mut generation_config, &request.response_format);
    }
    Ok(GenerateContentRequest {
        system_instruction,
        contents,
        tools,
        tool_config,
        safety_settings: clients_own.or(options.safety_settings.map(SafetySettings::Gateway)),
        generation_config,
        cached_content: request.google.cached_content.as_deref(),
        service_tier: request.service_tier,
    })
}

fn orphan(orphan: Orphan) -> ConvertError {
    let Orphan { message, id } = orphan;
    // Calls from before calls had ids have none that could be named.
    let field = if id.is_empty() { "" } else { ".tool_call_id" };
    ConvertError::OrphanToolResult { param: format!("messages[{message}]{field}"), id }
}

fn read_messages<'a>(request: &'a ChatRequest, conversation: &mut Conversation<'a>) {
    for (index, message) in request.messages.iter().enumerate() {
        match message {
            Message::System(texts) => texts.iter().for_each(|text| conversation.system(text.as_str())),
            Message::User(parts) => parts.iter().for_each(|part| conversation.user(user_part(part))),
            Message::Assistant { texts, calls, signature } => {
                let mut pictures = Vec::new();
                for text in texts {
                    conversation.said(text, signature.as_ref(), &mut pictures);
                }
                calls.iter().for_each(|call| conversation.call(past_call(request, call)));
                pictures.into_iter().for_each(|picture| conversation.user(picture));
            }
            Message::Tool { id, text, media } => {
                let media = media.iter().map(|media| media.to_part()).collect();
                conversation.result(PastResult {
                    id,
                    response: object_or_result(text),
                    media,
                    message: index,
                });
            }
        }
    }
}

/// An empty text becomes a space, since a part must say something.
fn user_part(part: &UserPart) -> Part<'_> {
    match part {
        UserPart::Text(text) if text.is_empty() => Part::text(" "),
        UserPart::Text(text) => Part::text(text.as_str()),
        UserPart::Media(media) => media.to_part(),
    }
}

fn past_call<'a>(request: &'a ChatRequest, call: &'a ToolCall) -> PastCall<'a> {
    PastCall {
        id: &call.id,
        name: request.names.to_gemini(&call.name),
        args: Cow::Borrowed(&call.args),
        signature: call.signature.as_deref(),
    }
}

fn generation_config<'a>(
    request: &'a ChatRequest,
    options: &'a ChatOptions<'a>,
) -> Result<GenerationConfig<'a>, ConvertError> {
    let show_thoughts = options.show_thoughts;
    if request.speech.is_some() && !options.model.speech {
        let reason = "with 'audio' by this model: it does not speak, but Gemini's TTS models do.".to_owned();
        return Err(ConvertError::Unsupported { param: "modalities".to_owned(), reason });
    }
    Ok(GenerationConfig {
        temperature: request.temperature,
        top_p: request.top_p,
        top_k: request.top_k,
        max_output_tokens: request.max_tokens.map(|max| max.min(options.output_limit.unwrap_or(max))),
        stop_sequences: request.stop.geminis(),
        presence_penalty: penalty(request.presence_penalty, &options.model),
        frequency_penalty: penalty(request.frequency_penalty, &options.model),
        seed: request.seed,
        response_modalities: modalities(request),
        speech_config: request.speech.map(|speech| SpeechConfig { voice: speech.voice }),
        response_logprobs: request.log_probabilities.is_some(),
        logprobs: request.log_probabilities,
        thinking_config: thinking::config(
            request.reasoning_effort,
            &request.google.thinking,
            show_thoughts,
            &options.model,
        ),
        ..GenerationConfig::default()
    })
}

/// Models that speak do nothing else.
fn modalities(request: &ChatRequest) -> &'static [&'static str] {
    match (request.speech, request.image_output) {
        (Some(_), _) => &["AUDIO"],
        (None, true) => &["TEXT", "IMAGE"],
        (None, false) => &[],
    }
}

/// 0 means no penalty, which every model can do; those that know none are not told.
fn penalty(value: Option<f64>, traits: &ModelTraits) -> Option<f64> {
    value.filter(|value| *value != 0.0 && traits.penalties)
}

fn set_format(config: &mut GenerationConfig<'_>, format: &ResponseFormat) {
    config.response_mime_type = match format {
        ResponseFormat::Text => None,
        ResponseFormat::Json | ResponseFormat::Schema(_) => Some("application/json"),
    };
    if let ResponseFormat::Schema(schema) = format {
        config.response_json_schema = Some(schema::clean(schema));
    }
}

/// The format as an instruction, for models that refuse a JSON type beside tools.
fn format_in_words(format: &ResponseFormat) -> Option<String> {
    match format {
        ResponseFormat::Text => None,
        ResponseFormat::Json => Some("Give the final answer as one JSON value and nothing else.".to_owned()),
        ResponseFormat::Schema(schema) => Some(schema::in_words(schema)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::convert::{
        fixtures,
        gemini::{signatures::SIGNATURE_PLACEHOLDER, turns::to_raw},
        openai::{ChatMeta, chat_request, to_openai},
    };

    fn convert(model: &str, messages: Value, fields: Value) -> Result<Value, ConvertError> {
        let mut body = json!({"model": model, "messages": messages});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let request = chat_request(body.to_string().as_bytes())?;
        let options = ChatOptions { model: ModelTraits::of(model), ..ChatOptions::default() };
        Ok(serde_json::from_slice(&to_gemini(&request, &options)?.to_json()).unwrap())
    }

    fn hi() -> Value {
        json!([{"role": "user", "content": "hi"}])
    }

    #[test]
    fn a_tool_round_trip_keeps_ids_signatures_and_order() {
        let call = |id: &str, signature: Option<&str>| {
            let extra = signature.map(|text| json!({"google": {"thought_signature": text}}));
            json!({"id": id, "type": "function", "function": {"name": "get weather", "arguments": "{\"city\": \"Rome\"}"}, "extra_content": extra})
        };
        let messages = json!([
            {"role": "developer", "content": [{"type": "text", "text": "be brief"}]},
            {"role": "user", "content": "weather?"},
            {"role": "assistant", "content": null, "tool_calls": [call("call_1", Some("c2ln")), call("call_2", None)]},
            {"role": "tool", "tool_call_id": "call_2", "content": "rain"},
            {"role": "tool", "tool_call_id": "call_1", "content": "{\"sky\": \"clear\"}"},
        ]);
        let tools = json!({"tools": [{"type": "function", "function": {"name": "get weather"}}]});

        let request = convert("gemini-3.8-flash", messages, tools).unwrap();

        assert_eq!(
            request,
            json!({
                "systemInstruction": {"parts": [{"text": "be brief"}]},
                "contents": [
                    {"role": "user", "parts": [{"text": "weather?"}]},
                    {"role": "model", "parts": [
                        {"functionCall": {"name": "get_weather", "args": {"city": "Rome"}, "id": "call_1"}, "thoughtSignature": "c2ln"},
                        {"functionCall": {"name": "get_weather", "args": {"city": "Rome"}, "id": "call_2"}},
                    ]},
                    {"role": "user", "parts": [
                        {"functionResponse": {"name": "get_weather", "response": {"sky": "clear"}, "id": "call_1"}},
                        {"functionResponse": {"name": "get_weather", "response": {"result": "rain"}, "id": "call_2"}},
                    ]},
                ],
                "tools": [{"functionDeclarations": [{"name": "get_weather"}]}],
            })
        );
    }

    #[test]
    fn a_result_for_no_call_names_its_message() {
        let messages =
            json!([{"role": "user", "content": "hi"}, {"role": "tool", "tool_call_id": "x", "content": "y"}]);

        let error = convert("gemini-2.5-flash", messages, json!({})).unwrap_err();

        assert_eq!(error.param(), Some("messages[1].tool_call_id"));
    }

    #[test]
    fn a_result_of_nothing_is_an_empty_one() {
        let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}});
        let messages = json!([
            {"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "a", "content": []},
        ]);

        let request = convert("gemini-2.5-flash", messages, json!({})).unwrap();

        let result = &request["contents"][2]["parts"][0]["functionResponse"];
        assert_eq!(result, &json!({"name": "f", "response": {"result": ""}}));
    }

    #[test]
    fn a_call_without_its_signature_gets_the_placeholder_on_gemini_3() {
        let calls = json!([{"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]);
        let messages = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": calls}]);

        let signature = |model: &str| {
            let request = convert(model, messages.clone(), json!({})).unwrap();
            request["contents"][1]["parts"][0]["thoughtSignature"].clone()
        };

        assert_eq!(signature("gemini-3.8-flash"), SIGNATURE_PLACEHOLDER);
        assert_eq!(signature("gemini-2.5-flash"), Value::Null);
    }

    #[test]
    fn sampling_and_format_go_to_the_generation_config() {
        let fields = json!({
            "temperature": 0.2, "top_p": 0.9, "seed": 7, "stop": ["a", "b"], "max_tokens": 50, "reasoning_effort": "low",
            "frequency_penalty": 0, "response_format": {"type": "json_schema", "json_schema": {"name": "s", "strict": true,
                "schema": {"$schema": "x", "type": "object", "properties": {"a": {"type": ["string", "null"]}}}}},
        });

        let request = convert("gemini-2.5-flash", hi(), fields).unwrap();

        assert_eq!(
            request["generationConfig"],
            json!({
                "temperature": 0.2, "topP": 0.9, "maxOutputTokens": 50, "stopSequences": ["a", "b"], "seed": 7,
                "responseMimeType": "application/json",
                "responseJsonSchema": {"type": "object", "properties": {"a": {"type": ["string", "null"]}}},
                "thinkingConfig": {"thinkingBudget": 1024},
            })
        );
    }

    #[test]
    fn more_tokens_than_a_model_writes_are_as_many_as_it_writes() {
        let body = json!({"model": "m", "messages": hi(), "max_completion_tokens": 100_000});
        let request = chat_request(body.to_string().as_bytes()).unwrap();
        let limit = |output_limit| {
            let options = ChatOptions { output_limit, ..ChatOptions::default() };
            let request: Value =
                serde_json::from_slice(&to_gemini(&request, &options).unwrap().to_json()).unwrap();
            request["generationConfig"]["maxOutputTokens"].clone()
        };

        assert_eq!([limit(Some(8192)), limit(Some(200_000)), limit(None)], [8192, 100_000, 100_000]);
    }

    #[test]
    fn gemini_2_5_reads_the_format_in_words_when_there_are_tools() {
        let fields = json!({
            "response_format": {"type": "json_object"}, "tools": [{"type": "function", "function": {"name": "f"}}],
        });

        let words = convert("gemini-2.5-flash", hi(), fields.clone()).unwrap();
        let typed = convert("gemini-3.8-flash", hi(), fields).unwrap();

        assert!(words["systemInstruction"]["parts"][0]["text"].as_str().unwrap().contains("JSON"));
        assert_eq!(words.get("generationConfig"), None);
        assert_eq!(typed["generationConfig"], json!({"responseMimeType": "application/json"}));
    }

    #[test]
    fn a_penalty_goes_to_models_that_take_it_and_to_no_others() {
        let fields = json!({"presence_penalty": 0.5});

        let taken = convert("gemini-2.0-flash", hi(), fields.clone()).unwrap();
        let left_out = convert("gemini-3.8-flash", hi(), fields).unwrap();

        assert_eq!(taken["generationConfig"], json!({"presencePenalty": 0.5}));
        assert_eq!(left_out.get("generationConfig"), None);
    }

    #[test]
    fn a_spoken_answer_needs_a_model_that_speaks() {
        let fields = json!({"modalities": ["text", "audio"], "audio": {"voice": "nova", "format": "wav"}});

        let spoken = convert("gemini-2.5-flash-preview-tts", hi(), fields.clone()).unwrap();
        let refused = convert("gemini-2.5-flash", hi(), fields).unwrap_err();

        assert_eq!(
            spoken["generationConfig"],
            json!({"responseModalities": ["AUDIO"], "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Leda"}}}})
        );
        assert_eq!(refused.param(), Some("modalities"));
    }

    #[test]
    fn calls_from_before_calls_had_ids_find_their_results() {
        let messages = json!([
            {"role": "user", "content": "weather?"},
            {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{\"a\":1}"}},
            {"role": "function", "name": "f", "content": "rain"},
        ]);

        let contents = convert("gemini-3.8-flash", messages, json!({"functions": [{"name": "f"}]})).unwrap()
            ["contents"]
            .clone();

        assert_eq!(contents[1]["parts"][0]["functionCall"], json!({"name": "f", "args": {"a": 1}}));
        assert_eq!(
            contents[2]["parts"],
            json!([{"functionResponse": {"name": "f", "response": {"result": "rain"}}}])
        );
    }

    #[test]
    fn the_clients_own_safety_settings_win() {
        let own = json!([{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]);
        let body = json!({"model": "m", "messages": hi(), "google": {"safety_settings": own}});
        let request = chat_request(body.to_string().as_bytes()).unwrap();
        let gateways = to_raw(&json!([{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]));
        let options = ChatOptions { safety_settings: Some(&*gateways), ..ChatOptions::default() };
        let sent = |request: &ChatRequest| {
            let json = to_gemini(request, &options).unwrap().to_json();
            serde_json::from_slice::<Value>(&json).unwrap()["safetySettings"].take()
        };

        assert_eq!(sent(&request), own);
        let without = chat_request(json!({"model": "m", "messages": hi()}).to_string().as_bytes()).unwrap();
        assert_eq!(sent(&without).to_string(), gateways.get());
    }

    #[test]
    fn a_picture_that_the_model_drew_is_shown_to_it_again() {
        let messages = json!([
            {"role": "user", "content": "a cat"},
            {"role": "assistant", "content": "Here:\n\n![image](data:image/png;base64,AA==)"},
            {"role": "user", "content": "make it blue"},
        ]);

        let contents = convert("gemini-3-pro-image", messages, json!({})).unwrap()["contents"].clone();

        assert_eq!(contents[1]["parts"], json!([{"text": "Here:\n\n"}]));
        assert_eq!(
            contents[2]["parts"],
            json!([{"inlineData": {"mimeType": "image/png", "data": "AA=="}}, {"text": "make it blue"}])
        );
    }

    #[test]
    fn calls_come_back_as_gemini_made_them() {
        for (path, events) in fixtures::answers() {
            let [body] = events.as_slice() else { continue };
            let answer: Value = serde_json::from_str(body).unwrap_or_default();
            let parts = answer["candidates"][0]["content"]["parts"].as_array().cloned().unwrap_or_default();
            let made: Vec<_> =
                parts.into_iter().filter(|part| part["functionCall"]["name"].is_string()).collect();
            if made.is_empty() {
                continue;
            }

            let responses = [serde_json::from_str(body).unwrap()];
            let completion = to_openai(&responses, &ChatMeta::test()).to_json();
            let completion: Value = serde_json::from_slice(&completion).unwrap();
            let messages = json!([{"role": "user", "content": "go"}, completion["choices"][0]["message"]]);
            let request = convert("gemini-3.8-flash", messages, json!({})).unwrap();

            let sent = request["contents"][1]["parts"].as_array().unwrap();
            let sent = sent.iter().filter(|part| part.get("functionCall").is_some());
            for (index, (sent, made)) in sent.zip(&made).enumerate() {
                let args = made["functionCall"].get("args").cloned().unwrap_or(json!({}));
                assert_eq!(sent["functionCall"]["name"], made["functionCall"]["name"], "{path}");
                assert_eq!(sent["functionCall"]["args"], args, "{path}");
                let lost = if index == 0 { json!(SIGNATURE_PLACEHOLDER) } else { Value::Null };
                let signature = made.get("thoughtSignature").cloned().unwrap_or(lost);
                assert_eq!(sent.get("thoughtSignature").cloned().unwrap_or_default(), signature, "{path}");
            }
        }
    }

    #[test]
    fn empty_messages_vanish_and_neighbours_merge() {
        let messages = json!([
            {"role": "user", "content": "a"}, {"role": "assistant", "content": ""}, {"role": "user", "content": ""},
        ]);
        let body = json!({"model": "m", "messages": messages});
        let request = chat_request(body.to_string().as_bytes()).unwrap();

        let options = ChatOptions::default();
        let contents = to_gemini(&request, &options).unwrap().contents;

        assert_eq!(contents.len(), 1);
        let texts: Vec<_> = contents[0].parts.iter().filter_map(|part| part.text.as_deref()).collect();
        assert_eq!(texts, ["a", " "]);
    }

    #[test]
    fn requests_of_real_clients_convert() {
        for (path, text) in
            fixtures::files("clients", ".json").iter().filter(|(path, _)| path.contains("openai-"))
        {
            let file: Value = serde_json::from_str(text).unwrap();
            for recorded in file["requests"].as_array().unwrap() {
                if recorded["target"] != "/v1/chat/completions" {
                    continue;
                }
                let call = recorded["call"].as_str().unwrap();
                let body = recorded["body"].to_string();

                let outcome = chat_request(body.as_bytes()).map(|request| {
                    let options = ChatOptions::default();
                    to_gemini(&request, &options).map(|gemini| gemini.to_json().len())
                });

                assert!(outcome.is_ok_and(|outcome| outcome.is_ok()), "{path} {call}");
            }
        }
    }
}
