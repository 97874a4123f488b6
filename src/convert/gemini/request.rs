//! `GenerateContentRequest`, as far as other dialects can ask for it.
//!
//! Source: discovery document of generativelanguage v1beta; the JSON names are Google's camelCase ones.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, value::RawValue};

use crate::convert::traits::Level;

/// Body of `generateContent` and `streamGenerateContent`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerateContentRequest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_instruction: Option<Content<'a>>,
    pub contents: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_config: Option<ToolConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safety_settings: Option<SafetySettings<'a>>,
    #[serde(skip_serializing_if = "GenerationConfig::is_empty")]
    pub generation_config: GenerationConfig<'a>,
    /// `cachedContents/ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<&'static str>,
}

impl GenerateContentRequest<'_> {
    /// The JSON that goes to Google.
    pub fn to_json(&self) -> Vec<u8> {
        self.to_json_like(0)
    }

    /// The same of a request that came as so many bytes, of which most are pictures if they are many: room for them is made
    /// once, since a buffer that grows holds them twice for a moment.
    pub fn to_json_like(&self, size: usize) -> Vec<u8> {
        const USUAL: usize = 1024;
        let mut json = Vec::with_capacity(size + USUAL);
        let written = serde_json::to_writer(&mut json, self);
        written.expect("strings, numbers and maps with string keys always serialise");
        json
    }
}

/// The list of `{category, threshold}`.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum SafetySettings<'a> {
    /// As the client's request was read.
    Client(&'a Value),
    /// The gateway's own, which every request gets as they stand.
    Gateway(&'a RawValue),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    User,
    Model,
}

/// One turn of the conversation, or (without a role) the system instruction.
#[derive(Debug, Serialize)]
pub struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    pub parts: Vec<Part<'a>>,
}

/// Exactly one of the data fields is set, as the constructors below do it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline_data: Option<Blob<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_data: Option<FileData<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_response: Option<FunctionResponse<'a>>,
    /// Base64, in either alphabet; opaque.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thought_signature: Option<Cow<'a, str>>,
}

/// Bytes in base64.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blob<'a> {
    pub mime_type: Cow<'a, str>,
    pub data: Cow<'a, str>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileData<'a> {
    pub file_uri: Cow<'a, str>,
}

#[derive(Debug, Serialize)]
pub struct FunctionCall<'a> {
    pub name: Cow<'a, str>,
    /// A JSON object.
    pub args: Cow<'a, RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize)]
pub struct FunctionResponse<'a> {
    pub name: Cow<'a, str>,
    /// A JSON object.
    pub response: Cow<'a, RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    /// Pictures and files of the result; from Gemini 3 on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part<'a>>,
}

impl<'a> Part<'a> {
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    pub fn inline(mime_type: impl Into<Cow<'a, str>>, data: impl Into<Cow<'a, str>>) -> Self {
        let blob = Blob { mime_type: mime_type.into(), data: data.into() };
        Self { inline_data: Some(blob), ..Self::default() }
    }

    pub fn file(uri: impl Into<Cow<'a, str>>) -> Self {
        Self { file_data: Some(FileData { file_uri: uri.into() }), ..Self::default() }
    }

    pub fn call(call: FunctionCall<'a>, signature: Option<Cow<'a, str>>) -> Self {
        Self { function_call: Some(call), thought_signature: signature, ..Self::default() }
    }

    pub fn response(response: FunctionResponse<'a>) -> Self {
        Self { function_response: Some(response), ..Self::default() }
    }
}

/// One entry of `tools`; one field is set.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub function_declarations: Vec<FunctionDeclaration<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub google_search: Option<Empty>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_context: Option<Empty>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_execution: Option<Empty>,
}

/// `{}`.
#[derive(Debug, Default, Serialize)]
pub struct Empty {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionDeclaration<'a> {
    pub name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<&'a str>,
    /// Standard JSON Schema; left out for a function without parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters_json_schema: Option<Value>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolConfig<'a> {
    pub function_calling_config: FunctionCallingConfig<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionCallingConfig<'a> {
    pub mode: CallingMode,
    /// Only with `ANY`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_function_names: Vec<Cow<'a, str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CallingMode {
    Auto,
    Any,
    None,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerationConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u64>,
    /// Counts thoughts and answer together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_json_schema: Option<Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub response_modalities: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speech_config: Option<SpeechConfig>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub response_logprobs: bool,
    /// Alternatives to each token, 0 to 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_config: Option<ThinkingConfig<'a>>,
}

impl GenerationConfig<'_> {
    fn is_empty(&self) -> bool {
        let numbers = self.temperature.is_none()
            && self.top_p.is_none()
            && self.top_k.is_none()
            && self.max_output_tokens.is_none()
            && self.presence_penalty.is_none()
            && self.frequency_penalty.is_none()
            && self.seed.is_none();
        let shapes = self.response_mime_type.is_none()
            && self.response_modalities.is_empty()
            && self.speech_config.is_none()
            && !self.response_logprobs
            && self.thinking_config.is_none();
        numbers && shapes && self.stop_sequences.is_empty()
    }
}

/// `{"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": …}}}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpeechConfig {
    pub voice: &'static str,
}

impl Serialize for SpeechConfig {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::json!({"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": self.voice}}})
            .serialize(serializer)
    }
}

/// A budget or a level, never both.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ThinkingConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_thoughts: Option<bool>,
    /// Tokens; 0 is off, -1 is automatic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_budget: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_level: Option<ThinkingLevel<'a>>,
}

/// A level of ours, or one that the client named and Google shall judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ThinkingLevel<'a> {
    Known(Level),
    Named(&'a str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_is_not_sent() {
        let content = Content { role: Some(Role::User), parts: vec![Part::text("hi")] };
        let request = GenerateContentRequest { contents: vec![content], ..Default::default() };

        let json = request.to_json();

        assert_eq!(json, br#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#);
    }
}
