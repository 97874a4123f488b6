//! What Google refuses in a request that can be read.
//!
//! The rules are those that clients and converters run into: order of turns, thought signatures, options that a model does not
//! have, and schema keywords outside OpenAPI's subset.

use super::{
    errors::GoogleError,
    models::Model,
    request::{Content, GenerateRequest, Part},
    schema,
};

/// Longest name of a function, in characters.
const MAX_FUNCTION_NAME: usize = 128;

/// A signature that starts so is answered as corrupted, for tests of the cure.
const CORRUPTED_SIGNATURE: &str = "corrupted";

/// The first objection to `request`, if there is one.
pub fn check(request: &GenerateRequest, model: &Model) -> Result<(), GoogleError> {
    check_turns(&request.contents, model)?;
    check_options(request, model)?;
    check_schemas(request)?;
    check_function_results(&request.contents)?;
    if model.is_gemini_3 { check_signatures(&request.contents) } else { Ok(()) }
}

fn check_turns(contents: &[Content], model: &Model) -> Result<(), GoogleError> {
    let Some(last) = contents.last() else {
        return refuse("* GenerateContentRequest.contents: contents is not specified\n");
    };
    for content in contents {
        match content.role.as_deref() {
            None | Some("" | "user" | "model") => {}
            Some("function") if !model.is_strict_on_turns => {}
            Some("function") => {
                return refuse("Role 'function' is not supported. Please use a valid role: user, model.");
            }
            Some(_) => return refuse("Please use a valid role: user, model."),
        }
        if content.parts.is_empty() {
            return refuse("* GenerateContentRequest.contents: contents.parts must not be empty.\n");
        }
    }
    if model.is_strict_on_turns && (last.is_model() || has_text_after_result(&last.parts)) {
        return refuse("Requests ending with a model turn are not supported.");
    }
    Ok(())
}

fn has_text_after_result(parts: &[Part]) -> bool {
    let first_result = parts.iter().position(|part| part.function_response.is_some());
    first_result.is_some_and(|at| parts[at..].iter().any(|part| part.function_response.is_none()))
}

fn check_options(request: &GenerateRequest, model: &Model) -> Result<(), GoogleError> {
    let config = &request.generation_config;
    let thinking = &config.thinking_config;
    let penalties = [config.presence_penalty, config.frequency_penalty];
    if penalties.iter().flatten().any(|penalty| *penalty != 0.0) {
        return refuse("Penalty is not enabled for this model");
    }
    if config.candidate_count.unwrap_or(1) > 1 {
        return refuse("Multiple candidates is not enabled for this model");
    }
    if config.response_logprobs || config.logprobs.is_some() {
        return refuse("Logprobs is not enabled for this model");
    }
    if thinking.thinking_budget.is_some() && thinking.thinking_level.is_some() {
        return refuse("You can only set only one of thinking budget and thinking level.");
    }
    if let Some(level) = thinking.thinking_level.as_deref() {
        let level = level.to_ascii_uppercase();
        let is_known = matches!(level.as_str(), "LOW" | "MEDIUM" | "HIGH")
            || (level == "MINIMAL" && model.has_minimal_thinking);
        if !model.is_gemini_3 || !is_known {
            return refuse(format!("Thinking level {level} is not supported for this model."));
        }
    }
    if config.stop_sequences.len() > 5 {
        return refuse("The number of stop sequences must not exceed 5.");
    }
    Ok(())
}

fn check_schemas(request: &GenerateRequest) -> Result<(), GoogleError> {
    let config = &request.generation_config;
    if let Some(schema) = &config.response_schema {
        schema::check_subset(schema, "generation_config.response_schema")?;
    }
    if config.response_schema.is_some() && config.response_json_schema.is_some() {
        return refuse("Only one of response_schema and response_json_schema may be set.");
    }
    for (i, tool) in request.tools.iter().enumerate() {
        for (j, function) in tool.function_declarations.iter().enumerate() {
            if !is_function_name(&function.name) {
                return refuse(format!(
                    "* GenerateContentRequest.tools[{i}].function_declarations[{j}].name: Invalid function name.\n"
                ));
            }
            if let Some(schema) = &function.parameters {
                let path = format!("tools[{i}].function_declarations[{j}].parameters");
                schema::check_subset(schema, &path)?;
            }
        }
    }
    Ok(())
}

fn is_function_name(name: &str) -> bool {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let goes_on_well = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    starts_well && name.len() <= MAX_FUNCTION_NAME && name.chars().all(goes_on_well)
}

/// Each turn of calls is followed by as many results as it has calls.
fn check_function_results(contents: &[Content]) -> Result<(), GoogleError> {
    for pair in contents.windows(2) {
        let calls = pair[0].calls().count();
        let results = pair[1].parts.iter().filter(|part| part.function_response.is_some()).count();
        if calls != results && (calls > 0 || results > 0) {
            return refuse(
                "Please ensure that the number of function response parts is equal to the number of function call \
                 parts of the function call turn.",
            );
        }
    }
    Ok(())
}

