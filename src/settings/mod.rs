//! What is set in the dashboard: it lies over the configuration, is stored, and is in force at once.
//!
//! What can be set, and what fits, is said by [`config`](crate::config), so a value that is refused here would be
//! refused in the environment with the same words.

mod change;
pub mod keeper;
mod restore;
mod store;
pub mod transfer;
pub mod view;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use crate::{
    config::{Config, Layers},
    domain::time::Now,
    secrets::Sealer,
};

pub use change::{Change, Changed, InvalidSettings};
pub use restore::Restored;

/// A value that was set in the dashboard.
#[derive(Clone)]
struct Override {
    /// JSON of its kind.
    value: Value,
    changed_at_ms: i64,
    /// Fingerprint of the value in the file or the environment that it covers.
    covers: Option<Vec<u8>>,
}

type Overrides = BTreeMap<&'static str, Override>;
/// JSON of their kinds, by name.
type Values = BTreeMap<&'static str, Value>;

/// All settings: where each comes from, and what holds.
#[derive(Clone)]
pub struct Settings {
    /// What the files and the environment say.
    base: Layers,
    sealer: Sealer,
    overrides: Overrides,
    base_values: Values,
    /// Those of the program.
    defaults: Values,
    /// What held when the process started.
    values_at_start: Values,
    values: Values,
    /// Grows with every change.
    version: i64,
    config: Arc<Config>,
}

impl Settings {
    /// The settings as they hold together.
    pub fn config(&self) -> Arc<Config> {
        self.config.clone()
    }

    pub fn version(&self) -> i64 {
        self.version
    }

    /// Whether the same holds, from the same places.
    fn is_equal_to(&self, other: &Self) -> bool {
        self.values == other.values && self.overrides.keys().eq(other.overrides.keys())
    }
}

/// Later than any version before, in this run of the process or in another one.
fn next_version(version: i64) -> i64 {
    Now::read().unix_ms().max(version + 1)
}

fn lay(base: &Layers, overrides: &Overrides) -> Layers {
    base.under(overrides.iter().map(|(name, set)| (*name, &set.value)))
}
