//! Cuts an upstream's stream into events, wherever the network happened to cut it into chunks.
//!
//! Reads server-sent events as the HTML standard describes them, and one thing more: Google reports an error in the
//! middle of a stream as bare, pretty-printed JSON without `data:`. Every byte is looked at once; an event that lies
//! within one chunk is handed out without copying.
//!
//! A stream that ends in the middle of an event gives what there was of it: whether that is of use is not for this
//! module to say.

use std::{collections::VecDeque, mem};

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

use super::{joined::Joined, json_scan::JsonScan};

/// Largest event that is put together. Images with their signatures make events of a few megabytes; more than this
/// can only be a fault or an attack on our memory.
pub const MAX_EVENT_BYTES: usize = 64 << 20;

/// What an upstream sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The `data:` lines of one event, joined by line feeds, and its `event:` name if it had one.
    Data { name: Option<Bytes>, data: Bytes },
    /// JSON that stood in the stream without `data:`; Google's errors come so.
    Bare(Bytes),
}

/// Why a stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    #[error("an event of the stream is longer than {MAX_EVENT_BYTES} bytes")]
    TooLong,
}

/// Turns chunks into events: [`push`](Self::push) each chunk, take [`next_event`](Self::next_event) until it is
/// `None`, and at the end of the stream [`finish`](Self::finish) until it is `None`.
#[derive(Debug, Default)]
pub struct EventSplitter {
    /// Chunks that are not read yet.
    chunks: VecDeque<Bytes>,
    /// The beginning of a line or of bare JSON whose end is still to come.
    held: Joined,
    /// The data lines of the event that is being read.
    data: Joined,
    name: Option<Bytes>,
    /// Inside bare JSON: how far its brackets have closed.
    bare: Option<JsonScan>,
    /// The last line ended with CR; if LF comes next it belongs to that end.
    after_cr: bool,
    /// The first line, where a byte order mark may stand, is behind us.
    begun: bool,
    failed: bool,
}

impl EventSplitter {
    /// Takes the next chunk of the stream. After an error it is dropped.
    pub fn push(&mut self, chunk: Bytes) {
        if !self.failed && !chunk.is_empty() {
            self.chunks.push_back(chunk);
        }
    }

    /// The next event that is complete; `None` when more chunks are needed, and always after an error.
    pub fn next_event(&mut self) -> Option<Result<Event, SseError>> {
        while let Some(chunk) = self.chunks.pop_front() {
            let (event, rest) = self.read(chunk);
            if !rest.is_empty() {
                self.chunks.push_front(rest);
            }
            if self.held.len() + self.data.len() > MAX_EVENT_BYTES {
                *self = Self { failed: true, ..Self::default() };
                return Some(Err(SseError::TooLong));
            }
            if event.is_some() {
                return event.map(Ok);
            }
        }
        None
    }

    /// What is left when the stream has ended, complete or not. To be called until it gives `None`.
    pub fn finish(&mut self) -> Option<Result<Event, SseError>> {
        if let Some(event) = self.next_event() {
            return Some(event);
        }
        let rest = self.held.take();
        if self.bare.take().is_some() {
            return rest.map(|json| Ok(Event::Bare(json)));
        }
        if let Some(line) = rest {
            self.field(line);
        }
        self.dispatch().map(Ok)
    }

    /// Reads from a chunk up to the end of a line, of bare JSON, or of the chunk; gives back what it did not read.
    fn read(&mut self, mut chunk: Bytes) -> (Option<Event>, Bytes) {
        if mem::take(&mut self.after_cr) && chunk[0] == b'\n' {
            chunk = chunk.slice(1..);
        }
        if self.bare.is_none()
            && self.held.is_empty()
            && chunk.first().is_some_and(|byte| b"{[".contains(byte))
        {
            self.begun = true;
            self.bare = Some(JsonScan::default());
            // An event that no blank line ended is complete all the same.
            if let Some(event) = self.dispatch() {
                return (Some(event), chunk);
            }
        }
        match &mut self.bare {
            Some(scan) => {
                let end = scan.find_end(&chunk);
                self.read_bare(chunk, end)
            }
            None => self.read_line(chunk),
        }
    }

    fn read_bare(&mut self, mut chunk: Bytes, end: Option<usize>) -> (Option<Event>, Bytes) {
        let rest = chunk.split_off(end.unwrap_or(chunk.len()));
        self.held.append(chunk, b"");
        if end.is_none() {
            return (None, rest);
        }
        self.bare = None;
        (self.held.take().map(Event::Bare), rest)
    }

