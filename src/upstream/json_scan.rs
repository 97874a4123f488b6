//! Finds the end of a JSON object or list in pieces of text, by counting brackets outside of strings.

/// How far into a value the text read so far has come. It begins at the opening bracket.
///
/// It does not check the JSON: brackets of different kinds are counted alike.
#[derive(Debug, Default)]
pub(super) struct JsonScan {
    depth: usize,
    in_string: bool,
    /// The last byte was a backslash inside a string.
    escaped: bool,
}

impl JsonScan {
    /// The position after the value's last bracket; `None` when it does not end in this piece.
    pub fn find_end(&mut self, piece: &[u8]) -> Option<usize> {
        piece.iter().position(|byte| self.closes(*byte)).map(|last| last + 1)
    }

    /// Takes one byte; true when it is the bracket that ends the value.
    fn closes(&mut self, byte: u8) -> bool {
        if self.escaped {
            self.escaped = false;
        } else if self.in_string {
            self.escaped = byte == b'\\';
            self.in_string = byte != b'"';
        } else {
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    return self.depth == 0;
                }
                _ => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_behind_nested_brackets_and_brackets_in_strings() {
        for (json, rest) in [
            (r#"{"a":[{}]}"#, ""),
            (r#"[{"error":{"message":"}]\"]"}}]"#, "\r\ndata: {}"),
            (r#"{"a":"\\"}"#, "}"),
        ] {
            let text = format!("{json}{rest}");

            assert_eq!(JsonScan::default().find_end(text.as_bytes()), Some(json.len()), "{text}");
        }
    }

    #[test]
    fn a_value_may_come_in_pieces_of_any_size() {
        let json = br#"{"a":"\"}","b":[1,{"c":"]"}]}"#;
        let mut scan = JsonScan::default();

        let ends: Vec<_> = json.chunks(1).map(|piece| scan.find_end(piece)).collect();

        assert_eq!(ends.iter().position(Option::is_some), Some(json.len() - 1));
    }
}
