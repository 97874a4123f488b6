//! One input item, read and checked.

use serde_json::{Value, json};

use crate::convert::{
    ConvertError,
    gemini::{
        markdown,
        media::{Media, Place},
    },
    json::{At, Object, array, wrong_type},
    openai::message::{Message, ToolCall, UserPart, audio, file_content, media_error, object_text},
};

const ROLES: &str = "'user', 'assistant', 'system', and 'developer'";
const PARTS: &str = "'input_text', 'input_image', 'input_file', and 'input_audio'";
const TEXTS: &str = "'input_text', 'output_text', and 'refusal'";
const KINDS: &str = "'message', 'function_call', 'function_call_output', 'custom_tool_call', 'custom_tool_call_output', \
                     'reasoning', 'item_reference', 'web_search_call', 'code_interpreter_call', and 'image_generation_call'";

/// What an item adds to the conversation.
#[derive(Debug)]
pub(super) enum Said {
    Message(Message),
    /// The signature of the next call, as a client carries it.
    Sealed(String),
    /// Nothing that Gemini could read.
    Nothing,
}

pub(super) fn read(value: Value, at: At<'_>) -> Result<Said, ConvertError> {
    let mut item = Object::read(value, at)?;
    let kind = item.string("type")?;
    match kind.as_deref() {
        None | Some("message") => message(&mut item).map(Said::Message),
        Some("function_call") => call(&mut item).map(Said::Message),
        Some("custom_tool_call") => custom_call(&mut item).map(Said::Message),
        Some("function_call_output" | "custom_tool_call_output") => result(&mut item).map(Said::Message),
        Some("reasoning") => Ok(item.string("encrypted_content")?.map_or(Said::Nothing, Said::Sealed)),
        // What was found is in the text that follows.
        Some("web_search_call") => Ok(Said::Nothing),
        Some("code_interpreter_call") => code(&mut item).map(Said::Message),
        Some("image_generation_call") => picture(&mut item),
        Some(
            kind @ ("file_search_call"
            | "computer_call"
            | "computer_call_output"
            | "mcp_list_tools"
            | "mcp_call"
            | "mcp_approval_request"
            | "mcp_approval_response"
            | "local_shell_call"
            | "local_shell_call_output"
            | "shell_call"
            | "shell_call_output"
            | "apply_patch_call"
            | "apply_patch_call_output"
            | "tool_search_call"
            | "tool_search_output"
            | "compaction"),
        ) => {
            let reason = format!("with the value '{kind}': it belongs to a tool that runs at OpenAI.");
            Err(ConvertError::Unsupported { param: at.key("type").to_string(), reason })
        }
        Some(other) => Err(ConvertError::UnknownValue {
            param: at.key("type").to_string(),
            value: other.to_owned(),
            supported: KINDS,
        }),
    }
}

fn message(item: &mut Object<'_>) -> Result<Message, ConvertError> {
    let at = item.at();
    let role = item.require_string("role")?;
    let content = item.require("content")?;
    let at_content = at.key("content");
    match role.as_str() {
        "user" => some_parts(content, at_content).map(Message::User),
        "system" | "developer" => texts(content, at_content).map(Message::System),
        "assistant" => texts(content, at_content).map(said),
        _ => {
            let param = at.key("role").to_string();
            Err(ConvertError::UnknownValue { param, value: role, supported: ROLES })
        }
    }
}

/// A text, or the parts that stand for one.
fn list(content: Value, at: &At<'_>) -> Result<Result<String, Vec<Value>>, ConvertError> {
    match content {
        Value::String(text) => Ok(Ok(text)),
        list @ Value::Array(_) => array(list, at).map(Err),
        other => Err(wrong_type(at, "a string or an array of objects", &other)),
    }
}

