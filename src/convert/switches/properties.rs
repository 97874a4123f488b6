//! What holds for every body, name and stream, however odd.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{Changes, Edits, SearchLinks, Smoother, Smoothing, Switches, body::Thinks};
use crate::convert::cures::Cure;

/// Names that mean something to what is tested, so that odd JSON gets past the first look.
const NAMES: [&str; 14] = [
    "contents",
    "parts",
    "tools",
    "generationConfig",
    "generation_config",
    "thinkingConfig",
    "systemInstruction",
    "text",
    "functionCall",
    "functionResponse",
    "candidates",
    "content",
    "groundingMetadata",
    "role",
];

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(&NAMES[..]).prop_map(str::to_owned)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        prop::sample::select(&["", "model", "user", "é👩‍👧", "MINIMAL", "application/json"][..])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn all_changes() -> Changes {
    let edits = Edits {
        set: vec![("labels.team".into(), json!("x")), ("contents.text".into(), json!(1))],
        defaults: vec![("generationConfig.temperature".into(), json!(1))],
        remove: vec!["tools.functionCall".into(), "role".into()],
    };
    Changes {
        search: true,
        code_execution: true,
        url_context: true,
        beside_functions: true,
        pictures: true,
        thinks: Some(Thinks::Tokens { budget: -1, shown: true }),
        edits,
    }
}

proptest! {
    #[test]
    fn any_object_stays_an_object_and_changing_it_again_changes_nothing(body in any_json()) {
        let changes = all_changes();
        let once = changes.apply(body.to_string().as_bytes());

        prop_assert_eq!(once.is_some(), body.is_object());
        if let Some(once) = once {
            let read: Value = serde_json::from_slice(&once).unwrap();
            prop_assert!(read.is_object());
            let again = changes.apply(&once).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Value>(&again).unwrap(), read);
        }
    }

    #[test]
    fn odd_bytes_are_left_to_google(bytes in any::<Vec<u8>>()) {
        let _ = all_changes().apply(&bytes);
        let _ = SearchLinks::default().event(&bytes);
    }

    #[test]
    fn whatever_is_mended_is_json_and_differs(body in any_json()) {
        for cure in [
            Cure::ForgetSignatures, Cure::LeaveOutExtras, Cure::RaiseThinkingLevel, Cure::LeaveOutThinkingBudget,
            Cure::LeaveOutThinking, Cure::EndWithUser, Cure::TellSystemToUser, Cure::FunctionsOnly, Cure::LeaveOutFormat,
            Cure::LeaveOutIds,
        ] {
            if let Some(mended) = cure.mend(body.to_string().as_bytes()) {
                prop_assert_ne!(&serde_json::from_slice::<Value>(&mended).unwrap(), &body, "{:?}", cure);
            }
        }
    }

    #[test]
    fn any_name_is_a_model_and_never_longer_than_it_was(name in "[a-z/-]{0,20}(-search|-image|-non-thinking|-chat){0,4}") {
        let every = vec!["*".to_owned()];
        let switches = Switches {
            search_models: every.clone(), image_models: every, create_image_model: Some("m".into()), ..Switches::default()
        };

        let wanted = switches.resolve(&name, |_| false);

        prop_assert!(wanted.model.len() <= name.len());
        let real = switches.resolve(&name, |_| true).model;
        prop_assert_eq!(real, name.trim_start_matches("google/").trim_start_matches("models/"));
    }

    #[test]
    fn a_smoothed_stream_says_every_text_once_and_in_time(
        texts in prop::collection::vec(".{0,80}", 0..8), gaps in prop::collection::vec(0_u64..50, 8),
    ) {
        let smoothing = Smoothing {
            min_delay: Duration::from_millis(1), max_delay: Duration::from_millis(9), short: 5, long: 30, chunk: 4,
            max_lag: Duration::from_millis(100),
        };
        let (mut smoother, mut now) = (Smoother::new(smoothing), Instant::now());
        let mut said = String::new();
        let mut leave = |smoother: &mut Smoother, now| {
            while let Some((_, Some(data))) = smoother.pop(now) {
                let event: Value = serde_json::from_slice(&data).unwrap();
                said.push_str(event["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap());
            }
        };
        for (text, gap) in texts.iter().zip(&gaps) {
            let event = json!({"candidates": [{"content": {"parts": [{"text": text}]}}]});
            smoother.push(0, event.to_string().into(), now);
            prop_assert!(smoother.next_due().is_none_or(|due| due <= now + smoothing.max_lag));
            now += Duration::from_millis(*gap);
            leave(&mut smoother, now);
        }
        leave(&mut smoother, now + smoothing.max_lag);

        prop_assert_eq!(said, texts.concat());
        prop_assert!(smoother.is_empty());
    }
}
