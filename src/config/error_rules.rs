//! Rules of the operator's about errors of Google's: what one that looks so is to be judged as.

use std::{ops::RangeInclusive, time::Duration};

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::Value;

use super::reader::Reader;
use crate::domain::outcome::{
    BillingFault, EgressFault, KeyFault, Outcome, QuotaExceeded, QuotaMetric, QuotaWindow, ServerFault,
};

const NAME: &str = "ERROR_RULES";

/// What an error that looks so is to be judged as.
#[derive(Debug, Clone)]
pub struct ErrorRule {
    /// Any, if none.
    status: Option<u16>,
    /// Any, if none.
    text: Option<Regex>,
    pub outcome: Outcome,
}

impl ErrorRule {
    /// Reads a rule; fails with what is wrong in it.
    pub fn parse(item: Value) -> Result<Self, String> {
        let Written { status, text, verdict, cooldown_seconds } =
            serde_json::from_value(item).map_err(|error| error.to_string())?;
        let text = text.filter(|text| !text.trim().is_empty());
        if status.is_none() && text.is_none() {
            return Err("has neither a status nor a text, so it would match every error".to_owned());
        }
        if let Some(status) = status.filter(|status| !(400..600).contains(status)) {
            return Err(format!("{status} is no status of an error, which are from 400 to 599"));
        }
        let mut outcome = find_verdict(&verdict)?;
        if let Some(seconds) = cooldown_seconds {
            set_cooldown(&mut outcome, &verdict, seconds)?;
        }
        Ok(Self { status, text: text.as_deref().map(pattern).transpose()?, outcome })
    }

    /// Whether an error is meant: by its HTTP status, and by Google's message or its reason.
    pub fn matches(&self, status: u16, message: &str, reason: Option<&str>) -> bool {
        let is_in =
            |text: &Regex| text.is_match(message) || reason.is_some_and(|reason| text.is_match(reason));
        self.status.is_none_or(|meant| meant == status) && self.text.as_ref().is_none_or(is_in)
    }
}

impl PartialEq for ErrorRule {
    fn eq(&self, other: &Self) -> bool {
        let text = |rule: &Self| rule.text.as_ref().map(|text| text.as_str().to_owned());
        (self.status, text(self), &self.outcome) == (other.status, text(other), &other.outcome)
    }
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    status: Option<u16>,
    text: Option<String>,
    verdict: String,
    cooldown_seconds: Option<u64>,
}

/// The names of verdicts, which are those of outcomes in the logs where both exist.
fn verdicts() -> [(&'static str, Outcome); 15] {
    let quota = |window| {
        Outcome::Quota(QuotaExceeded { window, metric: QuotaMetric::Unknown, retry_after: None, limit: None })
    };
    [
        ("key_invalid", Outcome::KeyInvalid(KeyFault::NotFound)),
        ("key_suspect", Outcome::KeySuspect),
        ("quota_minute", quota(QuotaWindow::Minute)),
        ("quota_day", quota(QuotaWindow::Day)),
        ("quota_unknown", quota(QuotaWindow::Unknown)),
        ("model_unavailable", Outcome::ModelUnavailable),
        ("prepay_depleted", Outcome::Billing(BillingFault::PrepayDepleted)),
        ("spend_cap", Outcome::Billing(BillingFault::SpendCap)),
        ("location", Outcome::Egress(EgressFault::Location)),
        ("restricted", Outcome::Egress(EgressFault::Restricted)),
        ("not_owner", Outcome::NotOwner),
        ("gateway_fault", Outcome::GatewayFault),
        ("overloaded", Outcome::ServerFault(ServerFault::Overloaded)),
        ("server_fault", Outcome::ServerFault(ServerFault::Failed)),
        ("client_fault", Outcome::ClientFault),
    ]
}

/// The rules in their order; the first that matches counts.
pub(super) fn read(reader: &mut Reader) -> Vec<ErrorRule> {
    let Some(value) = reader.json(NAME) else { return Vec::new() };
    let Value::Array(items) = value else {
        if !value.is_null() {
            reader.report(NAME, "is not a list of rules");
        }
        return Vec::new();
    };
    let mut rules = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        match ErrorRule::parse(item) {
            Ok(rule) => rules.push(rule),
            Err(problem) => reader.report(NAME, format!("rule {}: {problem}", index + 1)),
        }
    }
    rules
}

fn find_verdict(name: &str) -> Result<Outcome, String> {
    let verdicts = verdicts();
    let found = verdicts.iter().find(|(known, _)| *known == name);
    found.map(|(_, outcome)| outcome.clone()).ok_or_else(|| {
        let known = verdicts.map(|(known, _)| known).join(", ");
        let shown: String = name.chars().take(30).collect();
        format!("the verdict \"{shown}\" is none of {known}")
    })
}