    fn read_line(&mut self, mut chunk: Bytes) -> (Option<Event>, Bytes) {
        let Some(end) = memchr2(b'\n', b'\r', &chunk) else {
            self.held.append(chunk, b"");
            return (None, Bytes::new());
        };
        self.after_cr = chunk[end] == b'\r';
        let rest = chunk.split_off(end + 1);
        chunk.truncate(end);
        self.held.append(chunk, b"");
        let event = match self.held.take() {
            Some(line) => {
                self.field(line);
                None
            }
            None => self.dispatch(),
        };
        (event, rest)
    }

    /// Takes one line that is not blank. Comments, ids and retry times are of no use to us.
    fn field(&mut self, mut line: Bytes) {
        if !mem::replace(&mut self.begun, true) && line.starts_with(b"\xEF\xBB\xBF") {
            line = line.slice(3..);
        }
        if let Some(data) = value_of(&line, b"data") {
            self.data.append(data, b"\n");
        } else if let Some(name) = value_of(&line, b"event") {
            self.name = Some(name);
        }
    }

    /// Ends the event; one without data is none.
    fn dispatch(&mut self) -> Option<Event> {
        let name = self.name.take();
        self.data.take().map(|data| Event::Data { name, data })
    }
}

/// The value of a line `field: value`, without the one space that may follow the colon.
fn value_of(line: &Bytes, field: &[u8]) -> Option<Bytes> {
    let value = line.strip_prefix(field)?.strip_prefix(b":")?;
    let value = value.strip_prefix(b" ").unwrap_or(value);
    Some(line.slice(line.len() - value.len()..))
}

