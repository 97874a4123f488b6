//! A ledger's windows as the admin API shows them.

use serde::Serialize;

use super::{Ledger, ModelUse, WindowUse};
use crate::domain::{
    model::ModelName,
    outcome::{QuotaMetric, QuotaWindow},
    quota::LimitSource,
    time::Now,
};

/// One window of one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuotaRow {
    pub model: ModelName,
    pub window: QuotaWindow,
    /// What `used` and `limit` count.
    pub metric: QuotaMetric,
    pub used: u64,
    /// `null` where nobody knows.
    pub limit: Option<u64>,
    /// Found out from Google's answers, not given.
    pub learnt: bool,
    pub source: Option<LimitSource>,
    /// When all that is counted now will count no more; `null` when nothing is counted.
    pub resets_at_ms: Option<i64>,
    /// Closed by Google until then, whatever was counted.
    pub closed_until_ms: Option<i64>,
}

impl QuotaRow {
    fn new(model: &ModelName, window: &WindowUse, now: Now) -> Self {
        let source = window.limit.map(|limit| limit.source);
        let at_ms = |instant| now.unix_ms_at(instant);
        Self {
            model: model.clone(),
            window: window.window,
            metric: window.metric,
            used: window.used,
            limit: window.limit.map(|limit| limit.value),
            learnt: matches!(source, Some(LimitSource::Learnt | LimitSource::Observed)),
            source,
            resets_at_ms: window.resets.map(at_ms),
            closed_until_ms: window.closed_until.map(at_ms),
        }
    }
}

impl Ledger {
    /// Three rows for each model that was asked for an answer.
    pub fn rows(&self, now: Now) -> Vec<QuotaRow> {
        let rows = |model: ModelUse| model.windows.map(|window| QuotaRow::new(&model.model, &window, now));
        self.usage(now).into_iter().filter(|known| known.model.is_asked()).flat_map(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::domain::{
        outcome::QuotaExceeded,
        quota::{Limit, LimitTable, ModelLimits, ModelPattern},
    };

    #[test]
    fn a_row_tells_what_is_used_of_what_and_whether_that_was_learnt() {
        let limit = Limit { value: 250, source: LimitSource::Preset };
        let limits = ModelLimits { requests_per_day: Some(limit), ..ModelLimits::default() };
        let table = LimitTable::new([(ModelPattern::parse("*").unwrap(), limits)]);
        let (now, model) = (Now::read(), ModelName::parse("gemini-2.5-flash").unwrap());
        let ledger = Ledger::new(Arc::new(table), now);
        ledger.reserve(&model, 100, now).unwrap();
        ledger.reserve(&model, 100, now).unwrap();
        let refused = QuotaExceeded {
            window: QuotaWindow::Minute,
            metric: QuotaMetric::Requests,
            retry_after: Some(std::time::Duration::from_secs(20)),
            limit: Some(10),
        };
        ledger.exceeded(&model, &refused, now);

        let rows = serde_json::to_value(ledger.rows(now)).unwrap();

        let closed_until_ms = now.unix_ms() + 20_000;
        let resets_at_ms = rows[0]["resets_at_ms"].as_i64().unwrap() - now.unix_ms();
        assert!((59_000..=61_000).contains(&resets_at_ms), "{rows}");
        let mut minute = rows[0].clone();
        minute["resets_at_ms"].take();
        assert_eq!(
            minute,
            json!({
                "model": "gemini-2.5-flash", "window": "minute", "metric": "requests", "used": 2, "limit": 10,
                "learnt": true, "source": "learnt", "resets_at_ms": null, "closed_until_ms": closed_until_ms,
            })
        );
        assert_eq!((&rows[1]["metric"], &rows[1]["limit"]), (&json!("tokens"), &json!(null)));
        assert_eq!((&rows[2]["limit"], &rows[2]["learnt"]), (&json!(250), &json!(false)));
        assert_eq!((&rows[2]["window"], &rows[2]["used"]), (&json!("day"), &json!(1)));
    }
}