fn texts(content: Value, at: At<'_>) -> Result<Vec<String>, ConvertError> {
    let parts = match list(content, &at)? {
        Ok(text) => return Ok(vec![text]),
        Err(parts) => parts,
    };
    let read = |(index, part): (usize, Value)| {
        let at = at.index(index);
        let mut part = Object::read(part, at)?;
        let kind = part.require_string("type")?;
        match kind.as_str() {
            "input_text" | "output_text" | "text" => part.require_string("text"),
            "refusal" => part.require_string("refusal"),
            _ => Err(unknown_part(kind, &at, TEXTS)),
        }
    };
    parts.into_iter().enumerate().map(read).collect()
}

fn some_parts(content: Value, at: At<'_>) -> Result<Vec<UserPart>, ConvertError> {
    let parts = parts(content, at)?;
    if parts.is_empty() {
        return Err(ConvertError::EmptyArray { param: at.to_string() });
    }
    Ok(parts)
}

fn parts(content: Value, at: At<'_>) -> Result<Vec<UserPart>, ConvertError> {
    match list(content, &at)? {
        Ok(text) => Ok(vec![UserPart::Text(text)]),
        Err(parts) => {
            parts.into_iter().enumerate().map(|(index, part)| user_part(part, at.index(index))).collect()
        }
    }
}

fn user_part(value: Value, at: At<'_>) -> Result<UserPart, ConvertError> {
    let mut part = Object::read(value, at)?;
    let kind = part.require_string("type")?;
    match kind.as_str() {
        "input_text" | "output_text" | "text" => part.require_string("text").map(UserPart::Text),
        "input_image" => image(&mut part).map(UserPart::Media),
        "input_file" => file(&mut part).map(UserPart::Media),
        "input_audio" => audio(&mut part).map(UserPart::Media),
        _ => Err(unknown_part(kind, &at, PARTS)),
    }
}

fn unknown_part(kind: String, at: &At<'_>, supported: &'static str) -> ConvertError {
    ConvertError::UnknownValue { param: at.key("type").to_string(), value: kind, supported }
}

fn image(part: &mut Object<'_>) -> Result<Media, ConvertError> {
    match part.string("image_url")? {
        Some(url) => from_url(url, Place::Picture, &part.at().key("image_url")),
        None => file_content(part),
    }
}

fn file(part: &mut Object<'_>) -> Result<Media, ConvertError> {
    match part.string("file_url")? {
        Some(url) => from_url(url, Place::File, &part.at().key("file_url")),
        None => file_content(part),
    }
}

fn from_url(url: String, place: Place, at: &At<'_>) -> Result<Media, ConvertError> {
    Media::from_any_url(url, place, || at.to_string()).map_err(|error| media_error(error, &at.to_string()))
}

fn said(texts: Vec<String>) -> Message {
    Message::Assistant { texts, calls: Vec::new(), signature: None }
}

fn called(call: ToolCall) -> Message {
    Message::Assistant { texts: Vec::new(), calls: vec![call], signature: None }
}

fn call(item: &mut Object<'_>) -> Result<Message, ConvertError> {
    let args = object_text(item.take("arguments").unwrap_or_default());
    let (id, name) = (item.require_string("call_id")?, item.require_string("name")?);
    Ok(called(ToolCall { id, name, args, signature: None }))
}

fn custom_call(item: &mut Object<'_>) -> Result<Message, ConvertError> {
    let input = item.string("input")?.unwrap_or_default();
    let (id, name) = (item.require_string("call_id")?, item.require_string("name")?);
    Ok(called(ToolCall { id, name, args: object_text(json!({ "input": input })), signature: None }))
}

fn result(item: &mut Object<'_>) -> Result<Message, ConvertError> {
    let at = item.at();
    let id = item.require_string("call_id")?;
    let (mut text, mut media) = (String::new(), Vec::new());
    for part in parts(item.require("output")?, at.key("output"))? {
        match part {
            UserPart::Text(more) => text.push_str(&more),
            UserPart::Media(medium) => media.push(medium),
        }
    }
    Ok(Message::Tool { id, text, media })
}

