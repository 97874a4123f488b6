//! Reading a client's JSON so that every error can name the place.
//!
//! An explicit `null` is the same as an absent field, as clients send both. Unknown fields are nobody's fault and passed over.

use std::{fmt, ops::RangeInclusive};

use serde_json::{Map, Value};

use crate::convert::ConvertError;

/// Where a value stands in the request; written out only when something is wrong with it.
#[derive(Debug, Clone, Copy)]
pub(super) enum At<'p> {
    Root,
    Key(&'p At<'p>, &'static str),
    Index(&'p At<'p>, usize),
}

impl At<'_> {
    pub fn key(&self, name: &'static str) -> At<'_> {
        At::Key(self, name)
    }

    pub fn index(&self, index: usize) -> At<'_> {
        At::Index(self, index)
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, name) => f.write_str(name),
            Self::Key(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// The fields of one object, taken out one by one.
#[derive(Debug)]
pub(super) struct Object<'p> {
    fields: Map<String, Value>,
    at: At<'p>,
}

/// Reads the body of a request, which is an object at the top.
pub(super) fn body(body: &[u8]) -> Result<Object<'static>, ConvertError> {
    let value = serde_json::from_slice(body);
    let value: Value = value.map_err(|error| ConvertError::InvalidJson { reason: error.to_string() })?;
    match value {
        Value::Object(fields) => Ok(Object { fields, at: At::Root }),
        other => {
            Err(ConvertError::InvalidJson { reason: format!("expected an object, but got {}", kind(&other)) })
        }
    }
}

impl<'p> Object<'p> {
    pub fn read(value: Value, at: At<'p>) -> Result<Self, ConvertError> {
        match value {
            Value::Object(fields) => Ok(Self { fields, at }),
            other => Err(wrong_type(&at, "an object", &other)),
        }
    }

