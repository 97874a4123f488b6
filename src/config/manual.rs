//! What `config/default.toml` says of each setting: the group that it stands in, and the comment above it.

use std::sync::LazyLock;

use super::layers::DEFAULTS;

/// A setting as the file presents it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// In capitals.
    pub name: String,
    /// The heading above it, such as `Names of models`.
    pub group: String,
    /// The comment above it, or above the settings that it stands together with.
    pub help: String,
}

/// All settings, in the order of the file.
pub fn entries() -> &'static [Entry] {
    static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| read(DEFAULTS));
    &ENTRIES
}

fn read(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let (mut group, mut help) = (String::new(), String::new());
    let mut has_named = false;
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("# --- ") {
            group = title.trim_end_matches([' ', '-']).to_owned();
            help.clear();
        } else if let Some(comment) = line.strip_prefix("# ") {
            if std::mem::take(&mut has_named) {
                help.clear();
            }
            if !help.is_empty() {
                help.push(' ');
            }
            help.push_str(comment.trim());
        } else if line.is_empty() {
            help.clear();
        } else if let Some(name) = name_of(line) {
            entries.push(Entry { name, group: group.clone(), help: help.clone() });
            has_named = true;
        }
    }
    entries
}

/// The name in a line that begins a setting; the lines of a long list are indented.
fn name_of(line: &str) -> Option<String> {
    let (name, _) = line.split_once(" = ")?;
    let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    is_name.then(|| name.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_for_the_settings_that_follow_it() {
        let text = "# Of the file.\n\n# --- A group ---\n\n# One,\n# in two lines.\na = [\n    1,\n]\n\
                    # Two.\nb_1 = 2\nc = 3\n\n# --- Another ---\n\n# Four.\nd = 4\n";

        let read: Vec<_> =
            read(text).into_iter().map(|entry| (entry.name, entry.group, entry.help)).collect();

        let expected = [
            ("A", "A group", "One, in two lines."),
            ("B_1", "A group", "Two."),
            ("C", "A group", "Two."),
            ("D", "Another", "Four."),
        ];
        assert_eq!(read, expected.map(|(name, group, help)| (name.into(), group.into(), help.into())));
    }

    #[test]
    fn every_setting_is_explained() {
        for entry in entries() {
            assert!(!entry.group.is_empty() && entry.help.ends_with(['.', '\"']), "{entry:?}");
        }
    }
}
