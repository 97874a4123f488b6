//! A figure over time: points for a chart.

use std::collections::BTreeMap;

use actix_web::web::{Data, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    metric::{Metric, state_series},
    range::Range,
    read_figures,
    source::{Filter, GroupBy, Source},
    usage::group_names,
};
use crate::{
    api::{
        admin::{Admin, error::AdminError, parameters::Parameters},
        auth::AdminUser,
        error::Failure,
        gateway::Gateway,
    },
    db::key_states::load_key_states,
    domain::{
        figures::Totals,
        time::Now,
        timeline::{DAY_MS, HOUR_MS, MINUTE_MS, STEPS_MS, Step, Stretch, ceil, chart_step, floor},
    },
};

/// Points of a series where no step is asked for, and the most that can be asked for.
const USUAL_POINTS: i64 = 200;
const MOST_POINTS: i64 = 2_000;
/// Groups with a series of their own; all others are told together.
const GROUPS: usize = 10;
const OTHER: &str = "other";

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SeriesQuery {
    #[serde(default)]
    #[param(inline, value_type = Option<Metric>)]
    metric: Metric,
    /// Unix milliseconds; a day before `to_ms` unless it is said.
    from_ms: Option<i64>,
    /// Unix milliseconds; now unless it is said.
    to_ms: Option<i64>,
    /// Length of the buckets: 1, 2, 5, 10, 15 or 30 minutes, 1, 2, 3, 6 or 12 hours, or a day. A longer one is taken where
    /// shorter ones are not kept.
    step_ms: Option<i64>,
    /// A series for each of the busiest ten, and one for all others where they can be told.
    #[param(inline)]
    group_by: Option<GroupBy>,
    key_id: Option<i64>,
    token_id: Option<String>,
    model: Option<String>,
}

/// A figure over time.
#[derive(Debug, Serialize, ToSchema)]
pub struct SeriesAnswer {
    metric: Metric,
    /// `requests`, `attempts`, `tokens`, `ms`, `ratio` or `keys`.
    unit: &'static str,
    /// Beginning of the first bucket.
    from_ms: i64,
    /// End of the last one.
    to_ms: i64,
    step_ms: i64,
    series: Vec<Series>,
}

#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct Series {
    /// Of keys the mask; blank where there is only one series.
    pub name: String,
    /// Of keys and tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The beginning of each bucket and the value; `null` where there is none.
    #[schema(value_type = Vec<Vec<Option<f64>>>)]
    pub points: Vec<(i64, Option<f64>)>,
}

/// The buckets of a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axis {
    pub from_ms: i64,
    pub to_ms: i64,
    pub step_ms: i64,
}

impl Axis {
    /// 400 for a step that there is not, or that makes too many points.
    fn new(range: Range, asked_ms: Option<i64>, at_least_ms: i64) -> Result<Self, AdminError> {
        let step_ms = match asked_ms {
            Some(step_ms) if !STEPS_MS.contains(&step_ms) => {
                return Err(AdminError::parameter(
                    "step_ms",
                    "is not 1, 2, 5, 10, 15 or 30 minutes, 1, 2, 3, 6 or 12 hours, or a day",
                ));
            }
            Some(step_ms) if range.span_ms() / step_ms > MOST_POINTS => {
                return Err(AdminError::parameter("step_ms", "makes more than 2000 points of this range"));
            }
            Some(step_ms) => step_ms.max(at_least_ms),
            None => chart_step(range.span_ms(), at_least_ms, USUAL_POINTS),
        };
        Ok(Self { from_ms: floor(range.from_ms, step_ms), to_ms: ceil(range.to_ms, step_ms), step_ms })
    }

    /// The sums that it is drawn from.
    fn stretch(self) -> Stretch {
        Stretch { step: Step::dividing(self.step_ms), from_ms: self.from_ms, to_ms: self.to_ms }
    }

    /// A point for each bucket.
    pub fn points(self, value: impl Fn(i64) -> Option<f64>) -> Vec<(i64, Option<f64>)> {
        let steps = (self.to_ms - self.from_ms) / self.step_ms;
        (0..steps).map(|step| self.from_ms + step * self.step_ms).map(|at_ms| (at_ms, value(at_ms))).collect()
    }

    fn draw(self, metric: Metric, buckets: &BTreeMap<i64, Totals>) -> Vec<(i64, Option<f64>)> {
        let mut sums = BTreeMap::<i64, Totals>::new();
        for (at_ms, totals) in buckets {
            sums.entry(floor(*at_ms, self.step_ms)).or_default().merge(totals);
        }
        let none = Totals::default();
        self.points(|at_ms| metric.value(sums.get(&at_ms).unwrap_or(&none)))
    }
}

/// The shortest steps that are kept for this range, and that are few enough rows.
fn shortest_step(source: &Source, range: Range, now_ms: i64) -> i64 {
    let kept = range.finest(source.kind, now_ms).ms();
    let quick = match range.span_ms() {
        span if source.is_wide() && span > 4 * DAY_MS => DAY_MS,
        span if source.is_grouped() && span > 12 * HOUR_MS => HOUR_MS,
        _ => MINUTE_MS,
    };
    kept.max(quick)
}

