//! What it costs to use a key now: the score that the power of two choices compares.

/// What is known of a key and a model at this moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// Leases that are out.
    pub in_flight: u32,
    /// Time to first byte as a multiple of the usual one, lately.
    pub slowness: f32,
    /// Faults lately, each counting less the longer ago it was.
    pub faults: f32,
    /// The smallest share that is left of a quota window, 0 to 1.
    pub headroom: f32,
    /// Its weight as a share of the heaviest one's, above 0 and up to 1; of a key that has just recovered a part of that.
    pub share: f32,
}

/// A key with this much left of its quota, or less, is as good as spent.
const LEAST: f32 = 0.02;

impl Standing {
    /// The expected wait, stretched by what speaks against the key. 1 is an idle key of which nothing bad is known, and
    /// the least that a key can cost.
    ///
    /// Each factor has a floor or ceiling, so that no single one decides alone for ever. The weight counts with the
    /// load alone: among idle keys the turn follows it already.
    pub fn cost(self) -> f32 {
        let wait = (1.0 + self.in_flight as f32 / self.share.max(LEAST)) * self.slowness.clamp(1.0, 20.0);
        let doubt = 1.0 + self.faults.clamp(0.0, 10.0);
        wait * doubt / self.headroom.max(LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Standing = Standing { in_flight: 0, slowness: 1.0, faults: 0.0, headroom: 1.0, share: 1.0 };

    #[test]
    fn whatever_speaks_against_a_key_makes_it_dearer() {
        let worse = [
            Standing { in_flight: 1, ..IDLE },
            Standing { slowness: 1.5, ..IDLE },
            Standing { faults: 0.2, ..IDLE },
            Standing { headroom: 0.8, ..IDLE },
            Standing { in_flight: 1, share: 0.5, ..IDLE },
        ];
        for standing in worse {
            assert!(standing.cost() > IDLE.cost(), "{standing:?}");
        }
    }

    #[test]
    fn absurd_figures_stay_comparable() {
        let absurd = Standing {
            in_flight: u32::MAX,
            slowness: f32::INFINITY,
            faults: f32::INFINITY,
            headroom: 0.0,
            share: 0.0,
        };
        assert!(absurd.cost().is_finite());
    }
}
