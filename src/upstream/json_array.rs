//! Writes a stream of answers as Google does without `alt=sse`: one JSON array, sent element by element.
//!
//! `[{…}`, then `,\r\n{…}` for each further answer, then `]`. An error is one more element, `{"error":{…}}`.
//! Source: recordings of `streamGenerateContent` without `alt=sse`.

use bytes::Bytes;

/// What to send before each element and after the last one; the elements themselves are sent as they are.
#[derive(Debug, Default)]
pub struct JsonArrayWriter {
    begun: bool,
}

impl JsonArrayWriter {
    /// Goes before an element: the opening bracket or a comma.
    pub fn separator(&mut self) -> Bytes {
        let first = !std::mem::replace(&mut self.begun, true);
        Bytes::from_static(if first { b"[" } else { b",\r\n" })
    }

    /// Goes after the last element, also when there was none.
    pub fn end(self) -> Bytes {
        Bytes::from_static(if self.begun { b"]" } else { b"[]" })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn write(elements: &[&'static str]) -> Vec<u8> {
        let mut writer = JsonArrayWriter::default();
        let mut all = Vec::new();
        for element in elements {
            all.extend_from_slice(&writer.separator());
            all.extend_from_slice(element.as_bytes());
        }
        all.extend_from_slice(&writer.end());
        all
    }

    #[test]
    fn events_and_a_closing_error_become_one_array() {
        let written = write(&[r#"{"candidates":[]}"#, r#"{"error":{"code":503}}"#]);

        assert_eq!(written, b"[{\"candidates\":[]},\r\n{\"error\":{\"code\":503}}]");
        let read: Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(read, json!([{"candidates": []}, {"error": {"code": 503}}]));
    }

    #[test]
    fn a_stream_without_events_is_an_empty_array() {
        assert_eq!(write(&[]), b"[]");
    }
}
