//! Requests that wait for a key: bounded, and fair to every client.
//!
//! Each model has a queue of its own, in which clients take turns, so that one who sends a thousand requests at once
//! delays another's single one by one place and not by a thousand.

use std::collections::{BTreeSet, VecDeque};

use foldhash::{HashMap, HashMapExt};
use tokio::time::Instant;

use crate::domain::{client::TokenId, model::ModelName};

/// What became of a request that was offered a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// It is gone: it has its key, or nobody waits any more.
    Done,
    /// There is no key for this one now; the next one may be less particular.
    NotYet,
    /// There is none for this one now, and enough others of the same client have been asked.
    NextClient,
    /// There is no key for anybody.
    NothingLeft,
}

/// Where somebody waits, to leave from there.
#[derive(Debug, Clone)]
pub struct Place {
    id: u64,
    until: Instant,
    model: ModelName,
    client: TokenId,
}

/// Someone who waits; `W` is how to reach them.
#[derive(Debug)]
struct Waiter<W> {
    id: u64,
    until: Instant,
    whom: W,
}

/// The queue of one model.
#[derive(Debug)]
struct ModelQueue<W> {
    /// Clients with requests in `lines`, in the order of their turns.
    turns: VecDeque<TokenId>,
    lines: HashMap<TokenId, VecDeque<Waiter<W>>>,
}

/// Everyone who waits at one balancer.
#[derive(Debug)]
pub struct WaitingRoom<W> {
    seats: usize,
    taken: usize,
    next_id: u64,
    queues: HashMap<ModelName, ModelQueue<W>>,
    /// Seats of each client, and the clients by that, so that the greediest is known at once.
    seats_of: HashMap<TokenId, usize>,
    greediest: BTreeSet<(usize, TokenId)>,
    /// Who gives up when.
    deadlines: BTreeSet<(Instant, u64, ModelName, TokenId)>,
}

/// A room without seats.
impl<W> Default for WaitingRoom<W> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl<W> WaitingRoom<W> {
    /// For at most so many requests; with 0 nobody ever waits.
    pub fn new(seats: usize) -> Self {
        Self {
            seats,
            taken: 0,
            next_id: 0,
            queues: HashMap::new(),
            seats_of: HashMap::new(),
            greediest: BTreeSet::new(),
            deadlines: BTreeSet::new(),
        }
    }

    /// Those who sit already stay.
    pub fn set_seats(&mut self, seats: usize) {
        self.seats = seats;
    }

    pub fn len(&self) -> usize {
        self.taken
    }

    pub fn is_full(&self) -> bool {
        self.taken >= self.seats
    }

    pub fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// Does anybody wait for this model?
    pub fn is_awaited(&self, model: &ModelName) -> bool {
        self.queues.contains_key(model)
    }

    /// The models that somebody waits for.
    pub fn models(&self) -> Vec<ModelName> {
        self.queues.keys().cloned().collect()
    }

