//! What becomes of the fields of a client's request. Each dialect keeps a table of them.

use serde_json::Value;

use super::{ConvertError, json::Object};

/// What the gateway does with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Gemini, or the gateway itself, does the same thing.
    Honoured,
    /// Gemini does something close, which the text tells.
    Mapped(&'static str),
    /// Has no effect on the answer, for the reason given.
    Ignored(&'static str),
    /// Answered with 400 when it asks for something; the text ends the sentence "'x' is not supported …".
    Refused(&'static str),
}

impl Fate {
    /// One word and the explanation, for the documents.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Honoured => ("honoured", ""),
            Self::Mapped(how) => ("mapped", how),
            Self::Ignored(why) => ("ignored", why),
            Self::Refused(why) => ("refused", why),
        }
    }
}

/// The table of a dialect; its rows come in several lists, as dialects share some.
pub type Fates = [&'static [(&'static str, Fate)]];

/// Fails on a refused field that asks for something; `null`, `false`, 0, `"none"` and empty lists ask for nothing.
pub(super) fn refuse(request: &mut Object<'_>, fates: &Fates) -> Result<(), ConvertError> {
    for (name, fate) in fates.iter().copied().flatten() {
        let Fate::Refused(reason) = fate else {
            continue;
        };
        if request.take(name).is_some_and(|value| !asks_for_nothing(&value)) {
            return Err(ConvertError::Unsupported {
                param: (*name).to_owned(),
                reason: (*reason).to_owned(),
            });
        }
    }
    Ok(())
}

fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text == "none",
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}
