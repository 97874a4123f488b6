//! The messages of a chat, as OpenAI's clients write them.
//!
//! Names of participants, cache hints, the detail of pictures, and thoughts that come back have no counterpart and are left out.

use serde_json::{Value, json, value::RawValue};

use super::json::{At, Object, array, string, wrong_type};
use crate::convert::{
    ConvertError,
    gemini::{
        media::{Media, MediaError, Place},
        signatures::TextSignature,
    },
};

#[derive(Debug)]
pub enum Message {
    /// Also `developer`.
    System(Vec<String>),
    User(Vec<UserPart>),
    Assistant {
        texts: Vec<String>,
        calls: Vec<ToolCall>,
        /// Of the one text, as far as it is remembered.
        signature: Option<TextSignature>,
    },
    Tool {
        id: String,
        text: String,
        media: Vec<Media>,
    },
}

#[derive(Debug)]
pub enum UserPart {
    Text(String),
    Media(Media),
}

#[derive(Debug)]
pub struct ToolCall {
    /// May be empty, as some servers sent calls without ids.
    pub id: String,
    pub name: String,
    /// A JSON object.
    pub args: Box<RawValue>,
    /// Came as `extra_content.google.thought_signature`, Google's own convention.
    pub signature: Option<String>,
}

const ROLES: &str = "'system', 'assistant', 'user', 'tool', and 'developer'";
const USER_PARTS: &str = "'text', 'image_url', 'input_audio', 'file', and 'video_url'";

impl Message {
    pub(super) fn read(value: Value, at: At<'_>) -> Result<Self, ConvertError> {
        let mut message = Object::read(value, at)?;
        let role = message.require_string("role")?;
        match role.as_str() {
            "system" | "developer" => Ok(Self::System(texts(&mut message)?)),
            "user" => Ok(Self::User(user_parts(&mut message)?)),
            "assistant" => read_assistant(&mut message),
            "tool" => read_tool(&mut message),
            "function" => read_function(&mut message),
            _ => Err(ConvertError::UnknownValue {
                param: at.key("role").to_string(),
                value: role,
                supported: ROLES,
            }),
        }
    }
}

impl Message {
    /// Every picture, sound and file of the message.
    pub fn media_mut(&mut self) -> impl Iterator<Item = &mut Media> {
        let (parts, media): (&mut [UserPart], &mut [Media]) = match self {
            Self::User(parts) => (parts, &mut []),
            Self::Tool { media, .. } => (&mut [], media),
            Self::System(_) | Self::Assistant { .. } => (&mut [], &mut []),
        };
        let of_parts = parts.iter_mut().filter_map(|part| match part {
            UserPart::Media(medium) => Some(medium),
            UserPart::Text(_) => None,
        });
        of_parts.chain(media)
    }
}

fn read_assistant(message: &mut Object<'_>) -> Result<Message, ConvertError> {
    let at = message.at();
    let function_call = message.take("function_call");
    let mut texts = texts(message)?;
    texts.extend(message.string_or_none("refusal").filter(|text| !text.is_empty()));
    let at_calls = at.key("tool_calls");
    let calls = message.take("tool_calls").map_or(Ok(Vec::new()), |list| array(list, &at_calls))?;
    let read = |(index, call)| ToolCall::read(call, at_calls.index(index));
    let mut calls = calls.into_iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    if let Some(call) = function_call {
        calls.push(ToolCall::read_function(call, at.key("function_call"))?);
    }
    Ok(Message::Assistant { texts, calls, signature: None })
}

fn read_tool(message: &mut Object<'_>) -> Result<Message, ConvertError> {
    let id = message.require_string("tool_call_id")?;
    read_result(message, id)
}

/// The result of a call from before calls had ids; it belongs to the call before it.
fn read_function(message: &mut Object<'_>) -> Result<Message, ConvertError> {
    message.require_string("name")?;
    read_result(message, String::new())
}

