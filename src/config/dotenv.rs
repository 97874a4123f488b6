//! `.env` files, read as the Python original reads them, so that its users can keep theirs.
//!
//! The grammar is that of python-dotenv: values without quotes reach to the end of the line, so that
//! `API_KEYS=["a", "b"]` is the JSON that it looks like. Shell-like readers would drop those quotes.
//! Source: <https://saurabh-kumar.com/python-dotenv/reference/> and its section on the file format.

/// What a file said, and the lines (from 1) that said nothing readable.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dotenv {
    pub variables: Vec<(String, String)>,
    pub bad_lines: Vec<usize>,
}

/// Reads a whole file. `outer` gives variables of the environment for `${NAME}`, before those of the file itself.
pub(super) fn parse(text: &str, outer: impl Fn(&str) -> Option<String>) -> Dotenv {
    let text = text.trim_start_matches('\u{feff}');
    let mut file = Dotenv::default();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        rest = match statement(rest) {
            Some((Some((name, value)), after)) => {
                let value = expand(&value, |wanted| outer(wanted).or_else(|| last(&file.variables, wanted)));
                file.variables.push((name, value));
                after
            }
            Some((None, after)) => after,
            None => {
                let line = text[..text.len() - rest.len()].matches('\n').count() + 1;
                file.bad_lines.push(line);
                after_line(rest)
            }
        }
        .trim_start();
    }
    file
}

type Binding = (String, String);

/// One binding or comment, and the text after its line; `None` when it is neither.
fn statement(text: &str) -> Option<(Option<Binding>, &str)> {
    if text.starts_with('#') {
        return Some((None, after_line(text)));
    }
    let (name, text) = name(text)?;
    let text = text.trim_start_matches(is_blank).strip_prefix('=')?;
    let (value, text) = match text.trim_start_matches(is_blank) {
        quoted if quoted.starts_with(['\'', '"']) => quoted_value(quoted)?,
        _ => bare_value(text),
    };
    let tail = line(text).trim();
    (tail.is_empty() || tail.starts_with('#')).then(|| (Some((name.to_owned(), value)), after_line(text)))
}

fn name(text: &str) -> Option<(&str, &str)> {
    let text = match text.strip_prefix("export") {
        Some(rest) if rest.starts_with(is_blank) => rest.trim_start_matches(is_blank),
        _ => text,
    };
    if let Some(quoted) = text.strip_prefix('\'') {
        return quoted.split_once('\'');
    }
    let end = text.find(|c: char| c == '=' || c == '#' || c.is_whitespace()).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A value in quotes, which may span lines. In single quotes a backslash protects quote and backslash; in double
/// quotes it also makes the usual control characters.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut chars = text.char_indices();
    let (_, quote) = chars.next()?;
    let mut value = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                let (_, escaped) = chars.next()?;
                match unescape(escaped, quote) {
                    Some(c) => value.push(c),
                    None => value.extend(['\\', escaped]),
                }
            }
            _ if c == quote => return Some((value, &text[at + 1..])),
            _ => value.push(c),
        }
    }
    None
}

fn unescape(c: char, quote: char) -> Option<char> {
    match c {
        '\\' | '\'' => Some(c),
        _ if quote == '\'' => None,
        '"' => Some('"'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        _ => None,
    }
}

/// A value without quotes: the rest of the line, up to a `#` that stands after white space.
fn bare_value(text: &str) -> (String, &str) {
    let line = line(text);
    let comment = line.match_indices('#').find(|(at, _)| line[..*at].ends_with(char::is_whitespace));
    let value = &line[..comment.map_or(line.len(), |(at, _)| at)];
    (value.trim().to_owned(), &text[line.len()..])
}

/// Replaces `${NAME}` and `${NAME:-fallback}`; an unknown name without a fallback gives nothing.
fn expand(value: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((inner, tail)) = after.split_once('}') else { break };
        let (name, fallback) = inner.split_once(":-").unwrap_or((inner, ""));
        out += before;
        out += &lookup(name).unwrap_or_else(|| fallback.to_owned());
        rest = tail;
    }
    out + rest
}

fn last(variables: &[Binding], wanted: &str) -> Option<String> {
    variables.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
}

fn line(text: &str) -> &str {
    &text[..text.find(['\n', '\r']).unwrap_or(text.len())]
}

fn after_line(text: &str) -> &str {
    &text[line(text).len()..]
}

/// White space within a line.
fn is_blank(c: char) -> bool {
    c.is_whitespace() && c != '\n' && c != '\r'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, String)> {
        let file = parse(text, |_| None);
        assert!(file.bad_lines.is_empty(), "{text}");
        file.variables
    }

    fn value(text: &str) -> String {
        parsed(text).pop().unwrap().1
    }

    #[test]
    fn json_without_quotes_around_it_stays_as_it_is() {
        assert_eq!(value("API_KEYS=[\"a\", \"b\"]\n"), r#"["a", "b"]"#);
        assert_eq!(value("M={\"gemini-2.5-flash\": -1} # budget"), r#"{"gemini-2.5-flash": -1}"#);
        assert_eq!(value("S=[{\"category\":\"A\"}]\r\nX=1\r\n"), "1");
    }

    #[test]
    fn quotes_are_taken_off_and_may_span_lines() {
        assert_eq!(value("A='[\"a\",\"b\"]'"), r#"["a","b"]"#);
        assert_eq!(value("A='[\n\"a\",\n\"b\"]' # two"), "[\n\"a\",\n\"b\"]");
        assert_eq!(value(r#"A="say \"hi\"\n""#), "say \"hi\"\n");
        assert_eq!(value(r"A='it\'s \d'"), r"it's \d");
    }

    #[test]
    fn comments_blank_lines_export_and_spaces_are_tolerated() {
        let text = "\u{feff}# head\n\nexport A = 1 # one\n  B=2#2\nC=\nD= # nothing\n'E'=5";
        let expected = [("A", "1"), ("B", "2#2"), ("C", ""), ("D", ""), ("E", "5")];

        assert_eq!(parsed(text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_line_that_says_nothing_is_told_by_its_number_and_the_rest_is_read() {
        let file = parse("A=1\nnot a binding\nB='open\n=x\nC=3", |_| None);

        assert_eq!(file.bad_lines, [2, 3, 4]);
        assert_eq!(file.variables.last().unwrap().1, "3");
    }

    #[test]
    fn references_see_the_environment_first_and_then_earlier_lines() {
        let outer = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let file = parse("A=1\nHOME=/x\nB=${A}-${HOME}-${NONE:-none}-${NONE}-$A-${", outer);

        assert_eq!(file.variables.last().unwrap().1, "1-/root-none--$A-${");
    }
}
