//! What the simulated model answers: a function of the request alone, so that tests know it beforehand.
//!
//! - Text quotes the prompt, says what the system instruction was, how many media came, and which turn it is.
//! - Functions are called when the prompt names them (`get_weather` or "get weather"), each at most once, or when the mode
//!   is `ANY`; arguments are an instance of their schema. After results the text quotes them.
//! - With `application/json` the text is an instance of the response schema, with `text/x.enum` the first value.
//! - Gemini 3 signs the first call and the end of a text.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    directives::Directives,
    models::{Kind, Model},
    reply::{CallPart, MediaPart, Reply, ReplyPart},
    request::{Content, FunctionDeclaration, GenerateRequest},
    schema,
    tokens::{self, Usage},
};

/// Words in one event of a stream.
pub const WORDS_PER_EVENT: usize = 3;
/// Characters of a prompt that an answer quotes at most.
const MAX_QUOTED: usize = 2_000;
/// Tokens that a picture costs.
const IMAGE_TOKENS: u64 = 1_120;
/// A PNG of one transparent pixel.
const PIXEL: [u8; 67] = [
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, 0x49, 0x48, 0x44, 0x52, 0, 0, 0, 1, 0, 0,
    0, 1, 8, 6, 0, 0, 0, 0x1f, 0x15, 0xc4, 0x89, 0, 0, 0, 0x0a, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0,
    1, 0, 0, 5, 0, 1, 0x0d, 0x0a, 0x2d, 0xb4, 0, 0, 0, 0, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];

/// Answers a request that `check` has let pass; `id` is the `responseId`.
pub fn compose(
    request: &GenerateRequest,
    model: &'static Model,
    directives: &Directives,
    prompt: &str,
    id: String,
) -> Reply {
    let mut reply = Reply::new(model, id);
    reply.usage = Usage::of_prompt(request);
    let thinking = &request.generation_config.thinking_config;
    if thinking.thinking_budget != Some(0) || model.is_gemini_3 {
        reply.usage.thoughts = 12 + reply.usage.prompt() / 16;
    }
    if thinking.include_thoughts || directives.wants_thoughts {
        reply.events.extend(thoughts(prompt));
    }
    let calls = wanted_calls(request, prompt);
    if calls.is_empty() {
        add_text(&mut reply, request, directives, prompt);
        if wants_image(request, model, directives) {
            reply.usage.candidates += IMAGE_TOKENS;
            reply.events.push(vec![picture(&reply)]);
        }
    } else {
        reply.finish_message = Some("Model generated function call(s).");
        let parts = calls.iter().enumerate().map(|(n, function)| call(&reply, n, function)).collect();
        reply.usage.candidates = 14 * calls.len() as u64;
        reply.events.push(parts);
    }
    if let Some(finish) = &directives.finish {
        reply.finish = finish.clone();
    }
    reply
}

fn thoughts(prompt: &str) -> [Vec<ReplyPart>; 2] {
    let words = prompt.split_whitespace().count();
    let second = format!("The prompt has {words} words, and I know what to answer.\n\n");
    ["**Reading the prompt**\n\n".to_owned(), second].map(|text| vec![ReplyPart::thought(text)])
}

fn add_text(reply: &mut Reply, request: &GenerateRequest, directives: &Directives, prompt: &str) {
    let config = &request.generation_config;
    let mut text = match directives.events {
        Some(events) => (1..=events).map(|n| format!("e{n}")).collect::<Vec<_>>().join(" "),
        None => text_of(request, prompt),
    };
    if let Some(at) = config.stop_sequences.iter().filter_map(|stop| text.find(stop.as_str())).min() {
        text.truncate(at);
    }
    if let Some(most) = config.max_output_tokens.filter(|most| tokens::of_text(&text) > *most) {
        text = tokens::cut(&text, most);
        reply.finish = "MAX_TOKENS".into();
    }
    reply.usage.candidates += tokens::of_text(&text);
    let words = if directives.events.is_some() { 1 } else { WORDS_PER_EVENT };
    reply.events.extend(pieces(&text, words).into_iter().map(|piece| vec![ReplyPart::text(piece)]));
    if reply.model.is_gemini_3 && !text.is_empty() {
        let end = ReplyPart { thought_signature: Some(signature(&reply.id)), ..ReplyPart::text("") };
        reply.events.push(vec![end]);
    }
}

