//! Typed access to the merged values. Problems are collected, so that one run reports them all.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use serde_json::Value;

use super::{
    Problem,
    layers::{Entry, Layers, Origin, defaults},
};
use crate::secrets::Secret;

/// Hands out values by name; a value that does not fit is reported and replaced by whatever is at hand, since the
/// configuration is refused as a whole in the end.
pub(super) struct Reader {
    layers: Layers,
    defaults: Vec<Entry>,
    #[cfg(test)]
    pub names_read: std::collections::BTreeSet<&'static str>,
}

impl Reader {
    pub fn new(layers: Layers) -> Self {
        Self {
            layers,
            defaults: defaults(),
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
    pub fn report(&mut self, name: &'static str, problem: impl Into<String>, example: &str) {
        let origin = self.origin(name);
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
        self.origin(name) != Origin::Default
    }

    fn origin(&self, name: &str) -> Origin {
        self.layers.values.get(name).map_or(Origin::Default, |entry| entry.origin)
    }

    fn value(&mut self, name: &'static str) -> Value {
        #[cfg(test)]
        self.names_read.insert(name);
        self.layers.values.get(name).map_or(Value::Null, |entry| entry.value.clone())
    }

    /// The default as text: the example for everything that has one.
    fn example(&self, name: &str) -> String {
        let entry = self.defaults.iter().find(|entry| entry.name == name);
        entry.and_then(|entry| as_text(&entry.value)).unwrap_or_default()
    }

    /// A text without white space around it; blank when the default is.
    pub fn text(&mut self, name: &'static str) -> String {
        let value = self.value(name);
        as_text(&value).unwrap_or_else(|| {
            let example = self.example(name);
            self.report(name, "is a list or a map where a text is expected", &example);
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
                let example = self.example(name);
                self.report(name, problem.to_string(), &example);
            })
            .ok()
    }

    /// A whole number within `range`.
    pub fn number<T>(&mut self, name: &'static str, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let text = self.text(name);
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                self.report_out_of_range(name, &text, "a whole number", &range);
                *range.start()
            }
        }
    }

    /// A duration in seconds, fractions allowed, within `range`.
    pub fn seconds(&mut self, name: &'static str, range: RangeInclusive<f64>) -> Duration {
        let text = self.text(name);
        match text.parse() {
            Ok(seconds) if range.contains(&seconds) => Duration::from_secs_f64(seconds),
            _ => {
                self.report_out_of_range(name, &text, "a number of seconds", &range);
                Duration::ZERO
            }
        }
    }

    /// Numbers are no secrets, so the text may be shown, at a reasonable length.
    fn report_out_of_range<T: Display>(
        &mut self,
        name: &'static str,
        text: &str,
        what: &str,
        range: &RangeInclusive<T>,
    ) {
        let shown: String = text.chars().take(20).collect();
        let problem = format!("\"{shown}\" is not {what} from {} to {}", range.start(), range.end());
        let example = self.example(name);
        self.report(name, problem, &example);
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
                let example = self.example(name);
                self.report(name, format!("\"{shown}\" is none of {}", words.join(", ")), &example);
                choices[0].1
            }
        }
    }

    /// A list of texts, trimmed, without blank ones.
    pub fn list(&mut self, name: &'static str, example: &str) -> Vec<String> {
        let texts = self.texts(name, example);
        texts.into_iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
    }

    /// A list of texts as they were written: a JSON array, or separated by commas or line breaks.
    pub fn texts(&mut self, name: &'static str, example: &str) -> Vec<String> {
        let items = match self.value(name) {
            Value::String(text) if unquoted(&text).starts_with('[') => {
                match self.parse_json(name, &text, example) {
                    Some(Value::Array(items)) => items,
                    _ => Vec::new(),
                }
            }
            Value::String(text) => {
                let items = unquoted(&text).split([',', '\n']);
                return items.map(|item| unquoted(item).to_owned()).collect();
            }
            Value::Array(items) => items,
            Value::Null => Vec::new(),
            _ => {
                self.report(name, "is not a list", example);
                Vec::new()
            }
        };
        let texts: Option<Vec<String>> = items.iter().map(as_text).collect();
        texts.unwrap_or_else(|| {
            self.report(name, "is a list with something else than texts in it", example);
            Vec::new()
        })
    }

    /// A map of texts, in the order in which it was written.
    pub fn map(&mut self, name: &'static str, example: &str) -> Vec<(String, String)> {
        let Some(value) = self.json(name, example) else { return Vec::new() };
        let texts: Option<Vec<_>> = value.as_object().and_then(|map| {
            map.iter().map(|(key, value)| as_text(value).map(|text| (key.clone(), text))).collect()
        });
        texts.unwrap_or_else(|| {
            self.report(name, "is not a map of texts", example);
            Vec::new()
        })
    }

    /// Any JSON; `None` when it is none, which is reported.
    pub fn json(&mut self, name: &'static str, example: &str) -> Option<Value> {
        match self.value(name) {
            Value::String(text) => self.parse_json(name, &text, example),
            value => Some(value),
        }
    }

    /// The error of the parser is not repeated, as it may quote the value.
    fn parse_json(&mut self, name: &'static str, text: &str, example: &str) -> Option<Value> {
        serde_json::from_str(unquoted(text))
            .map_err(|error| {
                let (line, column) = (error.line(), error.column());
                let place = format!("line {line}, column {column}");
                self.report(
                    name,
                    format!("is not valid JSON at {place} (texts need double quotes)"),
                    example,
                );
            })
            .ok()
    }
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
