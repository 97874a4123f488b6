//! Tests of requests: what goes to Gemini, and what is refused.

use serde_json::{Value, json};

use super::*;
use crate::convert::{
    fixtures,
    testing::{self, assert_fates, assert_printed},
    traits::ModelTraits,
};

const GEMINI_3: &str = "gemini-3.8-flash";

pub(in crate::convert::openai::responses) fn convert(
    body: &Value,
    model: &str,
    earlier: Earlier,
) -> Result<Value, ConvertError> {
    let mut request = responses_request(body.to_string().as_bytes())?;
    request.complete(earlier, model)?;
    let (show_thoughts, model) = (request.show_thoughts, ModelTraits::of(model));
    let options = ChatOptions { show_thoughts, model, ..ChatOptions::default() };
    Ok(serde_json::from_slice(&request.to_gemini(&options)?.to_json()).unwrap())
}

fn with(fields: Value) -> Value {
    testing::with(json!({"model": GEMINI_3, "input": "hi"}), &fields)
}

fn sent(fields: Value) -> Result<Value, ConvertError> {
    convert(&with(fields), GEMINI_3, Earlier::default())
}

#[test]
fn what_a_client_sets_reaches_gemini_in_its_own_words() {
    let request = sent(json!({
        "instructions": "Be brief.", "temperature": 0.5, "top_p": 0.25, "max_output_tokens": 50,
        "reasoning": {"effort": "low", "summary": "auto"}, "service_tier": "flex",
        "include": ["message.output_text.logprobs"], "top_logprobs": 2,
        "text": {"format": {"type": "json_schema", "name": "s", "strict": true, "schema": {"type": "object"}}},
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}],
        "tool_choice": {"type": "function", "name": "f"},
        "input": [{"role": "developer", "content": "Rhyme."}, {"role": "user", "content": [
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
        ]}],
    }));

    let request = request.unwrap();
    assert_eq!(request["systemInstruction"]["parts"], json!([{"text": "Be brief."}, {"text": "Rhyme."}]));
    assert_eq!(
        request["contents"][0]["parts"],
        json!([{"text": "What is this?"}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}])
    );
    assert_eq!(
        request["generationConfig"],
        json!({
            "temperature": 0.5, "topP": 0.25, "maxOutputTokens": 50, "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "object"}, "responseLogprobs": true, "logprobs": 2,
            "thinkingConfig": {"includeThoughts": true, "thinkingLevel": "LOW"},
        })
    );
    assert_eq!(request["serviceTier"], "flex");
    assert_eq!(request["tools"][0]["functionDeclarations"][0]["name"], "f");
    assert_eq!(request["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"], json!(["f"]));
}

#[test]
fn a_tool_loop_of_items_keeps_ids_signatures_and_order() {
    let call = |id: &str| json!({"type": "function_call", "id": "fc_1", "call_id": id, "name": "get weather", "arguments": "{\"a\":1}", "status": "completed"});
    let request = sent(json!({
        "tools": [{"type": "function", "name": "get weather"}, {"type": "web_search"}, {"type": "code_interpreter", "container": {"type": "auto"}}],
        "input": [
            {"role": "user", "content": "weather?"},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "gemini:gemini-3.8-flash:c2ln"},
            call("c1"), call("c2"),
            {"type": "function_call_output", "call_id": "c2", "output": [
                {"type": "input_text", "text": "rain"}, {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="},
            ]},
            {"type": "function_call_output", "call_id": "c1", "output": "{\"sky\":\"clear\"}"},
        ],
    }))
    .unwrap();

    assert_eq!(
        request["contents"],
        json!([
            {"role": "user", "parts": [{"text": "weather?"}]},
            {"role": "model", "parts": [
                {"functionCall": {"name": "get_weather", "args": {"a": 1}, "id": "c1"}, "thoughtSignature": "c2ln"},
                {"functionCall": {"name": "get_weather", "args": {"a": 1}, "id": "c2"}},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "get_weather", "response": {"sky": "clear"}, "id": "c1"}},
                {"functionResponse": {"name": "get_weather", "response": {"result": "rain"}, "id": "c2",
                    "parts": [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]}},
            ]},
        ])
    );
    assert_eq!(request["tools"][1], json!({"googleSearch": {}}));
    assert_eq!(request["tools"][2], json!({"codeExecution": {}}));
}

