//! What an answer is to be made of: text, pictures, sound.

use serde_json::Value;

use super::json::{Object, array, string};
use crate::convert::{ConvertError, gemini::voices::voice};

/// A spoken answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speech {
    /// Gemini's name.
    pub voice: &'static str,
    pub format: AudioFormat,
}

/// What can be made of Gemini's samples without an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudioFormat {
    Wav,
    /// The samples alone: 16 bits, 24 kHz, one channel.
    Pcm16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Modality {
    Text,
    Image,
    Audio,
}

pub(super) fn modalities(request: &mut Object<'_>) -> Result<Vec<Modality>, ConvertError> {
    let at = request.at();
    let at = at.key("modalities");
    let list = request.take("modalities").map_or(Ok(Vec::new()), |list| array(list, &at))?;
    let read = |(index, modality): (usize, Value)| {
        let modality = string(modality, &at.index(index))?;
        match modality.as_str() {
            "text" => Ok(Modality::Text),
            "image" => Ok(Modality::Image),
            "audio" => Ok(Modality::Audio),
            _ => Err(ConvertError::UnknownValue {
                param: at.index(index).to_string(),
                value: modality,
                supported: "'text', 'audio', and 'image'",
            }),
        }
    };
    list.into_iter().enumerate().map(read).collect()
}

pub(super) fn speech(request: &mut Object<'_>) -> Result<Speech, ConvertError> {
    let at = request.at();
    let at = at.key("audio");
    let is_stream = request.peek("stream") == Some(&Value::Bool(true));
    let mut audio = Object::read(request.require("audio")?, at)?;
    let name = match audio.require("voice")? {
        Value::Object(voice) => Object::read(Value::Object(voice), at.key("voice"))?.require_string("id")?,
        name => string(name, &at.key("voice"))?,
    };
    let unknown = |name, value, supported| ConvertError::UnknownValue {
        param: at.key(name).to_string(),
        value,
        supported,
    };
    let voice = voice(&name);
    let voice = voice.ok_or_else(|| {
        unknown("voice", name, "the voices of OpenAI and of Gemini, such as 'alloy' or 'Kore'")
    })?;
    let format = audio.require_string("format")?;
    let format = match (format.as_str(), is_stream) {
        ("pcm16" | "pcm", _) => AudioFormat::Pcm16,
        ("wav", false) => AudioFormat::Wav,
        (_, false) => return Err(unknown("format", format, "'wav' and 'pcm16'")),
        (_, true) => return Err(unknown("format", format, "'pcm16' when 'stream' is true")),
    };
    Ok(Speech { voice, format })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::convert::{openai::chat_request, testing::with};

    fn read(fields: Value) -> Result<Option<Speech>, ConvertError> {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        chat_request(with(body, &fields).to_string().as_bytes()).map(|request| request.speech)
    }

    #[test]
    fn a_voice_and_a_format_belong_to_spoken_answers() {
        let spoken = |audio: Value, stream: bool| {
            read(json!({"modalities": ["text", "audio"], "audio": audio, "stream": stream}))
        };

        let wav = Speech { voice: "Kore", format: AudioFormat::Wav };
        assert_eq!(spoken(json!({"voice": "alloy", "format": "wav"}), false), Ok(Some(wav)));
        assert_eq!(
            spoken(json!({"voice": "alloy", "format": "wav"}), true).unwrap_err().param(),
            Some("audio.format")
        );
        assert_eq!(
            spoken(json!({"voice": "alloy", "format": "mp3"}), false).unwrap_err().param(),
            Some("audio.format")
        );
        assert_eq!(
            spoken(json!({"voice": "x", "format": "wav"}), false).unwrap_err().param(),
            Some("audio.voice")
        );
        assert_eq!(read(json!({"modalities": ["audio"]})).unwrap_err().param(), Some("audio"));
        assert_eq!(read(json!({"modalities": ["smell"]})).unwrap_err().param(), Some("modalities[0]"));
    }
}
