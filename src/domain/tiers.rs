//! Which tiers of keys may serve a client.

use serde::{Deserialize, Serialize};

use super::placement::Tier;

/// A set of tiers; the empty one stands for all of them, as nobody is served by no key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Tier>", into = "Vec<Tier>")]
pub struct TierSet(u8);

impl TierSet {
    pub const ALL: Self = Self(0);

    pub fn allows(self, tier: Tier) -> bool {
        self.is_all() || self.0 & bit(tier) != 0
    }

    /// Whether any key of that rank may be used, see [`Tier::rank`].
    pub fn allows_rank(self, rank: usize) -> bool {
        Tier::ALL.into_iter().any(|tier| usize::from(tier.rank()) == rank && self.allows(tier))
    }

    pub fn is_all(self) -> bool {
        self.0 == 0
    }
}

fn bit(tier: Tier) -> u8 {
    1 << tier as u8
}

impl From<Vec<Tier>> for TierSet {
    fn from(tiers: Vec<Tier>) -> Self {
        Self(tiers.into_iter().fold(0, |set, tier| set | bit(tier)))
    }
}

impl From<TierSet> for Vec<Tier> {
    fn from(set: TierSet) -> Self {
        Tier::ALL.into_iter().filter(|tier| set.0 & bit(*tier) != 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_allows_what_it_names_and_an_empty_one_everything() {
        let paid = TierSet::from(vec![Tier::Tier2, Tier::Tier1, Tier::Tier2]);

        assert_eq!(
            Tier::ALL.map(|tier| paid.allows(tier)),
            [false, true, true, false, false],
            "free, 1, 2, 3, unknown"
        );
        assert_eq!((paid.allows_rank(0), paid.allows_rank(1)), (false, true));
        assert_eq!(Vec::from(paid), [Tier::Tier1, Tier::Tier2]);
        assert!(Tier::ALL.iter().all(|tier| TierSet::ALL.allows(*tier)));
    }
}
