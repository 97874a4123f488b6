//! Responses that are kept, and pages of the items they began with.

use serde_json::{Map, Value, json};

pub use super::input::references;
use super::{ids, input};
use crate::convert::json::At;

/// The input of a request as a list of items with ids, in JSON, as it is kept and told. `None` for a body that is no request.
pub fn input_to_keep(body: &[u8], response: &str) -> Option<String> {
    let mut request: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let items = input::list(request.remove("input").filter(|input| !input.is_null()), At::Root).ok()?;
    let items = items.into_iter().enumerate().map(|(index, item)| with_id(item, response, index));
    Some(Value::Array(items.collect()).to_string())
}

/// The item as the API lists it: with an id, and its content as parts.
fn with_id(item: Value, response: &str, index: usize) -> Value {
    let Value::Object(mut item) = item else { return item };
    let kind = item.get("type").and_then(Value::as_str).unwrap_or("message").to_owned();
    if kind == "item_reference" {
        return Value::Object(item);
    }
    item.insert("type".to_owned(), kind.as_str().into());
    if item.get("id").is_none_or(Value::is_null) {
        item.insert("id".to_owned(), ids::of_input(prefix(&kind), response, index).into());
    }
    if kind == "message" {
        item.entry("status").or_insert_with(|| "completed".into());
        let is_models = item.get("role").is_some_and(|role| role == "assistant");
        if let Some(Value::String(text)) = item.get("content") {
            let part = if is_models {
                json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
            } else {
                json!({"type": "input_text", "text": text})
            };
            item.insert("content".to_owned(), json!([part]));
        }
    } else if kind.starts_with("function_call") {
        item.entry("status").or_insert_with(|| "completed".into());
    }
    Value::Object(item)
}

fn prefix(kind: &str) -> &'static str {
    match kind {
        "function_call" => "fc_",
        "function_call_output" => "fco_",
        "custom_tool_call" => "ctc_",
        "custom_tool_call_output" => "ctco_",
        "reasoning" => "rs_",
        "message" => "msg_",
        _ => "item_",
    }
}

/// The items of a kept list; none of one that cannot be read.
pub fn items(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap_or_default()
}

/// The output of a kept response.
pub fn output(response: &str) -> Vec<Value> {
    let response: Value = serde_json::from_str(response).unwrap_or_default();
    match response {
        Value::Object(mut fields) => match fields.remove("output") {
            Some(Value::Array(output)) => output,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// A kept response as it is told; `None` for one that cannot be read.
pub fn to_tell(response: &str, include_encrypted: bool) -> Option<Value> {
    let mut response: Value = serde_json::from_str(response).ok()?;
    if !include_encrypted && let Some(output) = response.get_mut("output").and_then(Value::as_array_mut) {
        output.iter_mut().filter_map(Value::as_object_mut).for_each(|item| {
            item.remove("encrypted_content");
        });
    }
    Some(response)
}

/// Which part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// 1 to 100.
    pub limit: usize,
    /// The newest first.
    pub is_descending: bool,
    /// The id of the last item of the page before.
    pub after: Option<String>,
}

impl Page {
    /// `{object: "list", data, first_id, last_id, has_more}`; a cursor that is unknown leads to an empty page.
    pub fn of(&self, mut items: Vec<Value>) -> Value {
        if self.is_descending {
            items.reverse();
        }
        let start = match &self.after {
            None => 0,
            Some(after) => {
                let is_cursor = |item: &Value| item["id"] == after.as_str();
                items.iter().position(is_cursor).map_or(items.len(), |at| at + 1)
            }
        };
        let rest = items.split_off(start.min(items.len()));
        let has_more = rest.len() > self.limit;
        let data: Vec<_> = rest.into_iter().take(self.limit).collect();
        let id = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
        let (first, last) = (id(data.first()), id(data.last()));
        json!({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": has_more})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "resp_0190a0b0c0d07e8f90a1b2c3d4e5f601";

    fn kept(input: Value) -> Vec<Value> {
        items(&input_to_keep(json!({"model": "m", "input": input}).to_string().as_bytes(), ID).unwrap())
    }

    #[test]
    fn what_is_kept_of_an_input_has_ids_and_parts() {
        let items = kept(json!([
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "hello", "id": "msg_own"},
            {"type": "function_call_output", "call_id": "c", "output": "ok"},
        ]));

        assert_eq!(items[0]["id"], "msg_0190a0b0c0d07e8f90a1b2c3d4e5f601i000");
        assert_eq!(items[0]["content"], json!([{"type": "input_text", "text": "hi"}]));
        assert_eq!(
            (&items[1]["id"], &items[1]["content"][0]["type"]),
            (&json!("msg_own"), &json!("output_text"))
        );
        assert_eq!(items[2]["id"], "fco_0190a0b0c0d07e8f90a1b2c3d4e5f601i002");
        assert_eq!(kept(json!("hi")), kept(json!([{"role": "user", "content": "hi"}])));
        assert_eq!(kept(Value::Null), Vec::<Value>::new());
    }

    #[test]
    fn pages_follow_each_other_in_both_orders() {
        let items: Vec<_> = (0..5).map(|n| json!({"id": format!("i{n}")})).collect();
        for (is_descending, expected) in
            [(false, ["i0", "i1", "i2", "i3", "i4"]), (true, ["i4", "i3", "i2", "i1", "i0"])]
        {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = Page { limit: 2, is_descending, after }.of(items.clone());
                let data = page["data"].as_array().unwrap();
                seen.extend(data.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
                assert_eq!(page["last_id"], data.last().unwrap()["id"]);
                after = Some(page["last_id"].as_str().unwrap().to_owned());
                if page["has_more"] == false {
                    break;
                }
            }
            assert_eq!(seen, expected);
        }
        let lost = Page { limit: 2, is_descending: false, after: Some("gone".into()) }.of(items);
        assert_eq!(
            (&lost["data"], &lost["has_more"], &lost["first_id"]),
            (&json!([]), &json!(false), &Value::Null)
        );
    }
}