/// A figure over time, as points for a chart: one series, or one for each group.
#[utoipa::path(
    get, path = "/api/admin/stats/series", tag = "stats", params(SeriesQuery),
    responses((status = 200, description = "The series", body = SeriesAnswer)),
)]
pub async fn series(
    _: AdminUser,
    gateway: Data<Gateway>,
    Parameters(query): Parameters<SeriesQuery>,
) -> Result<Json<SeriesAnswer>, Failure<Admin>> {
    let now_ms = Now::read().unix_ms();
    let range = Range::read(query.from_ms, query.to_ms, now_ms)?;
    let (metric, group_by) = (query.metric, query.group_by);
    let filter = Filter { key_id: query.key_id, token_id: query.token_id, model: query.model };
    let source = Source::of(group_by, filter.clone())?;
    if metric == Metric::KeysByState {
        if group_by.is_some() || filter != Filter::default() {
            return Err(
                AdminError::parameter("metric", "`keys_by_state` takes no group and no filter").into()
            );
        }
        let kept = if range.from_ms >= now_ms - 2 * DAY_MS { MINUTE_MS } else { HOUR_MS };
        let axis = Axis::new(range, query.step_ms, kept)?;
        let states =
            read_figures(&gateway, move |conn| load_key_states(conn, axis.from_ms, axis.to_ms)).await?;
        return Ok(Json(answer(metric, axis, state_series(axis, &states))));
    }
    let axis = Axis::new(range, query.step_ms, shortest_step(&source, range, now_ms))?;
    let stretches = [axis.stretch()];
    let grouped = read_figures(&gateway, move |conn| source.load(conn, &stretches, GROUPS)).await?;
    let names = match group_by {
        Some(group_by) => {
            group_names(&gateway, group_by, grouped.groups.iter().map(|(name, _)| &**name)).await?
        }
        None => Default::default(),
    };
    let mut series: Vec<Series> = Vec::new();
    for (id, buckets) in &grouped.groups {
        let name = names.get(id).unwrap_or(id).clone();
        series.push(Series {
            name,
            id: names.contains_key(id).then(|| id.clone()),
            points: axis.draw(metric, buckets),
        });
    }
    if series.is_empty() && group_by.is_none() {
        let points = axis.draw(metric, &BTreeMap::new());
        series.push(Series { name: String::new(), id: None, points });
    }
    if let Some(rest) = &grouped.rest {
        series.push(Series { name: OTHER.to_owned(), id: None, points: axis.draw(metric, rest) });
    }
    Ok(Json(answer(metric, axis, series)))
}

fn answer(metric: Metric, axis: Axis, series: Vec<Series>) -> SeriesAnswer {
    let Axis { from_ms, to_ms, step_ms } = axis;
    SeriesAnswer { metric, unit: metric.unit(), from_ms, to_ms, step_ms, series }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    fn range(span_ms: i64) -> Range {
        Range { from_ms: NOW - span_ms, to_ms: NOW }
    }

    fn source(group_by: Option<GroupBy>) -> Source {
        Source::of(group_by, Filter::default()).unwrap()
    }

    #[test]
    fn the_step_fits_the_range_and_what_is_kept_for_it() {
        let step = |group_by, span_ms| {
            let range = range(span_ms);
            Axis::new(range, None, shortest_step(&source(group_by), range, NOW)).unwrap().step_ms
        };

        assert_eq!(step(None, 15 * MINUTE_MS), MINUTE_MS);
        assert_eq!(step(None, DAY_MS), 10 * MINUTE_MS);
        assert_eq!(step(None, 7 * DAY_MS), HOUR_MS);
        assert_eq!(step(None, 90 * DAY_MS), 12 * HOUR_MS);
        assert_eq!(step(Some(GroupBy::Model), DAY_MS), HOUR_MS);
        assert_eq!(step(Some(GroupBy::Key), HOUR_MS), HOUR_MS);
        assert_eq!(step(Some(GroupBy::Key), 30 * DAY_MS), DAY_MS);
    }

    #[test]
    fn a_step_is_one_of_those_that_divide_a_day() {
        let asked = |span, step| Axis::new(range(span), Some(step), MINUTE_MS);

        assert_eq!(asked(HOUR_MS, 5 * MINUTE_MS).unwrap().step_ms, 5 * MINUTE_MS);
        for (span, step) in [(HOUR_MS, 7), (HOUR_MS, 0), (HOUR_MS, -MINUTE_MS), (90 * DAY_MS, MINUTE_MS)] {
            assert_eq!(asked(span, step).expect_err("refused").status(), 400, "{step}");
        }
        assert_eq!(Axis::new(range(HOUR_MS), Some(MINUTE_MS), HOUR_MS).unwrap().step_ms, HOUR_MS);
    }

    #[test]
    fn there_is_a_point_for_each_bucket_and_sums_are_whole() {
        let axis = Axis { from_ms: 0, to_ms: 3 * HOUR_MS, step_ms: HOUR_MS };
        let at = |minute: i64, requests| (minute * MINUTE_MS, Totals { requests, ..Totals::default() });
        let buckets = BTreeMap::from([at(0, 1), at(59, 2), at(120, 4)]);

        let told = axis.draw(Metric::Requests, &buckets);

        assert_eq!(told, [(0, Some(3.0)), (HOUR_MS, Some(0.0)), (2 * HOUR_MS, Some(4.0))]);
        let rate = axis.draw(Metric::SuccessRate, &buckets);
        assert!(rate.iter().all(|(_, value)| value.is_none()));
    }
}
