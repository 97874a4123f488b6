//! Where a picture or a document comes from: its `source`.

use serde_json::Value;

use super::{
    content::{Block, blocks_of, text_blocks},
    json::{At, Object},
};
use crate::convert::{
    ConvertError,
    gemini::media::{Media, MediaError, Place},
};

/// The medium of an `image` block.
pub(super) fn image(block: &mut Object<'_>) -> Result<Media, ConvertError> {
    let at = block.at();
    let at = at.key("source");
    let mut source = Object::read(block.require("source")?, at)?;
    let kind = source.require_string("type")?;
    match kind.as_str() {
        "base64" => {
            let mime_type = source.require_string("media_type")?;
            if !mime_type.starts_with("image/") {
                let supported = "'image/jpeg', 'image/png' or 'image/webp'";
                return Err(unknown(&at.key("media_type"), mime_type, supported));
            }
            base64(&mut source, &mime_type)
        }
        "url" => url(&mut source, Place::Picture),
        "file" => file(&mut source),
        _ => Err(unknown(&at.key("type"), kind, "'base64', 'url' or 'file'")),
    }
}

/// The blocks that a `document` block stands for: its title and context as text, then what is in it.
pub(super) fn document(block: &mut Object<'_>, into: &mut Vec<Block>) -> Result<(), ConvertError> {
    let at = block.at();
    for (name, label) in [("title", "Document"), ("context", "Context")] {
        let text = block.string(name)?.filter(|text| !text.is_empty());
        into.extend(text.map(|text| Block::Text(format!("{label}: {text}"))));
    }
    let at = at.key("source");
    let mut source = Object::read(block.require("source")?, at)?;
    let kind = source.require_string("type")?;
    match kind.as_str() {
        "base64" => {
            let mime_type = source.require_string("media_type")?;
            if mime_type != "application/pdf" {
                return Err(unknown(&at.key("media_type"), mime_type, "'application/pdf'"));
            }
            into.push(Block::Media(base64(&mut source, &mime_type)?));
        }
        "text" => into.push(Block::Text(source.require_string("data")?)),
        "content" => match source.require("content")? {
            Value::String(text) => into.push(Block::Text(text)),
            list => blocks_of(list, at.key("content"), text_blocks, into)?,
        },
        "url" => into.push(Block::Media(url(&mut source, Place::File)?)),
        "file" => into.push(Block::Media(file(&mut source)?)),
        _ => {
            return Err(unknown(&at.key("type"), kind, "'base64', 'text', 'content', 'url' or 'file'"));
        }
    }
    Ok(())
}

fn base64(source: &mut Object<'_>, mime_type: &str) -> Result<Media, ConvertError> {
    let at = source.at();
    let data = source.require_string("data")?;
    Media::of_type(mime_type, data).map_err(|error| {
        let place = if error == MediaError::Format { "media_type" } else { "data" };
        media_error(error, &at.key(place))
    })
}

fn url(source: &mut Object<'_>, place: Place) -> Result<Media, ConvertError> {
    let at = source.at();
    let url = source.require_string("url")?;
    Media::from_any_url(url, place, || at.key("url").to_string())
        .map_err(|error| media_error(error, &at.key("url")))
}

/// Of files only those of Gemini are known here, by their address.
fn file(source: &mut Object<'_>) -> Result<Media, ConvertError> {
    let at = source.at();
    let known = Media::from_url(source.require_string("file_id")?).ok();
    known.filter(|media| matches!(media, Media::Uri(_))).ok_or_else(|| ConvertError::InvalidValue {
        param: at.key("file_id").to_string(),
        reason: "files of Anthropic are not kept here; send the data, or the URI of a Gemini file".to_owned(),
    })
}

fn media_error(error: MediaError, at: &At<'_>) -> ConvertError {
    let reason = match error {
        MediaError::Remote => "not an address of a picture or document",
        MediaError::Malformed => "this is no base64, or empty",
        MediaError::Format => "Gemini does not read this format; send png, jpeg, webp, heic or heif",
        MediaError::File => "Gemini reads no files of this kind; send a PDF or a text",
        MediaError::NoPicture => "this is a text and no picture",
    };
    ConvertError::InvalidValue { param: at.to_string(), reason: reason.to_owned() }
}

fn unknown(at: &At<'_>, value: String, supported: &'static str) -> ConvertError {
    ConvertError::UnknownValue { param: at.to_string(), value, supported }
}
