//! One function call of Gemini's as a tool call of OpenAI's.

use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde::Deserialize;

use super::{
    response::ChatMeta,
    types::{CustomText, ExtraContent, FunctionText, GoogleContent, ToolCall},
};
use crate::convert::gemini::response::Part;

/// Longest id of a call that OpenAI's clients and servers take, in bytes.
const MAX_ID_BYTES: usize = 40;

/// Reads the call of a part; `None` when it has none, or one without a name.
pub(super) fn read<'a>(
    part: &'a Part<'a>,
    meta: &'a ChatMeta,
    choice: usize,
    index: usize,
) -> Option<ToolCall<'a>> {
    let call = part.function_call.as_ref()?;
    let gemini_name = call.name.as_deref().filter(|name| !name.is_empty())?;
    let name = meta.names.to_client(gemini_name);
    let args = call.args.map_or("{}", |args| args.get());
    let own_id = call.id.as_deref().filter(|id| fits(id));
    let id = own_id.map_or_else(|| Cow::Owned(mint(&meta.id, choice, index)), Cow::Borrowed);
    let signature = part.thought_signature.as_deref().filter(|signature| !signature.is_empty());
    let (kind, function, custom) = if meta.names.is_free_text(gemini_name) {
        ("custom", None, Some(CustomText { name, input: free_text(args) }))
    } else {
        ("function", Some(FunctionText { name, arguments: compact(args) }), None)
    };
    let extra_content =
        signature.map(|thought_signature| ExtraContent { google: GoogleContent { thought_signature } });
    Some(ToolCall { index: Some(index), id, kind, function, custom, extra_content })
}

fn fits(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(plain)
}

/// `call_` and 24 letters or digits: a hash of the answer's id and the place in it, as unique as that id.
fn mint(answer: &str, choice: usize, index: usize) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut id = String::from("call_");
    for half in 0..2_u8 {
        let mut hasher = DefaultHasher::new();
        (half, answer, choice, index).hash(&mut hasher);
        let mut rest = hasher.finish();
        for _ in 0..12 {
            id.push(char::from(DIGITS[(rest % 62) as usize]));
            rest /= 62;
        }
    }
    id
}

/// The text of a custom tool, from its one argument.
fn free_text(args: &str) -> String {
    #[derive(Deserialize)]
    struct Args {
        input: String,
    }
    serde_json::from_str(args).map_or_else(|_| args.to_owned(), |args: Args| args.input)
}

/// JSON without the spaces between its tokens; everything else stays as Gemini wrote it, such as `5.0`.
fn compact(json: &str) -> Cow<'_, str> {
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

    #[test]
    fn minted_ids_differ_by_answer_choice_and_place() {
        let ids = [mint("a", 0, 0), mint("a", 0, 1), mint("a", 1, 0), mint("b", 0, 0)];

        for (index, id) in ids.iter().enumerate() {
            assert!(fits(id) && id.len() == 29 && id.starts_with("call_"), "{id}");
            assert!(!ids[..index].contains(id));
        }
        assert_eq!(ids[0], mint("a", 0, 0));
    }

    #[test]
    fn an_id_that_clients_could_not_carry_is_replaced() {
        assert!(fits("call_54402") && !fits("") && !fits("a b") && !fits(&"x".repeat(41)));
    }
}
