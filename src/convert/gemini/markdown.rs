//! What has no place of its own in a client's message becomes Markdown: pictures and code. Pictures are found again when the
//! client sends the answer back.

use super::{
    Part,
    response::{Blob, Text},
};

/// A stretch of a text.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Text(&'a str),
    /// A picture that was written as a data URL; `data` is base64.
    Picture {
        mime_type: &'a str,
        data: &'a str,
    },
}

/// `![image](data:…)`.
pub fn image(mime_type: &str, data: &str) -> String {
    format!("![image](data:{mime_type};base64,{data})")
}

/// Takes the pictures out of a text; everything else stays as it is, in order.
pub fn split(text: &str) -> Vec<Piece<'_>> {
    const MARK: &str = "](data:image/";
    let (mut pieces, mut rest, mut from) = (Vec::new(), text, 0);
    while let Some(mark) = rest.get(from..).and_then(|tail| tail.find(MARK)).map(|at| from + at) {
        let Some((start, end, picture)) = picture_at(rest, mark) else {
            from = mark + MARK.len();
            continue;
        };
        if start > 0 {
            pieces.push(Piece::Text(&rest[..start]));
        }
        pieces.push(picture);
        (rest, from) = (&rest[end..], 0);
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

/// The picture whose address begins behind `mark`, with its first byte and the one behind its last.
///
/// Every step looks at a bounded stretch or stops at the first byte that does not belong, so that a long text costs no more
/// than its length.
fn picture_at(text: &str, mark: usize) -> Option<(usize, usize, Piece<'_>)> {
    const LONGEST_NAME: usize = 200;
    let named_from = mark.saturating_sub(LONGEST_NAME);
    let name = text.as_bytes()[named_from..mark].windows(2).rposition(|pair| pair == b"![")?;
    let address = &text[mark + "](data:".len()..];
    let (mime_type, rest) = run(address, b"/+.-");
    let (data, rest) = run(rest.strip_prefix(";base64,")?, b"+/=-_");
    let end = text.len() - rest.strip_prefix(')')?.len();
    Some((named_from + name, end, Piece::Picture { mime_type, data }))
}

/// The letters, digits and other allowed bytes at the beginning, and what follows them.
fn run<'a>(text: &'a str, others: &[u8]) -> (&'a str, &'a str) {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || others.contains(&byte);
    text.split_at(text.bytes().position(|byte| !allowed(byte)).unwrap_or(text.len()))
}

/// A picture as a Markdown image with a data URL; other media have no place in a chat message.
pub fn picture(blob: &Blob<'_>) -> Option<String> {
    let mime_type = blob.mime_type.as_deref().filter(|mime_type| mime_type.starts_with("image/"))?;
    let Text(data) = &blob.data;
    Some(image(mime_type, data))
}

/// A block of code, in a fence that the code itself does not hold.
pub fn fenced(language: &str, code: &str) -> String {
    let fence = if code.contains("```") { "````" } else { "```" };
    format!("{fence}{language}\n{}\n{fence}", code.trim_end_matches('\n'))
}

/// What the model said, and the pictures that it drew, which come back inside its text as Markdown.
///
/// They are shown to it as the user's, since Gemini 3 refuses pictures of its own whose signatures are lost.
pub fn without_pictures(text: &str) -> (Vec<Part<'_>>, Vec<Part<'_>>) {
    let (mut said, mut drawn) = (Vec::new(), Vec::new());
    for piece in split(text) {
        match piece {
            Piece::Text(text) if text.trim().is_empty() => {}
            Piece::Text(text) => said.push(Part::text(text)),
            Piece::Picture { mime_type, data } => drawn.push(Part::inline(mime_type, data)),
        }
    }
    (said, drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_found_where_it_was_written() {
        let text = format!("a {} b", image("image/png", "AA=="));

        let pieces = split(&text);

        assert_eq!(
            pieces,
            [Piece::Text("a "), Piece::Picture { mime_type: "image/png", data: "AA==" }, Piece::Text(" b")]
        );
    }

    #[test]
    fn what_only_looks_like_a_picture_stays_text() {
        for text in [
            "",
            "![a](https://x/y.png)",
            "](data:image/png;base64,AA==)",
            "![a](data:image/png;base64,A",
            "![a](data:image/png;x)",
        ] {
            let texts: Vec<_> =
                split(text).into_iter().filter(|piece| matches!(piece, Piece::Text(_))).collect();
            assert_eq!(texts.len(), usize::from(!text.is_empty()), "{text}");
        }
    }

    #[test]
    fn several_pictures_are_all_found() {
        let text = format!("![x](data:image/oops) {0}{0}", image("image/jpeg", "/9j/"));

        let pictures = split(&text).into_iter().filter(|piece| matches!(piece, Piece::Picture { .. }));

        assert_eq!(pictures.count(), 2);
    }
}
