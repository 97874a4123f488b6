//! What requests are looked for by, as it stands in a query.

use std::ops::RangeInclusive;

use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    api::admin::{
        error::AdminError,
        list::{Cursor, Limit},
    },
    db::request_logs::{RequestFilter, StatusMatch},
};

/// So much of an id makes it one; shorter words are errors.
const SHORTEST_ID: usize = 6;

/// A query with these parameters and further ones. What is flattened into another struct could not be refused by name.
macro_rules! request_query {
    ($(#[$about:meta])* $name:ident { $($(#[$attribute:meta])* $further:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Deserialize, IntoParams)]
        #[into_params(parameter_in = Query)]
        pub struct $name {
            /// Began at or after; Unix milliseconds.
            from_ms: Option<i64>,
            /// Began before; `before_ms` says the same.
            #[serde(alias = "before_ms")]
            to_ms: Option<i64>,
            model: Option<String>,
            /// `gemini`, `openai`, `anthropic`, …
            dialect: Option<String>,
            endpoint: Option<String>,
            /// The key that answered.
            key_id: Option<i64>,
            token_id: Option<String>,
            /// One of these, separated by commas: `ok`, `error`, `2xx`, `4xx`, `5xx`, or a number.
            #[serde(default)]
            #[param(value_type = Option<String>)]
            status: Vec<String>,
            stream: Option<bool>,
            /// Took more than one attempt.
            retried: Option<bool>,
            /// Had an empty answer among its attempts.
            empty: Option<bool>,
            min_duration_ms: Option<i64>,
            max_duration_ms: Option<i64>,
            client_ip: Option<String>,
            /// The beginning of an id, or the word of an error.
            q: Option<String>,
            $($(#[$attribute])* pub $further: $type,)*
        }

        impl $name {
            /// 400 for a status that is none.
            pub fn filter(&self) -> Result<RequestFilter, AdminError> {
                let (id, error) = id_or_word(self.q.as_deref().unwrap_or_default());
                Ok(RequestFilter {
                    from_ms: self.from_ms,
                    to_ms: self.to_ms,
                    id,
                    model: self.model.clone(),
                    dialect: self.dialect.clone(),
                    endpoint: self.endpoint.clone(),
                    key_id: self.key_id,
                    token_id: self.token_id.clone(),
                    statuses: self.status.iter().map(|text| status_match(text)).collect::<Result<_, _>>()?,
                    error,
                    stream: self.stream,
                    retried: self.retried,
                    empty: self.empty,
                    min_duration_ms: self.min_duration_ms,
                    max_duration_ms: self.max_duration_ms,
                    client_ip: self.client_ip.clone(),
                })
            }
        }
    };
}

request_query! {
    /// Which requests.
    RequestQuery {}
}

request_query! {
    /// Which requests, and where the work goes on.
    RestQuery {
        /// The `next_cursor` of the call before.
        #[param(value_type = Option<String>)]
        cursor: Option<Cursor>,
    }
}

request_query! {
    /// Which requests, and which page of them.
    PageQuery {
        /// The `next_cursor` of the page before.
        #[param(value_type = Option<String>)]
        cursor: Option<Cursor>,
        /// Number of items, 1 to 500; 50 unless it is said.
        #[serde(default)]
        #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
        limit: Limit,
    }
}

fn status_match(text: &str) -> Result<StatusMatch, AdminError> {
    let is_none = || AdminError::parameter("status", "is none of ok, error, 1xx to 5xx and 100 to 599");
    let number = |text: &str, range: RangeInclusive<i32>| {
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(is_none)
    };
    match (text, text.strip_suffix("xx")) {
        ("ok", _) => Ok(StatusMatch::Ok),
        ("error", _) => Ok(StatusMatch::Error),
        (_, Some(class)) => {
            number(class, 1..=5).map(|class| StatusMatch::Between(class * 100, class * 100 + 99))
        }
        (_, None) => number(text, 100..=599).map(|status| StatusMatch::Between(status, status)),
    }
}

fn id_or_word(q: &str) -> (Option<String>, Option<String>) {
    let id = super::request_id(q);
    if id.is_empty() {
        return (None, None);
    }
    let is_id = id.len() >= SHORTEST_ID && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { (Some(id), None) } else { (None, Some(q.trim().to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_words_classes_or_numbers() {
        assert_eq!(status_match("ok").unwrap(), StatusMatch::Ok);
        assert_eq!(status_match("5xx").unwrap(), StatusMatch::Between(500, 599));
        assert_eq!(status_match("429").unwrap(), StatusMatch::Between(429, 429));
        for odd in ["", "xx", "9xx", "0", "99999999999", "OK?"] {
            assert_eq!(status_match(odd).expect_err("refused").status(), 400, "{odd}");
        }
    }

    #[test]
    fn what_looks_like_an_id_is_one() {
        assert_eq!(id_or_word("0192F00D-aaaa"), (Some("0192f00daaaa".into()), None));
        assert_eq!(id_or_word("overloaded"), (None, Some("overloaded".into())));
        assert_eq!(id_or_word(" bad "), (None, Some("bad".into())));
        assert_eq!(id_or_word(" "), (None, None));
    }
}
