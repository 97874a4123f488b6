//! Requests as the simulation reads them: the fields that change an answer, both spellings of each name.
//!
//! Top level and `generationConfig` know their names and refuse others, as protobuf's JSON mapping does. Parts are read
//! loosely: clients put newer metadata into them.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, error::Category};

use super::errors::GoogleError;

/// Body of `generateContent` and `streamGenerateContent`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GenerateRequest {
    pub contents: Vec<Content>,
    #[serde(alias = "system_instruction")]
    pub system_instruction: Option<Content>,
    pub tools: Vec<Tool>,
    #[serde(alias = "tool_config")]
    pub tool_config: ToolConfig,
    #[serde(alias = "generation_config")]
    pub generation_config: GenerationConfig,
    pub model: Option<IgnoredAny>,
    #[serde(alias = "safety_settings")]
    pub safety_settings: IgnoredAny,
    #[serde(alias = "cached_content")]
    pub cached_content: Option<String>,
    #[serde(alias = "service_tier")]
    pub service_tier: IgnoredAny,
    #[serde(alias = "continuation_token")]
    pub continuation_token: IgnoredAny,
    pub store: IgnoredAny,
    pub labels: IgnoredAny,
}

/// A turn.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Content {
    /// `user` or `model`; absent means user.
    pub role: Option<String>,
    pub parts: Vec<Part>,
}

/// A part of a turn; normally one field is there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Part {
    pub text: Option<String>,
    pub thought: bool,
    #[serde(alias = "thought_signature")]
    pub thought_signature: Option<String>,
    #[serde(alias = "inline_data")]
    pub inline_data: Option<Media>,
    #[serde(alias = "file_data")]
    pub file_data: Option<Media>,
    #[serde(alias = "function_call")]
    pub function_call: Option<FunctionCall>,
    #[serde(alias = "function_response")]
    pub function_response: Option<FunctionResponse>,
}