/// Frames JSON as one event for a client. Line breaks are left out: within JSON they can only be layout.
///
/// Ends with CR LF CR LF, as Google's events do.
pub fn data_event(json: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(json.len() + 10);
    event.extend_from_slice(b"data: ");
    for line in json.split(|byte| b"\r\n".contains(byte)) {
        event.extend_from_slice(line);
    }
    event.extend_from_slice(b"\r\n\r\n");
    event.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::upstream::fixtures;

    fn data(data: &'static str) -> Event {
        Event::Data { name: None, data: Bytes::from_static(data.as_bytes()) }
    }

    fn named(name: &'static str, data: &'static str) -> Event {
        Event::Data { name: Some(name.into()), data: data.into() }
    }

    fn bare(json: &'static str) -> Event {
        Event::Bare(json.into())
    }

    /// Every event of a stream that comes in these chunks.
    fn split<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
        let mut splitter = EventSplitter::default();
        let mut events = Vec::new();
        for chunk in chunks {
            splitter.push(Bytes::copy_from_slice(chunk));
            events.extend(std::iter::from_fn(|| splitter.next_event()));
        }
        events.extend(std::iter::from_fn(|| splitter.finish()));
        events.into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn every_kind_of_line_end_ends_a_line() {
        for end in ["\r\n", "\n", "\r"] {
            let stream = ["data: a", "", "data: b", "data: c", "", ""].join(end);

            assert_eq!(split([stream.as_bytes()]), [data("a"), data("b\nc")], "{end:?}");
        }
    }

    #[test]
    fn comments_ids_and_blank_lines_make_no_event_and_names_are_kept() {
        let stream =
            b": hi\n\n\nid: 7\nretry: 1\n\nevent: error\ndata:x\n\nevent: lonely\n\ndata: y\n\ndata:\n\n";

        assert_eq!(split([&stream[..]]), [named("error", "x"), data("y")]);
    }

    #[test]
    fn one_space_after_the_colon_is_layout_and_a_byte_order_mark_is_none_of_the_first_line() {
        assert_eq!(split(["\u{feff}data:  a\n\ndata:b\n\n".as_bytes()]), [data(" a"), data("b")]);
    }

    #[test]
    fn bare_json_is_an_event_as_soon_as_its_brackets_close() {
        let mut splitter = EventSplitter::default();
        splitter.push(Bytes::from_static(b"data: {}\r\n\r\n{\r\n  \"error\": {\"message\": \"}\"}\r\n}"));

        assert_eq!(splitter.next_event(), Some(Ok(data("{}"))));
        assert_eq!(splitter.next_event(), Some(Ok(bare("{\r\n  \"error\": {\"message\": \"}\"}\r\n}"))));
        assert_eq!(splitter.finish(), None);
    }

    #[test]
    fn events_go_on_after_bare_json_and_an_event_before_it_needs_no_blank_line() {
        let stream = b"data: 1\n[{\"error\":{}}]\ndata: 2\n\n";

        assert_eq!(split([&stream[..]]), [data("1"), bare("[{\"error\":{}}]"), data("2")]);
    }

    #[test]
    fn a_stream_that_breaks_off_gives_what_there_was() {
        assert_eq!(split([&b"data: {\"candi"[..]]), [data("{\"candi")]);
        assert_eq!(split([&b"data: 1\ndata: 2"[..]]), [data("1\n2")]);
        assert_eq!(split([&b"{\"error\": {"[..]]), [bare("{\"error\": {")]);
        assert_eq!(split([]), []);
    }

    #[test]
    fn an_event_within_one_chunk_is_not_copied() {
        let chunk = Bytes::from(b"data: {\"a\":1}\r\n\r\n".to_vec());
        let mut splitter = EventSplitter::default();
        splitter.push(chunk.clone());

        let Some(Ok(Event::Data { data, .. })) = splitter.next_event() else { panic!("no event") };
        assert_eq!(data.as_ptr(), chunk[6..].as_ptr());
    }

    #[test]
    fn a_line_of_many_megabytes_in_small_chunks_is_put_together() {
        let text = "x".repeat(16 << 20);
        let stream = format!("data: {text}\r\n\r\n");

        let events = split(stream.as_bytes().chunks(1000));

        assert_eq!(events, [Event::Data { name: None, data: text.into() }]);
    }

    #[test]
    fn an_endless_event_is_an_error_and_the_end() {
        let mut splitter = EventSplitter::default();
        let megabyte = Bytes::from(vec![b'x'; 1 << 20]);
        let mut failures = 0;
        for _ in 0..70 {
            splitter.push(megabyte.clone());
            failures += usize::from(splitter.next_event() == Some(Err(SseError::TooLong)));
        }

        assert_eq!((failures, splitter.finish()), (1, None));
    }

    #[test]
    fn json_over_several_lines_becomes_one_event_on_one_line() {
        let event = data_event(b"{\r\n  \"error\": {\n}}");

        assert_eq!(event, "data: {  \"error\": {}}\r\n\r\n");
        assert_eq!(split([&event[..]]), [data("{  \"error\": {}}")]);
    }

    #[test]
    fn recorded_streams_are_the_same_however_they_are_cut() {
        let Some(folder) = fixtures::folder("gemini/firebase") else { return };
        for name in ["googleai", "vertexai"] {
            for file in fixtures::files(&folder.join(name), "txt") {
                let stream = std::fs::read(&file).unwrap();
                let whole = split([&stream[..]]);

                assert!(!whole.is_empty(), "{}", file.display());
                for size in [1, 2, 3, 7, 64, 1000] {
                    assert_eq!(split(stream.chunks(size)), whole, "{} by {size}", file.display());
                }
            }
        }
    }

    #[test]
    fn a_recorded_error_in_mid_stream_is_found() {
        let Some(folder) = fixtures::folder("gemini/firebase/vertexai") else { return };
        let stream = std::fs::read(folder.join("streaming-failure-error-mid-stream.txt")).unwrap();

        let events = split([&stream[..]]);

        let kinds: Vec<_> = events.iter().map(|event| matches!(event, Event::Bare(_))).collect();
        assert_eq!(kinds, [false, false, true]);
    }

    /// Pieces that streams are made of, and some that they are not.
    fn stream() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "\n",
            "\r",
            "\r\n",
            "data: ",
            "data:",
            "data",
            "event: x",
            ": c",
            "{\"a\":1}",
            "{",
            "}",
            "[",
            "]",
            "\"",
            "\\",
            "text",
            "é",
            "\u{feff}",
            " ",
            ",",
        ]);
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn where_the_network_cuts_a_stream_changes_nothing(
            stream in stream(),
            sizes in prop::collection::vec(1usize..9, 1..20),
        ) {
            let mut rest = stream.as_bytes();
            let mut chunks = Vec::new();
            for size in sizes.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, tail) = rest.split_at(size.min(rest.len()));
                chunks.push(chunk);
                rest = tail;
            }

            prop_assert_eq!(split(chunks), split([stream.as_bytes()]));
        }

        #[test]
        fn what_is_framed_is_read_back(texts in prop::collection::vec("[ -~é]{1,30}", 0..10)) {
            let stream = texts.iter().map(|text| format!("data: {text}\n\n")).collect::<String>();
            let expected: Vec<_> =
                texts.into_iter().map(|text| Event::Data { name: None, data: text.into() }).collect();

            prop_assert_eq!(split([stream.as_bytes()]), expected);
        }
    }
}