/// Where a cooldown can be chosen it has the bounds that one of Google's would have.
fn set_cooldown(outcome: &mut Outcome, verdict: &str, seconds: u64) -> Result<(), String> {
    const MINUTE: RangeInclusive<u64> = 1..=300;
    const DAY: RangeInclusive<u64> = 600..=86_400;
    let Outcome::Quota(exceeded) = outcome else {
        return Err(format!("cooldown_seconds goes with quota_minute and quota_day, not with {verdict}"));
    };
    let range = match exceeded.window {
        QuotaWindow::Minute => MINUTE,
        QuotaWindow::Day => DAY,
        QuotaWindow::Unknown => {
            return Err(
                "quota_unknown has a cooldown that grows; quota_minute and quota_day can have one of \
                        your own"
                    .to_owned(),
            );
        }
    };
    if !range.contains(&seconds) {
        let (from, to) = (range.start(), range.end());
        return Err(format!("the cooldown_seconds of {verdict} are from {from} to {to}, not {seconds}"));
    }
    exceeded.retry_after = Some(Duration::from_secs(seconds));
    Ok(())
}

/// Words as they stand, or a regular expression between slashes; in any case of letters.
fn pattern(text: &str) -> Result<Regex, String> {
    let expression = text.strip_prefix('/').and_then(|text| text.strip_suffix('/'));
    let source = expression.map_or_else(|| regex::escape(text), str::to_owned);
    RegexBuilder::new(&source).case_insensitive(true).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the expression is too large".to_owned(),
        _ => syntax_error(&source),
    })
}

fn syntax_error(source: &str) -> String {
    match regex_syntax::ast::parse::Parser::new().parse(source) {
        Err(error) => {
            let column = error.span().start.column;
            format!("the expression is wrong at character {column}: {}", error.kind())
        }
        Ok(_) => "the expression is wrong: it names a class of characters that does not exist".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(text: &str) -> ErrorRule {
        ErrorRule::parse(json!({"text": text, "verdict": "server_fault"})).unwrap()
    }

    #[test]
    fn words_are_taken_as_they_stand_and_expressions_between_slashes() {
        for (text, message, is_meant) in [
            ("Limit: 0 (free)", "* limit: 0 (FREE), model x", true),
            ("limit: 0 (free)", "limit: 0 free", false),
            ("a/b", "at a/b", true),
            ("/^come back (tomorrow|later)/", "Come back later.", true),
            ("/^come back/", "Please come back", false),
        ] {
            assert_eq!(rule(text).matches(429, message, None), is_meant, "{text} {message}");
        }
        assert!(rule("NEW_REASON").matches(403, "", Some("A_NEW_REASON")));
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_told_with_its_place() {
        for (written, problem) in [
            (
                json!({"status": 429, "verdict": "quota_dya"}),
                "the verdict \"quota_dya\" is none of key_invalid, ",
            ),
            (
                json!({"text": "/^(abc/", "verdict": "overloaded"}),
                "the expression is wrong at character 2: unclosed group",
            ),
            (json!({"text": "/a{99999}{99999}/", "verdict": "overloaded"}), "the expression is too large"),
            (json!({"text": "/\\p{Nonsense}/", "verdict": "overloaded"}), "class of characters"),
            (json!({"verdict": "overloaded"}), "would match every error"),
            (json!({"text": " ", "verdict": "overloaded"}), "would match every error"),
            (json!({"status": 200, "verdict": "overloaded"}), "200 is no status of an error"),
            (json!({"status": -1, "verdict": "overloaded"}), "invalid value"),
            (json!({"status": 429}), "missing field `verdict`"),
            (json!({"statsu": 429, "verdict": "overloaded"}), "unknown field `statsu`"),
            (json!({"status": 429, "verdict": "overloaded", "cooldown_seconds": 5}), "not with overloaded"),
            (
                json!({"status": 429, "verdict": "quota_day", "cooldown_seconds": 5}),
                "from 600 to 86400, not 5",
            ),
            (
                json!({"status": 429, "verdict": "quota_minute", "cooldown_seconds": 31_536_000}),
                "from 1 to 300",
            ),
            (json!({"status": 429, "verdict": "quota_unknown", "cooldown_seconds": 5}), "grows"),
            (json!("429"), "invalid type"),
        ] {
            let told = ErrorRule::parse(written.clone()).unwrap_err();
            assert!(told.contains(problem), "{written}: {told}");
        }
    }
}
