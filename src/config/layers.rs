//! The four sources of values, laid over each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use config::FileFormat;
use serde_json::Value;

use super::{Problem, Sources, dotenv, names, reader::Reader, registry::SETTINGS};

pub(super) const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Where a value came from; later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Default,
    LocalToml,
    Dotenv,
    Environment,
    Dashboard,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "config/default.toml",
            Self::LocalToml => "config/local.toml",
            Self::Dotenv => ".env",
            Self::Environment => "the environment",
            Self::Dashboard => "the dashboard",
        })
    }
}

/// A value of some source; the name in capitals, the value not looked at yet.
#[derive(Clone)]
struct Entry {
    name: String,
    origin: Origin,
    value: Value,
}

/// What the sources gave together; its secrets are not masked, so it does not print.
#[derive(Clone)]
pub struct Layers {
    /// Where relative paths start.
    pub(super) dir: PathBuf,
    values: BTreeMap<String, Entry>,
    pub(super) problems: Vec<Problem>,
    pub(super) notices: Vec<String>,
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layers({} values)", self.values.len())
    }
}

/// The embedded defaults.
pub(super) fn defaults() -> &'static BTreeMap<String, Value> {
    static PARSED: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
        let values = parse_toml(DEFAULTS).expect("config/default.toml is part of the program and tested");
        values.into_iter().map(|(name, value)| (name.to_ascii_uppercase(), value)).collect()
    });
    &PARSED
}

/// The embedded default of a setting.
pub(super) fn default_of(name: &str) -> Value {
    defaults().get(name).cloned().unwrap_or_default()
}

impl Layers {
    /// What the program itself says.
    pub fn of_defaults() -> Self {
        let dir = PathBuf::from(".");
        let mut layers = Self { dir, values: BTreeMap::new(), problems: Vec::new(), notices: Vec::new() };
        let values = defaults().iter().map(|(name, value)| (name.clone(), value.clone()));
        layers.lay(entries(Origin::Default, values));
        layers
    }

    /// Reads all sources. Blank values count as not set, as container tools write them for missing variables.
    pub fn read(sources: &Sources) -> Self {
        let mut layers = Self { dir: sources.dir.clone(), ..Self::of_defaults() };
        layers.read_local_toml(&sources.dir.join("config/local.toml"));
        layers.read_dotenv(&sources.dir.join(".env"), &sources.env);
        layers.read_environment(&sources.env);
        layers.tell_names_without_effect();
        layers
    }