    /// When the first one gives up.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(until, ..)| *until)
    }

    /// Takes a seat until then. In a full room the client with the longest line has to give one up: the newcomer is
    /// sent away if that is its own client, else the last in that line. Returns the newcomer's place, and who was sent
    /// away.
    pub fn enter(
        &mut self,
        model: &ModelName,
        client: &TokenId,
        until: Instant,
        whom: W,
    ) -> (Option<Place>, Option<W>) {
        let mut sent_away = None;
        if self.taken >= self.seats {
            let Some((longest_model, longest)) = self.longest_line(client) else { return (None, Some(whom)) };
            sent_away = self.remove_last(&longest_model, &longest);
        }
        self.next_id += 1;
        let place = Place { id: self.next_id, until, model: model.clone(), client: client.clone() };
        self.deadlines.insert((until, place.id, model.clone(), client.clone()));
        let empty = || ModelQueue { turns: VecDeque::new(), lines: HashMap::new() };
        let queue = self.queues.entry(model.clone()).or_insert_with(empty);
        let line = queue.lines.entry(client.clone()).or_default();
        if line.is_empty() {
            queue.turns.push_back(client.clone());
        }
        line.push_back(Waiter { id: place.id, until, whom });
        self.count(client, 1);
        (Some(place), sent_away)
    }

    /// Gives a seat back for which nobody waits any longer.
    pub fn leave(&mut self, place: &Place) -> Option<W> {
        let Place { id, until, model, client } = place;
        if !self.deadlines.remove(&(*until, *id, model.clone(), client.clone())) {
            return None;
        }
        self.take(model, client, |line| position(line, *id)).map(|waiter| waiter.whom)
    }

    /// One seat more, or one less.
    fn count(&mut self, client: &TokenId, change: isize) {
        let before = self.seats_of.get(client).copied().unwrap_or(0);
        let after = before.saturating_add_signed(change);
        self.greediest.remove(&(before, client.clone()));
        if after == 0 {
            self.seats_of.remove(client);
        } else {
            self.greediest.insert((after, client.clone()));
            self.seats_of.insert(client.clone(), after);
        }
        self.taken = self.taken.saturating_add_signed(change);
    }

    /// Offers keys of the model, to one client after the other, until there is none left.
    pub fn serve(&mut self, model: &ModelName, mut offer: impl FnMut(&mut W) -> Served) {
        let Some(mut queue) = self.queues.remove(model) else { return };
        let mut particular = VecDeque::new();
        while let Some(client) = queue.turns.pop_front() {
            let line = queue.lines.get_mut(&client).expect("whoever has a turn has a line");
            match Self::serve_line(line, &mut offer) {
                (Served::Done, Some(gone)) => {
                    self.count(&client, -1);
                    self.deadlines.remove(&(gone.until, gone.id, model.clone(), client.clone()));
                    if line.is_empty() {
                        queue.lines.remove(&client);
                    } else {
                        queue.turns.push_back(client);
                    }
                }
                (Served::NothingLeft, _) => {
                    queue.turns.push_front(client);
                    break;
                }
                _ => particular.push_back(client),
            }
        }
        // They keep their places in front.
        for client in particular.into_iter().rev() {
            queue.turns.push_front(client);
        }
        if !queue.turns.is_empty() {
            self.queues.insert(model.clone(), queue);
        }
    }

    /// Offers a key to the first in a line who can use it.
    fn serve_line(
        line: &mut VecDeque<Waiter<W>>,
        offer: &mut impl FnMut(&mut W) -> Served,
    ) -> (Served, Option<Waiter<W>>) {
        for place in 0..line.len() {
            match offer(&mut line[place].whom) {
                Served::Done => return (Served::Done, line.remove(place)),
                Served::NothingLeft => return (Served::NothingLeft, None),
                Served::NextClient => break,
                Served::NotYet => {}
            }
        }
        (Served::NotYet, None)
    }

    /// Everyone whose time is up.
    pub fn give_up(&mut self, now: Instant) -> Vec<(ModelName, W)> {
        let mut gone = Vec::new();
        while self.deadlines.first().is_some_and(|(until, ..)| *until <= now) {
            let Some((_, id, model, client)) = self.deadlines.pop_first() else { break };
            if let Some(whom) = self.take(&model, &client, |line| position(line, id)) {
                gone.push((model, whom.whom));
            }
        }
        gone
    }

    /// Whose line is longest, if it is longer than the client's own by more than the seat in question.
    fn longest_line(&self, newcomer: &TokenId) -> Option<(ModelName, TokenId)> {
        let (length, longest) = self.greediest.last()?;
        if *length <= self.seats_of.get(newcomer).copied().unwrap_or(0) + 1 {
            return None;
        }
        let lines = self.queues.iter().filter_map(|(model, queue)| Some((model, queue.lines.get(longest)?)));
        lines.max_by_key(|(_, line)| line.len()).map(|(model, _)| (model.clone(), longest.clone()))
    }

    fn remove_last(&mut self, model: &ModelName, client: &TokenId) -> Option<W> {
        let waiter = self.take(model, client, |line| line.len().checked_sub(1))?;
        self.deadlines.remove(&(waiter.until, waiter.id, model.clone(), client.clone()));
        Some(waiter.whom)
    }

    fn take(
        &mut self,
        model: &ModelName,
        client: &TokenId,
        place: impl FnOnce(&VecDeque<Waiter<W>>) -> Option<usize>,
    ) -> Option<Waiter<W>> {
        let queue = self.queues.get_mut(model)?;
        let line = queue.lines.get_mut(client)?;
        let waiter = line.remove(place(line)?)?;
        if line.is_empty() {
            queue.lines.remove(client);
            queue.turns.retain(|turn| turn != client);
        }
        if queue.turns.is_empty() {
            self.queues.remove(model);
        }
        self.count(client, -1);
        Some(waiter)
    }
}

