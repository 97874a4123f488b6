//! Wishes that a prompt can carry: `[[events=50 gap_ms=20]]` anywhere in the last turn's text.
//!
//! | wish | effect |
//! | --- | --- |
//! | `events=N` | the answer is `e1 e2 … eN`, one word in each event of a stream |
//! | `gap_ms=N` | pause between two events |
//! | `delay_ms=N` | pause before the first byte |
//! | `status=N` | the error of that status (403, 404, 429, 499, 500, 502, 503, 504) |
//! | `cut=N`, `stall=N`, `truncate=N` | after N events the connection breaks (`cut=0`: before any byte), falls silent, or ends without a finish reason |
//! | `bare_error=N`, `event_error=N` | after N events an error follows: bare JSON, or as an event |
//! | `empty`, `blocked`, `hang` | no content; a blocked prompt; no byte at all |
//! | `finish=NAME` | that finish reason, such as `SAFETY` or `MAX_TOKENS`; with `empty` a filtered answer |
//! | `thoughts` | thoughts, even when they were not asked for |
//! | `image` | a picture beside the text |
//!
//! An answer that broke off goes on when the last turn's second paragraph quotes its last words.

use super::{errors::Refusal, plan::Fault};

/// What a prompt wishes for; the default is nothing special.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    pub events: Option<usize>,
    pub gap_ms: Option<u64>,
    pub delay_ms: Option<u64>,
    pub fault: Option<Fault>,
    pub finish: Option<String>,
    pub wants_thoughts: bool,
    pub wants_image: bool,
}

/// Most events that a prompt may wish for.
const MAX_EVENTS: usize = 100_000;

impl Directives {
    /// Reads the wishes of `prompt` and returns what remains of it. Unknown wishes are ignored.
    pub fn parse(prompt: &str) -> (Self, String) {
        let mut directives = Self::default();
        let mut rest = prompt;
        let mut remaining = String::with_capacity(prompt.len());
        while let Some((before, after)) = rest.split_once("[[") {
            let Some((wishes, after)) = after.split_once("]]") else { break };
            remaining.push_str(before);
            wishes.split_whitespace().for_each(|wish| directives.read(wish));
            rest = after;
        }
        remaining.push_str(rest);
        (directives, remaining.trim().to_owned())
    }

    fn read(&mut self, wish: &str) {
        let (name, value) = wish.split_once('=').unwrap_or((wish, ""));
        let number = value.parse::<usize>().ok();
        let millis = value.parse::<u64>().ok();
        let after = number.unwrap_or(1);
        match name {
            "events" => self.events = number.map(|events| events.clamp(1, MAX_EVENTS)),
            "gap_ms" => self.gap_ms = millis,
            "delay_ms" => self.delay_ms = millis,
            "finish" => self.finish = Some(value.to_owned()),
            "thoughts" => self.wants_thoughts = true,
            "image" => self.wants_image = true,
            "empty" => self.fault = Some(Fault::Empty),
            "blocked" => self.fault = Some(Fault::Blocked),
            "hang" => self.fault = Some(Fault::Hang),
            "cut" => self.fault = Some(Fault::Cut(after)),
            "stall" => self.fault = Some(Fault::Stall(after)),
            "truncate" => self.fault = Some(Fault::Truncate(after)),
            "bare_error" => self.fault = Some(Fault::BareError(after)),
            "event_error" => self.fault = Some(Fault::EventError(after)),
            "status" => {
                self.fault = value.parse().ok().and_then(Refusal::from_status).map(Fault::Refuse);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read_and_taken_out_of_the_prompt() {
        let (directives, prompt) = Directives::parse("Count [[events=50 gap_ms=20]] slowly");

        assert_eq!(directives.events, Some(50));
        assert_eq!(directives.gap_ms, Some(20));
        assert_eq!(prompt, "Count  slowly");
    }

    #[test]
    fn a_status_becomes_its_refusal() {
        let (directives, _) = Directives::parse("[[status=503]]");

        assert_eq!(directives.fault, Some(Fault::Refuse(Refusal::Overloaded)));
    }

    #[test]
    fn other_double_brackets_are_left_alone_or_ignored() {
        assert_eq!(Directives::parse("a [[b").1, "a [[b");
        assert_eq!(Directives::parse("a [[unknown=1]]").0, Directives::default());
    }
}
