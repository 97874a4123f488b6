//! What helps when Google refuses a request that was made here: it is mended, and sent again.
//!
//! Which model takes what changes faster than any table of models, so what Google itself says of a request counts more than
//! what is known beforehand. Works on the JSON that was sent, whatever dialect it was made from; needed once in a while, so it
//! may take its time. Sources of the wordings: recorded and quoted errors of 2025 and 2026.

use serde_json::{Map, Value, json};

use super::gemini::signatures::SIGNATURE_PLACEHOLDER;

/// What is wrong with a request, and so what to change about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cure {
    /// Signatures of another key, model or service, or none: the placeholder takes their place.
    ForgetSignatures,
    /// Penalties, log probabilities or several candidates: extras that no answer depends on.
    LeaveOutExtras,
    /// A level that this model lacks: the next higher one.
    RaiseThinkingLevel,
    /// A budget outside of this model's range: its own default.
    LeaveOutThinkingBudget,
    /// A model that does not think.
    LeaveOutThinking,
    /// The model spoke last, or something stands behind the results of functions.
    EndWithUser,
    /// No system instruction: the first turn says it.
    TellSystemToUser,
    /// Search and the like beside functions: only the functions stay.
    FunctionsOnly,
    /// A JSON type beside functions: the words of the request have to do.
    LeaveOutFormat,
    /// Ids of calls, which some services behind `BASE_URL` do not know.
    LeaveOutIds,
}

/// How Google's messages begin. Words count at the beginning only, since Google repeats what clients sent.
const WORDINGS: &[(&str, Cure)] = &[
    ("Corrupted thought signature", Cure::ForgetSignatures),
    ("Invalid thought signature", Cure::ForgetSignatures),
    ("Thought signature is not valid", Cure::ForgetSignatures),
    ("Function call is missing a thought_signature", Cure::ForgetSignatures),
    ("Penalty is not enabled", Cure::LeaveOutExtras),
    ("Logprobs is not enabled", Cure::LeaveOutExtras),
    ("Multiple candidates is not enabled", Cure::LeaveOutExtras),
    ("Thinking level", Cure::RaiseThinkingLevel),
    ("The thinking budget", Cure::LeaveOutThinkingBudget),
    ("Thinking budget", Cure::LeaveOutThinkingBudget),
    ("Budget 0 is invalid", Cure::LeaveOutThinkingBudget),
    ("Thinking is not enabled", Cure::LeaveOutThinking),
    ("Thinking is not supported", Cure::LeaveOutThinking),
    ("Requests ending with a model turn", Cure::EndWithUser),
    ("Developer instruction is not enabled", Cure::TellSystemToUser),
    ("System instruction is not enabled", Cure::TellSystemToUser),
    ("Tool use with function calling is unsupported", Cure::FunctionsOnly),
    ("Function calling with a response mime type", Cure::LeaveOutFormat),
    ("Invalid JSON payload received. Unknown name \"id\"", Cure::LeaveOutIds),
];

impl Cure {
    /// What helps against a 400 with that message; `None` when nothing is known to.
    pub fn of(message: &str) -> Option<Self> {
        let message = message.strip_prefix("Unable to submit request because ").unwrap_or(message);
        WORDINGS.iter().find(|(wording, _)| starts_with(message, wording)).map(|(_, cure)| *cure)
    }

    /// The body without what was refused; `None` when it holds nothing of the kind, so that sending it again is in vain.
    pub fn mend(self, body: &[u8]) -> Option<Vec<u8>> {
        let Ok(Value::Object(mut request)) = serde_json::from_slice(body) else { return None };
        let is_changed = match self {
            Self::ForgetSignatures => forget_signatures(&mut request),
            Self::LeaveOutExtras => remove_config(
                &mut request,
                &["presencePenalty", "frequencyPenalty", "responseLogprobs", "logprobs", "candidateCount"],
            ),
            Self::RaiseThinkingLevel => raise_level(&mut request),
            Self::LeaveOutThinkingBudget => {
                thinking(&mut request).is_some_and(|config| config.remove("thinkingBudget").is_some())
            }
            Self::LeaveOutThinking => remove_config(&mut request, &["thinkingConfig"]),
            Self::EndWithUser => end_with_user(&mut request),
            Self::TellSystemToUser => tell_system_to_user(&mut request),
            Self::FunctionsOnly => keep_functions_only(&mut request),
            Self::LeaveOutFormat => leave_out_format(&mut request),
            Self::LeaveOutIds => leave_out_ids(&mut request),
        };
        is_changed.then(|| Value::Object(request).to_string().into_bytes())
    }
}

fn starts_with(text: &str, beginning: &str) -> bool {
    text.get(..beginning.len()).is_some_and(|head| head.eq_ignore_ascii_case(beginning))
}

fn object<'v>(request: &'v mut Map<String, Value>, name: &str) -> Option<&'v mut Map<String, Value>> {
    request.get_mut(name)?.as_object_mut()
}

fn thinking(request: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
    object(object(request, "generationConfig")?, "thinkingConfig")
}

