//! What was sent within the last minute.
//!
//! How Google's minutes are aligned is not documented. A window that slides is right under any alignment: whichever
//! minute Google looks at, no more than the limit lies within it. Time is cut into ticks of half a second; a tick
//! counts until its last instant is a minute old, so at most one tick of 120 is lost.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

const TICKS_PER_SECOND: u64 = 2;
/// A tick counts for the minute and for its own length.
const LIFETIME: u32 = 60 * TICKS_PER_SECOND as u32 + 1;
/// The first tick of a clock, so that what was counted before it has a number too.
const FIRST_TICK: u32 = 1000;

/// Numbers the half seconds since the ledger began; good for 68 years.
#[derive(Debug, Clone, Copy)]
pub(in crate::balance) struct TickClock {
    base: Instant,
}

impl TickClock {
    pub(in crate::balance) fn new(base: Instant) -> Self {
        Self { base }
    }

    pub(in crate::balance) fn tick(self, now: Instant) -> u32 {
        let elapsed = now.saturating_duration_since(self.base);
        let ticks = elapsed.as_secs() * TICKS_PER_SECOND + u64::from(elapsed.subsec_millis() >= 500);
        FIRST_TICK.saturating_add(u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    /// When what was counted in that tick counts no more.
    pub(in crate::balance) fn expiry(self, tick: u32) -> Instant {
        let ticks = u64::from(tick) + u64::from(LIFETIME) - u64::from(FIRST_TICK);
        self.base + Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
    }

    /// The tick that many milliseconds before `now`, at most a minute back.
    pub(in crate::balance) fn tick_before(self, now: Instant, age_ms: u64) -> u32 {
        let ticks = u32::try_from(age_ms * TICKS_PER_SECOND / 1000).unwrap_or(LIFETIME);
        self.tick(now) - ticks.min(LIFETIME)
    }
}

/// The ticks of the last minute in which something was sent. An idle window holds no memory.
#[derive(Debug, Default)]
pub(in crate::balance) struct Minute {
    /// Oldest first.
    slots: VecDeque<Slot>,
    /// The tick of the last slot.
    newest: u32,
    requests: u64,
    tokens: u64,
}

/// Eight bytes, as a busy model has 121 of them.
#[derive(Debug, Clone, Copy)]
struct Slot {
    /// The low bits of its number: slots live a minute, and the bits are good for nine hours.
    tick: u16,
    requests: u16,
    tokens: u32,
}

impl Minute {
    /// Most slots while no tick takes more than one: all that can be alive.
    const MAX_SLOTS: usize = LIFETIME as usize;

    pub(in crate::balance) fn requests(&self) -> u64 {
        self.requests
    }

    pub(in crate::balance) fn tokens(&self) -> u64 {
        self.tokens
    }

    pub(in crate::balance) fn newest(&self) -> u32 {
        self.newest
    }

    /// Forgets what is older than a minute.
    pub(in crate::balance) fn advance(&mut self, now: u32) {
        while let Some(slot) = self.slots.front()
            && now.saturating_sub(self.tick_of(*slot)) >= LIFETIME
        {
            self.requests -= u64::from(slot.requests);
            self.tokens -= u64::from(slot.tokens);
            self.slots.pop_front();
        }
        if self.slots.is_empty() && self.slots.capacity() > 0 {
            self.slots = VecDeque::new();
        }
    }

    /// Counts requests, and says in which tick: the newest, even if a thread's reading of the clock is a little older.
    pub(in crate::balance) fn add(&mut self, now: u32, requests: u16, tokens: u32) -> u32 {
        let tick = if self.slots.is_empty() { now } else { now.max(self.newest) };
        self.requests += u64::from(requests);
        self.tokens += u64::from(tokens);
        if tick == self.newest
            && let Some(slot) = self.slots.back_mut()
            && let (Some(requests), Some(tokens)) =
                (slot.requests.checked_add(requests), slot.tokens.checked_add(tokens))
        {
            (slot.requests, slot.tokens) = (requests, tokens);
            return tick;
        }
        self.newest = tick;
        self.reserve_slot();
        self.slots.push_back(Slot { tick: tick as u16, requests, tokens });
        tick
    }

    /// Corrects what was counted in a tick; nothing happens once the tick is forgotten.
    pub(in crate::balance) fn settle(&mut self, tick: u32, reserved: u32, spent: u32) {
        let Some(slot) = self.find(tick) else { return };
        let before = slot.tokens;
        slot.tokens = before.saturating_sub(reserved).saturating_add(spent);
        let after = slot.tokens;
        self.tokens = self.tokens - u64::from(before) + u64::from(after);
    }

    /// Takes one request back that was never sent.
    pub(in crate::balance) fn refund(&mut self, tick: u32, tokens: u32) {
        let Some(slot) = self.find(tick) else { return };
        let (requests, tokens) = (slot.requests.min(1), slot.tokens.min(tokens));
        slot.requests -= requests;
        slot.tokens -= tokens;
        self.requests -= u64::from(requests);
        self.tokens -= u64::from(tokens);
    }

    /// Takes back what was counted in a tick that nobody knows, from the oldest on: so nothing is forgotten too early.
    pub(in crate::balance) fn take_back(&mut self, mut requests: u64, mut tokens: u64) {
        for slot in &mut self.slots {
            let fewer = slot.requests.min(u16::try_from(requests).unwrap_or(u16::MAX));
            let less = slot.tokens.min(u32::try_from(tokens).unwrap_or(u32::MAX));
            slot.requests -= fewer;
            slot.tokens -= less;
            self.requests -= u64::from(fewer);
            self.tokens -= u64::from(less);
            requests -= u64::from(fewer);
            tokens -= u64::from(less);
            if requests == 0 && tokens == 0 {
                break;
            }
        }
    }

    /// The last tick that has to be forgotten until no more than this is left; `None` when there is room now.
    pub(in crate::balance) fn blocking_tick(&self, requests: u64, tokens: u64) -> Option<u32> {
        let (mut left_requests, mut left_tokens) = (self.requests, self.tokens);
        let mut last = None;
        for slot in &self.slots {
            if left_requests <= requests && left_tokens <= tokens {
                break;
            }
            left_requests -= u64::from(slot.requests);
            left_tokens -= u64::from(slot.tokens);
            last = Some(self.tick_of(*slot));
        }
        last
    }

    fn find(&mut self, tick: u32) -> Option<&mut Slot> {
        let age = self.newest.checked_sub(tick).filter(|age| *age < LIFETIME)?;
        let newest = self.newest as u16;
        let at = self.slots.partition_point(|slot| u32::from(newest.wrapping_sub(slot.tick)) > age);
        self.slots.get_mut(at).filter(|slot| slot.tick == tick as u16)
    }

    fn tick_of(&self, slot: Slot) -> u32 {
        self.newest - u32::from((self.newest as u16).wrapping_sub(slot.tick))
    }

    /// Doubles as a queue does, but not beyond what can be alive.
    fn reserve_slot(&mut self) {
        let len = self.slots.len();
        if len == self.slots.capacity() {
            let wanted = (len * 2).clamp(4, Self::MAX_SLOTS.max(len + 1));
            self.slots.reserve_exact(wanted - len);
        }
    }

    #[cfg(test)]
    pub(in crate::balance) fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }
}
