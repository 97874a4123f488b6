//! Sends answers: framing, pauses, and everything that can happen to a connection on the way.

use std::{future, io, time::Duration};

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use bytes::Bytes;
use futures_util::{Stream, stream};
use serde_json::Value;
use tokio::{task::yield_now, time::sleep};

use super::{
    attempt::Attempt,
    errors::{FRONT_END_PAGE, GoogleError, Refusal},
    plan::Fault,
};

/// How the events of a stream are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `alt=sse`: `data: …` and CR LF CR LF; nothing marks the end.
    Sse,
    /// Without `alt`: one JSON array whose elements come one by one.
    Array,
    /// The OpenAI layer: `data: …`, LF LF, and `[DONE]` at the end.
    OpenAi,
}

/// What comes after the last frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Proper,
    /// The connection breaks.
    Break,
    /// Nothing, until the peer gives up.
    Silence,
}

/// The frames of an answer and how it ends.
#[derive(Debug, PartialEq, Eq)]
struct Script {
    frames: Vec<Bytes>,
    ending: Ending,
}

impl Framing {
    fn content_type(self) -> &'static str {
        match self {
            Self::Sse | Self::OpenAi => "text/event-stream",
            Self::Array => JSON,
        }
    }

    /// The event at this place of its stream.
    fn frame(self, at: usize, event: &str) -> Bytes {
        match self {
            Self::Sse => format!("data: {event}\r\n\r\n"),
            Self::OpenAi => format!("data: {event}\n\n"),
            Self::Array if at == 0 => format!("[{event}\n"),
            Self::Array => format!(",\r\n{event}\n"),
        }
        .into()
    }

    fn end(self) -> Option<Bytes> {
        match self {
            Self::Sse => None,
            Self::Array => Some(Bytes::from_static(b"]")),
            Self::OpenAi => Some(Bytes::from_static(b"data: [DONE]\n\n")),
        }
    }
}

const JSON: &str = "application/json; charset=UTF-8";

/// The error that arrives in the middle of a stream.
fn late_error() -> Value {
    Refusal::Cancelled.error("").to_json()
}

/// What is sent of a stream that meets `fault`. A cut comes before the last event, so that it always hurts.
fn script(framing: Framing, events: &[String], fault: Option<Fault>) -> Script {
    let mut frames: Vec<_> = events.iter().enumerate().map(|(at, event)| framing.frame(at, event)).collect();
    let keep_some = |frames: &mut Vec<Bytes>, after: usize| {
        frames.truncate(after.min(events.len().saturating_sub(1)));
    };
    let mut ending = Ending::Proper;
    match fault {
        Some(Fault::Cut(after)) => {
            keep_some(&mut frames, after);
            ending = Ending::Break;
        }
        Some(Fault::Stall(after)) => {
            keep_some(&mut frames, after);
            ending = Ending::Silence;
        }
        Some(Fault::Truncate(after)) => keep_some(&mut frames, after),
        Some(Fault::BareError(after)) => {
            keep_some(&mut frames, after);
            frames.push(format!("{:#}\n", late_error()).into());
        }
        Some(Fault::EventError(after)) => {
            keep_some(&mut frames, after);
            frames.push(framing.frame(frames.len(), &late_error().to_string()));
            frames.extend(framing.end());
        }
        Some(Fault::Refuse(_) | Fault::Empty | Fault::Blocked | Fault::Hang) | None => {
            frames.extend(framing.end());
        }
    }
    Script { frames, ending }
}

/// A stream of events, `gap_ms` apart.
pub fn events(
    framing: Framing,
    events: &[String],
    fault: Option<Fault>,
    gap_ms: u64,
    mut attempt: Attempt,
) -> HttpResponse {
    attempt.open_stream();
    let script = script(framing, events, fault);
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, framing.content_type()));
    if framing == Framing::Sse {
        response.insert_header((header::CONTENT_DISPOSITION, "attachment"));
    }
    response.streaming(body(script, Duration::from_millis(gap_ms), attempt))
}

