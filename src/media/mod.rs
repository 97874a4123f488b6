//! Pictures and files that clients name by an address: fetched here, because Google does not, and under guard, because
//! whoever names an address must not see through our eyes what is behind it.

pub mod address;
pub mod fetch;

pub use fetch::{FetchError, Fetched, Fetcher, Limits};
