//! What the upstream is told to answer to a key: one reply after the other, the last one for ever.

use std::{sync::Mutex, time::Duration};

use bytes::Bytes;
use serde_json::Value;

use super::{
    bodies::{fixture, generated, last_event, quota_error, usual_error},
    event,
    upstream::World,
};

pub const JSON: &str = "application/json; charset=UTF-8";
const EVENTS: &str = "text/event-stream";

/// One answer, from its head to its end.
#[derive(Debug, Clone)]
pub struct Reply {
    pub head: Head,
    pub status: u16,
    pub content_type: String,
    /// Further ones.
    pub headers: Vec<(String, String)>,
    pub steps: Vec<Step>,
}

impl Reply {
    /// At once and in one piece.
    pub fn whole(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            head: Head::After(Duration::ZERO),
            status,
            content_type: content_type.to_owned(),
            headers: Vec::new(),
            steps: vec![Step::Send(body.into())],
        }
    }

    /// A stream of events, up to a place where the connection breaks.
    pub fn cut_off(events: impl Into<Bytes>) -> Self {
        let steps = vec![Step::Send(events.into()), Step::Cut];
        Self { steps, ..Self::stream("") }
    }

    /// At once, as JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::whole(status, JSON, body.to_string())
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The head comes so much later.
    pub fn after(self, span: Duration) -> Self {
        Self { head: Head::After(span), ..self }
    }

    /// A whole stream of events.
    pub fn stream(events: impl Into<Bytes>) -> Self {
        Self::whole(200, EVENTS, events)
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Head {
    After(Duration),
    Never,
}

#[derive(Debug, Clone)]
pub enum Step {
    Send(Bytes),
    Silence(Duration),
    /// The connection breaks.
    Cut,
    /// Nothing more, until the gateway gives up.
    Hang,
}

/// What stands in a script.
#[derive(Debug, Clone)]
pub enum Planned {
    /// What a healthy Google would say to that request.
    Usual,
    Reply(Reply),
}

/// Writes the script of one key: a reply, its steps and its pace, then the next reply.
pub struct Script<'a> {
    world: &'a Mutex<World>,
    key: String,
}

impl<'a> Script<'a> {
    /// Begins anew, whatever the key was told before.
    pub(super) fn begin(world: &'a Mutex<World>, key: &str) -> Self {
        world.lock().expect("nobody panics with it").scripts.insert(key.to_owned(), Default::default());
        Self { world, key: key.to_owned() }
    }

    /// A refusal with the body that Google is likeliest to write.
    pub fn reply(self, status: u16) -> Self {
        self.reply_json(status, &usual_error(status))
    }

    pub fn reply_json(self, status: u16, body: &Value) -> Self {
        self.reply_body(status, JSON, body.to_string())
    }

    /// 200 and a file of `tests/fixtures`; a file of an error has the status that stands in it.
    pub fn reply_with(self, name: &str) -> Self {
        let body = fixture(name);
        let read = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        let status = read["error"]["code"].as_u64().map_or(200, |code| code as u16);
        self.reply_body(status, JSON, body)
    }

    pub fn reply_body(self, status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.push(Planned::Reply(Reply::whole(status, content_type, body)))
    }

    pub fn says(self, text: &str) -> Self {
        self.reply_json(200, &generated(text))
    }

    pub fn answers_as_usual(self) -> Self {
        self.push(Planned::Usual)
    }

    /// No byte at all.
    pub fn never_answers(self) -> Self {
        self.stream().change(|reply| reply.head = Head::Never)
    }

    /// A stream of events, which the calls that follow fill.
    pub fn stream(self) -> Self {
        let steps = Vec::new();
        self.push(Planned::Reply(Reply {
            head: Head::After(Duration::ZERO),
            status: 200,
            content_type: EVENTS.to_owned(),
            headers: Vec::new(),
            steps,
        }))
    }

    pub fn event(self, event: &Value) -> Self {
        self.bytes(format!("data: {event}\r\n\r\n"))
    }

    pub fn text(self, text: &str) -> Self {
        self.event(&event(text))
    }

    /// The last event of a whole answer.
    pub fn finish(self, text: &str) -> Self {
        self.event(&last_event(text))
    }

    pub fn bytes(self, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Send(bytes.into()))
    }

    pub fn silence(self, span: Duration) -> Self {
        self.step(Step::Silence(span))
    }

    pub fn cut(self) -> Self {
        self.step(Step::Cut)
    }

    pub fn hang(self) -> Self {
        self.step(Step::Hang)
    }

    /// The head comes so much later.
    pub fn after(self, span: Duration) -> Self {
        self.change(|reply| reply.head = Head::After(span))
    }

    pub fn typed(self, content_type: &str) -> Self {
        self.change(|reply| reply.content_type = content_type.to_owned())
    }

    /// A spent minute that ends then.
    pub fn retry_after(self, wait: Duration) -> Self {
        let body = quota_error(Some(wait)).to_string();
        self.change(|reply| reply.steps = vec![Step::Send(body.into())])
    }

    fn push(self, planned: Planned) -> Self {
        let mut world = self.world.lock().expect("nobody panics with it");
        world.scripts.entry(self.key.clone()).or_default().push_back(planned);
        drop(world);
        self
    }

    fn step(self, step: Step) -> Self {
        self.change(|reply| reply.steps.push(step))
    }

    fn change(self, change: impl FnOnce(&mut Reply)) -> Self {
        let mut world = self.world.lock().expect("nobody panics with it");
        match world.scripts.get_mut(&self.key).and_then(|script| script.back_mut()) {
            Some(Planned::Reply(reply)) => change(reply),
            Some(Planned::Usual) | None => panic!("there is no reply to change"),
        }
        drop(world);
        self
    }
}