/// Code that ran, as the model's own words: only they can come back without Gemini's signature.
fn code(item: &mut Object<'_>) -> Result<Message, ConvertError> {
    let mut texts: Vec<_> =
        item.string("code")?.map(|code| markdown::fenced("python", &code)).into_iter().collect();
    if let Some(Value::Array(outputs)) = item.take("outputs") {
        let logs = outputs.iter().filter_map(|output| output.get("logs")?.as_str());
        texts.extend(logs.map(|logs| markdown::fenced("", logs)));
    }
    Ok(said(vec![texts.join("\n\n")]))
}

/// A picture that the model drew is shown to it as the user's, since its signature is lost.
fn picture(item: &mut Object<'_>) -> Result<Said, ConvertError> {
    let format = item.string_or_none("output_format").unwrap_or_else(|| "png".to_owned());
    let at = item.at().key("result").to_string();
    let read =
        |data| Media::of_type(&format!("image/{format}"), data).map_err(|error| media_error(error, &at));
    let picture = item.string("result")?.map(read).transpose()?;
    Ok(picture.map_or(Said::Nothing, |picture| Said::Message(Message::User(vec![UserPart::Media(picture)]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(value: Value) -> ConvertError {
        let input = At::Root.key("input");
        read(value, input.index(2)).unwrap_err()
    }

    #[test]
    fn every_mistake_names_its_place() {
        let part = |part: Value| json!({"role": "user", "content": [part]});
        for (item, param) in [
            (json!(7), "input[2]"),
            (json!({"content": "a"}), "input[2].role"),
            (json!({"role": "tool", "content": "a"}), "input[2].role"),
            (json!({"role": "user"}), "input[2].content"),
            (json!({"role": "user", "content": 1}), "input[2].content"),
            (json!({"role": "user", "content": []}), "input[2].content"),
            (part(json!({"type": "input_text"})), "input[2].content[0].text"),
            (part(json!({"type": "input_image", "image_url": "x"})), "input[2].content[0].image_url"),
            (part(json!({"type": "input_image", "file_id": "file-1"})), "input[2].content[0].file_id"),
            (part(json!({"type": "input_video"})), "input[2].content[0].type"),
            (json!({"type": "function_call", "name": "f"}), "input[2].call_id"),
            (json!({"type": "function_call_output", "call_id": "c"}), "input[2].output"),
            (json!({"type": "mcp_call"}), "input[2].type"),
            (json!({"type": "nonsense"}), "input[2].type"),
        ] {
            let error = failed(item.clone());
            assert_eq!(error.param(), Some(param), "{item}: {error}");
        }
    }

    #[test]
    fn a_call_may_result_in_nothing() {
        let item = json!({"type": "function_call_output", "call_id": "c", "output": []});

        let read = read(item, At::Root).unwrap();

        assert!(matches!(read, Said::Message(Message::Tool { text, .. }) if text.is_empty()));
    }

    #[test]
    fn files_come_as_data_as_an_address_or_as_one_of_gemini() {
        let read_file = |fields: Value| {
            let mut part = fields;
            part["type"] = "input_file".into();
            user_part(part, At::Root).map(|part| match part {
                UserPart::Media(media) => media,
                UserPart::Text(text) => panic!("{text}"),
            })
        };

        let pdf =
            read_file(json!({"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}));
        assert!(matches!(pdf, Ok(Media::Inline { mime_type, .. }) if mime_type == "application/pdf"));
        let bare = read_file(json!({"file_data": "YQ==", "filename": "a.txt"}));
        assert!(matches!(bare, Ok(Media::Inline { mime_type, .. }) if mime_type == "text/plain"));
        assert!(matches!(
            read_file(json!({"file_url": "https://example.com/a.pdf"})),
            Ok(Media::Remote { place: Place::File, .. })
        ));
        assert!(matches!(read_file(json!({"file_id": "gs://bucket/a"})), Ok(Media::Uri(_))));
    }
}
