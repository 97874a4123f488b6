//! Typed access to the merged values. Problems are collected, so that one run reports them all.

use std::{fmt::Display, str::FromStr, time::Duration};

use serde_json::{Number, Value};

use super::{
    Problem,
    layers::{self, Layers, Origin},
    registry::{self, Kind, Setting},
};
use crate::secrets::Secret;

/// Hands out values by name; a value that does not fit is reported and replaced by whatever is at hand, since the
/// configuration is refused as a whole in the end. What fits is in the [registry].
pub(super) struct Reader {
    layers: Layers,
    #[cfg(test)]
    pub names_read: std::collections::BTreeSet<&'static str>,
}

impl Reader {
    pub fn new(layers: Layers) -> Self {
        Self {
            layers,
            #[cfg(test)]
            names_read: Default::default(),
        }
    }

    /// Everything that was found, once all sections were read.
    pub fn finish(self) -> (Vec<Problem>, Vec<String>) {
        (self.layers.problems, self.layers.notices)
    }

    pub fn notice(&mut self, text: impl Into<String>) {
        self.layers.notices.push(text.into());
    }

    /// Reports what is wrong with a value; `problem` must not repeat a secret.
    pub fn report(&mut self, name: &'static str, problem: impl Into<String>) {
        let (origin, example) = (self.layers.origin(name), example(name));
        let example = if example.is_empty() { format!("{name}=") } else { format!("{name}={example}") };
        self.layers.problems.push(Problem {
            name: name.to_owned(),
            origin,
            problem: problem.into(),
            example,
        });
    }

    /// Whether anyone but the default gave a value.
    pub fn is_set(&self, name: &'static str) -> bool {
        self.layers.origin(name) != Origin::Default
    }

    fn value(&mut self, name: &'static str) -> Value {
        #[cfg(test)]
        self.names_read.insert(name);
        self.layers.value(name).clone()
    }

    /// The value as JSON of its kind: numbers are numbers, and lists are lists, however they were written.
    pub fn typed(&mut self, setting: &'static Setting) -> Value {
        let name = setting.name;
        match setting.kind {
            Kind::Flag => Value::Bool(self.flag(name)),
            Kind::Integer { .. } => Value::from(self.number::<i64>(name)),
            Kind::Seconds { .. } => as_number(self.seconds(name).as_secs_f64()),
            Kind::Choice(words) => {
                let words: Vec<_> = words().into_iter().map(|word| (word, word)).collect();
                Value::from(self.choice(name, &words))
            }
            Kind::Text => Value::from(self.text(name)),
            Kind::List => Value::from(self.list(name)),
            Kind::Map | Kind::Json => self.json(name).unwrap_or_default(),
        }
    }

    /// A text without white space around it; blank when the default is.
    pub fn text(&mut self, name: &'static str) -> String {
        let value = self.value(name);
        as_text(&value).unwrap_or_else(|| {
            self.report(name, "is a list or a map where a text is expected");
            String::new()
        })
    }

    /// A text that may be absent.
    pub fn optional_text(&mut self, name: &'static str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    pub fn optional_secret(&mut self, name: &'static str) -> Option<Secret> {
        self.optional_text(name).map(Secret::new)
    }

