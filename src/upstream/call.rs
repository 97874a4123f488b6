//! One request as it goes to Google: everything but the key.

use actix_web::http::{
    Method,
    header::{HeaderName, HeaderValue},
};
use bytes::Bytes;
use memchr::memmem;

use crate::domain::model::ModelName;

/// A request that any key could send. It is kept whole until the answer has begun, so that another key can repeat it.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    /// Path and query at Google, with the version that the client chose: `/v1beta/models/m:generateContent`.
    pub target: String,
    pub model: ModelName,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
    pub credential: Credential,
    pub answer: AnswerKind,
}

impl Call {
    /// What quotas and cooldowns are counted for: the model, or the counting of its tokens.
    pub fn metered_as(&self) -> ModelName {
        let path = self.target.split('?').next().unwrap_or_default();
        if path.ends_with(":countTokens") { self.model.counting() } else { self.model.clone() }
    }

    /// Input tokens as far as the body tells; what Google counts corrects it.
    pub fn estimated_tokens(&self) -> u64 {
        estimate_tokens(&self.body)
    }
}

/// Input tokens of a body in any dialect, as far as it tells.
///
/// Four bytes a token is the usual rule for text. Media are sent as base64 and counted by another measure: about 260
/// tokens a picture, more for sound and film.
pub fn estimate_tokens(body: &[u8]) -> u64 {
    const BYTES_PER_TOKEN: usize = 4;
    const TOKENS_PER_MEDIUM: usize = 260;
    /// A body with media has at most so much text, by estimate.
    const TEXT_BESIDE_MEDIA: usize = 16 * 1024;
    /// Gemini's two spellings, Anthropic's, and what is in OpenAI's addresses.
    const MEDIA: [&[u8]; 4] = [b"\"inlineData\"", b"\"inline_data\"", b"\"base64\"", b";base64,"];
    let media: usize = MEDIA.iter().map(|name| memmem::find_iter(body, name).count()).sum();
    let text = if media == 0 { body.len() } else { body.len().min(TEXT_BESIDE_MEDIA) };
    (text / BYTES_PER_TOKEN + media * TOKENS_PER_MEDIUM) as u64
}

/// How the key is sent; always exactly one credential, and never in the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// `x-goog-api-key`
    ApiKeyHeader,
    /// `Authorization: Bearer`, on Google's OpenAI layer.
    Bearer,
}

/// What a good answer looks like, which tells whether one is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerKind {
    /// `GenerateContentResponse`, whole or as events.
    Generation,
    /// Any other JSON: token counts, embeddings, models.
    Plain,
    /// An answer of Google's OpenAI layer, passed on as it comes.
    OpenAi,
}
