//! Changes to a request of Gemini's, in its JSON: everything that is not changed stays as it was written.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value, json, value::RawValue};

use super::rules::{Edits, snake, spelled};
use crate::convert::traits::Level;

/// What a request is to say besides what the client says.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Changes {
    pub search: bool,
    pub code_execution: bool,
    pub url_context: bool,
    /// The tools above may stand beside functions of the client's.
    pub beside_functions: bool,
    /// The answer may hold pictures, and there is no system instruction.
    pub pictures: bool,
    pub thinks: Option<Thinks>,
    pub edits: Edits<Value>,
}

/// How much, for requests that do not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thinks {
    Tokens { budget: i64, shown: bool },
    Level(Level),
}

/// A JSON object whose values are not read.
struct Fields<'b>(Vec<(String, &'b RawValue)>);

impl Changes {
    pub fn is_empty(&self) -> bool {
        !self.search
            && !self.code_execution
            && !self.url_context
            && !self.pictures
            && self.thinks.is_none()
            && self.edits.is_empty()
    }

    /// The changed body; `None` when there is nothing to change, or the body is no JSON object, which Google shall judge.
    pub fn apply(&self, body: &[u8]) -> Option<Vec<u8>> {
        if self.is_empty() {
            return None;
        }
        let Fields(fields) = serde_json::from_slice(body).ok()?;
        let mut request = Request::new(fields, &self.edits)?;
        self.add_tools(&mut request);
        if self.pictures {
            request.draw();
        }
        if let Some(thinks) = self.thinks {
            request.think(thinks);
        }
        self.edits.apply(&mut request.read);
        Some(request.to_json())
    }

    fn add_tools(&self, request: &mut Request<'_>) {
        let wanted = [
            ("googleSearch", self.search),
            ("urlContext", self.url_context),
            ("codeExecution", self.code_execution && !request.has_media()),
        ];
        if !wanted.iter().any(|(_, is_wanted)| *is_wanted) || request.wants_json() {
            return;
        }
        let tools = request.read.entry("tools").or_insert(Value::Null);
        if tools.is_null() {
            *tools = json!([]);
        }
        let Some(list) = tools.as_array_mut() else { return };
        let has = |list: &[Value], name: &str| {
            list.iter().any(|tool| tool.get(name).or_else(|| tool.get(snake(name))).is_some())
        };
        let functions = has(list, "functionDeclarations") || request.has_calls;
        for (name, _) in wanted.into_iter().filter(|(_, is_wanted)| *is_wanted) {
            let fits = !functions || self.beside_functions && name != "codeExecution";
            if fits && !has(list, name) {
                list.push(json!({ name: {} }));
            }
        }
        if list.is_empty() {
            request.read.remove("tools");
        }
    }
}

