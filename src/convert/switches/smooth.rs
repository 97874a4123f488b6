//! The stream optimizer: long pieces of text leave little by little, so that they look as if they were typed.
//!
//! Only an event that is nothing but text is divided; all that it says beside its text, such as how the answer ended, leaves
//! once, with the last piece. Nothing is ever later than a set bound.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;
use unicode_segmentation::UnicodeSegmentation as _;

/// How a text is divided, and how fast its pieces leave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Smoothing {
    /// Between the pieces of a long text.
    pub min_delay: Duration,
    /// Between the pieces of a short text.
    pub max_delay: Duration,
    /// Characters up to which a text is short.
    pub short: usize,
    /// Characters from which it is long.
    pub long: usize,
    /// Characters of each piece of a long text; others leave one by one.
    pub chunk: usize,
    /// Nothing leaves later than this after it came.
    pub max_lag: Duration,
}

impl Smoothing {
    /// The pause between the pieces of a text of so many characters: the longer the text, the shorter.
    fn delay(&self, length: usize) -> Duration {
        if length <= self.short || self.long <= self.short {
            return self.max_delay;
        }
        if length >= self.long {
            return self.min_delay;
        }
        let share = (length as f64 / self.short.max(1) as f64).ln()
            / (self.long as f64 / self.short.max(1) as f64).ln();
        let span = self.max_delay.saturating_sub(self.min_delay);
        self.max_delay - span.mul_f64(share.clamp(0.0, 1.0))
    }

    /// The event as several, and the pause between them.
    fn divide(&self, data: Bytes) -> (Vec<Bytes>, Duration) {
        let Some((mut event, text)) = only_text(&data) else { return (vec![data], Duration::ZERO) };
        let graphemes: Vec<&str> = text.graphemes(true).collect();
        let size = if graphemes.len() >= self.long { self.chunk.max(1) } else { 1 };
        let delay = self.delay(graphemes.len());
        // What cannot leave in time leaves together, at the end.
        let most = if delay.is_zero() {
            usize::MAX
        } else {
            (self.max_lag.as_micros() / delay.as_micros().max(1)) as usize + 1
        };
        let pieces: Vec<String> = graphemes.chunks(size).map(<[&str]>::concat).collect();
        let kept = pieces.len().min(most).saturating_sub(1);
        let (early, last) = pieces.split_at(kept);
        if early.is_empty() {
            return (vec![data], Duration::ZERO);
        }
        let mut events: Vec<Bytes> = early.iter().map(|text| small(&event, text)).collect();
        event["candidates"][0]["content"]["parts"][0]["text"] = last.concat().into();
        events.push(event.to_string().into());
        (events, delay)
    }
}

/// A piece of the event that says no more than whose text it is.
fn small(event: &Value, text: &str) -> Bytes {
    let whole = &event["candidates"][0];
    let mut part = json!({ "text": text });
    if whole["content"]["parts"][0]["thought"] == true {
        part["thought"] = true.into();
    }
    // Of several candidates each has its number; of one it may be missing.
    let index = whole.get("index").cloned().unwrap_or_else(|| 0.into());
    let mut small = json!({"candidates": [{"content": {"role": "model", "parts": [part]}, "index": index}]});
    for name in ["modelVersion", "responseId"] {
        if let Some(value) = event.get(name) {
            small[name] = value.clone();
        }
    }
    small.to_string().into()
}

/// An event of one candidate with one part, which is a text, and that text.
fn only_text(data: &[u8]) -> Option<(Value, String)> {
    let event: Value = serde_json::from_slice(data).ok()?;
    let [candidate] = event["candidates"].as_array()?.as_slice() else { return None };
    let [part] = candidate["content"]["parts"].as_array()?.as_slice() else { return None };
    let text = part["text"].as_str().filter(|text| !text.is_empty())?.to_owned();
    Some((event, text))
}

/// What waits to leave, of all sources of one answer, in order.
#[derive(Debug)]
pub struct Smoother {
    smoothing: Smoothing,
    queue: VecDeque<Waiting>,
    last_due: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    due: Instant,
    source: usize,
    /// `None` is the end of that source.
    data: Option<Bytes>,
}

impl Smoother {
    pub fn new(smoothing: Smoothing) -> Self {
        Self { smoothing, queue: VecDeque::new(), last_due: None }
    }

    pub fn push(&mut self, source: usize, data: Bytes, now: Instant) {
        let (events, delay) = self.smoothing.divide(data);
        let latest = now + self.smoothing.max_lag;
        // The first piece follows what left before at the same pace.
        let mut due = self.last_due.map_or(now, |last| (last + delay).max(now)).min(latest);
        for data in events {
            self.queue.push_back(Waiting { due, source, data: Some(data) });
            self.last_due = Some(due);
            due = (due + delay).min(latest);
        }
    }

    /// The source has ended.
    pub fn end(&mut self, source: usize, now: Instant) {
        let due = self.last_due.map_or(now, |last| last.max(now));
        self.queue.push_back(Waiting { due, source, data: None });
    }

