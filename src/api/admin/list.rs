//! Lists, a page at a time.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

use super::error::AdminError;

/// A list as every call of the admin API answers it.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    pub items: Vec<T>,
    /// Where the next page begins; `null` on the last one.
    pub next_cursor: Option<String>,
    /// Number of items on all pages.
    pub total: usize,
}

impl<T> List<T> {
    /// All there is.
    pub fn whole(items: Vec<T>) -> Self {
        Self { total: items.len(), items, next_cursor: None }
    }
}

/// Number of items of a page, 1 to 500; 50 when not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub usize);

impl Limit {
    pub const MAX: usize = 500;
}

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limit = usize::deserialize(deserializer)?;
        let is_right = (1..=Self::MAX).contains(&limit);
        is_right.then_some(Self(limit)).ok_or_else(|| de::Error::custom("is not a number from 1 to 500"))
    }
}

/// Where a page begins, as an earlier page told; nobody but its maker can read it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// What is behind a place in a list, as text.
    pub fn text(place: &impl Serialize) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).unwrap_or_default())
    }

    /// The place; 400 for a cursor that no page told.
    pub fn place<T: de::DeserializeOwned>(&self) -> Result<T, AdminError> {
        let place = BASE64_URL_SAFE_NO_PAD.decode(&self.0).ok();
        place
            .and_then(|place| serde_json::from_slice(&place).ok())
            .ok_or_else(|| AdminError::parameter("cursor", "is not the `next_cursor` of an earlier page"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place_and_a_made_up_one_nowhere() {
        let place = (1_790_000_000_000_i64, "id".to_owned());
        let cursor = Cursor(Cursor::text(&place));

        assert_eq!(cursor.place::<(i64, String)>().unwrap(), place);
        for text in ["", "abc", "%", "bnVsbA"] {
            assert!(Cursor(text.to_owned()).place::<(i64, String)>().is_err(), "{text}");
        }
    }
}