fn read_result(message: &mut Object<'_>, id: String) -> Result<Message, ConvertError> {
    let (mut text, mut media) = (String::new(), Vec::new());
    for part in user_parts_or_none(message)?.unwrap_or_default() {
        match part {
            UserPart::Text(more) if text.is_empty() => text = more,
            UserPart::Text(more) => text.push_str(&more),
            UserPart::Media(medium) => media.push(medium),
        }
    }
    Ok(Message::Tool { id, text, media })
}

impl ToolCall {
    fn read(value: Value, at: At<'_>) -> Result<Self, ConvertError> {
        let mut call = Object::read(value, at)?;
        let id = call.string("id")?.unwrap_or_default();
        let signature = call.take("extra_content").as_ref().and_then(signature);
        let (name, args) = if let Some(custom) = call.take("custom") {
            let mut custom = Object::read(custom, at.key("custom"))?;
            let input = custom.string("input")?.unwrap_or_default();
            (custom.require_string("name")?, json!({ "input": input }))
        } else {
            let mut function = Object::read(call.require("function")?, at.key("function"))?;
            let arguments = function.take("arguments").unwrap_or_default();
            (function.require_string("name")?, arguments)
        };
        Ok(Self { id, name, args: object_text(args), signature })
    }

    /// `function_call`, from before calls had ids.
    fn read_function(value: Value, at: At<'_>) -> Result<Self, ConvertError> {
        let mut function = Object::read(value, at)?;
        let args = object_text(function.take("arguments").unwrap_or_default());
        Ok(Self { id: String::new(), name: function.require_string("name")?, args, signature: None })
    }
}

fn signature(extra_content: &Value) -> Option<String> {
    let signature = extra_content.get("google")?.get("thought_signature")?.as_str()?;
    (!signature.is_empty()).then(|| signature.to_owned())
}

/// Arguments as a JSON object; `{}` for an empty text, broken JSON, and anything that is no object.
pub(super) fn object_text(arguments: Value) -> Box<RawValue> {
    let text = match arguments {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let raw = RawValue::from_string(text).ok().filter(|raw| raw.get().starts_with('{'));
    raw.unwrap_or_else(|| RawValue::from_string("{}".to_owned()).expect("an empty object is JSON"))
}

/// Content that is text only: a string, or a list of parts; missing is nothing.
fn texts(message: &mut Object<'_>) -> Result<Vec<String>, ConvertError> {
    let at = message.at();
    let at = at.key("content");
    match message.take("content") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text]),
        Some(Value::Array(parts)) => {
            let read = |(index, part)| text_part(part, at.index(index)).transpose();
            parts.into_iter().enumerate().filter_map(read).collect()
        }
        Some(other) => Err(wrong_type(&at, "a string or an array of objects", &other)),
    }
}

/// A text or a refusal; `None` for thoughts, which are never sent back as ordinary text.
fn text_part(value: Value, at: At<'_>) -> Result<Option<String>, ConvertError> {
    let mut part = Object::read(value, at)?;
    let kind = part.require_string("type")?;
    match kind.as_str() {
        "text" | "input_text" | "output_text" => part.require_string("text").map(Some),
        "refusal" => part.require_string("refusal").map(Some),
        "thinking" | "redacted_thinking" | "reasoning" => Ok(None),
        _ => Err(unknown_part(kind, &at, "'text' and 'refusal'")),
    }
}

fn unknown_part(kind: String, at: &At<'_>, supported: &'static str) -> ConvertError {
    ConvertError::UnknownValue { param: at.key("type").to_string(), value: kind, supported }
}

fn user_parts(message: &mut Object<'_>) -> Result<Vec<UserPart>, ConvertError> {
    let at = message.at();
    match user_parts_or_none(message)? {
        Some(parts) if parts.is_empty() => {
            Err(ConvertError::EmptyArray { param: at.key("content").to_string() })
        }
        Some(parts) => Ok(parts),
        None => Err(ConvertError::Missing { param: at.key("content").to_string() }),
    }
}