/// A request of which only those fields are read that may change.
struct Request<'b> {
    rest: Vec<(String, &'b RawValue)>,
    read: Map<String, Value>,
    contents: Option<(String, &'b RawValue)>,
    /// The user's turn that takes the place of the system instruction.
    told: Option<Value>,
    /// The history holds calls of functions.
    has_calls: bool,
}

impl<'b> Request<'b> {
    /// `None` when a field that may change is no JSON.
    fn new(fields: Vec<(String, &'b RawValue)>, edits: &Edits<Value>) -> Option<Self> {
        let mut request =
            Self { rest: Vec::new(), read: Map::new(), contents: None, told: None, has_calls: false };
        let changed = ["tools", "generationConfig", "systemInstruction"];
        let edited: Vec<String> =
            edits.fields().iter().flat_map(|field| [(*field).to_owned(), snake(field)]).collect();
        for (name, value) in fields {
            let is_changed = changed.iter().any(|changed| name == *changed || name == snake(changed));
            if name == "contents" && !edits.is_about("contents") {
                request.has_calls =
                    mentions(value, "\"functionCall\"") || mentions(value, "\"function_call\"");
                request.contents = Some((name, value));
            } else if is_changed || edited.contains(&name) {
                request.read.insert(name, serde_json::from_str(value.get()).ok()?);
            } else {
                request.rest.push((name, value));
            }
        }
        Some(request)
    }

    fn has_media(&self) -> bool {
        let has = |mark| self.contents.as_ref().is_some_and(|(_, contents)| mentions(contents, mark));
        ["\"inlineData\"", "\"inline_data\"", "\"fileData\"", "\"file_data\""].into_iter().any(has)
    }

    fn wants_json(&mut self) -> bool {
        self.config().is_some_and(|config| {
            let name = spelled(config, "responseMimeType");
            config.get(&name).is_some_and(|kind| kind == "application/json")
        })
    }

    /// `generationConfig`, made where it is missing; `None` when it is no object.
    fn config(&mut self) -> Option<&mut Map<String, Value>> {
        let name = spelled(&self.read, "generationConfig");
        object_at(&mut self.read, name)
    }

    /// Text and pictures; what the system says, the user says first.
    fn draw(&mut self) {
        if let Some(config) = self.config() {
            let name = spelled(config, "responseModalities");
            config.entry(name).or_insert_with(|| json!(["TEXT", "IMAGE"]));
        }
        let name = spelled(&self.read, "systemInstruction");
        if let Some(mut system) = self.read.remove(&name) {
            let parts = system.get_mut("parts").map(Value::take).unwrap_or_default();
            self.told = Some(json!({"role": "user", "parts": parts}));
        }
    }

    /// A client that says how much has its way.
    fn think(&mut self, thinks: Thinks) {
        let Some(config) = self.config() else { return };
        let name = spelled(config, "thinkingConfig");
        let Some(thinking) = object_at(config, name) else { return };
        let says = |name: &str| thinking.contains_key(name) || thinking.contains_key(&snake(name));
        if says("thinkingBudget") || says("thinkingLevel") {
            return;
        }
        let shown = spelled(thinking, "includeThoughts");
        match thinks {
            Thinks::Tokens { budget, shown: is_shown } => {
                thinking.insert("thinkingBudget".to_owned(), budget.into());
                if budget == 0 {
                    // Google refuses to show what there is not.
                    thinking.remove(&shown);
                } else if is_shown {
                    thinking.entry(shown).or_insert(Value::Bool(true));
                }
            }
            Thinks::Level(level) => {
                thinking.insert("thinkingLevel".to_owned(), <&str>::from(level).into());
            }
        }
    }

    fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::new();
        let mut separator = b'{';
        let mut field = |name: &str, value: &[&[u8]]| {
            json.push(separator);
            separator = b',';
            json.extend_from_slice(Value::from(name).to_string().as_bytes());
            json.push(b':');
            value.iter().for_each(|piece| json.extend_from_slice(piece));
        };
        for (name, value) in &self.rest {
            field(name, &[value.get().as_bytes()]);
        }
        let is_left =
            |(name, value): &(&String, &Value)| !(*name == "generationConfig" && **value == json!({}));
        for (name, value) in self.read.iter().filter(is_left) {
            field(name, &[value.to_string().as_bytes()]);
        }
        if let Some((name, contents)) = &self.contents {
            let contents = contents.get();
            match (&self.told, contents.strip_prefix('[')) {
                (Some(told), Some(others)) => {
                    let comma = if others.trim_start().starts_with(']') { "" } else { "," };
                    field(name, &[b"[", told.to_string().as_bytes(), comma.as_bytes(), others.as_bytes()]);
                }
                _ => field(name, &[contents.as_bytes()]),
            }
        }
        if json.is_empty() {
            json.push(b'{');
        }
        json.push(b'}');
        json
    }
}

/// The object of that name, made where there is none; `None` when something else stands there.
fn object_at(parent: &mut Map<String, Value>, name: String) -> Option<&mut Map<String, Value>> {
    let value = parent.entry(name).or_insert(Value::Null);
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut()
}

/// Whether the name of a field, with its quotes, stands anywhere inside; within a text its quotes would be escaped.
fn mentions(value: &RawValue, name: &str) -> bool {
    memchr::memmem::find(value.get().as_bytes(), name.as_bytes()).is_some()
}

impl<'de: 'b, 'b> Deserialize<'de> for Fields<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;

        impl<'de> Visitor<'de> for Reading {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(changes: &Changes, body: &str) -> Option<Value> {
        Some(serde_json::from_slice(&changes.apply(body.as_bytes())?).unwrap())
    }

    #[test]
    fn nothing_asked_for_changes_nothing() {
        assert_eq!(Changes::default().apply(b"{\"contents\": []}"), None);
        let search = Changes { search: true, ..Changes::default() };
        for body in ["", "[]", "{", "{\"tools\": x}", "null"] {
            assert_eq!(search.apply(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn what_is_not_changed_stays_as_it_was_written() {
        let search = Changes { search: true, ..Changes::default() };

        let body = search
            .apply(br#"{"new": {"a" : 1.0, "a": 2}, "contents" : [ {"parts":[]} ], "cachedContent":"c"}"#);

        assert_eq!(
            String::from_utf8(body.unwrap()).unwrap(),
            r#"{"new":{"a" : 1.0, "a": 2},"cachedContent":"c","tools":[{"googleSearch":{}}],"contents":[ {"parts":[]} ]}"#
        );
    }

    #[test]
    fn tools_are_added_once_and_where_they_fit() {
        let all = Changes { search: true, url_context: true, code_execution: true, ..Changes::default() };
        let tools = |changes: &Changes, body: &str| applied(changes, body).unwrap()["tools"].clone();
        let functions = r#"{"tools": [{"functionDeclarations": [{"name": "f"}]}]}"#;

        assert_eq!(
            tools(&all, r#"{"tools": [{"google_search": {}}]}"#),
            json!([{"google_search": {}}, {"urlContext": {}}, {"codeExecution": {}}])
        );
        assert_eq!(tools(&all, functions).as_array().unwrap().len(), 1);
        let beside = Changes { beside_functions: true, ..all.clone() };
        assert_eq!(tools(&beside, functions)[1], json!({"googleSearch": {}}));
        assert_eq!(tools(&beside, functions).as_array().unwrap().len(), 3);
        assert_eq!(tools(&all, r#"{"contents": [{"parts": [{"functionCall": {}}]}]}"#), Value::Null);
        assert_eq!(
            tools(&all, r#"{"generation_config": {"response_mime_type": "application/json"}}"#),
            Value::Null
        );
        let with_media = tools(&all, r#"{"contents": [{"parts": [{"inlineData": {}}]}]}"#);
        assert_eq!(with_media, json!([{"googleSearch": {}}, {"urlContext": {}}]));
    }

    #[test]
    fn a_text_that_speaks_of_calls_is_no_call() {
        let search = Changes { search: true, ..Changes::default() };
        let body = json!({"contents": [{"parts": [{"text": "a \"functionCall\": {}"}]}]}).to_string();

        assert_eq!(applied(&search, &body).unwrap()["tools"], json!([{"googleSearch": {}}]));
    }

    #[test]
    fn a_client_that_says_how_much_to_think_has_its_way() {
        let tokens =
            |budget, shown| Changes { thinks: Some(Thinks::Tokens { budget, shown }), ..Changes::default() };
        let config = |changes: &Changes, body: &str| {
            applied(changes, body).unwrap()["generationConfig"]["thinkingConfig"].clone()
        };

        assert_eq!(config(&tokens(-1, true), "{}"), json!({"thinkingBudget": -1, "includeThoughts": true}));
        assert_eq!(
            config(
                &tokens(0, false),
                r#"{"generationConfig": {"thinkingConfig": {"includeThoughts": true}}}"#
            ),
            json!({"thinkingBudget": 0})
        );
        let own = r#"{"generationConfig": {"thinkingConfig": {"thinking_budget": 5}}}"#;
        assert_eq!(config(&tokens(-1, true), own), json!({"thinking_budget": 5}));
        let low = Changes { thinks: Some(Thinks::Level(Level::Low)), ..Changes::default() };
        assert_eq!(config(&low, "{}"), json!({"thinkingLevel": "LOW"}));
    }

    #[test]
    fn pictures_need_their_modality_and_the_system_speaks_as_the_user() {
        let pictures = Changes { pictures: true, ..Changes::default() };
        let body = r#"{"system_instruction": {"parts": [{"text": "be brief"}]}, "contents": [{"parts": [{"text": "a cat"}]}]}"#;

        let request = applied(&pictures, body).unwrap();

        assert_eq!(request["generationConfig"], json!({"responseModalities": ["TEXT", "IMAGE"]}));
        assert_eq!(request.get("system_instruction"), None);
        assert_eq!(request["contents"][0], json!({"role": "user", "parts": [{"text": "be brief"}]}));
        assert_eq!(request["contents"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn rules_come_last() {
        let edits = Edits {
            remove: vec!["tools".into()],
            set: vec![("labels.team".into(), json!("x"))],
            defaults: vec![],
        };
        let changes = Changes { search: true, edits, ..Changes::default() };

        assert_eq!(
            applied(&changes, r#"{"contents": []}"#),
            Some(json!({"contents": [], "labels": {"team": "x"}}))
        );
    }
}