    /// A text that `parse` understands; its error says what is wrong, without the text.
    pub fn parsed<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(name);
        parse(&text)
            .map_err(|problem| {
                self.report(name, problem.to_string());
            })
            .ok()
    }

    /// A whole number within its range.
    pub fn number<T: TryFrom<i64> + Default>(&mut self, name: &'static str) -> T {
        let Kind::Integer { min, max } = kind(name) else { unreachable!("{name} is no whole number") };
        let number = self.within(name, "a whole number", min, max);
        number.and_then(|number| T::try_from(number).ok()).unwrap_or_default()
    }

    /// A duration in seconds, fractions allowed, within its range.
    pub fn seconds(&mut self, name: &'static str) -> Duration {
        let Kind::Seconds { min, max } = kind(name) else { unreachable!("{name} is no duration") };
        let seconds = self.within(name, "a number of seconds", min, max);
        seconds.map_or(Duration::ZERO, Duration::from_secs_f64)
    }

    /// Numbers are no secrets, so the text may be shown, at a reasonable length.
    fn within<T: FromStr + PartialOrd + Display>(
        &mut self,
        name: &'static str,
        what: &str,
        min: T,
        max: T,
    ) -> Option<T> {
        let text = self.text(name);
        let number = text.parse().ok().filter(|number| (&min..=&max).contains(&number));
        if number.is_none() {
            let shown: String = text.chars().take(20).collect();
            self.report(name, format!("\"{shown}\" is not {what} from {min} to {max}"));
        }
        number
    }

    /// A switch.
    pub fn flag(&mut self, name: &'static str) -> bool {
        let values = [
            ("true", true),
            ("yes", true),
            ("on", true),
            ("1", true),
            ("false", false),
            ("no", false),
            ("off", false),
            ("0", false),
        ];
        self.choice(name, &values)
    }

    /// One of a few words, in any letter case.
    pub fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> T {
        let text = self.text(name);
        match choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text)) {
            Some((_, choice)) => *choice,
            None => {
                let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
                let shown: String = text.chars().take(20).collect();
                self.report(name, format!("\"{shown}\" is none of {}", words.join(", ")));
                choices[0].1
            }
        }
    }

    /// A list of texts, trimmed, without blank ones.
    pub fn list(&mut self, name: &'static str) -> Vec<String> {
        let texts = self.texts(name);
        texts.into_iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
    }

    /// A list of texts as they were written: a JSON array, or separated by commas or line breaks.
    pub fn texts(&mut self, name: &'static str) -> Vec<String> {
        let items = match self.value(name) {
            Value::String(text) if unquoted(&text).starts_with('[') => match self.parse_json(name, &text) {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            },
            Value::String(text) => {
                let items = unquoted(&text).split([',', '\n']);
                return items.map(|item| unquoted(item).to_owned()).collect();
            }
            Value::Array(items) => items,
            Value::Null => Vec::new(),
            _ => {
                self.report(name, "is not a list");
                Vec::new()
            }
        };
        let texts: Option<Vec<String>> = items.iter().map(as_text).collect();
        texts.unwrap_or_else(|| {
            self.report(name, "is a list with something else than texts in it");
            Vec::new()
        })
    }

    /// A map of texts, in the order in which it was written.
    pub fn map(&mut self, name: &'static str) -> Vec<(String, String)> {
        let Some(value) = self.json(name) else { return Vec::new() };
        let texts: Option<Vec<_>> = value.as_object().and_then(|map| {
            map.iter().map(|(key, value)| as_text(value).map(|text| (key.clone(), text))).collect()
        });
        texts.unwrap_or_else(|| {
            self.report(name, "is not a map of texts");
            Vec::new()
        })
    }

    /// Any JSON; `None` when it is none, which is reported.
    pub fn json(&mut self, name: &'static str) -> Option<Value> {
        match self.value(name) {
            Value::String(text) => self.parse_json(name, &text),
            value => Some(value),
        }
    }

    /// The error of the parser is not repeated, as it may quote the value.
    fn parse_json(&mut self, name: &'static str, text: &str) -> Option<Value> {
        serde_json::from_str(unquoted(text))
            .map_err(|error| {
                let (line, column) = (error.line(), error.column());
                let place = format!("line {line}, column {column}");
                self.report(name, format!("is not valid JSON at {place} (texts need double quotes)"));
            })
            .ok()
    }
}

fn kind(name: &str) -> Kind {
    registry::find(name).expect("every name that is read is in the registry, as a test sees").kind
}

/// A value that would be right, as text.
fn example(name: &str) -> String {
    let example = registry::find(name).and_then(|setting| setting.example);
    example.map_or_else(|| as_text(&layers::default_of(name)).unwrap_or_default(), str::to_owned)
}

/// Without a fraction where there is none.
fn as_number(number: f64) -> Value {
    if number.fract() == 0.0 {
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// Texts, numbers and switches as text; lists, maps and nothing have none.
fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Without a pair of quotes around the whole: `docker --env-file` leaves them on. `"a","b"` has no such pair.
fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let inner = |quote: char| {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?.trim();
        (inner.starts_with(['[', '{']) || !inner.contains(quote)).then_some(inner)
    };
    inner('\'').or_else(|| inner('"')).unwrap_or(text)
}
