//! Answers in the shape of Google's OpenAI layer.

use serde_json::{Value, json};

use crate::sim::{
    models::Model,
    reply::{CallPart, Reply, ReplyPart},
};

/// Body of a chat completion; `created` in Unix seconds.
pub fn completion(reply: &Reply, created: u64) -> String {
    let mut message = json!({"role": "assistant"});
    let content = content(&reply.thoughts(), &reply.text());
    if !content.is_empty() {
        message["content"] = content.into();
    }
    let calls = tool_calls(reply, reply.events.iter().flatten());
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    let choice = json!({"finish_reason": finish(reply), "index": 0, "message": message});
    let mut body = frame(reply, created, "chat.completion", choice);
    body["usage"] = usage(reply);
    body.to_string()
}

/// The chunks of a streamed chat completion.
pub fn chunks(reply: &Reply, created: u64, includes_usage: bool) -> Vec<String> {
    let last = reply.events.len().saturating_sub(1);
    let chunk = |delta: Value, is_last: bool| {
        let finish = if is_last { Value::from(finish(reply)) } else { Value::Null };
        let choice = json!({"delta": delta, "finish_reason": finish, "index": 0});
        let mut body = frame(reply, created, "chat.completion.chunk", choice);
        if includes_usage && is_last {
            body["usage"] = usage(reply);
        }
        body.to_string()
    };
    if reply.events.is_empty() {
        return vec![chunk(json!({"role": "assistant"}), true)];
    }
    let events = reply.events.iter().enumerate();
    events.map(|(at, parts)| chunk(delta(reply, parts), at == last)).collect()
}

fn delta(reply: &Reply, parts: &[ReplyPart]) -> Value {
    let text_of = |thought: bool| -> String {
        parts.iter().filter(|part| part.thought == thought).filter_map(|part| part.text.as_deref()).collect()
    };
    let mut delta = json!({"role": "assistant"});
    let calls = tool_calls(reply, parts.iter());
    if calls.is_empty() {
        delta["content"] = content(&text_of(true), &text_of(false)).into();
    } else {
        delta["tool_calls"] = calls.into();
    }
    delta
}

fn content(thoughts: &str, text: &str) -> String {
    if thoughts.is_empty() { text.to_owned() } else { format!("<thought>{thoughts}</thought>{text}") }
}

fn tool_calls<'a>(reply: &Reply, parts: impl Iterator<Item = &'a ReplyPart>) -> Vec<Value> {
    let calls =
        parts.filter_map(|part| part.function_call.as_ref().map(|call| (call, &part.thought_signature)));
    let write = |(index, (call, signature)): (usize, (&CallPart, &Option<String>))| {
        let mut written = json!({
            "index": index, "id": format!("function-call-{}-{index}", reply.id), "type": "function",
            "function": {"name": call.name, "arguments": call.args.to_string()},
        });
        if let Some(signature) = signature {
            written["extra_content"] = json!({"google": {"thought_signature": signature}});
        }
        written
    };
    calls.enumerate().map(write).collect()
}

fn frame(reply: &Reply, created: u64, object: &str, choice: Value) -> Value {
    json!({"choices": [choice], "created": created, "id": reply.id, "model": reply.model.id, "object": object})
}

fn finish(reply: &Reply) -> &'static str {
    let has_calls = reply.events.iter().flatten().any(|part| part.function_call.is_some());
    match reply.finish.as_str() {
        _ if reply.block_reason.is_some() => "content_filter",
        "STOP" if has_calls => "tool_calls",
        "STOP" => "stop",
        "MAX_TOKENS" => "length",
        _ => "content_filter",
    }
}

/// The total has the thoughts in it although the completion has not: so Google counts.
fn usage(reply: &Reply) -> Value {
    let usage = &reply.usage;
    json!({
        "completion_tokens": usage.candidates, "prompt_tokens": usage.prompt(),
        "total_tokens": usage.prompt() + usage.candidates + usage.thoughts,
    })
}

/// A model as `models` lists it.
pub fn model(model: &Model) -> Value {
    let id = format!("models/{}", model.id);
    json!({"id": id, "object": "model", "owned_by": "google", "display_name": model.title})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::models;

    fn reply(parts: Vec<ReplyPart>) -> Reply {
        let mut reply = Reply::new(models::find("gemini-3.5-flash").unwrap(), "id".into());
        reply.events = parts.into_iter().map(|part| vec![part]).collect();
        reply
    }

    fn json(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn thoughts_stand_in_tags_before_the_content() {
        let body = json(&completion(&reply(vec![ReplyPart::thought("hm"), ReplyPart::text("yes")]), 0));

        assert_eq!(body["choices"][0]["message"]["content"], "<thought>hm</thought>yes");
        assert_eq!(body["choices"][0]["finish_reason"], "stop");
    }

    #[test]
    fn a_call_carries_its_signature_and_ends_with_tool_calls() {
        let call = CallPart { name: "f".into(), args: json!({"a": 1}), id: None };
        let part = ReplyPart {
            function_call: Some(call),
            thought_signature: Some("s".into()),
            ..ReplyPart::default()
        };

        let body = json(&completion(&reply(vec![part]), 0));

        let call = &body["choices"][0]["message"]["tool_calls"][0];
        assert_eq!(call["function"], json!({"name": "f", "arguments": "{\"a\":1}"}));
        assert_eq!(call["extra_content"]["google"]["thought_signature"], "s");
        assert_eq!(body["choices"][0]["finish_reason"], "tool_calls");
    }

    #[test]
    fn only_the_last_chunk_finishes_and_counts() {
        let reply = reply(vec![ReplyPart::text("a"), ReplyPart::text("b")]);

        let chunks: Vec<_> = chunks(&reply, 0, true).iter().map(|chunk| json(chunk)).collect();

        assert!(chunks[0]["choices"][0]["finish_reason"].is_null());
        assert!(chunks[0].get("usage").is_none());
        assert_eq!(chunks[1]["choices"][0]["finish_reason"], "stop");
        assert!(chunks[1]["usage"]["total_tokens"].is_u64());
    }
}
