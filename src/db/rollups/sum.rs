//! Sums a batch up in memory, so that a bucket is written once for all rows that fall into it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use super::{Kind, ModelNames};
use crate::{
    db::{error_logs::NewErrorLog, request_logs::RequestLog},
    domain::{
        figures::{Ending, Totals},
        timeline::{MINUTE_MS, Step, floor},
    },
};

/// Which sum it is. In the order of the table, so that rows are written near each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RollupKey<'a> {
    pub kind: Kind,
    pub step: Step,
    pub at_ms: i64,
    pub name: Cow<'a, str>,
    pub model: &'a str,
}

/// What each sum grows by.
pub fn sum_logs<'a>(
    requests: &'a [RequestLog],
    errors: &'a [NewErrorLog],
    names: &mut ModelNames,
) -> BTreeMap<RollupKey<'a>, Totals> {
    requests.iter().for_each(|row| names.learn(row));
    let mut minutes = HashMap::new();
    for row in requests {
        add_request(&mut minutes, row, names.name(&row.model));
    }
    for row in errors {
        add_failed_attempt(&mut minutes, row, names.name(&row.model));
    }
    let mut sums: BTreeMap<RollupKey<'a>, Totals> = BTreeMap::new();
    for (key, totals) in minutes {
        for step in Step::ALL.into_iter().filter(|step| key.kind.kept_ms(*step).is_some()) {
            let at_ms = floor(key.at_ms, step.ms());
            sums.entry(RollupKey { step, at_ms, ..key.clone() }).or_default().merge(&totals);
        }
    }
    sums
}

type Minutes<'a> = HashMap<RollupKey<'a>, Totals>;

fn add_request<'a>(minutes: &mut Minutes<'a>, row: &'a RequestLog, model: &'a str) {
    let at_ms = floor(row.started_at_ms, MINUTE_MS);
    let mut add = |kind, name: Cow<'a, str>, model: &'a str| {
        let key = RollupKey { kind, step: Step::Minute, at_ms, name, model };
        add_row(minutes.entry(key).or_default(), row);
    };
    add(Kind::Total, "".into(), "");
    add(Kind::Model, model.into(), "");
    add(Kind::Dialect, (&*row.dialect).into(), "");
    add(Kind::Status, row.status.to_string().into(), "");
    if let Some(token) = &row.token_id {
        add(Kind::Token, token.into(), model);
    }
    if let Some(key_id) = row.key_id {
        let key =
            RollupKey { kind: Kind::Key, step: Step::Minute, at_ms, name: key_id.to_string().into(), model };
        let totals = minutes.entry(key).or_default();
        add_row(totals, row);
        // The others were made with other keys.
        totals.attempts += 1 - i64::from(row.attempts);
    }
}

fn add_row(totals: &mut Totals, row: &RequestLog) {
    totals.requests += 1;
    totals.attempts += i64::from(row.attempts);
    match Ending::of(row.status, row.error.is_some()) {
        Ending::Succeeded => {
            totals.succeeded += 1;
            totals.rescued += i64::from(row.attempts > 1);
            totals.duration.record(row.duration_ms);
            if let Some(first_byte_ms) = row.first_byte_ms {
                totals.first_byte.record(first_byte_ms);
            }
        }
        Ending::ClientError => totals.client_errors += 1,
        Ending::Failed => totals.failed += 1,
    }
    totals.prompt_tokens += row.prompt_tokens;
    totals.cached_tokens += row.cached_tokens;
    totals.output_tokens += row.output_tokens;
    totals.thoughts_tokens += row.thoughts_tokens;
    totals.last_at_ms = totals.last_at_ms.max(row.started_at_ms);
}

/// Counts for its key alone; the request that it was made for has its own row.
fn add_failed_attempt<'a>(minutes: &mut Minutes<'a>, row: &'a NewErrorLog, model: &'a str) {
    let Some(key_id) = row.key_id else { return };
    let key = RollupKey {
        kind: Kind::Key,
        step: Step::Minute,
        at_ms: floor(row.at_ms, MINUTE_MS),
        name: key_id.to_string().into(),
        model,
    };
    let totals = minutes.entry(key).or_default();
    totals.requests += 1;
    totals.attempts += 1;
    match &*row.kind {
        "client_fault" => totals.client_errors += 1,
        _ => totals.failed += 1,
    }
    totals.last_at_ms = totals.last_at_ms.max(row.at_ms);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{logs::tests::failure, request_logs::tests::row};

    fn told<'a>(
        sums: &'a BTreeMap<RollupKey<'_>, Totals>,
        kind: Kind,
        step: Step,
    ) -> Vec<(&'a str, &'a Totals)> {
        sums.iter()
            .filter(|(key, _)| key.kind == kind && key.step == step)
            .map(|(key, totals)| (&*key.name, totals))
            .collect()
    }

    #[test]
    fn a_request_counts_once_in_every_kind_and_step() {
        let rows = [row(1)];

        let sums = sum_logs(&rows, &[], &mut ModelNames::default());

        // Three steps of five kinds, and of keys only two.
        assert_eq!(sums.len(), 3 * 5 + 2);
        assert!(sums.values().all(|totals| totals.requests == 1));
    }

    #[test]
    fn a_rescued_request_counts_for_the_key_that_answered_and_against_the_one_that_failed() {
        let answered = [RequestLog { key_id: Some(7), attempts: 2, ..row(1) }];
        let failed = [NewErrorLog { key_id: Some(3), ..failure(1) }];

        let sums = sum_logs(&answered, &failed, &mut ModelNames::default());

        let [(_, total)] = told(&sums, Kind::Total, Step::Day)[..] else { panic!("{sums:?}") };
        assert_eq!((total.requests, total.attempts, total.rescued), (1, 2, 1));
        let [(_, three), (_, seven)] = told(&sums, Kind::Key, Step::Day)[..] else { panic!("{sums:?}") };
        assert_eq!((three.requests, three.failed, three.succeeded), (1, 1, 0));
        assert_eq!((seven.requests, seven.attempts, seven.succeeded), (1, 1, 1));
    }

    #[test]
    fn how_long_failures_take_is_no_latency() {
        let refused = [RequestLog { status: 429, first_byte_ms: Some(1), ..row(1) }];

        let sums = sum_logs(&refused, &[], &mut ModelNames::default());

        let [(_, total)] = told(&sums, Kind::Total, Step::Hour)[..] else { panic!("{sums:?}") };
        assert_eq!((total.failed, total.duration.count(), total.first_byte.count()), (1, 0, 0));
    }

    #[test]
    fn made_up_models_are_summed_up_together() {
        let made_up = |n: i64| RequestLog { model: format!("made-up-{n}"), status: 404, ..row(n) };
        let rows: Vec<_> = (0..50).map(made_up).chain([row(99)]).collect();

        let sums = sum_logs(&rows, &[], &mut ModelNames::default());

        let models: Vec<_> = told(&sums, Kind::Model, Step::Day)
            .iter()
            .map(|(name, totals)| (*name, totals.requests))
            .collect();
        assert_eq!(models, [("gemini-2.5-flash", 1), ("other", 50)]);
    }
}