fn user_parts_or_none(message: &mut Object<'_>) -> Result<Option<Vec<UserPart>>, ConvertError> {
    let at = message.at();
    let at = at.key("content");
    match message.take("content") {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![UserPart::Text(text)])),
        Some(Value::Array(parts)) => {
            let read = |(index, part)| user_part(part, at.index(index));
            parts.into_iter().enumerate().map(read).collect::<Result<_, _>>().map(Some)
        }
        Some(other) => Err(wrong_type(&at, "a string or an array of objects", &other)),
    }
}

fn user_part(value: Value, at: At<'_>) -> Result<UserPart, ConvertError> {
    let mut part = Object::read(value, at)?;
    let kind = part.require_string("type")?;
    match kind.as_str() {
        "text" | "input_text" | "output_text" => part.require_string("text").map(UserPart::Text),
        "image_url" => address(&mut part, "image_url").map(UserPart::Media),
        "video_url" => address(&mut part, "video_url").map(UserPart::Media),
        "input_audio" => audio(&mut part).map(UserPart::Media),
        "file" => file(&mut part).map(UserPart::Media),
        _ => Err(unknown_part(kind, &at, USER_PARTS)),
    }
}

/// `{"image_url": {"url": …}}`, or the address without the object around it.
fn address(part: &mut Object<'_>, name: &'static str) -> Result<Media, ConvertError> {
    let at = part.at();
    let at = at.key(name);
    let url = match part.require(name)? {
        Value::String(url) => url,
        object => Object::read(object, at)?.require_string("url")?,
    };
    let read = Media::from_any_url(url, Place::Picture, || at.to_string());
    read.map_err(|error| media_error(error, &at.to_string()))
}

/// What is wrong with a medium, in words.
pub fn media_error(error: MediaError, param: &str) -> ConvertError {
    let param = param.to_owned();
    let reason = match error {
        MediaError::Remote => "a remote address cannot stand here; send a data URL.",
        MediaError::Malformed => "expected base64, in a data URL such as data:image/png;base64,....",
        MediaError::Format => {
            "Gemini does not read this format; of pictures send png, jpeg, webp, heic or heif."
        }
        MediaError::File => {
            "Gemini reads no files of this kind; send a PDF, a text, a picture, a sound or a video."
        }
        MediaError::NoPicture => "this is a text and no picture.",
    };
    ConvertError::InvalidValue { param, reason: reason.to_owned() }
}

pub(super) fn audio(part: &mut Object<'_>) -> Result<Media, ConvertError> {
    let at = part.at();
    let at = at.key("input_audio");
    let mut audio = Object::read(part.require("input_audio")?, at)?;
    let format = audio.require_string("format")?;
    if format.is_empty() || !format.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let param = at.key("format").to_string();
        return Err(ConvertError::UnknownValue { param, value: format, supported: "'wav' and 'mp3'" });
    }
    let (kind, data) = (format!("audio/{}", format.to_ascii_lowercase()), audio.require_string("data")?);
    Media::of_type(&kind, data).map_err(|error| media_error(error, &at.key("data").to_string()))
}

fn file(part: &mut Object<'_>) -> Result<Media, ConvertError> {
    let at = part.at();
    file_content(&mut Object::read(part.require("file")?, at.key("file"))?)
}