/// Inline or referenced media; the bytes do not matter here.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Media {
    #[serde(alias = "mime_type")]
    pub mime_type: String,
    /// Of a file at Google or elsewhere.
    #[serde(alias = "file_uri")]
    pub file_uri: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct FunctionCall {
    pub name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct FunctionResponse {
    pub name: String,
    pub response: Value,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tool {
    #[serde(alias = "function_declarations")]
    pub function_declarations: Vec<FunctionDeclaration>,
    #[serde(alias = "google_search")]
    pub google_search: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FunctionDeclaration {
    pub name: String,
    /// A schema in OpenAPI's subset.
    pub parameters: Option<Value>,
    /// A JSON schema.
    #[serde(alias = "parameters_json_schema")]
    pub parameters_json_schema: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ToolConfig {
    #[serde(alias = "function_calling_config")]
    pub function_calling_config: FunctionCallingConfig,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FunctionCallingConfig {
    /// `AUTO`, `ANY`, `NONE` or `VALIDATED`; absent means `AUTO`.
    pub mode: Option<String>,
    #[serde(alias = "allowed_function_names")]
    pub allowed_function_names: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GenerationConfig {
    #[serde(alias = "candidate_count")]
    pub candidate_count: Option<u32>,
    #[serde(alias = "max_output_tokens")]
    pub max_output_tokens: Option<u64>,
    #[serde(alias = "stop_sequences")]
    pub stop_sequences: Vec<String>,
    #[serde(alias = "presence_penalty")]
    pub presence_penalty: Option<f64>,
    #[serde(alias = "frequency_penalty")]
    pub frequency_penalty: Option<f64>,
    #[serde(alias = "response_mime_type")]
    pub response_mime_type: Option<String>,
    #[serde(alias = "response_schema")]
    pub response_schema: Option<Value>,
    #[serde(alias = "response_json_schema", alias = "_responseJsonSchema")]
    pub response_json_schema: Option<Value>,
    #[serde(alias = "response_modalities")]
    pub response_modalities: Vec<String>,
    #[serde(alias = "thinking_config")]
    pub thinking_config: ThinkingConfig,
    #[serde(alias = "response_logprobs")]
    pub response_logprobs: bool,
    pub logprobs: Option<u32>,
    pub temperature: IgnoredAny,
    #[serde(alias = "top_p")]
    pub top_p: IgnoredAny,
    #[serde(alias = "top_k")]
    pub top_k: IgnoredAny,
    pub seed: IgnoredAny,
    #[serde(alias = "speech_config")]
    pub speech_config: IgnoredAny,
    #[serde(alias = "image_config")]
    pub image_config: IgnoredAny,
    #[serde(alias = "media_resolution")]
    pub media_resolution: IgnoredAny,
    #[serde(alias = "enable_enhanced_civic_answers")]
    pub enable_enhanced_civic_answers: IgnoredAny,
    #[serde(alias = "audio_transcription_config")]
    pub audio_transcription_config: IgnoredAny,
    #[serde(alias = "response_format")]
    pub response_format: IgnoredAny,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ThinkingConfig {
    #[serde(alias = "include_thoughts")]
    pub include_thoughts: bool,
    #[serde(alias = "thinking_budget")]
    pub thinking_budget: Option<i64>,
    #[serde(alias = "thinking_level")]
    pub thinking_level: Option<String>,
}

/// Body of `countTokens`: the contents, or a whole request around them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CountRequest {
    pub contents: Vec<Content>,
    #[serde(alias = "generate_content_request")]
    pub generate_content_request: Option<GenerateRequest>,
    pub model: IgnoredAny,
}

/// Body of `embedContent`, and an entry of `batchEmbedContents`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct EmbedRequest {
    pub model: Option<String>,
    pub content: Content,
    #[serde(alias = "output_dimensionality")]
    pub output_dimensionality: Option<usize>,
    #[serde(alias = "task_type")]
    pub task_type: IgnoredAny,
    pub title: IgnoredAny,
    #[serde(alias = "embed_content_config")]
    pub embed_content_config: IgnoredAny,
}

/// Body of `batchEmbedContents`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchEmbedRequest {
    pub requests: Vec<EmbedRequest>,
}

impl Content {
    pub fn is_model(&self) -> bool {
        self.role.as_deref() == Some("model")
    }

    pub fn has_function_response(&self) -> bool {
        self.parts.iter().any(|part| part.function_response.is_some())
    }

    pub fn calls(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.function_call.is_some())
    }

    /// Its text parts, joined by spaces.
    pub fn text(&self) -> String {
        let texts: Vec<_> = self.parts.iter().filter_map(|part| part.text.as_deref()).collect();
        texts.join(" ")
    }
}

impl GenerateRequest {
    pub fn declarations(&self) -> impl Iterator<Item = &FunctionDeclaration> {
        self.tools.iter().flat_map(|tool| &tool.function_declarations)
    }
}

/// Reads a body; what does not fit is answered as Google's JSON mapping does.
pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, GoogleError> {
    serde_json::from_slice(body).map_err(|error| explain(&error, body))
}

fn explain(error: &serde_json::Error, body: &[u8]) -> GoogleError {
    let text = error.to_string();
    if let Some(name) = text.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) {
        let is_at_top = serde_json::from_slice::<Value>(body).is_ok_and(|body| body.get(name).is_some());
        return GoogleError::unknown_name(name, if is_at_top { "" } else { "generation_config" });
    }
    let message = match error.classify() {
        Category::Data => format!("Invalid value ({text})"),
        Category::Syntax | Category::Eof | Category::Io => {
            format!("Invalid JSON payload received. Parsing error. ({text})")
        }
    };
    GoogleError::invalid_argument(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_may_stand_in_one_request() {
        let request: GenerateRequest = parse(
            br#"{"contents": [{"parts": [{"inlineData": {"mime_type": "image/png", "data": "aGk="}}]}],
                 "generationConfig": {"max_output_tokens": 5, "thinkingConfig": {"include_thoughts": true}}}"#,
        )
        .unwrap();

        let image = request.contents[0].parts[0].inline_data.as_ref().unwrap();
        assert_eq!(image.mime_type, "image/png");
        assert_eq!(request.generation_config.max_output_tokens, Some(5));
        assert!(request.generation_config.thinking_config.include_thoughts);
    }

    #[test]
    fn an_unknown_name_is_refused_by_name_and_place() {
        let top = parse::<GenerateRequest>(br#"{"contents": [], "messages": []}"#).unwrap_err();
        let inner = parse::<GenerateRequest>(br#"{"generationConfig": {"max_tokens": 1}}"#).unwrap_err();

        assert!(top.message.contains("Unknown name \"messages\": Cannot find field."), "{}", top.message);
        assert!(inner.message.contains("\"max_tokens\" at 'generation_config'"), "{}", inner.message);
    }

    #[test]
    fn broken_json_is_a_400() {
        assert_eq!(parse::<GenerateRequest>(b"{").unwrap_err().http, 400);
        assert_eq!(parse::<GenerateRequest>(br#"{"contents": 1}"#).unwrap_err().http, 400);
    }
}
