//! The messages of a conversation and the blocks that they are made of.
//!
//! Thoughts are never sent back as text: of a thinking block only the signature counts.

use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use super::{
    json::{At, Object, array, wrong_type},
    source, thinking,
};
use crate::convert::{
    ConvertError,
    gemini::{effort::Effort, media::Media, signatures::TextSignature},
};

#[derive(Debug)]
pub struct Message {
    pub role: Role,
    pub blocks: Vec<Block>,
    /// Of the one text of an assistant's, as far as it is remembered.
    pub signature: Option<TextSignature>,
    /// Of a system's: how much the model shall think from here on.
    pub effort: Option<Effort>,
    /// Of a system's: it holds until the user speaks again.
    pub is_passing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    User,
    Assistant,
    /// Since 2026 among the messages too.
    System,
}

#[derive(Debug)]
pub enum Block {
    Text(String),
    Media(Media),
    Thinking {
        signature: String,
    },
    ToolUse {
        id: String,
        name: String,
        /// A JSON object.
        input: Box<RawValue>,
        /// The signature, where it is remembered.
        remembered: Option<String>,
    },
    ToolResult {
        id: String,
        text: String,
        media: Vec<Media>,
        is_error: bool,
    },
}

impl Block {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Media(_) | Self::Thinking { .. } | Self::ToolUse { .. } | Self::ToolResult { .. } => None,
        }
    }

    fn media(&mut self) -> &mut [Media] {
        match self {
            Self::Media(media) => std::slice::from_mut(media),
            Self::ToolResult { media, .. } => media,
            Self::Text(_) | Self::Thinking { .. } | Self::ToolUse { .. } => &mut [],
        }
    }

    pub(super) fn media_mut(&mut self) -> impl Iterator<Item = &mut Media> {
        self.media().iter_mut()
    }
}