    pub fn at(&self) -> At<'p> {
        self.at
    }

    pub fn into_fields(self) -> Map<String, Value> {
        self.fields
    }

    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    pub fn peek(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    pub fn require(&mut self, name: &'static str) -> Result<Value, ConvertError> {
        let at = self.at;
        self.take(name).ok_or_else(|| ConvertError::Missing { param: at.key(name).to_string() })
    }

    /// A field of another type, or of ours with any value, is not an error for those that nothing depends on.
    pub fn string_or_none(&mut self, name: &str) -> Option<String> {
        match self.take(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    pub fn string(&mut self, name: &'static str) -> Result<Option<String>, ConvertError> {
        let at = self.at;
        self.take(name).map(|value| string(value, &at.key(name))).transpose()
    }

    pub fn require_string(&mut self, name: &'static str) -> Result<String, ConvertError> {
        let at = self.at;
        string(self.require(name)?, &at.key(name))
    }

    pub fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, ConvertError> {
        let at = self.at;
        let read = |value| match value {
            Value::Bool(value) => Ok(value),
            other => Err(wrong_type(&at.key(name), "a boolean", &other)),
        };
        self.take(name).map(read).transpose()
    }

    pub fn number(
        &mut self,
        name: &'static str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, ConvertError> {
        let at = self.at;
        self.take(name).map(|value| number(&value, &at.key(name), &range)).transpose()
    }

    /// A whole number, also when it is written as `3.0`.
    pub fn integer(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, ConvertError> {
        let at = self.at;
        self.take(name).map(|value| integer(&value, &at.key(name), &range)).transpose()
    }

    pub fn object(&mut self, name: &'static str) -> Result<Option<Map<String, Value>>, ConvertError> {
        let at = self.at;
        let read = |value| Object::read(value, at.key(name)).map(|object| object.fields);
        self.take(name).map(read).transpose()
    }
}

pub(super) fn string(value: Value, at: &At<'_>) -> Result<String, ConvertError> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong_type(at, "a string", &other)),
    }
}

pub(super) fn array(value: Value, at: &At<'_>) -> Result<Vec<Value>, ConvertError> {
    match value {
        Value::Array(list) => Ok(list),
        other => Err(wrong_type(at, "an array", &other)),
    }
}

fn number(value: &Value, at: &At<'_>, range: &RangeInclusive<f64>) -> Result<f64, ConvertError> {
    let number = value.as_f64().ok_or_else(|| wrong_type(at, "a decimal", value))?;
    if range.contains(&number) {
        return Ok(number);
    }
    Err(out_of_range(at, "decimal", number > *range.end(), range, number))
}

fn integer(value: &Value, at: &At<'_>, range: &RangeInclusive<u64>) -> Result<u64, ConvertError> {
    let whole = value.as_f64().filter(|number| number.fract() == 0.0);
    let number = whole.ok_or_else(|| wrong_type(at, "an integer", value))?;
    // A float above 2^64 or below 0 saturates, and is out of any range that is used here or at its end.
    let exact = value.as_u64().unwrap_or(number as u64);
    if number >= 0.0 && range.contains(&exact) {
        return Ok(exact);
    }
    Err(out_of_range(at, "integer", number > 0.0 && exact > *range.end(), range, number))
}

fn out_of_range<T: fmt::Display>(
    at: &At<'_>,
    kind: &str,
    above: bool,
    range: &RangeInclusive<T>,
    got: f64,
) -> ConvertError {
    let (word, sign, bound) =
        if above { ("above maximum", "<=", range.end()) } else { ("below minimum", ">=", range.start()) };
    let reason = format!("{kind} {word} value. Expected a value {sign} {bound}, but got {got} instead.");
    let code = match (kind, above) {
        ("integer", true) => "integer_above_max_value",
        ("integer", false) => "integer_below_min_value",
        (_, true) => "decimal_above_max_value",
        (_, false) => "decimal_below_min_value",
    };
    ConvertError::OutOfRange { param: at.to_string(), reason, code }
}

/// Appends a value to what goes to the client.
pub(super) fn write<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("strings and numbers serialise, and a vector takes every write");
}

pub(super) fn wrong_type(at: &At<'_>, expected: &'static str, got: &Value) -> ConvertError {
    ConvertError::InvalidType { param: at.to_string(), expected, got: kind(got) }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_place_is_written_as_a_path() {
        let (root, messages, second, content);
        root = At::Root;
        messages = root.key("messages");
        second = messages.index(2);
        content = second.key("content");

        assert_eq!(content.index(0).key("image_url").to_string(), "messages[2].content[0].image_url");
    }

    #[test]
    fn null_is_the_same_as_absent() {
        let mut object = Object::read(json!({"a": null}), At::Root).unwrap();

        assert_eq!(object.string("a"), Ok(None));
        assert_eq!(object.require("a"), Err(ConvertError::Missing { param: "a".into() }));
    }

    #[test]
    fn integers_may_be_written_as_floats_and_must_fit() {
        let read = |value: Value| {
            Object::read(json!({ "n": value }), At::Root)
                .unwrap()
                .integer("n", 1..=8)
                .map_err(|error| error.to_string())
        };

        assert_eq!(read(json!(3.0)), Ok(Some(3)));
        assert_eq!(
            read(json!(9)),
            Err("Invalid 'n': integer above maximum value. Expected a value <= 8, but got 9 instead.".into())
        );
        assert_eq!(
            read(json!(-1)),
            Err("Invalid 'n': integer below minimum value. Expected a value >= 1, but got -1 instead.".into())
        );
        assert!(read(json!(1e300)).is_err() && read(json!(1.5)).is_err() && read(json!("1")).is_err());
    }

    #[test]
    fn nesting_beyond_the_limit_is_refused() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));

        let error = body(deep.as_bytes()).unwrap_err();

        assert!(error.to_string().contains("recursion limit exceeded"), "{error}");
    }
}