/// In the current turn the first call of each step must bring its signature back.
///
/// Source: <https://ai.google.dev/gemini-api/docs/thought-signatures>.
fn check_signatures(contents: &[Content]) -> Result<(), GoogleError> {
    let is_question = |content: &Content| !content.is_model() && !content.has_function_response();
    let turn = contents.iter().rposition(is_question).map_or(0, |at| at + 1);
    for (position, content) in
        contents.iter().enumerate().skip(turn).filter(|(_, content)| content.is_model())
    {
        let Some(part) = content.calls().next() else { continue };
        let signature = part.thought_signature.as_deref().unwrap_or_default();
        if signature.is_empty() {
            let name = part.function_call.as_ref().map_or("", |call| &call.name);
            return refuse(format!(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to \
                 work correctly. Additional data, function call `default_api:{name}` , position {position}."
            ));
        }
        if signature.starts_with(CORRUPTED_SIGNATURE) {
            return refuse("Corrupted thought signature.");
        }
    }
    Ok(())
}

fn refuse<T>(message: impl Into<String>) -> Result<T, GoogleError> {
    Err(GoogleError::invalid_argument(message))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::{fixtures::recordings, models, request::parse},
        *,
    };

    /// The objection to `body` for `model`; empty when there is none.
    fn objection(model: &str, body: &Value) -> String {
        let body = body.to_string();
        let request: GenerateRequest = parse(body.as_bytes()).unwrap();
        check(&request, models::find(model).unwrap()).err().map_or(String::new(), |error| error.message)
    }

    fn turn(role: &str, part: Value) -> Value {
        json!({"role": role, "parts": [part]})
    }

    fn tool_loop(call: Value) -> Value {
        json!({"contents": [
            turn("user", json!({"text": "weather?"})),
            turn("model", call),
            turn("user", json!({"functionResponse": {"name": "weather", "response": {"sun": true}}})),
        ]})
    }

    #[test]
    fn nothing_to_answer_is_refused() {
        assert!(objection("gemini-2.5-flash", &json!({})).contains("contents is not specified"));
    }

    #[test]
    fn a_final_model_turn_is_refused_by_the_newest_models_only() {
        let body =
            json!({"contents": [turn("user", json!({"text": "a"})), turn("model", json!({"text": "b"}))]});

        assert_eq!(objection("gemini-2.5-flash", &body), "");
        assert!(objection("gemini-3.6-flash", &body).contains("ending with a model turn"));
    }

    #[test]
    fn gemini_3_wants_the_signature_of_a_call_back() {
        let bare = tool_loop(json!({"functionCall": {"name": "weather"}}));
        let signed = tool_loop(json!({"functionCall": {"name": "weather"}, "thoughtSignature": "c2ln"}));

        assert!(objection("gemini-3.5-flash", &bare).contains("missing a thought_signature"));
        assert_eq!(objection("gemini-3.5-flash", &signed), "");
        assert_eq!(objection("gemini-2.5-flash", &bare), "");
    }

    #[test]
    fn calls_of_an_earlier_turn_need_no_signature() {
        let mut body = tool_loop(json!({"functionCall": {"name": "weather"}}));
        let contents = body["contents"].as_array_mut().unwrap();
        contents.push(turn("model", json!({"text": "sunny"})));
        contents.push(turn("user", json!({"text": "thanks"})));

        assert_eq!(objection("gemini-3.5-flash", &body), "");
    }

    #[test]
    fn a_call_without_its_result_is_refused() {
        let body = json!({"contents": [
            turn("model", json!({"functionCall": {"name": "weather"}})), turn("user", json!({"text": "well?"})),
        ]});

        assert!(objection("gemini-2.5-flash", &body).contains("number of function response parts"));
    }

    #[test]
    fn options_that_no_current_model_has_are_refused() {
        let with = |config: Value| {
            objection(
                "gemini-3.1-pro-preview",
                &json!({"contents": [turn("user", json!({"text": "a"}))], "generationConfig": config}),
            )
        };

        assert!(with(json!({"presencePenalty": 0.5})).contains("Penalty"));
        assert!(with(json!({"candidateCount": 2})).contains("Multiple candidates"));
        assert!(with(json!({"responseLogprobs": true})).contains("Logprobs"));
        assert!(with(json!({"thinkingConfig": {"thinkingLevel": "MINIMAL"}})).contains("MINIMAL"));
        assert_eq!(with(json!({"thinkingConfig": {"thinkingLevel": "low"}})), "");
    }

    fn generates(target: &str) -> bool {
        target.contains(":generateContent") || target.contains(":streamGenerateContent")
    }

    #[test]
    fn what_google_has_answered_is_not_refused() {
        for (name, file) in recordings("gemini/exchanges") {
            for exchange in file["exchanges"].as_array().into_iter().flatten() {
                let url = exchange["request"]["url"].as_str().unwrap_or_default();
                let is_ours = url.contains("generativelanguage") && generates(url);
                let Some(model) = url.split(&['/', ':'][..]).find_map(models::find).filter(|_| is_ours)
                else {
                    continue;
                };
                if exchange["response"]["status"] == 200 && exchange["request"]["body"].is_object() {
                    let body = exchange["request"]["body"].to_string();
                    let request =
                        parse(body.as_bytes()).unwrap_or_else(|error| panic!("{name}: {}", error.message));
                    check(&request, model).unwrap_or_else(|error| panic!("{name}: {}", error.message));
                }
            }
        }
    }

    #[test]
    fn what_clients_send_can_be_read() {
        for (name, file) in recordings("clients") {
            for request in file["requests"].as_array().into_iter().flatten() {
                if request["target"].as_str().is_some_and(generates) {
                    let (call, body) = (&request["call"], request["body"].to_string());
                    parse::<GenerateRequest>(body.as_bytes())
                        .unwrap_or_else(|error| panic!("{name} {call}: {}", error.message));
                }
            }
        }
    }
}