#[test]
fn what_was_said_before_stands_in_front_without_its_instructions() {
    let earlier = Earlier {
        items: vec![
            json!({"type": "message", "id": "msg_1", "role": "user", "content": [{"type": "input_text", "text": "a"}]}),
            json!({"type": "message", "id": "msg_2", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]}),
            json!({"type": "item_reference", "id": "msg_3"}),
        ],
        referenced: HashMap::from([("msg_3".to_owned(), json!({"role": "user", "content": "c"}))]),
    };
    let body = json!({"model": GEMINI_3, "previous_response_id": "resp_1", "input": [{"id": "msg_3"}], "instructions": "now"});

    let request = convert(&body, GEMINI_3, earlier).unwrap();

    let texts: Vec<_> = request["contents"].as_array().unwrap().iter().map(|turn| &turn["parts"]).collect();
    assert_eq!(
        texts,
        [&json!([{"text": "a"}]), &json!([{"text": "b"}]), &json!([{"text": "c"}, {"text": "c"}])]
    );
    assert_eq!(request["systemInstruction"]["parts"], json!([{"text": "now"}]));
}

#[test]
fn mistakes_name_their_place() {
    for (fields, param) in [
        (json!({"model": null}), "model"),
        (json!({"input": null}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": 5}), "input"),
        (json!({"input": [{"role": "user", "content": [{"type": "x"}]}]}), "input[0].content[0].type"),
        (json!({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}), "input"),
        (json!({"input": [{"type": "item_reference", "id": "rs_1"}]}), "input"),
        (json!({"text": {"format": {"type": "json_schema", "name": "s"}}}), "text.format.schema"),
        (json!({"text": {"format": {"type": "json_schema", "schema": {}}}}), "text.format.name"),
        (json!({"text": {"format": {"type": "xml"}}}), "text.format.type"),
        (json!({"text": {"verbosity": "loud"}}), "text.verbosity"),
        (json!({"reasoning": {"effort": "much"}}), "reasoning.effort"),
        (json!({"reasoning": {"summary": "much"}}), "reasoning.summary"),
        (json!({"reasoning": 1}), "reasoning"),
        (json!({"tools": [{"type": "mcp"}]}), "tools[0].type"),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (json!({"include": ["a", 1]}), "include[1]"),
        (json!({"metadata": {"a": 1}}), "metadata"),
        (json!({"temperature": 3}), "temperature"),
        (json!({"top_logprobs": 21}), "top_logprobs"),
        (json!({"background": true, "store": false}), "background"),
        (json!({"background": 1}), "background"),
        (json!({"conversation": "conv_1"}), "conversation"),
        (json!({"prompt": {"id": "pmpt_1"}}), "prompt"),
    ] {
        let error = sent(fields.clone()).unwrap_err();
        assert_eq!(error.param(), Some(param), "{fields}: {error}");
    }
}

#[test]
fn the_answer_repeats_the_request_with_what_it_left_out() {
    let body = with(
        json!({"metadata": {"k": "v"}, "user": "u", "reasoning": {"effort": "low"}, "tools": [{"type": "function", "name": "f"}]}),
    );

    let echo = responses_request(body.to_string().as_bytes()).unwrap().echo;

    assert_eq!(echo["tools"][0]["strict"], true);
    assert_eq!((&echo["metadata"], &echo["user"]), (&json!({"k": "v"}), &json!("u")));
    assert_eq!(echo["reasoning"], json!({"effort": "low", "summary": null}));
    assert_eq!(echo["text"], json!({"format": {"type": "text"}, "verbosity": "medium"}));
    assert_eq!((&echo["tool_choice"], &echo["store"]), (&json!("auto"), &json!(true)));
    assert_eq!((&echo["instructions"], &echo["truncation"]), (&Value::Null, &json!("disabled")));
}

/// Every field of `ResponseCreateParams` of openai 3.54.0, and the vendor fields, with a value that asks for something.
fn sdk_fields() -> Value {
    let newest = json!({"background_options": {"completion_window": "2h"}, "access_programs": {},
        "image": {"context_compression": "enabled"}});
    let older = json!({
        "model": GEMINI_3, "input": "hello", "background": true, "context_management": [{"type": "compaction"}],
        "conversation": "conv_1", "include": ["message.output_text.logprobs"], "instructions": "i",
        "max_output_tokens": 5, "max_tool_calls": 2, "metadata": {"a": "b"}, "moderation": {"model": "x"},
        "parallel_tool_calls": false, "previous_response_id": "resp_1", "prompt": {"id": "pmpt_1"},
        "prompt_cache_key": "k", "prompt_cache_options": {"mode": "x"}, "prompt_cache_retention": "24h",
        "reasoning": {"effort": "low"}, "safety_identifier": "s", "service_tier": "flex", "store": false,
        "stream": true, "stream_options": {"include_obfuscation": false}, "temperature": 0.5,
        "text": {"format": {"type": "json_object"}}, "tool_choice": "none", "tools": [{"type": "web_search"}],
        "top_logprobs": 2, "top_p": 0.5, "truncation": "auto", "user": "u", "google": {"cached_content": "c"},
        "extra_body": {"google": {"cached_content": "c"}},
    });
    testing::with(older, &newest)
}

fn beside(name: &str) -> Value {
    match name {
        "tool_choice" => json!({"tools": [{"type": "function", "name": "f"}]}),
        _ => json!({}),
    }
}

#[test]
fn every_field_of_the_sdk_has_a_fate_and_meets_it() {
    // How an answer is told and kept, and what it follows.
    let elsewhere =
        ["model", "stream", "store", "background", "previous_response_id", "metadata", "parallel_tool_calls"];
    let convert = |fields: &Value| sent(fields.clone()).map(|request| request.to_string().into_bytes());
    assert_fates(FIELD_FATES, &sdk_fields(), &elsewhere, beside, convert);
}

#[test]
fn the_documents_print_the_table_of_fields() {
    assert_printed(FIELD_FATES);
}

#[test]
fn null_in_any_field_changes_nothing() {
    let plain = sent(json!({}));
    for (name, _) in
        FIELD_FATES.iter().copied().flatten().filter(|(name, _)| !["model", "input"].contains(name))
    {
        assert_eq!(sent(json!({ *name: null })), plain, "{name}");
    }
}

#[test]
fn what_clients_really_sent_converts() {
    let files = fixtures::files("clients", ".json").into_iter().filter(|(path, _)| path.contains("openai"));
    let recorded = fixtures::files("openai/exchanges", ".json");
    let bodies = files.chain(recorded).flat_map(|(path, text)| {
        let file: Value = serde_json::from_str(&text).unwrap();
        let requests = file["requests"].as_array().cloned().unwrap_or_default();
        let exchanges = file["exchanges"].as_array().cloned().unwrap_or_default();
        let requests =
            requests.into_iter().chain(exchanges.into_iter().map(|exchange| exchange["request"].clone()));
        let is_ours = |request: &Value| {
            let target = request["target"].as_str().or(request["url"].as_str()).unwrap_or_default();
            target.ends_with("/responses") && request["body"].is_object()
        };
        requests.filter(is_ours).map(|request| (path.clone(), request["body"].clone())).collect::<Vec<_>>()
    });
    let mut count = 0;
    for (path, body) in bodies {
        for model in [GEMINI_3, "gemini-3.1-pro-preview"] {
            let request = convert(&body, model, Earlier::default())
                .unwrap_or_else(|error| panic!("{path}: {error}\n{body}"));
            assert!(!request["contents"].as_array().unwrap().is_empty());
        }
        count += 1;
    }
    assert!(count > 8 || fixtures::folder().is_none(), "{count}");
}

#[test]
fn a_search_that_the_choice_leaves_out_is_not_offered() {
    let tools = |choice: Value| {
        let tools =
            json!([{"type": "function", "name": "f"}, {"type": "web_search"}, {"type": "code_interpreter"}]);
        sent(json!({"tools": tools, "tool_choice": choice})).unwrap()["tools"].clone()
    };
    let allowed = |tool: Value| tools(json!({"type": "allowed_tools", "mode": "auto", "tools": [tool]}));
    let functions = json!([{"functionDeclarations": [{"name": "f"}]}]);

    assert_eq!(tools(json!("none")), functions);
    assert_eq!(allowed(json!({"type": "function", "name": "f"})), functions);
    assert_eq!(allowed(json!({"type": "web_search"})), json!([{"googleSearch": {}}]));
    let only_search = sent(json!({"tools": [{"type": "web_search"}], "tool_choice": "none"})).unwrap();
    assert_eq!(only_search.get("tools"), None);
}