/// A whole answer; a fault of the connection strikes in its middle.
pub fn whole(json: String, fault: Option<Fault>, mut attempt: Attempt) -> HttpResponse {
    let ending = match fault {
        Some(Fault::Cut(_)) => Ending::Break,
        Some(Fault::Stall(_)) => Ending::Silence,
        Some(Fault::Truncate(_)) => Ending::Proper,
        _ => {
            attempt.end(200);
            return HttpResponse::Ok()
                .insert_header((header::CONTENT_TYPE, JSON))
                .insert_header(("x-gemini-service-tier", "standard"))
                .body(json);
        }
    };
    let json = Bytes::from(json);
    let frames = if fault == Some(Fault::Cut(0)) { Vec::new() } else { vec![json.slice(..json.len() / 2)] };
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, JSON)).streaming(body(
        Script { frames, ending },
        Duration::ZERO,
        attempt,
    ))
}

/// An error, in an array where the call would have answered with one.
pub fn error(error: &GoogleError, in_array: bool) -> HttpResponse {
    let status = StatusCode::from_u16(error.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if error.is_html() {
        return response
            .insert_header((header::CONTENT_TYPE, "text/html; charset=UTF-8"))
            .body(FRONT_END_PAGE);
    }
    let json = if in_array { Value::Array(vec![error.to_json()]) } else { error.to_json() };
    response.insert_header((header::CONTENT_TYPE, JSON)).body(format!("{json:#}\n"))
}

/// Each frame leaves in a write of its own: between two the stream is pending, and the server flushes.
fn body(script: Script, gap: Duration, attempt: Attempt) -> impl Stream<Item = io::Result<Bytes>> {
    let Script { frames, ending } = script;
    stream::unfold((frames.into_iter(), attempt), move |(mut frames, mut attempt)| async move {
        match (attempt.events_sent, frames.len()) {
            // Nothing is flushed yet: a break now takes the head with it.
            (0, 0) => {}
            (0, _) | (_, 0) => yield_now().await,
            _ if gap.is_zero() => yield_now().await,
            _ => sleep(gap).await,
        }
        let Some(frame) = frames.next() else {
            return match ending {
                Ending::Proper => {
                    attempt.end(200);
                    None
                }
                Ending::Break if attempt.has_ended() => None,
                Ending::Break => {
                    attempt.end(200);
                    Some((Err(io::ErrorKind::ConnectionAborted.into()), (frames, attempt)))
                }
                Ending::Silence => future::pending().await,
            };
        };
        attempt.events_sent += 1;
        Some((Ok(frame), (frames, attempt)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(framing: Framing, fault: Option<Fault>) -> (String, Ending) {
        let events: Vec<String> = ["1", "2", "3"].map(String::from).into();
        let Script { frames, ending } = script(framing, &events, fault);
        (String::from_utf8(frames.concat()).unwrap(), ending)
    }

    #[test]
    fn each_framing_has_its_separators_and_its_end() {
        assert_eq!(text(Framing::Sse, None).0, "data: 1\r\n\r\ndata: 2\r\n\r\ndata: 3\r\n\r\n");
        assert_eq!(text(Framing::Array, None).0, "[1\n,\r\n2\n,\r\n3\n]");
        assert_eq!(text(Framing::OpenAi, None).0, "data: 1\n\ndata: 2\n\ndata: 3\n\ndata: [DONE]\n\n");
    }

    #[test]
    fn a_cut_comes_before_the_end_however_late_it_is_wished_for() {
        assert_eq!(text(Framing::Sse, Some(Fault::Cut(1))), ("data: 1\r\n\r\n".into(), Ending::Break));
        let late = text(Framing::Sse, Some(Fault::Cut(99)));
        assert_eq!(late, ("data: 1\r\n\r\ndata: 2\r\n\r\n".into(), Ending::Break));
    }

    #[test]
    fn a_bare_error_is_no_event() {
        let (text, ending) = text(Framing::Sse, Some(Fault::BareError(1)));

        assert!(text.starts_with("data: 1\r\n\r\n{\n  \"error\""), "{text}");
        assert_eq!(ending, Ending::Proper);
    }

    #[test]
    fn an_error_event_in_an_array_keeps_the_array_whole() {
        for after in [0, 1] {
            let (text, _) = text(Framing::Array, Some(Fault::EventError(after)));
            let array: Vec<Value> = serde_json::from_str(&text).unwrap();
            assert_eq!(array[after]["error"]["code"], 499);
        }
    }
}