/// Where the waiter of that number stands; lines are in the order of their coming.
fn position<W>(line: &VecDeque<Waiter<W>>, id: u64) -> Option<usize> {
    line.binary_search_by_key(&id, |waiter| waiter.id).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn anna() -> TokenId {
        TokenId::new("anna")
    }

    fn bert() -> TokenId {
        TokenId::new("bert")
    }

    fn model(name: &str) -> ModelName {
        ModelName::parse(name).unwrap()
    }

    fn later(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    /// Serves so many requests and tells whom.
    fn served<W: Copy>(room: &mut WaitingRoom<W>, name: &str, keys: usize) -> Vec<W> {
        let mut served = Vec::new();
        room.serve(&model(name), |whom| {
            if served.len() == keys {
                return Served::NothingLeft;
            }
            served.push(*whom);
            Served::Done
        });
        served
    }

    #[test]
    fn clients_take_turns_however_many_requests_they_have() {
        let (mut room, until) = (WaitingRoom::new(100), later(10));
        for number in 0..5 {
            assert_eq!(room.enter(&model("pro"), &anna(), until, ("anna", number)).1, None);
        }
        room.enter(&model("pro"), &bert(), until, ("bert", 0));

        assert_eq!(served(&mut room, "pro", 2), [("anna", 0), ("bert", 0)]);
        assert_eq!(served(&mut room, "pro", 9).len(), 4);
        assert!(room.is_empty() && !room.is_awaited(&model("pro")));
        assert_eq!(room.next_deadline(), None);
    }

    #[test]
    fn whoever_cannot_use_a_key_keeps_its_place_and_lets_others_pass() {
        let (mut room, until) = (WaitingRoom::new(100), later(10));
        room.enter(&model("pro"), &anna(), until, "particular");
        room.enter(&model("pro"), &bert(), until, "easy");

        let mut happy = Vec::new();
        room.serve(&model("pro"), |whom| {
            if *whom == "particular" {
                return Served::NotYet;
            }
            happy.push(*whom);
            Served::Done
        });

        assert_eq!((happy, room.len()), (vec!["easy"], 1));
        assert_eq!(served(&mut room, "pro", 1), ["particular"]);
    }

    #[test]
    fn a_full_room_takes_its_seat_from_the_longest_line() {
        let (mut room, until) = (WaitingRoom::new(3), later(10));
        for number in 0..3 {
            room.enter(&model("pro"), &anna(), until, number);
        }

        let mut sent_away = |name, client: TokenId, whom| room.enter(&model(name), &client, until, whom).1;
        assert_eq!(sent_away("pro", anna(), 3), Some(3), "one's own line is no reason");
        assert_eq!(sent_away("flash", bert(), 10), Some(2), "the last of the longest line");
        assert_eq!(sent_away("flash", bert(), 11), Some(11), "two seats to one is fair");
        assert_eq!(room.len(), 3);
    }

    #[test]
    fn nobody_waits_in_a_room_without_seats() {
        let mut room = WaitingRoom::new(0);
        assert_eq!(room.enter(&model("pro"), &anna(), later(1), "anna").1, Some("anna"));
    }

    #[test]
    fn whoever_leaves_makes_room_for_the_next() {
        let (mut room, until) = (WaitingRoom::new(2), later(10));
        let (first, _) = room.enter(&model("pro"), &anna(), until, 1);
        room.enter(&model("pro"), &anna(), until, 2);
        let first = first.unwrap();

        assert_eq!((room.leave(&first), room.leave(&first)), (Some(1), None));
        assert_eq!(room.enter(&model("pro"), &anna(), until, 3).1, None);
        assert_eq!(served(&mut room, "pro", 9), [2, 3]);
        assert_eq!((room.len(), room.next_deadline()), (0, None));
        assert!(room.seats_of.is_empty() && room.greediest.is_empty());
    }

    #[test]
    fn those_whose_time_is_up_leave_in_order() {
        let mut room = WaitingRoom::new(9);
        let (soon, late) = (later(1), later(2));
        room.enter(&model("pro"), &anna(), late, "late");
        room.enter(&model("flash"), &anna(), soon, "soon");

        assert_eq!(room.next_deadline(), Some(soon));
        assert_eq!(room.give_up(soon), [(model("flash"), "soon")]);
        assert_eq!(room.next_deadline(), Some(late));
        assert_eq!(room.give_up(late), [(model("pro"), "late")]);
        assert_eq!((room.len(), room.next_deadline()), (0, None));
    }

    proptest! {
        #[test]
        fn nobody_is_lost_or_served_twice(steps in prop::collection::vec((0u8..5, 0u64..3, 0u64..3, 0u64..20), 0..200)) {
            let start = Instant::now();
            let mut room = WaitingRoom::new(12);
            let (mut entered, mut left, mut places) = (0u32, Vec::new(), Vec::new());
            for (step, client, name, number) in steps {
                let name = model(["a", "b", "c"][name as usize]);
                match step {
                    0 | 1 => {
                        let until = start + Duration::from_secs(number);
                        let (place, gone) =
                            room.enter(&name, &TokenId::new(client.to_string()), until, entered);
                        places.extend(place);
                        left.extend(gone);
                        entered += 1;
                    }
                    2 => {
                        let mut keys = number % 4;
                        room.serve(&name, |whom| match keys {
                            0 => Served::NothingLeft,
                            _ if *whom % 7 == 3 => Served::NotYet,
                            _ => {
                                keys -= 1;
                                left.push(*whom);
                                Served::Done
                            }
                        });
                    }
                    3 => {
                        let place = places.get(number as usize * 3);
                        left.extend(place.and_then(|place| room.leave(place)));
                    }
                    _ => left.extend(room.give_up(start + Duration::from_secs(number)).into_iter().map(|(_, whom)| whom)),
                }
                prop_assert!(room.len() <= 12);
                prop_assert_eq!(room.len() + left.len(), entered as usize);
            }
            left.extend(room.give_up(start + Duration::from_secs(60)).into_iter().map(|(_, whom)| whom));
            left.sort_unstable();
            prop_assert_eq!(left, (0..entered).collect::<Vec<_>>());
        }
    }
}
