//! One function call of Gemini's as a tool call of OpenAI's.

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    response::ChatMeta,
    types::{CustomText, ExtraContent, FunctionText, GoogleContent, ToolCall},
};
use crate::convert::gemini::{call_ids, response::Part};

/// Reads the call of a part, with Gemini's name of the function; `None` when it has none, or one without a name.
pub(super) fn read<'a>(
    part: &'a Part<'a>,
    meta: &'a ChatMeta,
    choice: usize,
    index: usize,
) -> Option<(&'a str, ToolCall<'a>)> {
    let call = part.function_call.as_ref()?;
    let gemini_name = call.name.as_deref().filter(|name| !name.is_empty())?;
    let name = meta.names.to_client(gemini_name);
    let args = call.args.map_or("{}", |args| args.get());
    let own_id = call.id.as_deref().filter(|id| call_ids::fits(id));
    let id =
        own_id.map_or_else(|| Cow::Owned(call_ids::mint("call_", &meta.id, choice, index)), Cow::Borrowed);
    let signature = part.thought_signature.as_deref().filter(|signature| !signature.is_empty());
    let (kind, function, custom) = if meta.names.is_free_text(gemini_name) {
        ("custom", None, Some(CustomText { name, input: free_text(args) }))
    } else {
        ("function", Some(FunctionText { name, arguments: compact(args) }), None)
    };
    let extra_content =
        signature.map(|thought_signature| ExtraContent { google: GoogleContent { thought_signature } });
    Some((gemini_name, ToolCall { index: Some(index), id, kind, function, custom, extra_content }))
}

/// The text of a custom tool, from its one argument.
pub(super) fn free_text(args: &str) -> String {
    #[derive(Deserialize)]
    struct Args {
        input: String,
    }
    serde_json::from_str(args).map_or_else(|_| args.to_owned(), |args: Args| args.input)
}

/// JSON without the spaces between its tokens; everything else stays as Gemini wrote it, such as `5.0`.
pub(super) fn compact(json: &str) -> Cow<'_, str> {
    if !json.bytes().any(|byte| byte.is_ascii_whitespace()) {
        return Cow::Borrowed(json);
    }
    let (mut quoted, mut escaped) = (false, false);
    let keep = |c: &char| {
        let was_quoted = quoted;
        match c {
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = quoted && *c == '\\' && !escaped;
        was_quoted || !c.is_ascii_whitespace()
    };
    Cow::Owned(json.chars().filter(keep).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_space_between_tokens_goes() {
        let pretty = "{\n  \"a b\": [1.0, 2],\r\n  \"q\": \"say \\\"hi there\\\" \\\\\" }";

        assert_eq!(compact(pretty), r#"{"a b":[1.0,2],"q":"say \"hi there\" \\"}"#);
        assert!(matches!(compact("{}"), Cow::Borrowed("{}")));
    }
}
