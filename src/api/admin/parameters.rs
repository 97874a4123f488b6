//! The query of a request as a struct. What it does not know, or cannot read, is refused by its name.

use std::{borrow::Cow, future::Ready, future::ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use serde::{
    Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor, value,
    },
    forward_to_deserialize_any,
};

use super::{Admin, error::AdminError};
use crate::api::error::{ApiError, Failure};

/// Query parameters. A blank one counts as not sent, lists are separated by commas, and every field of `T` that is no
/// `Option` needs a default of serde's.
#[derive(Debug)]
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Parameters<T> {
    type Error = Failure<Admin>;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(parse(request.query_string()).map(Self).map_err(|error| ApiError::Admin(error).into()))
    }
}

/// Reads a query as a browser writes it.
pub fn parse<T: DeserializeOwned>(query: &str) -> Result<T, AdminError> {
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if pairs.iter().any(|(known, _)| *known == name) {
            return Err(AdminError::parameter(
                &shown(&name),
                "is given twice; separate several values by commas",
            ));
        }
        pairs.push((name, value));
    }
    T::deserialize(Query { pairs }).map_err(|Problem { name, text }| match name {
        Some(name) => AdminError::parameter(&name, &text),
        None => AdminError::invalid(text),
    })
}

/// A name of the client's, at a reasonable length.
fn shown(name: &str) -> String {
    name.chars().take(40).collect()
}

/// What is wrong, and with which parameter.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Problem {
    name: Option<String>,
    text: String,
}

impl serde::de::Error for Problem {
    fn custom<T: std::fmt::Display>(text: T) -> Self {
        Self { name: None, text: text.to_string() }
    }
}

struct Query<'q> {
    pairs: Vec<(Cow<'q, str>, Cow<'q, str>)>,
}

impl<'de> Deserializer<'de> for Query<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let pairs = self.pairs.into_iter().filter(|(_, value)| !value.trim().is_empty());
        visitor.visit_map(Pairs { left: pairs.collect(), next: None })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match self.pairs.iter().find(|(name, _)| !fields.contains(&&**name)) {
            Some((name, _)) => {
                let text = match fields {
                    [] => "is unknown; no parameters are known here".to_owned(),
                    _ => format!("is unknown; known are {}", fields.join(", ")),
                };
                Err(Problem { name: Some(shown(name)), text })
            }
            None => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Pairs<'q> {
    left: std::collections::VecDeque<(Cow<'q, str>, Cow<'q, str>)>,
    next: Option<(Cow<'q, str>, Cow<'q, str>)>,
}

impl<'de> MapAccess<'de> for Pairs<'_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        self.next = self.left.pop_front();
        let Some((name, _)) = &self.next else { return Ok(None) };
        seed.deserialize(name.clone().into_owned().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let (name, value) =
            self.next.take().ok_or_else(|| Problem::custom("a value comes after its name"))?;
        seed.deserialize(Text(&value))
            .map_err(|problem: Problem| Problem { name: Some(name.into_owned()), ..problem })
    }
}

/// The text of one parameter.
struct Text<'t>(&'t str);

impl Text<'_> {
    fn number<T: std::str::FromStr>(&self) -> Result<T, Problem> {
        self.0.trim().parse().map_err(|_| Problem::custom("is not a number that is allowed here"))
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            visitor.$visit(self.number()?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Text<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_str(self.0)
    }

    numbers! {
        deserialize_i8 visit_i8;
        deserialize_i16 visit_i16;
        deserialize_i32 visit_i32;
        deserialize_i64 visit_i64;
        deserialize_u8 visit_u8;
        deserialize_u16 visit_u16;
        deserialize_u32 visit_u32;
        deserialize_u64 visit_u64;
        deserialize_f32 visit_f32;
        deserialize_f64 visit_f64;
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0.trim() {
            "true" | "1" => visitor.visit_bool(true),
            "false" | "0" => visitor.visit_bool(false),
            _ => Err(Problem::custom("is neither true nor false")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_seq(Items(self.0.split(',').map(str::trim).filter(|item| !item.is_empty())))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let name = self.0.trim();
        if !variants.contains(&name) {
            return Err(Problem::custom(format!("is none of {}", variants.join(", "))));
        }
        visitor.visit_enum(value::StrDeserializer::<Problem>::new(name))
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}

struct Items<I>(I);

impl<'de, 'i, I: Iterator<Item = &'i str>> SeqAccess<'de> for Items<I> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Problem> {
        self.0.next().map(|item| seed.deserialize(Text(item))).transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::api::admin::list::{Cursor, Limit};

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum State {
        Active,
        HalfOpen,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Filter {
        #[serde(default)]
        state: Vec<State>,
        q: Option<String>,
        from_ms: Option<i64>,
        #[serde(default)]
        stream: bool,
        #[serde(default)]
        limit: Limit,
        cursor: Option<Cursor>,
    }

    fn problem(query: &str) -> (u16, String) {
        let error = parse::<Filter>(query).expect_err("it is refused");
        (error.status(), error.to_string())
    }

    #[test]
    fn a_query_is_read_as_its_struct_says() {
        let filter: Filter =
            parse("state=active,half_open&q=a%20b&from_ms=-5&stream=true&limit=500&cursor=").unwrap();

        let expected = Filter {
            state: vec![State::Active, State::HalfOpen],
            q: Some("a b".to_owned()),
            from_ms: Some(-5),
            stream: true,
            limit: Limit(500),
            cursor: None,
        };
        assert_eq!(filter, expected);
        assert_eq!(parse::<Filter>("").unwrap().limit, Limit(50));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_name() {
        for (query, told) in [
            ("nonsense=1", "`nonsense` is unknown; known are state, q"),
            ("limit=501", "`limit` is not a number from 1 to 500"),
            ("limit=0", "`limit` is not"),
            ("limit=x", "`limit` is not a number"),
            ("from_ms=1e3", "`from_ms` is not a number"),
            ("state=active,gone", "`state` is none of active, half_open"),
            ("stream=perhaps", "`stream` is neither"),
            ("q=1&q=2", "`q` is given twice"),
        ] {
            let (status, message) = problem(query);
            assert_eq!(status, 400, "{query}");
            assert!(message.starts_with(told), "{query}: {message}");
        }
    }

    #[test]
    fn a_call_without_parameters_takes_none() {
        #[derive(Debug, Deserialize)]
        struct Nothing {}

        assert!(parse::<Nothing>("").is_ok());
        assert!(parse::<Nothing>("a=1").is_err());
    }
}
