//! Figures that are made anew for each scrape, from what the actors hold.
//!
//! Only models that Google lists are labels, and so many of them at most: clients can make up any name.

use std::sync::{Arc, atomic::AtomicU64};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use super::metrics::{CauseLabel, PREFIX, StateLabel, signed};
use crate::{
    actors::{balancer::BalancerSnapshot, supervisor::PoolSnapshot},
    balance::{
        affinity::ModelBenefit,
        forecast::{Forecast, ModelForecast},
    },
    domain::model::ModelName,
};

/// Models that have figures of their own; Google has some sixty.
const MODELS: usize = 50;

/// What the actors said; empty where one did not answer.
#[derive(Debug, Default)]
pub struct Snapshots {
    pub pool: Option<PoolSnapshot>,
    pub balancer: Option<BalancerSnapshot>,
    pub forecast: Option<Arc<Forecast>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ModelLabel {
    model: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct QuotaLabels {
    model: String,
    window: &'static str,
    metric: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WindowLabels {
    model: String,
    window: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct GroupLabels {
    model: String,
    group: &'static str,
}

type Real = Gauge<f64, AtomicU64>;

impl Snapshots {
    /// Everything that they tell. `is_listed` says which models may be labels.
    pub fn registry(&self, is_listed: impl Fn(&ModelName) -> bool) -> Registry {
        let mut registry = Registry::with_prefix(PREFIX);
        if let Some(pool) = &self.pool {
            register_pool(&mut registry, pool);
        }
        if let Some(balancer) = &self.balancer {
            register_balancer(&mut registry, balancer);
            let models = balancer.benefit.iter().filter(|told| is_listed(&told.model)).take(MODELS);
            register_benefit(&mut registry, models);
        }
        if let Some(forecast) = &self.forecast {
            let models = forecast.models.iter().filter(|told| is_listed(&told.model)).take(MODELS);
            register_forecast(&mut registry, models, forecast.at_ms);
        }
        registry
    }
}

fn register_balancer(registry: &mut Registry, told: &BalancerSnapshot) {
    for (name, help, value) in [
        ("waiting_requests", "Requests that wait for a key now", told.waiting as u64),
        ("turned_away", "Requests refused as the waiting room was full", told.turned_away),
        ("storms", "Storms since the start: keys of many projects refused alike", told.storms),
        ("egress_paused", "1 while an address pauses because of a storm", u64::from(told.is_paused)),
    ] {
        let gauge = Gauge::<i64>::default();
        gauge.set(signed(value));
        registry.register(name, help, gauge);
    }
}

fn register_benefit<'a>(registry: &mut Registry, models: impl Iterator<Item = &'a ModelBenefit>) {
    let (prompt, cached) = (Family::<GroupLabels, Real>::default(), Family::<GroupLabels, Real>::default());
    let off = Family::<ModelLabel, Gauge>::default();
    for ModelBenefit { model, preferring, control, conversations, is_off } in models {
        for (group, hits) in
            [("preferring", preferring), ("control", control), ("conversation", conversations)]
        {
            let label = GroupLabels { model: model.to_string(), group };
            prompt.get_or_create(&label).set(hits.prompt);
            cached.get_or_create(&label).set(hits.cached);
        }
        off.get_or_create(&ModelLabel { model: model.to_string() }).set(i64::from(*is_off));
    }
    registry.register(
        "affinity_prompt_tokens",
        "Prompt tokens of requests that prefer a key, lately, by whether they got their wish",
        prompt,
    );
    registry.register("affinity_cached_tokens", "Of these, what Google had cached", cached);
    registry.register("affinity_off", "1 while the preference is not followed, as it did not pay", off);
}

fn register_pool(registry: &mut Registry, pool: &PoolSnapshot) {
    let keys = Family::<StateLabel, Gauge>::default();
    for (state, count) in [
        ("active", pool.states.active),
        ("cooling", pool.states.cooling),
        ("half_open", pool.states.half_open),
        ("invalid", pool.states.invalid),
        ("disabled", pool.states.disabled),
    ] {
        keys.get_or_create(&StateLabel { state }).set(signed(count as u64));
    }
    let respawns = Family::<CauseLabel, Gauge>::default();
    for (cause, count) in [("panic", pool.respawned_after_panic), ("stop", pool.respawned_after_stop)] {
        respawns.get_or_create(&CauseLabel { cause }).set(signed(count));
    }
    registry.register("keys", "Keys by state", keys);
    registry.register("key_actor_respawns", "Key actors started again, by cause", respawns);
    for (name, help, value) in [
        ("keys_partly_cooling", "Active keys that cool for at least one model", pool.partly_cooling as u64),
        ("in_flight", "Attempts that are not settled yet", pool.in_flight),
        ("projects_proposed", "Sets of keys that seem to share a project", pool.projects_proposed as u64),
    ] {
        let gauge = Gauge::<i64>::default();
        gauge.set(signed(value));
        registry.register(name, help, gauge);
    }
}

fn register_forecast<'a>(
    registry: &mut Registry,
    models: impl Iterator<Item = &'a ModelForecast>,
    at_ms: i64,
) {
    let (left, limit) = (Family::<QuotaLabels, Gauge>::default(), Family::<QuotaLabels, Gauge>::default());
    let unknown = Family::<QuotaLabels, Gauge>::default();
    let (rate, ready) = (Family::<ModelLabel, Real>::default(), Family::<ModelLabel, Gauge>::default());
    let (recovers, dry) = (Family::<ModelLabel, Real>::default(), Family::<WindowLabels, Real>::default());
    for told in models {
        let model = || told.model.to_string();
        for (window, metric, capacity) in [
            ("minute", "requests", told.minute.requests),
            ("minute", "tokens", told.minute.tokens),
            ("day", "requests", told.day.requests),
        ] {
            let labels = QuotaLabels { model: model(), window, metric };
            // Where no limit is known, nothing is left of none.
            if capacity.limit > 0 {
                left.get_or_create(&labels).set(signed(capacity.left));
                limit.get_or_create(&labels).set(signed(capacity.limit));
            }
            unknown.get_or_create(&labels).set(signed(capacity.unknown_projects));
        }
        rate.get_or_create(&ModelLabel { model: model() }).set(told.rate.requests_per_minute);
        ready.get_or_create(&ModelLabel { model: model() }).set(signed(told.ready_projects));
        if let Some(recovery_at_ms) = told.next_recovery_at_ms {
            let seconds = recovery_at_ms.saturating_sub(at_ms) as f64 / 1000.0;
            recovers.get_or_create(&ModelLabel { model: model() }).set(seconds);
        }
        for (window, dry_in_ms) in [("minute", told.minute.dry_in_ms), ("day", told.day.dry_in_ms)] {
            if let Some(dry_in_ms) = dry_in_ms {
                let seconds = dry_in_ms as f64 / 1000.0;
                dry.get_or_create(&WindowLabels { model: model(), window }).set(seconds);
            }
        }
    }
    registry.register("quota_left", "What all projects with known limits may still use", left);
    registry.register("quota_limit", "The sum of the known limits", limit);
    registry.register("quota_unknown_projects", "Projects whose limit nobody knows", unknown);
    registry.register("quota_ready_projects", "Projects with room for a request now", ready);
    registry.register("quota_requests_per_minute", "What is sent to Google at present", rate);
    registry.register("quota_recovery_seconds", "Until the next project has room again", recovers);
    registry.register("quota_dry_seconds", "Until nothing is left at the present rate, if ever", dry);
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::balance::{
        affinity::Hits,
        forecast::{Capacity, DayForecast, MinuteForecast, Rate},
    };

    fn benefit(model: &str, cached: f64, is_off: bool) -> ModelBenefit {
        let hits = |cached| Hits { prompt: 1_000.0, cached };
        let model = ModelName::parse(model).unwrap();
        ModelBenefit {
            model,
            preferring: hits(cached),
            control: hits(0.0),
            conversations: hits(900.0),
            is_off,
        }
    }

    fn balancer(benefit: Vec<ModelBenefit>) -> BalancerSnapshot {
        BalancerSnapshot {
            keys: 2,
            ready: 2,
            leases_given: 9,
            refused: 0,
            waiting: 3,
            waited: 0,
            turned_away: 4,
            respawned: 0,
            benefit,
            storms: 2,
            is_paused: true,
        }
    }

    fn text(found: &Snapshots, is_listed: impl Fn(&ModelName) -> bool) -> String {
        let mut text = String::new();
        encode(&mut text, &found.registry(is_listed)).unwrap();
        text
    }

    #[test]
    fn the_balancers_figures_are_told() {
        let balancer = balancer(vec![benefit("flash", 600.0, true)]);
        let found = Snapshots { balancer: Some(balancer), ..Snapshots::default() };

        let text = text(&found, |_| true);

        for line in [
            "gemini_balance_waiting_requests 3",
            "gemini_balance_turned_away 4",
            "gemini_balance_storms 2",
            "gemini_balance_egress_paused 1",
            r#"gemini_balance_affinity_cached_tokens{model="flash",group="preferring"} 600.0"#,
            r#"gemini_balance_affinity_prompt_tokens{model="flash",group="control"} 1000.0"#,
            r#"gemini_balance_affinity_cached_tokens{model="flash",group="conversation"} 900.0"#,
            r#"gemini_balance_affinity_off{model="flash"} 1"#,
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in {text}");
        }
    }

    #[test]
    fn where_no_limit_is_known_nothing_is_said_of_what_is_left() {
        let capacity =
            |left, limit, unknown_projects| Capacity { left, limit, unknown_projects, ..Capacity::default() };
        let told = ModelForecast {
            model: ModelName::parse("flash").unwrap(),
            projects: 3,
            ready_projects: 3,
            rate: Rate::default(),
            next_recovery_at_ms: Some(5_000),
            minute: MinuteForecast {
                requests: capacity(0, 10, 0),
                tokens: capacity(0, 0, 3),
                dry_in_ms: Some(0),
            },
            day: DayForecast { requests: capacity(7, 20, 2), resets_at_ms: 0, dry_in_ms: None },
        };
        let forecast = Forecast { at_ms: 2_000, models: vec![told] };
        let found = Snapshots { forecast: Some(forecast.into()), ..Snapshots::default() };

        let text = text(&found, |_| true);

        for line in [
            r#"gemini_balance_quota_left{model="flash",window="minute",metric="requests"} 0"#,
            r#"gemini_balance_quota_left{model="flash",window="day",metric="requests"} 7"#,
            r#"gemini_balance_quota_unknown_projects{model="flash",window="minute",metric="tokens"} 3"#,
            r#"gemini_balance_quota_recovery_seconds{model="flash"} 3.0"#,
            r#"gemini_balance_quota_dry_seconds{model="flash",window="minute"} 0.0"#,
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in {text}");
        }
        assert!(!text.contains(r#"quota_left{model="flash",window="minute",metric="tokens"}"#), "{text}");
        assert!(!text.contains(r#"quota_dry_seconds{model="flash",window="day"}"#), "{text}");
    }

    #[test]
    fn labels_are_bounded_and_none_is_a_clients_invention() {
        let made_up = (0..500).map(|n| benefit(&format!("made-up-{n}"), 1.0, false));
        let listed = (0..500).map(|n| benefit(&format!("listed-{n}"), 1.0, false));
        let found =
            Snapshots { balancer: Some(balancer(made_up.chain(listed).collect())), ..Snapshots::default() };

        let text = text(&found, |model| model.as_str().starts_with("listed"));

        assert!(!text.contains("made-up"), "{text}");
        assert_eq!(text.matches("affinity_off{").count(), MODELS);
    }
}
