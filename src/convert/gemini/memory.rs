//! Remembers thought signatures for clients that drop them: most know nothing of them, and Gemini 3 wants them back.
//!
//! What belongs to one client is never found for another. Bounded in size and age; what is forgotten has a placeholder.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

/// How long a conversation may pause.
const KEPT_FOR: Duration = Duration::from_secs(12 * 60 * 60);
/// A signature has 100 bytes to some kB.
const LARGEST: usize = 64 * 1024;

/// The call that a signature belongs to.
#[derive(Debug, Clone, Copy)]
pub struct CallKey<'a> {
    /// Names the client.
    pub owner: &'a str,
    /// Gemini's name; another model takes the signature for a broken one.
    pub model: &'a str,
    /// Gemini's name of the function.
    pub function: &'a str,
    /// As the client knows it.
    pub id: &'a str,
}

#[derive(Debug)]
struct Kept {
    signature: Box<str>,
    since: Instant,
}

/// Signatures by the call that they belong to, the oldest forgotten first.
#[derive(Debug)]
pub struct SignatureMemory {
    kept: HashMap<Box<str>, Kept>,
    /// Keys with the time of their entry; one that was written again stands here twice.
    order: VecDeque<(Box<str>, Instant)>,
    bytes: usize,
    max_bytes: usize,
}

impl SignatureMemory {
    /// Holds keys and signatures of `max_bytes` together.
    pub fn new(max_bytes: usize) -> Self {
        Self { kept: HashMap::new(), order: VecDeque::new(), bytes: 0, max_bytes }
    }

    pub fn remember(&mut self, call: CallKey<'_>, signature: &str, now: Instant) {
        if call.id.is_empty() || signature.is_empty() || signature.len() > LARGEST {
            return;
        }
        let key = key(call);
        self.forget(&key);
        self.bytes += size(&key, signature);
        self.kept.insert(key.clone(), Kept { signature: signature.into(), since: now });
        self.order.push_back((key, now));
        self.make_room(now);
    }

    pub fn recall(&self, call: CallKey<'_>, now: Instant) -> Option<&str> {
        let kept = self.kept.get(&key(call))?;
        (now - kept.since < KEPT_FOR).then_some(&*kept.signature)
    }

    fn make_room(&mut self, now: Instant) {
        while let Some((key, since)) = self.order.front() {
            let is_current = self.kept.get(key).is_some_and(|kept| kept.since == *since);
            if is_current && self.bytes <= self.max_bytes && now - *since < KEPT_FOR {
                return;
            }
            if let Some((key, _)) = self.order.pop_front()
                && is_current
            {
                self.forget(&key);
            }
        }
    }

    fn forget(&mut self, key: &str) {
        if let Some(kept) = self.kept.remove(key) {
            self.bytes -= size(key, &kept.signature);
        }
    }
}

fn size(key: &str, signature: &str) -> usize {
    // The key is held twice.
    2 * key.len() + signature.len()
}

/// Nothing that a client can choose stands in front of the owner.
fn key(CallKey { owner, model, function, id }: CallKey<'_>) -> Box<str> {
    format!("{owner}\0{model}\0{function}\0{id}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str) -> CallKey<'_> {
        CallKey { owner: "allowed-1", model: "gemini-3.8-flash", function: "f", id }
    }

    #[test]
    fn a_signature_is_found_by_its_own_client_model_function_and_id_only() {
        let (mut memory, now) = (SignatureMemory::new(1000), Instant::now());
        memory.remember(call("a"), "c2ln", now);

        assert_eq!(memory.recall(call("a"), now), Some("c2ln"));
        for other in [
            CallKey { owner: "allowed-2", ..call("a") },
            CallKey { model: "gemini-3.1-pro", ..call("a") },
            CallKey { function: "g", ..call("a") },
            call("b"),
        ] {
            assert_eq!(memory.recall(other, now), None, "{other:?}");
        }
    }

    #[test]
    fn the_oldest_make_room_for_the_newest() {
        let (mut memory, now) = (SignatureMemory::new(400), Instant::now());
        for id in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            memory.remember(call(id), "0123456789", now);
            assert!(memory.bytes <= 400);
        }

        assert_eq!(memory.recall(call("a"), now), None);
        assert_eq!(memory.recall(call("h"), now), Some("0123456789"));
    }

    #[test]
    fn a_signature_that_came_again_counts_once_and_lives_on() {
        let (mut memory, now) = (SignatureMemory::new(1000), Instant::now());
        memory.remember(call("a"), "first", now);
        memory.remember(call("a"), "second", now + KEPT_FOR / 2);
        memory.remember(call("b"), "other", now + KEPT_FOR);

        assert_eq!(memory.recall(call("a"), now + KEPT_FOR), Some("second"));
        assert_eq!(memory.recall(call("a"), now + KEPT_FOR * 2), None, "too old");
        memory.remember(call("c"), "x", now + KEPT_FOR * 3);
        assert_eq!((memory.kept.len(), memory.order.len()), (1, 1));
    }

    #[test]
    fn what_has_no_id_or_is_huge_is_not_remembered() {
        let (mut memory, now) = (SignatureMemory::new(1_000_000), Instant::now());

        memory.remember(call(""), "c2ln", now);
        memory.remember(call("a"), &"x".repeat(LARGEST + 1), now);

        assert_eq!(memory.bytes, 0);
    }
}
