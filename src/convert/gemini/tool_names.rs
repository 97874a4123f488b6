//! Names of functions: Gemini's rules are not the clients', so some are changed on the way in and changed back on the way out.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

/// Longest name of a function that Gemini takes, in bytes.
const MAX_BYTES: usize = 128;

/// The functions of one request, under both names.
#[derive(Debug, Clone, Default)]
pub struct ToolNames {
    /// Client's name → Gemini's, only where they differ.
    changed: HashMap<String, String>,
    /// Gemini's name → client's, only where they differ.
    original: HashMap<String, String>,
    /// Gemini's names of the tools that take one free text instead of arguments.
    free_text: Vec<String>,
}

impl ToolNames {
    /// Takes the declared names, so that two of them never become the same one.
    pub fn new<'a>(declared: impl Iterator<Item = &'a str> + Clone) -> Self {
        let mut names = Self::default();
        let mut taken: HashSet<String> =
            declared.clone().filter(|name| is_valid(name)).map(str::to_owned).collect();
        for name in declared.filter(|name| !is_valid(name)) {
            if names.changed.contains_key(name) {
                continue;
            }
            let unique = unique(clean(name), &taken);
            taken.insert(unique.clone());
            names.original.insert(unique.clone(), name.to_owned());
            names.changed.insert(name.to_owned(), unique);
        }
        names
    }

    /// Marks a tool, by the client's name, whose only argument is a text called `input`.
    pub fn mark_free_text(&mut self, name: &str) {
        let name = self.to_gemini(name).into_owned();
        self.free_text.push(name);
    }

    /// Also for names that were never declared, as histories hold calls of tools that are gone.
    pub fn to_gemini<'a>(&self, name: &'a str) -> Cow<'a, str> {
        if is_valid(name) {
            return Cow::Borrowed(name);
        }
        Cow::Owned(self.changed.get(name).cloned().unwrap_or_else(|| clean(name)))
    }

    pub fn to_client<'a>(&'a self, name: &'a str) -> &'a str {
        self.original.get(name).map_or(name, String::as_str)
    }

    /// Whether the tool, by Gemini's name, takes one free text.
    pub fn is_free_text(&self, name: &str) -> bool {
        self.free_text.iter().any(|free| free == name)
    }
}

/// Letters, digits and `_ . : -`, first a letter or `_`, at most 128 bytes. Source: `FunctionDeclaration.name`.
fn is_valid(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && name.len() <= MAX_BYTES && name.bytes().all(is_allowed)
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte)
}

fn clean(name: &str) -> String {
    let allowed = |c: char| if u8::try_from(c).is_ok_and(is_allowed) { c } else { '_' };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let prefix = if starts_well { "" } else { "_" };
    prefix.chars().chain(name.chars().map(allowed)).take(MAX_BYTES).collect()
}

/// The name itself, or with the first free number behind it.
fn unique(name: String, taken: &HashSet<String>) -> String {
    let numbered = (2..).map(|number| {
        let suffix = format!("_{number}");
        format!("{}{suffix}", &name[..name.len().min(MAX_BYTES - suffix.len())])
    });
    let free = |candidate: &String| !taken.contains(candidate);
    std::iter::once(name.clone()).chain(numbered).find(free).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_gemini_refuses_is_changed_and_changed_back() {
        let names = ToolNames::new(["get weather", "3d", "größe", "fine"].into_iter());

        for (client, gemini) in
            [("get weather", "get_weather"), ("3d", "_3d"), ("größe", "gr__e"), ("fine", "fine")]
        {
            assert_eq!(names.to_gemini(client), gemini);
            assert_eq!(names.to_client(gemini), client);
        }
    }

    #[test]
    fn two_names_never_become_the_same() {
        let names = ToolNames::new(["a b", "a/b", "a_b"].into_iter());

        let gemini = ["a b", "a/b", "a_b"].map(|name| names.to_gemini(name));

        assert_eq!(gemini, ["a_b_2", "a_b_3", "a_b"]);
        assert_eq!(names.to_client("a_b_3"), "a/b");
    }

    #[test]
    fn long_and_empty_names_become_valid() {
        let long = "é".repeat(300);
        let names = ToolNames::new([long.as_str(), ""].into_iter());

        assert!(is_valid(&names.to_gemini(&long)) && is_valid(&names.to_gemini("")));
        assert_eq!(names.to_client(&names.to_gemini(&long)), long);
    }
}