fn text_of(request: &GenerateRequest, prompt: &str) -> String {
    let config = &request.generation_config;
    let schema = config.response_schema.as_ref().or(config.response_json_schema.as_ref());
    let last = request.contents.last();
    match (config.response_mime_type.as_deref(), schema) {
        (Some("application/json"), Some(schema)) => schema::instance(schema, "answer").to_string(),
        (Some("application/json"), None) => json!({"answer": quoted(prompt)}).to_string(),
        (Some("text/x.enum"), Some(schema)) => {
            schema::instance(schema, "answer").as_str().unwrap_or_default().to_owned()
        }
        _ => match last.filter(|content| content.has_function_response()) {
            Some(content) => results(content),
            None => prose(request, prompt),
        },
    }
}

fn results(content: &Content) -> String {
    let responses = content.parts.iter().filter_map(|part| part.function_response.as_ref());
    let sentences: Vec<_> = responses
        .map(|result| format!("The function {} answered {}.", result.name, result.response))
        .collect();
    sentences.join(" ")
}

fn prose(request: &GenerateRequest, prompt: &str) -> String {
    let mut text = format!("You wrote: \"{}\".", quoted(prompt));
    if let Some(system) = &request.system_instruction {
        text += &format!(" I was told: \"{}\".", quoted(&system.text()));
    }
    let media = request.contents.last().map_or(0, tokens::media_parts);
    if media > 0 {
        text += &format!(" I see {media} attachment(s).");
    }
    let turn = request.contents.iter().filter(|content| !content.is_model()).count();
    if turn > 1 {
        text += &format!(" This is turn {turn}.");
    }
    text
}

fn quoted(prompt: &str) -> String {
    prompt.chars().take(MAX_QUOTED).collect()
}

/// Splits at spaces into pieces of so many words; the pieces joined are the text.
pub fn pieces(text: &str, words: usize) -> Vec<String> {
    let all: Vec<_> = text.split_inclusive(' ').collect();
    all.chunks(words).map(|chunk| chunk.concat()).collect()
}

fn wants_image(request: &GenerateRequest, model: &Model, directives: &Directives) -> bool {
    let modalities = &request.generation_config.response_modalities;
    directives.wants_image
        || (model.kind == Kind::Image
            && (modalities.is_empty() || modalities.iter().any(|modality| modality == "IMAGE")))
}

fn picture(reply: &Reply) -> ReplyPart {
    ReplyPart {
        inline_data: Some(MediaPart { mime_type: "image/png", data: STANDARD.encode(PIXEL) }),
        thought_signature: reply.model.is_gemini_3.then(|| signature(&reply.id)),
        ..ReplyPart::default()
    }
}

/// The functions that the last turn asks for, in the order of their declaration.
fn wanted_calls<'a>(request: &'a GenerateRequest, prompt: &str) -> Vec<&'a FunctionDeclaration> {
    let config = &request.tool_config.function_calling_config;
    let mode = config.mode.as_deref().unwrap_or("AUTO").to_ascii_uppercase();
    if mode == "NONE" || request.contents.last().is_some_and(Content::has_function_response) {
        return Vec::new();
    }
    let allowed = &config.allowed_function_names;
    let is_allowed = |function: &&FunctionDeclaration| allowed.is_empty() || allowed.contains(&function.name);
    let prompt = prompt.to_lowercase();
    let is_named = |function: &&FunctionDeclaration| {
        let name = function.name.to_lowercase();
        prompt.contains(&name) || prompt.contains(&name.replace('_', " "))
    };
    let mut wanted: Vec<_> = request.declarations().filter(is_allowed).filter(is_named).collect();
    if wanted.is_empty() && mode == "ANY" {
        wanted.extend(request.declarations().find(is_allowed));
    }
    wanted
}

fn call(reply: &Reply, n: usize, function: &FunctionDeclaration) -> ReplyPart {
    let schema = function.parameters.as_ref().or(function.parameters_json_schema.as_ref());
    let args = schema.map_or_else(|| json!({}), |schema| schema::instance(schema, &function.name));
    let args = if args.is_object() { args } else { Value::Object(Default::default()) };
    let id = reply.model.is_gemini_3.then(|| format!("call_{}_{n}", reply.id));
    ReplyPart {
        function_call: Some(CallPart { name: function.name.clone(), args, id }),
        thought_signature: (reply.model.is_gemini_3 && n == 0).then(|| signature(&reply.id)),
        ..ReplyPart::default()
    }
}

