//! A spoken answer as OpenAI's clients hear it.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{outputs::AudioFormat, response::ChatMeta, types::Audio};
use crate::convert::gemini::{
    audio::{sample_rate, wav},
    response::Blob,
};

/// How long OpenAI keeps what was said, in seconds. Nothing is kept here, but the field has to be there.
const KEPT_FOR: i64 = 3600;

/// What an answer says, piece by piece.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    samples: Vec<u8>,
    rate: u32,
    /// Sound that is a file already, as Gemini encoded it.
    file: Option<String>,
}

impl Spoken {
    pub fn add(&mut self, blob: &Blob<'_>) {
        match rate(blob) {
            Some(rate) => {
                self.rate = rate;
                self.samples.extend(STANDARD.decode(&*blob.data).unwrap_or_default());
            }
            None => self.file = Some(blob.data.to_string()),
        }
    }

    /// The whole of it; `None` when nothing was said.
    pub fn finish(self, meta: &ChatMeta, choice: usize) -> Option<Audio> {
        let data = match (self.file, meta.speech?) {
            (Some(file), _) => file,
            (None, _) if self.samples.is_empty() => return None,
            (None, AudioFormat::Pcm16) => STANDARD.encode(self.samples),
            (None, AudioFormat::Wav) => STANDARD.encode(wav(&self.samples, self.rate)),
        };
        Some(Audio { data: Some(data), ..end(meta, choice) })
    }
}

/// The end of a stream: everything but the sound.
pub(super) fn end(meta: &ChatMeta, choice: usize) -> Audio {
    let (transcript, expires_at) = (Some(""), Some(meta.created + KEPT_FOR));
    Audio { id: id(meta, choice), data: None, transcript, expires_at }
}

/// One piece of a stream.
pub(super) fn piece(blob: &Blob<'_>, meta: &ChatMeta, choice: usize) -> Audio {
    Audio { id: id(meta, choice), data: Some(blob.data.to_string()), transcript: None, expires_at: None }
}

fn rate(blob: &Blob<'_>) -> Option<u32> {
    sample_rate(blob.mime_type.as_deref().unwrap_or_default())
}

fn id(meta: &ChatMeta, choice: usize) -> String {
    let answer = meta.id.strip_prefix("chatcmpl-").unwrap_or(&meta.id);
    format!("audio_{answer}_{choice}")
}