fn remove_config(request: &mut Map<String, Value>, names: &[&str]) -> bool {
    let Some(config) = object(request, "generationConfig") else { return false };
    let before = config.len();
    config.retain(|name, _| !names.contains(&name.as_str()));
    config.len() < before
}

fn contents(request: &mut Map<String, Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    let contents = request.get_mut("contents").and_then(Value::as_array_mut);
    contents.into_iter().flatten().filter_map(Value::as_object_mut)
}

fn parts(content: &mut Map<String, Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    let parts = content.get_mut("parts").and_then(Value::as_array_mut);
    parts.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Signatures of calls become the placeholder, and the first call of each of the model's turns has one; others may be missing.
fn forget_signatures(request: &mut Map<String, Value>) -> bool {
    let mut is_changed = false;
    for content in contents(request) {
        let mut is_first_call = true;
        for part in parts(content) {
            let is_call = part.contains_key("functionCall");
            if !is_call {
                is_changed |= part.remove("thoughtSignature").is_some();
            } else if part.contains_key("thoughtSignature") || is_first_call {
                let before = part.insert("thoughtSignature".to_owned(), SIGNATURE_PLACEHOLDER.into());
                is_changed |= before.is_none_or(|before| before != SIGNATURE_PLACEHOLDER);
            }
            is_first_call &= !is_call;
        }
    }
    is_changed
}

/// The highest level cannot be raised: the model then decides by itself.
fn raise_level(request: &mut Map<String, Value>) -> bool {
    let Some(config) = thinking(request) else { return false };
    let higher = match config.get("thinkingLevel").and_then(Value::as_str) {
        None => return false,
        Some("MINIMAL") => Some("LOW"),
        Some("LOW") => Some("MEDIUM"),
        Some("MEDIUM") => Some("HIGH"),
        Some(_) => None,
    };
    match higher {
        Some(level) => config.insert("thinkingLevel".to_owned(), level.into()),
        None => config.remove("thinkingLevel"),
    };
    true
}

/// Results of functions stand last in their turn, and a user's turn stands last of all.
fn end_with_user(request: &mut Map<String, Value>) -> bool {
    let mut is_changed = false;
    for content in contents(request) {
        let Some(parts) = content.get_mut("parts").and_then(Value::as_array_mut) else { continue };
        let is_result = |part: &Value| part.get("functionResponse").is_some();
        if !parts.is_sorted_by_key(is_result) {
            parts.sort_by_key(is_result);
            is_changed = true;
        }
    }
    let Some(turns) = request.get_mut("contents").and_then(Value::as_array_mut) else { return is_changed };
    if turns.last().is_some_and(|last| last["role"] == "model") {
        turns.push(json!({"role": "user", "parts": [{"text": "Continue."}]}));
        is_changed = true;
    }
    is_changed
}

fn tell_system_to_user(request: &mut Map<String, Value>) -> bool {
    let Some(mut system) = request.remove("systemInstruction") else { return false };
    let Some(Value::Array(mut told)) = system.get_mut("parts").map(Value::take) else { return false };
    let Some(first) = contents(request).next() else { return false };
    if let Some(parts) = first.get_mut("parts").and_then(Value::as_array_mut) {
        told.append(parts);
        *parts = told;
    }
    true
}

fn keep_functions_only(request: &mut Map<String, Value>) -> bool {
    let Some(tools) = request.get_mut("tools").and_then(Value::as_array_mut) else { return false };
    let before = tools.len();
    tools.retain(|tool| tool.get("functionDeclarations").is_some());
    !tools.is_empty() && tools.len() < before
}

/// What the type would have made sure of is asked for in words.
fn leave_out_format(request: &mut Map<String, Value>) -> bool {
    let Some(config) = object(request, "generationConfig") else { return false };
    if config.remove("responseMimeType").is_none() {
        return false;
    }
    let mut words = "Give the final answer as one JSON value and nothing else".to_owned();
    if let Some(schema) = config.remove("responseJsonSchema") {
        words.push_str(", valid by this JSON Schema: ");
        words.push_str(&schema.to_string());
    }
    let system = request.entry("systemInstruction").or_insert_with(|| json!({"parts": []}));
    if let Some(parts) = system.get_mut("parts").and_then(Value::as_array_mut) {
        parts.push(json!({ "text": words }));
    }
    true
}

fn leave_out_ids(request: &mut Map<String, Value>) -> bool {
    let mut is_changed = false;
    for part in contents(request).flat_map(parts) {
        for name in ["functionCall", "functionResponse"] {
            is_changed |= object(part, name).is_some_and(|call| call.remove("id").is_some());
        }
    }
    is_changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::fixtures;

    fn mended(cure: Cure, body: &Value) -> Option<Value> {
        Some(serde_json::from_slice(&cure.mend(body.to_string().as_bytes())?).unwrap())
    }

    #[test]
    fn recorded_refusals_have_their_cures() {
        let expected = [
            ("400-ends-with-model-turn", Cure::EndWithUser),
            ("400-logprobs-not-enabled", Cure::LeaveOutExtras),
            ("400-multiple-candidates", Cure::LeaveOutExtras),
            ("400-penalty-not-enabled", Cure::LeaveOutExtras),
            ("400-thinking-level", Cure::RaiseThinkingLevel),
            ("400-thought-signature-corrupted", Cure::ForgetSignatures),
            ("400-thought-signature-missing", Cure::ForgetSignatures),
        ];
        for (path, text) in fixtures::files("gemini/errors", ".json") {
            let file: Value = serde_json::from_str(&text).unwrap();
            let message = file["body"]["error"]["message"].as_str().unwrap_or_default();
            let cure = expected.iter().find(|(name, _)| path.contains(name)).map(|(_, cure)| *cure);
            if file["http_status"] == 400 {
                assert_eq!(Cure::of(message), cure, "{path}");
            }
        }
    }

    #[test]
    fn what_a_client_could_have_written_into_a_message_cures_nothing() {
        assert_eq!(Cure::of("Invalid value: \"Corrupted thought signature\""), None);
        assert_eq!(
            Cure::of("Unable to submit request because Thought signature is not valid"),
            Some(Cure::ForgetSignatures)
        );
    }

    #[test]
    fn signatures_become_the_placeholder_and_the_first_call_has_one() {
        let call = |name: &str| json!({"functionCall": {"name": name, "args": {}}});
        let mut signed = call("f");
        signed["thoughtSignature"] = "old".into();
        let body = json!({"contents": [
            {"role": "model", "parts": [signed, call("g")]},
            {"role": "model", "parts": [{"text": "x", "thoughtSignature": "old"}, call("h"), call("i")]},
        ]});

        let mended = mended(Cure::ForgetSignatures, &body).unwrap();

        let signature =
            |turn: usize, part: usize| mended["contents"][turn]["parts"][part]["thoughtSignature"].clone();
        assert_eq!([signature(0, 0), signature(1, 1)], [SIGNATURE_PLACEHOLDER; 2]);
        assert!([(0, 1), (1, 0), (1, 2)].into_iter().all(|(turn, part)| signature(turn, part).is_null()));
        assert_eq!(
            Cure::ForgetSignatures.mend(mended.to_string().as_bytes()),
            None,
            "nothing is left to change"
        );
    }

    #[test]
    fn extras_go_and_the_rest_of_the_configuration_stays() {
        let body = json!({"contents": [], "generationConfig": {
            "temperature": 0.5, "presencePenalty": 1, "responseLogprobs": true, "logprobs": 2,
        }});

        assert_eq!(
            mended(Cure::LeaveOutExtras, &body),
            Some(json!({"contents": [], "generationConfig": {"temperature": 0.5}}))
        );
        assert_eq!(mended(Cure::LeaveOutExtras, &json!({"contents": []})), None);
    }

    #[test]
    fn a_level_is_raised_until_the_model_decides() {
        let mut body = json!({"generationConfig": {"thinkingConfig": {"thinkingLevel": "MINIMAL"}}});
        for level in [json!("LOW"), json!("MEDIUM"), json!("HIGH"), Value::Null] {
            body = mended(Cure::RaiseThinkingLevel, &body).unwrap();
            assert_eq!(body["generationConfig"]["thinkingConfig"]["thinkingLevel"], level);
        }
        assert_eq!(mended(Cure::RaiseThinkingLevel, &body), None);
    }

    #[test]
    fn a_conversation_ends_with_the_user_and_results_end_their_turn() {
        let body = json!({"contents": [
            {"role": "user", "parts": [{"functionResponse": {"name": "f"}}, {"text": "hurry"}]},
            {"role": "model", "parts": [{"text": "so"}]},
        ]});

        let mended = mended(Cure::EndWithUser, &body).unwrap();

        assert_eq!(mended["contents"][0]["parts"][0]["text"], "hurry");
        assert_eq!(mended["contents"][2]["role"], "user");
    }

    #[test]
    fn words_take_the_place_of_what_a_model_lacks() {
        let body = json!({
            "systemInstruction": {"parts": [{"text": "be brief"}]},
            "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
            "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}},
        });

        let told = mended(Cure::TellSystemToUser, &body).unwrap();
        let formless = mended(Cure::LeaveOutFormat, &body).unwrap();

        assert_eq!(told["contents"][0]["parts"], json!([{"text": "be brief"}, {"text": "hi"}]));
        assert_eq!(formless["generationConfig"], json!({}));
        let words = formless["systemInstruction"]["parts"][1]["text"].as_str().unwrap();
        assert!(words.contains(r#"{"type":"object"}"#), "{words}");
    }

    #[test]
    fn built_in_tools_and_ids_go_where_they_are_refused() {
        let body = json!({
            "tools": [{"functionDeclarations": [{"name": "f"}]}, {"googleSearch": {}}],
            "contents": [{"parts": [{"functionCall": {"name": "f", "id": "a"}}, {"functionResponse": {"name": "f", "id": "a"}}]}],
        });

        assert_eq!(mended(Cure::FunctionsOnly, &body).unwrap()["tools"].as_array().unwrap().len(), 1);
        assert!(!mended(Cure::LeaveOutIds, &body).unwrap().to_string().contains(r#""id""#));
    }
}