/// Reads the block of a type that its place allows; `false` if it does not.
pub(super) type ReadBlock = fn(&str, &mut Object<'_>, &mut Vec<Block>) -> Result<bool, ConvertError>;

impl Message {
    pub(super) fn read(value: Value, at: At<'_>) -> Result<Self, ConvertError> {
        let mut message = Object::read(value, at)?;
        let role = message.require_string("role")?;
        let (role, read): (_, ReadBlock) = match role.as_str() {
            "user" => (Role::User, user_block),
            "assistant" => (Role::Assistant, assistant_block),
            "system" => (Role::System, text_block),
            _ => {
                let (param, supported) = (at.key("role").to_string(), "'user', 'assistant' or 'system'");
                return Err(ConvertError::UnknownValue { param, value: role, supported });
            }
        };
        let configures = role == Role::System && message.peek("output_config").is_some_and(Value::is_object);
        let (effort, is_passing) = match role {
            Role::System => (thinking::effort_of(&mut message)?, is_passing(&mut message)?),
            Role::User | Role::Assistant => (None, false),
        };
        let (mut blocks, at) = (Vec::new(), at.key("content"));
        let content = if configures { message.take("content") } else { Some(message.require("content")?) };
        match content {
            None => {}
            Some(Value::String(text)) if text.is_empty() => {}
            Some(Value::String(text)) => blocks.push(Block::Text(text)),
            Some(list @ Value::Array(_)) => blocks_of(list, at, read, &mut blocks)?,
            Some(other) => return Err(wrong_type(&at, "a valid string or list", &other)),
        }
        Ok(Self { role, blocks, signature: None, effort, is_passing })
    }
}

/// `clear_at` of a system's message.
fn is_passing(message: &mut Object<'_>) -> Result<bool, ConvertError> {
    let at = message.at();
    match message.string("clear_at")?.as_deref() {
        None | Some("never") => Ok(false),
        Some("next_user_message") => Ok(true),
        Some(other) => {
            let (param, value) = (at.key("clear_at").to_string(), other.to_owned());
            Err(ConvertError::UnknownValue { param, value, supported: "'next_user_message' or 'never'" })
        }
    }
}

/// The texts of `system`: a string, or text blocks.
pub(super) fn system(value: Value, at: At<'_>) -> Result<Vec<String>, ConvertError> {
    let mut blocks = Vec::new();
    match value {
        Value::String(text) => blocks.push(Block::Text(text)),
        list @ Value::Array(_) => blocks_of(list, at, text_block, &mut blocks)?,
        other => return Err(wrong_type(&at, "a valid string or list", &other)),
    }
    let text = |block| match block {
        Block::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    };
    Ok(blocks.into_iter().filter_map(text).collect())
}

/// Reads a list of blocks of the types that `read` knows.
pub(super) fn blocks_of(
    list: Value,
    at: At<'_>,
    read: ReadBlock,
    into: &mut Vec<Block>,
) -> Result<(), ConvertError> {
    for (index, block) in array(list, &at)?.into_iter().enumerate() {
        let at = at.index(index);
        let mut block = Object::read(block, at)?;
        let kind = block.require_string("type")?;
        if !read(&kind, &mut block, into)? {
            let reason = format!("`{kind}` blocks are not allowed here");
            return Err(ConvertError::InvalidValue { param: at.key("type").to_string(), reason });
        }
    }
    Ok(())
}

fn text_block(kind: &str, block: &mut Object<'_>, into: &mut Vec<Block>) -> Result<bool, ConvertError> {
    if kind != "text" {
        return Ok(false);
    }
    let (at, text) = (block.at(), block.require_string("text")?);
    if text.is_empty() {
        let reason = "text content blocks must be non-empty".to_owned();
        return Err(ConvertError::InvalidValue { param: at.key("text").to_string(), reason });
    }
    into.push(Block::Text(text));
    Ok(true)
}

/// Text and pictures: what a document can be made of.
pub(super) fn text_blocks(
    kind: &str,
    block: &mut Object<'_>,
    into: &mut Vec<Block>,
) -> Result<bool, ConvertError> {
    if kind != "image" {
        return text_block(kind, block, into);
    }
    into.push(Block::Media(source::image(block)?));
    Ok(true)
}

/// What somebody shows the model: the user, or a tool.
fn shown_block(kind: &str, block: &mut Object<'_>, into: &mut Vec<Block>) -> Result<bool, ConvertError> {
    match kind {
        "document" => source::document(block, into)?,
        "search_result" => search_result(block, into)?,
        _ => return text_blocks(kind, block, into),
    }
    Ok(true)
}

fn user_block(kind: &str, block: &mut Object<'_>, into: &mut Vec<Block>) -> Result<bool, ConvertError> {
    if kind != "tool_result" {
        return shown_block(kind, block, into);
    }
    into.push(tool_result(block)?);
    Ok(true)
}

fn assistant_block(kind: &str, block: &mut Object<'_>, into: &mut Vec<Block>) -> Result<bool, ConvertError> {
    match kind {
        "thinking" => {
            let signature = block.string("signature")?.unwrap_or_default();
            into.push(Block::Thinking { signature });
        }
        "tool_use" => into.push(tool_use(block)?),
        _ if is_hosted(kind) => {}
        _ => return shown_block(kind, block, into),
    }
    Ok(true)
}

/// What other servers' models and tools left behind: nobody else can read it, so it is passed over.
fn is_hosted(kind: &str) -> bool {
    let names = ["redacted_thinking", "server_tool_use", "mcp_tool_use", "mcp_tool_result", "compaction"];
    names.contains(&kind) || kind.ends_with("_tool_result")
}

fn search_result(block: &mut Object<'_>, into: &mut Vec<Block>) -> Result<(), ConvertError> {
    let at = block.at();
    let (title, address) = (block.require_string("title")?, block.require_string("source")?);
    into.push(Block::Text(format!("Search result: {title}\nSource: {address}")));
    blocks_of(block.require("content")?, at.key("content"), text_block, into)
}

fn tool_use(block: &mut Object<'_>) -> Result<Block, ConvertError> {
    let at = block.at();
    let id = block.require_string("id")?;
    if id.is_empty() {
        let reason = "String should have at least 1 character".to_owned();
        return Err(ConvertError::InvalidValue { param: at.key("id").to_string(), reason });
    }
    let name = block.require_string("name")?;
    let input = match block.require("input")? {
        input @ Value::Object(_) => to_raw_value(&input).expect("what was read from JSON is JSON"),
        other => return Err(wrong_type(&at.key("input"), "an object", &other)),
    };
    Ok(Block::ToolUse { id, name, input, remembered: None })
}

fn tool_result(block: &mut Object<'_>) -> Result<Block, ConvertError> {
    let at = block.at();
    let (id, mut blocks) = (block.require_string("tool_use_id")?, Vec::new());
    let at = at.key("content");
    match block.take("content") {
        None => {}
        Some(Value::String(text)) => blocks.push(Block::Text(text)),
        Some(list @ Value::Array(_)) => blocks_of(list, at, result_block, &mut blocks)?,
        Some(other) => return Err(wrong_type(&at, "a valid string or list", &other)),
    }
    let (mut texts, mut media) = (Vec::new(), Vec::new());
    for block in blocks {
        match block {
            Block::Text(text) => texts.push(text),
            Block::Media(medium) => media.push(medium),
            Block::Thinking { .. } | Block::ToolUse { .. } | Block::ToolResult { .. } => {}
        }
    }
    let text = if texts.len() == 1 { texts.remove(0) } else { texts.join("\n") };
    Ok(Block::ToolResult { id, text, media, is_error: block.boolean("is_error")?.unwrap_or(false) })
}

/// A tool may also say nothing, or point to another tool.
fn result_block(kind: &str, block: &mut Object<'_>, into: &mut Vec<Block>) -> Result<bool, ConvertError> {
    match kind {
        "text" => into.push(Block::Text(block.require_string("text")?)),
        "tool_reference" => into.push(Block::Text(format!("Tool: {}", block.require_string("tool_name")?))),
        _ => return shown_block(kind, block, into),
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::convert::anthropic::words;

    fn read(message: Value) -> Result<Message, String> {
        let messages = At::Root.key("messages");
        Message::read(message, messages.index(0)).map_err(|error| words::message(&error))
    }

    fn user(block: Value) -> Result<Message, String> {
        read(json!({"role": "user", "content": [block]}))
    }

    #[test]
    fn what_is_malformed_is_named_by_its_path() {
        let place = "messages.0.content.0";
        for (block, message) in [
            (json!({"type": "text"}), "text: Field required"),
            (json!({"type": "text", "text": ""}), "text: text content blocks must be non-empty"),
            (
                json!({"type": "image", "source": {"type": "base64", "data": "x"}}),
                "source.media_type: Field required",
            ),
            (
                json!({"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "R0lG"}}),
                "source.media_type: Gemini does not read this format; send png, jpeg, webp, heic or heif",
            ),
            (json!({"type": "tool_result"}), "tool_use_id: Field required"),
            (
                json!({"type": "tool_use", "id": "a", "name": "f", "input": {}}),
                "type: `tool_use` blocks are not allowed here",
            ),
            (json!({"type": "never"}), "type: `never` blocks are not allowed here"),
        ] {
            assert_eq!(user(block).unwrap_err(), format!("{place}.{message}"));
        }
        let remote = json!({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}});
        let place = "messages[0].content[0].source.url";
        let mut message = user(remote).unwrap();
        let fetched: Vec<_> = message.blocks.iter_mut().flat_map(Block::media_mut).collect();
        assert!(matches!(&*fetched, [Media::Remote { param, .. }] if param == place));
        assert_eq!(
            read(json!({"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": "x"}]})).unwrap_err(),
            "messages.0.content.0.input: Input should be a valid dictionary"
        );
        assert_eq!(
            read(json!({"role": "robot", "content": "x"})).unwrap_err(),
            "messages.0.role: Input should be 'user', 'assistant' or 'system', but is 'robot'"
        );
    }

    #[test]
    fn a_systems_message_may_change_the_effort_without_a_word() {
        let message = read(json!({"role": "system", "output_config": {"effort": "low"}})).unwrap();

        assert_eq!((message.effort, message.blocks.len()), (Some(Effort::Low), 0));
        assert_eq!(read(json!({"role": "system"})).unwrap_err(), "messages.0.content: Field required");
        assert_eq!(
            read(json!({"role": "system", "content": "x", "clear_at": "noon"})).unwrap_err(),
            "messages.0.clear_at: Input should be 'next_user_message' or 'never', but is 'noon'"
        );
    }

    #[test]
    fn a_document_is_told_with_its_title_and_context() {
        let document = |source: Value| {
            let message =
                user(json!({"type": "document", "title": "T", "context": "C", "source": source})).unwrap();
            let text = |block| match block {
                Block::Text(text) => text,
                Block::Media(media) => media.to_part().inline_data.unwrap().mime_type.into_owned(),
                other => panic!("{other:?}"),
            };
            message.blocks.into_iter().map(text).collect::<Vec<_>>()
        };

        let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="});
        assert_eq!(document(pdf), ["Document: T", "Context: C", "application/pdf"]);
        let text = json!({"type": "text", "media_type": "text/plain", "data": "hello"});
        assert_eq!(document(text), ["Document: T", "Context: C", "hello"]);
        let content = json!({"type": "content", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]});
        assert_eq!(document(content), ["Document: T", "Context: C", "a", "b"]);
    }

    #[test]
    fn a_result_holds_texts_and_pictures() {
        let png =
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}});
        let content = json!([{"type": "text", "text": "a"}, png, {"type": "text", "text": "b"}]);

        let message =
            user(json!({"type": "tool_result", "tool_use_id": "t", "content": content, "is_error": true}))
                .unwrap();

        let [Block::ToolResult { id, text, media, is_error: true }] = &*message.blocks else {
            panic!("{message:?}")
        };
        assert_eq!((id.as_str(), text.as_str(), media.len()), ("t", "a\nb", 1));
    }

    #[test]
    fn a_result_may_hold_nothing() {
        for result in [
            json!({"type": "tool_result", "tool_use_id": "t", "content": []}),
            json!({"type": "tool_result", "tool_use_id": "t"}),
        ] {
            let message = user(result).unwrap();

            assert!(matches!(&*message.blocks, [Block::ToolResult { text, .. }] if text.is_empty()));
        }
    }

    #[test]
    fn what_hosted_tools_left_behind_is_passed_over() {
        let kinds =
            ["redacted_thinking", "server_tool_use", "web_search_tool_result", "code_execution_tool_result"];
        let content: Vec<Value> = kinds.iter().map(|kind| json!({ "type": kind, "content": [] })).collect();

        assert!(read(json!({"role": "assistant", "content": content})).unwrap().blocks.is_empty());
    }
}