    /// What may leave now: a source with one event of it, or with its end.
    pub fn pop(&mut self, now: Instant) -> Option<(usize, Option<Bytes>)> {
        if self.queue.front()?.due > now {
            return None;
        }
        self.queue.pop_front().map(|waiting| (waiting.source, waiting.data))
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// When the next may leave.
    pub fn next_due(&self) -> Option<Instant> {
        self.queue.front().map(|waiting| waiting.due)
    }

    /// Everything may leave, as nothing more will come.
    pub fn hurry(&mut self, now: Instant) {
        self.queue.iter_mut().for_each(|waiting| waiting.due = now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMOOTHING: Smoothing = Smoothing {
        min_delay: Duration::from_millis(10),
        max_delay: Duration::from_millis(20),
        short: 10,
        long: 50,
        chunk: 5,
        max_lag: Duration::from_millis(200),
    };

    fn text_event(text: &str) -> Bytes {
        let candidate = json!({"content": {"parts": [{"text": text}]}, "finishReason": "STOP"});
        json!({"candidates": [candidate], "usageMetadata": {"totalTokenCount": 3}}).to_string().into()
    }

    /// Everything that leaves, with its time since the beginning.
    fn leave(smoother: &mut Smoother, start: Instant) -> Vec<(Duration, Value)> {
        let mut left = Vec::new();
        while let Some(due) = smoother.next_due() {
            let (_, data) = smoother.pop(due).unwrap();
            left.push((due - start, data.map_or(Value::Null, |data| serde_json::from_slice(&data).unwrap())));
        }
        left
    }

    fn text(event: &Value) -> &str {
        event["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap_or_default()
    }

    #[test]
    fn a_short_text_leaves_by_characters_and_says_the_rest_once() {
        let (mut smoother, start) = (Smoother::new(SMOOTHING), Instant::now());
        smoother.push(0, text_event("héy"), start);
        smoother.end(0, start);

        let left = leave(&mut smoother, start);

        assert_eq!(left.iter().map(|(_, event)| text(event)).collect::<Vec<_>>(), ["h", "é", "y", ""]);
        assert_eq!(left.iter().map(|(at, _)| at.as_millis()).collect::<Vec<_>>(), [0, 20, 40, 40]);
        let says_end = |(_, event): &&(Duration, Value)| event["candidates"][0].get("finishReason").is_some();
        assert_eq!(left.iter().filter(says_end).count(), 1);
        assert_eq!(left[2].1["usageMetadata"]["totalTokenCount"], 3);
    }

    #[test]
    fn every_piece_says_of_which_candidate_and_answer_it_is() {
        let candidate = json!({"content": {"parts": [{"text": "hey", "thought": true}]}, "index": 1});
        let event = json!({"candidates": [candidate], "responseId": "r", "modelVersion": "m"});
        let (mut smoother, start) = (Smoother::new(SMOOTHING), Instant::now());
        smoother.push(0, event.to_string().into(), start);

        let left = leave(&mut smoother, start);

        assert_eq!(left.len(), 3);
        for (_, piece) in left {
            let candidate = &piece["candidates"][0];
            assert_eq!(
                (&candidate["index"], &piece["responseId"], &piece["modelVersion"]),
                (&json!(1), &json!("r"), &json!("m"))
            );
            assert_eq!(candidate["content"]["parts"][0]["thought"], true);
        }
    }

    #[test]
    fn a_text_of_any_length_is_in_time_and_whole() {
        let (mut smoother, start) = (Smoother::new(SMOOTHING), Instant::now());
        let long = "0123456789".repeat(500);
        smoother.push(0, text_event(&long), start);
        smoother.push(0, text_event(&long), start);
        smoother.end(0, start);

        let left = leave(&mut smoother, start);

        assert!(left.iter().all(|(at, _)| *at <= SMOOTHING.max_lag));
        assert!(left.is_sorted_by_key(|(at, _)| *at));
        assert_eq!(left.iter().map(|(_, event)| text(event)).collect::<String>(), long.repeat(2));
        assert!(left.len() > 20);
    }

    #[test]
    fn what_is_more_than_text_is_not_divided() {
        let call = json!({"candidates": [{"content": {"parts": [{"text": "hello"}, {"functionCall": {"name": "f"}}]}}]});
        let (mut smoother, start) = (Smoother::new(SMOOTHING), Instant::now());
        for event in [call.to_string(), "{}".to_owned(), "[oops".to_owned()] {
            smoother.push(0, event.into(), start);
        }

        let mut left = 0;
        while smoother.pop(start).is_some() {
            left += 1;
        }

        assert_eq!(left, 3);
    }

    #[test]
    fn nothing_is_cut_inside_of_what_a_reader_sees_as_one() {
        let (mut smoother, start) = (Smoother::new(SMOOTHING), Instant::now());
        smoother.push(0, text_event("👩‍👩‍👧e\u{301}🇳🇴"), start);

        let left = leave(&mut smoother, start);

        assert_eq!(left.iter().map(|(_, event)| text(event)).collect::<Vec<_>>(), ["👩‍👩‍👧", "e\u{301}", "🇳🇴"]);
    }

    #[test]
    fn delays_fall_from_short_to_long() {
        let delays = [5, 10, 20, 30, 50, 500].map(|length| SMOOTHING.delay(length));

        assert!(delays.is_sorted_by(|earlier, later| earlier >= later), "{delays:?}");
        assert_eq!((delays[0], delays[5]), (SMOOTHING.max_delay, SMOOTHING.min_delay));
    }
}
