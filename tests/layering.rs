//! Who may know whom in `src/`. An arrow that points upward fails here, before it becomes a circle.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Every module of the crate, from the bottom up, and the others that it may name. Each knows only modules that stand
/// above its own line, which is why no circle can be written down here.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("balance", &["domain"]),
    ("convert", &["domain"]),
    ("media", &[]),
    ("secrets", &["domain"]),
    ("config", &["domain", "secrets"]),
    ("cluster", &["domain", "balance", "config"]),
    ("db", &["domain", "secrets"]),
    ("settings", &["domain", "secrets", "config", "db"]),
    ("actors", &["domain", "balance", "cluster", "db"]),
    ("upstream", &["domain", "balance", "config", "actors"]),
    ("services", &["domain", "media", "config", "actors", "upstream"]),
    ("telemetry", &["domain", "balance", "config", "actors"]),
    (
        "api",
        &[
            "domain",
            "balance",
            "convert",
            "media",
            "secrets",
            "db",
            "settings",
            "actors",
            "upstream",
            "services",
            "telemetry",
        ],
    ),
    (
        "app",
        &[
            "domain",
            "balance",
            "convert",
            "media",
            "secrets",
            "config",
            "cluster",
            "db",
            "settings",
            "actors",
            "upstream",
            "services",
            "telemetry",
            "api",
        ],
    ),
    ("sim", &[]),
    (
        "cli",
        &[
            "domain",
            "balance",
            "secrets",
            "config",
            "db",
            "settings",
            "upstream",
            "telemetry",
            "api",
            "app",
            "sim",
        ],
    ),
    ("main", &["cli"]),
];

/// Modules that decide and translate: no actors, no HTTP, no database.
const PURE: [&str; 3] = ["domain", "balance", "convert"];
const IMPURE_CRATES: [&str; 5] = ["actix", "actix_rt", "actix_web", "awc", "diesel"];

#[test]
fn every_arrow_points_downward() {
    let wrong: Vec<String> = sources()
        .iter()
        .flat_map(|source| {
            let known = knows(&source.module);
            let strangers = source.known_modules().into_iter();
            strangers
                .filter(move |name| *name != source.module && !known.contains(&name.as_str()))
                .map(|name| format!("{}: `{}` must not know `{name}`", source.path.display(), source.module))
        })
        .collect();

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_names_every_module_once_and_has_no_circle() {
    let listed: Vec<&str> = LAYERS.iter().map(|(module, _)| *module).collect();
    let existing: BTreeSet<String> = sources().into_iter().map(|source| source.module).collect();

    assert_eq!(listed.iter().map(|module| (*module).to_owned()).collect::<BTreeSet<_>>(), existing);
    for (line, (module, known)) in LAYERS.iter().enumerate() {
        for name in *known {
            assert!(listed[..line].contains(name), "{module} stands below {name}, so it cannot know it");
        }
    }
}

#[test]
fn pure_modules_import_neither_actors_nor_http_nor_database() {
    for source in sources().iter().filter(|source| PURE.contains(&source.module.as_str())) {
        for name in IMPURE_CRATES {
            assert_eq!(names_after(&source.code, name), Vec::<String>::new(), "{}", source.path.display());
        }
    }
}

#[test]
fn no_path_climbs_to_the_root_of_the_crate_by_super() {
    let climbers: Vec<_> =
        sources().into_iter().filter(Source::climbs_to_the_root).map(|source| source.path).collect();

    assert!(climbers.is_empty(), "write `crate::` there, so that arrows can be read: {climbers:?}");
}

fn knows(module: &str) -> &'static [&'static str] {
    LAYERS.iter().find(|(name, _)| *name == module).map_or(&[], |(_, known)| known)
}

/// One file of `src/`.
struct Source {
    path: PathBuf,
    /// The module of the crate that it belongs to: `api` for `src/api/gemini/models.rs`.
    module: String,
    /// Modules from the root to this file's own: 1 for `src/app.rs` and `src/api/mod.rs`.
    depth: usize,
    /// Its text without comments and literals.
    code: String,
}

impl Source {
    fn read(path: PathBuf, root: &Path) -> Self {
        let text = fs::read_to_string(&path).expect("sources are readable text");
        let inside = path.strip_prefix(root).expect("it was found below the root").with_extension("");
        let mut names: Vec<String> = inside.iter().map(|name| name.to_string_lossy().into_owned()).collect();
        names.retain(|name| name != "mod");
        Self { path, module: names[0].clone(), depth: names.len(), code: code_of(&text) }
    }