/// `file_data` as a data URL or as base64 of what `filename` promises, or `file_id`.
pub(super) fn file_content(file: &mut Object<'_>) -> Result<Media, ConvertError> {
    let at = file.at();
    if let Some(data) = file.string("file_data")? {
        let name = file.string_or_none("filename").unwrap_or_default();
        return Media::from_file(&name, data)
            .map_err(|error| media_error(error, &at.key("file_data").to_string()));
    }
    let id = string(file.require("file_id")?, &at.key("file_id"))?;
    let unknown = || ConvertError::InvalidValue {
        param: at.key("file_id").to_string(),
        reason: "files of OpenAI are not kept here. Send 'file_data', or the URI of a Gemini file."
            .to_owned(),
    };
    Media::from_url(id).ok().filter(|media| matches!(media, Media::Uri(_))).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Result<Message, ConvertError> {
        let messages = At::Root.key("messages");
        Message::read(value, messages.index(0))
    }

    #[test]
    fn a_remote_picture_waits_to_be_fetched_and_knows_its_place() {
        let picture = json!({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}});
        let mut message =
            read(json!({"role": "user", "content": [{"type": "text", "text": "?"}, picture]})).unwrap();

        let param = "messages[0].content[1].image_url".to_owned();
        let url = "https://example.com/a.png".to_owned();
        let place = Place::Picture;
        assert_eq!(message.media_mut().collect::<Vec<_>>(), [&mut Media::Remote { url, param, place }]);
    }

    #[test]
    fn a_user_says_something_and_a_tool_need_not() {
        let said_nothing = read(json!({"role": "user", "content": []})).unwrap_err();
        assert_eq!(
            (said_nothing.param(), said_nothing.code()),
            (Some("messages[0].content"), Some("empty_array"))
        );

        let result = read(json!({"role": "tool", "tool_call_id": "a", "content": []})).unwrap();
        assert!(matches!(result, Message::Tool { text, media, .. } if text.is_empty() && media.is_empty()));
    }

    #[test]
    fn a_video_is_googles_to_fetch_or_comes_along() {
        let read = |url: &str| {
            let part = json!({"type": "video_url", "video_url": {"url": url}});
            match read(json!({"role": "user", "content": [part]})) {
                Ok(Message::User(mut parts)) => parts.remove(0),
                other => panic!("{other:?}"),
            }
        };

        let youtube = "https://www.youtube.com/watch?v=x";
        assert!(matches!(read(youtube), UserPart::Media(Media::Uri(uri)) if uri == youtube));
        let data = read("data:video/mp4;base64,AAAA");
        assert!(matches!(data, UserPart::Media(Media::Inline { mime_type, .. }) if mime_type == "video/mp4"));
        let remote = read("https://example.com/a.mp4");
        assert!(
            matches!(remote, UserPart::Media(Media::Remote { param, .. }) if param == "messages[0].content[0].video_url")
        );
    }

    #[test]
    fn a_picture_may_lack_the_object_around_its_address() {
        let part = json!({"type": "image_url", "image_url": "data:image/png;base64,AA=="});
        let message = read(json!({"role": "user", "content": [part]})).unwrap();

        assert!(matches!(message, Message::User(parts) if matches!(parts[0], UserPart::Media(_))));
    }

    #[test]
    fn arguments_that_are_no_object_become_an_empty_one() {
        for (arguments, expected) in [
            (json!(""), "{}"),
            (json!("null"), "{}"),
            (json!("[1]"), "{}"),
            (json!("{\"a\":"), "{}"),
            (json!(null), "{}"),
            (json!(" {\"a\": 1}\n"), "{\"a\": 1}"),
            (json!({"a": 1}), "{\"a\":1}"),
        ] {
            assert_eq!(object_text(arguments.clone()).get(), expected, "{arguments}");
        }
    }

    #[test]
    fn an_unknown_role_is_named_with_those_that_exist() {
        let error = read(json!({"role": "robot", "content": "x"})).unwrap_err();

        assert_eq!(
            error.to_string(),
            "Invalid value: 'robot'. Supported values are: 'system', 'assistant', 'user', 'tool', and 'developer'."
        );
        assert_eq!(error.param(), Some("messages[0].role"));
    }

    #[test]
    fn a_file_is_read_from_data_or_from_gemini_itself() {
        let file = |file: Value| read(json!({"role": "user", "content": [{"type": "file", "file": file}]}));
        let uri = "https://generativelanguage.googleapis.com/v1beta/files/abc";

        assert!(file(json!({"file_data": "JVBERi0=", "filename": "a.pdf"})).is_ok());
        assert!(file(json!({ "file_id": uri })).is_ok());
        let error = file(json!({"file_data": "UEsDBBQA", "filename": "x.docx"})).unwrap_err();
        assert_eq!(error.param(), Some("messages[0].content[0].file.file_data"));
        assert!(error.to_string().contains("no files of this kind"), "{error}");
        assert_eq!(
            file(json!({"file_id": "file-1"})).unwrap_err().param(),
            Some("messages[0].content[0].file.file_id")
        );
    }
}
