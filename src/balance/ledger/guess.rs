//! How far guesses at the size of prompts are off.
//!
//! A request counts with its guess until Google has told its size, and one guess too low is enough for a refusal that
//! closes the whole minute. So a reservation takes what such a guess may well turn out to be: the mean of what came of
//! earlier ones and two mean deviations, as TCP reckons how long an answer may take. It never takes less than the guess.

/// What guesses of one model turned out to be, as multiples of the guess.
#[derive(Debug, Clone, Copy)]
pub(in crate::balance) struct Guesses {
    mean: f32,
    deviation: f32,
}

/// Nothing is known: a guess is taken at its word.
impl Default for Guesses {
    fn default() -> Self {
        Self { mean: 1.0, deviation: 0.0 }
    }
}

impl Guesses {
    /// Weight of the newest one.
    const GAIN: f32 = 1.0 / 16.0;
    /// A single one counts as no more than this, nor as less than its inverse.
    const FARTHEST: f32 = 8.0;

    /// Tokens to reserve for a request that is guessed to have so many, no less than those.
    pub(in crate::balance) fn allow_for(self, guess: u32) -> u32 {
        (guess as f32 * (self.mean + 2.0 * self.deviation).max(1.0)) as u32
    }

    /// Google has counted.
    pub(in crate::balance) fn learn(&mut self, guess: u32, counted: u32) {
        if guess == 0 {
            return;
        }
        let ratio = (counted as f32 / guess as f32).clamp(1.0 / Self::FARTHEST, Self::FARTHEST);
        let error = ratio - self.mean;
        self.mean += Self::GAIN * error;
        self.deviation += Self::GAIN * (error.abs() - self.deviation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_that_are_right_are_taken_at_their_word() {
        let mut guesses = Guesses::default();
        assert_eq!(guesses.allow_for(700), 700);
        (0..50).for_each(|_| guesses.learn(1000, 1000));
        assert_eq!(guesses.allow_for(700), 700);
    }

    #[test]
    fn guesses_that_are_too_low_by_the_same_factor_are_put_right() {
        let mut guesses = Guesses::default();
        (0..200).for_each(|_| guesses.learn(1000, 2000));
        assert!((1390..1410).contains(&guesses.allow_for(700)), "{guesses:?}");
        (0..200).for_each(|_| guesses.learn(1000, 500));
        assert_eq!(guesses.allow_for(700), 700, "what is too high is given back when Google has counted");
    }

    #[test]
    fn guesses_that_vary_get_room_for_the_larger_ones() {
        let mut guesses = Guesses::default();
        (0..100).for_each(|turn| guesses.learn(1000, if turn % 2 == 0 { 800 } else { 1200 }));
        assert!((1300..1500).contains(&guesses.allow_for(1000)), "{guesses:?}");
    }

    #[test]
    fn nothing_that_is_told_can_make_a_reservation_absurd() {
        let mut guesses = Guesses::default();
        for (guess, counted) in [(0, 5), (1, u32::MAX), (u32::MAX, 0)].repeat(1000) {
            guesses.learn(guess, counted);
        }
        assert!((1000..30_000).contains(&guesses.allow_for(1000)), "{guesses:?}");
        assert_eq!(guesses.allow_for(0), 0);
    }
}
