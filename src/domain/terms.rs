//! On what terms the holder of a client token is served.

use std::{fmt, net::IpAddr};

use chrono_tz::{America::Los_Angeles, Tz};
use serde::{Deserialize, Serialize};

use super::{network::Network, quota::ModelPattern, tiers::TierSet};

/// The most that a token may be used; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    pub requests_per_minute: Option<u64>,
    /// Tokens that were read and written.
    pub tokens_per_minute: Option<u64>,
    pub requests_per_day: Option<u64>,
    pub tokens_per_day: Option<u64>,
    /// Answers of models that make pictures.
    pub images_per_day: Option<u64>,
    pub requests_per_month: Option<u64>,
    pub tokens_per_month: Option<u64>,
    pub images_per_month: Option<u64>,
}

impl RateLimits {
    pub fn of(&self, limit: LimitName) -> Option<u64> {
        match limit {
            LimitName::RequestsPerMinute => self.requests_per_minute,
            LimitName::TokensPerMinute => self.tokens_per_minute,
            LimitName::RequestsPerDay => self.requests_per_day,
            LimitName::TokensPerDay => self.tokens_per_day,
            LimitName::ImagesPerDay => self.images_per_day,
            LimitName::RequestsPerMonth => self.requests_per_month,
            LimitName::TokensPerMonth => self.tokens_per_month,
            LimitName::ImagesPerMonth => self.images_per_month,
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Names one of the [`RateLimits`], as the admin API spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitName {
    RequestsPerMinute,
    TokensPerMinute,
    RequestsPerDay,
    TokensPerDay,
    ImagesPerDay,
    RequestsPerMonth,
    TokensPerMonth,
    ImagesPerMonth,
}

impl LimitName {
    pub const ALL: [Self; 8] = [
        Self::RequestsPerMinute,
        Self::TokensPerMinute,
        Self::RequestsPerDay,
        Self::TokensPerDay,
        Self::ImagesPerDay,
        Self::RequestsPerMonth,
        Self::TokensPerMonth,
        Self::ImagesPerMonth,
    ];

    pub fn metric(self) -> Metric {
        match self {
            Self::RequestsPerMinute | Self::RequestsPerDay | Self::RequestsPerMonth => Metric::Requests,
            Self::TokensPerMinute | Self::TokensPerDay | Self::TokensPerMonth => Metric::Tokens,
            Self::ImagesPerDay | Self::ImagesPerMonth => Metric::Images,
        }
    }

    pub fn window(self) -> Window {
        match self {
            Self::RequestsPerMinute | Self::TokensPerMinute => Window::Minute,
            Self::RequestsPerDay | Self::TokensPerDay | Self::ImagesPerDay => Window::Day,
            Self::RequestsPerMonth | Self::TokensPerMonth | Self::ImagesPerMonth => Window::Month,
        }
    }
}

/// "requests per day"
impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metric = match self.metric() {
            Metric::Requests => "requests",
            Metric::Tokens => "tokens",
            Metric::Images => "images",
        };
        let window = match self.window() {
            Window::Minute => "minute",
            Window::Day => "day",
            Window::Month => "month",
        };
        write!(f, "{metric} per {window}")
    }
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    Requests,
    Tokens,
    Images,
}

/// How long it counts: the last 60 seconds, or what the calendar calls a day or a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    Minute,
    Day,
    Month,
}

/// Where days and months begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(pub Tz);

/// Google's own days end there.
impl Default for Zone {
    fn default() -> Self {
        Self(Los_Angeles)
    }
}

impl TryFrom<String> for Zone {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse().map(Self).map_err(|_| "is no time zone such as Europe/Berlin".to_owned())
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.0.name().to_owned()
    }
}

/// Everything that restricts a token while it is valid.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    pub rate_limits: RateLimits,
    /// Requests that may run at the same moment.
    pub max_concurrent: Option<u32>,
    pub time_zone: Zone,
    /// Only these; empty is all.
    pub models: Vec<ModelPattern>,
    /// Where requests may come from; empty is anywhere.
    pub networks: Vec<Network>,
    /// The tiers of the keys that may serve it.
    pub tiers: TierSet,
}

impl Terms {
    pub fn allow_model(&self, name: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|pattern| pattern.matches(name))
    }

    /// An address that nobody knows is in no network.
    pub fn allow_address(&self, address: Option<IpAddr>) -> bool {
        let is_within = |address| self.networks.iter().any(|network| network.contains(address));
        self.networks.is_empty() || address.is_some_and(is_within)
    }

    /// Whether anything is counted for it.
    pub fn has_limits(&self) -> bool {
        !self.rate_limits.is_empty() || self.max_concurrent.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_stored_and_read_back() {
        let mut terms = Terms::default();
        assert_eq!(serde_json::from_str::<Terms>("{}").unwrap(), terms);
        terms.rate_limits.tokens_per_day = Some(5);
        terms.time_zone = "Europe/Berlin".to_owned().try_into().unwrap();
        terms.models = vec![ModelPattern::parse("gemini-2.5-*").unwrap()];
        terms.networks = vec!["10.0.0.0/8".parse().unwrap()];

        let stored = serde_json::to_string(&terms).unwrap();

        assert_eq!(serde_json::from_str::<Terms>(&stored).unwrap(), terms);
        assert!(Zone::try_from("Mars/Olympus".to_owned()).is_err());
    }

    #[test]
    fn every_limit_is_found_by_its_name() {
        let json = r#"{"requests_per_minute":1,"tokens_per_minute":2,"requests_per_day":3,"tokens_per_day":4,
            "images_per_day":5,"requests_per_month":6,"tokens_per_month":7,"images_per_month":8}"#;
        let limits: RateLimits = serde_json::from_str(json).unwrap();

        assert_eq!(LimitName::ALL.map(|name| limits.of(name)), [1, 2, 3, 4, 5, 6, 7, 8].map(Some));
        assert_eq!(LimitName::ImagesPerMonth.to_string(), "images per month");
    }

    #[test]
    fn what_is_not_restricted_is_allowed() {
        let here = "10.1.2.3".parse().ok();
        let mut terms = Terms::default();
        assert!(terms.allow_model("any") && terms.allow_address(None));

        terms.models = vec![ModelPattern::parse("gemini-*-flash").unwrap()];
        terms.networks = vec!["10.0.0.0/8".parse().unwrap()];

        assert!(terms.allow_model("gemini-2.5-flash") && !terms.allow_model("gemini-2.5-pro"));
        assert!(terms.allow_address(here) && !terms.allow_address(None));
        assert!(!terms.allow_address("11.0.0.1".parse().ok()));
    }
}