    /// With these values on top, blank ones too: they were chosen one by one.
    #[must_use]
    pub fn under<'a>(&self, overrides: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Self {
        let mut layers = self.clone();
        for (name, value) in overrides {
            let entry = Entry { name: name.to_owned(), origin: Origin::Dashboard, value: value.clone() };
            layers.values.insert(entry.name.clone(), entry);
        }
        layers
    }

    /// Where the value comes from.
    pub fn origin(&self, name: &str) -> Origin {
        self.values.get(name).map_or(Origin::Default, |entry| entry.origin)
    }

    /// As it was written.
    pub(super) fn value(&self, name: &str) -> &Value {
        self.values.get(name).map_or(&Value::Null, |entry| &entry.value)
    }

    /// All values as JSON of their kinds, by name; with what is wrong with those that do not fit.
    pub fn typed(&self) -> (BTreeMap<&'static str, Value>, Vec<Problem>) {
        let mut reader = Reader::new(self.clone());
        let values = SETTINGS.iter().map(|setting| (setting.name, reader.typed(setting))).collect();
        (values, reader.finish().0)
    }

    /// Entries replace those of the same name. A name in exact capitals wins over other spellings of it, which
    /// count too, since the original did not mind.
    fn lay(&mut self, mut entries: Vec<Entry>) {
        entries.sort_by_key(|entry| entry.name.bytes().all(|byte| !byte.is_ascii_lowercase()));
        for mut entry in entries {
            entry.name.make_ascii_uppercase();
            if entry.origin == Origin::Default || !is_blank(&entry.value) {
                self.values.insert(entry.name.clone(), entry);
            }
        }
    }

    fn read_local_toml(&mut self, path: &Path) {
        let Some(text) = self.read_file(path, "config/local.toml") else { return };
        let values = match parse_toml(&text) {
            Ok(values) => values,
            Err(problem) => {
                return self.report("config/local.toml", Origin::LocalToml, problem, "port = 8000");
            }
        };
        let (known, unknown): (Vec<_>, Vec<_>) =
            entries(Origin::LocalToml, values).into_iter().partition(|entry| is_ours(&entry.name));
        for Entry { name, .. } in unknown {
            let meant = names::closest(&name, 3);
            let hint = meant.map(|meant| format!("; did you mean {}?", meant.to_ascii_lowercase()));
            let problem = format!("is not a setting{}", hint.unwrap_or_default());
            let example = "config/default.toml lists them all, such as port = 8000";
            self.report(&name.to_ascii_lowercase(), Origin::LocalToml, problem, example);
        }
        self.lay(known);
    }

    fn read_dotenv(&mut self, path: &Path, env: &[(String, String)]) {
        let Some(text) = self.read_file(path, ".env") else { return };
        let outer =
            |wanted: &str| env.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        let file = dotenv::parse(&text, outer);
        for line in file.bad_lines {
            self.notices.push(format!(".env: line {line} is not of the form NAME=value and was ignored"));
        }
        let values = file.variables.into_iter().map(|(name, value)| (name, Value::String(value)));
        let (known, unknown): (Vec<_>, Vec<_>) =
            entries(Origin::Dotenv, values).into_iter().partition(|entry| is_ours(&entry.name));
        let unknown: BTreeSet<String> = unknown.iter().map(|entry| with_hint(&entry.name)).collect();
        if !unknown.is_empty() {
            let list = Vec::from_iter(unknown).join(", ");
            self.notices.push(format!(".env: not settings of the gateway, and ignored: {list}"));
        }
        self.lay(known);
    }

    fn read_environment(&mut self, env: &[(String, String)]) {
        let values = env.iter().map(|(name, value)| (name.clone(), Value::String(value.clone())));
        let (known, unknown): (Vec<_>, Vec<_>) =
            entries(Origin::Environment, values).into_iter().partition(|entry| is_ours(&entry.name));
        for Entry { name, .. } in unknown {
            if let Some(meant) = names::closest_to_variable(&name) {
                self.notices.push(format!(
                    "the environment has {name}, which is not a setting; did you mean {meant}?"
                ));
            }
        }
        self.lay(known);
    }

    fn tell_names_without_effect(&mut self) {
        let set: Vec<&str> =
            self.values.keys().map(String::as_str).filter(|name| names::has_no_effect_yet(name)).collect();
        if !set.is_empty() {
            self.notices.push(format!("these settings have no effect yet: {}", set.join(", ")));
        }
    }

    /// The text of an optional file.
    fn read_file(&mut self, path: &Path, name: &str) -> Option<String> {
        match fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                let origin = if name == ".env" { Origin::Dotenv } else { Origin::LocalToml };
                let example = "a readable text file in UTF-8, or none at all";
                self.report(name, origin, format!("cannot be read ({error})"), example);
                None
            }
        }
    }

    fn report(&mut self, name: &str, origin: Origin, problem: String, example: &str) {
        self.problems.push(Problem { name: name.to_owned(), origin, problem, example: example.to_owned() });
    }
}

fn entries(origin: Origin, values: impl IntoIterator<Item = (String, Value)>) -> Vec<Entry> {
    values.into_iter().map(|(name, value)| Entry { name, origin, value }).collect()
}

fn is_ours(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    names::is_setting(&name) || names::has_no_effect_yet(&name)
}

fn with_hint(name: &str) -> String {
    match names::closest(name, 3) {
        Some(meant) => format!("{name} (did you mean {meant}?)"),
        None => name.to_owned(),
    }
}

fn is_blank(value: &Value) -> bool {
    matches!(value, Value::String(text) if text.trim().is_empty())
}

/// The top level of a TOML text. The error says where it went wrong, and not what stood there.
fn parse_toml(text: &str) -> Result<serde_json::Map<String, Value>, String> {
    let source = config::File::from_str(text, FileFormat::Toml);
    let parsed = config::Config::builder().add_source(source).build();
    parsed.and_then(config::Config::try_deserialize).map_err(|error| {
        let message = error.to_string();
        let place = message.lines().find_map(|line| line.split_once(" at line ")).map(|(_, place)| place);
        match place {
            Some(place) => format!("is not valid TOML at line {place}"),
            None => "is not valid TOML".to_owned(),
        }
    })
}