/// A signature as opaque as Google's.
fn signature(id: &str) -> String {
    STANDARD.encode(format!("simulated signature of {id}"))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{models, request::parse},
        *,
    };

    fn answer(model: &str, body: &Value) -> Reply {
        let body = body.to_string();
        let request: GenerateRequest = parse(body.as_bytes()).unwrap();
        let prompt = request.contents.last().map(Content::text).unwrap_or_default();
        let (directives, prompt) = Directives::parse(&prompt);
        compose(&request, models::find(model).unwrap(), &directives, &prompt, "id".into())
    }

    fn asked(prompt: &str) -> Value {
        json!({"contents": [{"parts": [{"text": prompt}]}]})
    }

    fn with_tools(prompt: &str) -> Value {
        let function = |name: &str| json!({"name": name, "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}});
        let mut body = asked(prompt);
        body["tools"] = json!([{"functionDeclarations": [function("get_weather"), function("get_time")]}]);
        body
    }

    #[test]
    fn an_answer_quotes_prompt_and_system_instruction() {
        let mut body = asked("hello there");
        body["systemInstruction"] = json!({"parts": [{"text": "be brief"}]});

        let text = answer("gemini-2.5-flash", &body).text();

        assert_eq!(text, "You wrote: \"hello there\". I was told: \"be brief\".");
    }

    #[test]
    fn a_prompt_that_names_two_functions_gets_parallel_calls() {
        let reply = answer("gemini-3.5-flash", &with_tools("please get_weather and get time"));

        let parts = &reply.events[0];
        let names: Vec<_> =
            parts.iter().map(|part| part.function_call.as_ref().unwrap().name.as_str()).collect();
        assert_eq!(names, ["get_weather", "get_time"]);
        assert_eq!(parts[0].function_call.as_ref().unwrap().args, json!({"city": "a city"}));
        assert!(parts[0].thought_signature.is_some(), "the first call is signed");
        assert!(parts[1].thought_signature.is_none(), "only the first call is signed");
    }

    #[test]
    fn tools_are_left_alone_when_the_prompt_does_not_name_them() {
        let reply = answer("gemini-2.5-flash", &with_tools("hello"));

        assert_eq!(reply.text(), "You wrote: \"hello\".");
    }

    #[test]
    fn the_mode_any_calls_the_first_allowed_function() {
        let mut body = with_tools("hello");
        body["toolConfig"] =
            json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["get_time"]}});

        let reply = answer("gemini-2.5-flash", &body);

        assert_eq!(reply.events[0][0].function_call.as_ref().unwrap().name, "get_time");
    }

    #[test]
    fn results_of_functions_are_quoted() {
        let body =
            json!({"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {"a": 1}}}]}]});

        assert_eq!(answer("gemini-2.5-flash", &body).text(), "The function f answered {\"a\":1}.");
    }

    #[test]
    fn a_wish_for_events_makes_one_word_of_each() {
        let reply = answer("gemini-2.5-flash", &asked("[[events=3]]"));

        assert_eq!(reply.events.len(), 3);
        assert_eq!(reply.text(), "e1 e2 e3");
    }

    #[test]
    fn stops_and_limits_end_the_text() {
        let mut body = asked("one STOP two");
        body["generationConfig"] = json!({"stopSequences": ["STOP"]});
        assert_eq!(answer("gemini-2.5-flash", &body).text(), "You wrote: \"one ");

        body["generationConfig"] = json!({"maxOutputTokens": 2});
        let reply = answer("gemini-2.5-flash", &body);
        assert_eq!(reply.text(), "You wrot");
        assert_eq!(reply.finish, "MAX_TOKENS");
    }

    #[test]
    fn thoughts_come_first_and_only_when_asked_for() {
        let mut body = asked("hello");
        assert!(!answer("gemini-2.5-flash", &body).events[0][0].thought);

        body["generationConfig"] = json!({"thinkingConfig": {"includeThoughts": true}});
        assert!(answer("gemini-2.5-flash", &body).events[0][0].thought);
    }
}