    fn known_modules(&self) -> BTreeSet<String> {
        let paths = ["crate", "gemini_balance"].into_iter().flat_map(|root| names_after(&self.code, root));
        paths.filter(|name| name != "self").collect()
    }

    /// An inline module, such as that of the tests, may take one step more.
    fn climbs_to_the_root(&self) -> bool {
        let words: Vec<&str> = self.code.split_whitespace().collect();
        let is_inline = |word: usize| words[..word].windows(3).any(|w| w[0] == "mod" && w[2] == "{");
        words.iter().enumerate().any(|(at, word)| {
            let steps = word.matches("super::").count();
            steps > 0 && steps >= self.depth + usize::from(is_inline(at))
        })
    }
}

/// All files of `src/` but `lib.rs`, which is where the modules are declared.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && path != root.join("lib.rs")
                // Tests may set their stage with whatever they need.
                && !path.ends_with("tests.rs")
                && !path.strip_prefix(&root).is_ok_and(|inside| inside.iter().any(|part| part == "tests"))
            {
                sources.push(Source::read(path, &root));
            }
        }
    }
    assert!(sources.len() > 100, "src was not found");
    sources
}

/// The names that stand right behind `root::`, one by one or in braces.
fn names_after(code: &str, root: &str) -> Vec<String> {
    let is_whole = |at: usize| !code[..at].ends_with(is_word);
    let mut names = Vec::new();
    for (at, _) in code.match_indices(root).filter(|(at, _)| is_whole(*at)) {
        let Some(rest) = code[at + root.len()..].trim_start().strip_prefix("::") else { continue };
        match rest.trim_start().strip_prefix('{') {
            Some(list) => names.extend(first_names(list)),
            None => names.extend(first_word(rest)),
        }
    }
    names
}

/// The first name of each element of a list in braces, whatever braces are in it.
fn first_names(list: &str) -> Vec<String> {
    let (mut names, mut nesting, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in list.char_indices() {
        match (c, nesting) {
            ('{', _) => nesting += 1,
            (',' | '}', 0) => {
                names.extend(first_word(&list[start..at]));
                if c == '}' {
                    break;
                }
                start = at + 1;
            }
            ('}', _) => nesting -= 1,
            _ => {}
        }
    }
    names
}

fn first_word(text: &str) -> Option<String> {
    let word: String = text.trim_start().chars().take_while(|c| is_word(*c)).collect();
    (!word.is_empty()).then_some(word)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The text with every comment, string and character left out, since they name modules without knowing them.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = literal_length(rest, code.ends_with(is_word)) {
            length
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

/// Bytes of the string or character that `text` begins with, if it does. Prefixes such as `b` are left standing.
fn literal_length(text: &str, follows_word: bool) -> Option<usize> {
    if let Some(inner) = text.strip_prefix('"') {
        return Some(1 + closing(inner, '"'));
    }
    if let Some(inner) = text.strip_prefix('\'') {
        // A lifetime has no second quote behind its first character.
        let is_char = inner.starts_with('\\') || inner.chars().nth(1) == Some('\'');
        return is_char.then(|| 1 + closing(inner, '\''));
    }
    let raw = text.strip_prefix("br").or_else(|| text.strip_prefix('r')).filter(|_| !follows_word)?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let inner = raw[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let before = text.len() - inner.len();
    Some(before + inner.find(&end).map_or(inner.len(), |at| at + end.len()))
}

/// Bytes up to and with the closing quote that no backslash protects.
fn closing(inner: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in inner.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    inner.len()
}

#[test]
fn names_are_read_from_every_form_of_a_path() {
    let code = "use crate::a; pub(crate) use crate::{self, b::{c, d::{e}}, f as g,\n h::*};\n\
                fn x() -> crate :: i::J { crate::k::l() } use mycrate::m; use crate::{n};";

    assert_eq!(names_after(code, "crate"), ["a", "self", "b", "f", "h", "i", "k", "n"]);
}

#[test]
fn comments_and_literals_name_nothing() {
    let text = "// crate::a\n/* crate::b */ let s = \"crate::c \\\" crate::d\"; let r = r#\"crate::\"e\"#;\n\
                let q = '\"'; fn f<'a>(x: &'a str) { crate::g() } b\"crate::h\" '\\'' crate::i";

    assert_eq!(names_after(&code_of(text), "crate"), ["g", "i"]);
}
