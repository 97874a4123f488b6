//! Gemini's counts as OpenAI's usage.

use super::types::{ChatUsage, CompletionTokensDetails, PromptTokensDetails};
use crate::convert::gemini::response::{ModalityCount, UsageMetadata};

/// Usage of one answer.
pub(super) fn of(counts: &UsageMetadata<'_>) -> ChatUsage {
    let usage = counts.counts();
    let sum = usage.input() + usage.output();
    ChatUsage {
        prompt_tokens: usage.input(),
        completion_tokens: usage.output(),
        total_tokens: if usage.total_token_count == 0 { sum } else { usage.total_token_count },
        prompt_tokens_details: PromptTokensDetails {
            cached_tokens: usage.cached_content_token_count,
            audio_tokens: of_modality(&counts.prompt_tokens_details, "AUDIO"),
            image_tokens: of_modality(&counts.prompt_tokens_details, "IMAGE"),
        },
        completion_tokens_details: CompletionTokensDetails {
            reasoning_tokens: usage.thoughts_token_count,
            audio_tokens: of_modality(&counts.candidates_tokens_details, "AUDIO"),
            image_tokens: of_modality(&counts.candidates_tokens_details, "IMAGE"),
            ..CompletionTokensDetails::default()
        },
    }
}

fn of_modality(details: &[ModalityCount<'_>], modality: &str) -> u64 {
    let named = |count: &&ModalityCount<'_>| count.modality.as_deref() == Some(modality);
    details.iter().filter(named).map(|count| count.token_count).sum()
}

/// Usage of several answers to one prompt, which counts once, as OpenAI does it for `n`.
pub(super) fn together(answers: impl Iterator<Item = ChatUsage>) -> ChatUsage {
    answers
        .reduce(|mut all, one| {
            let (sum, one_details) = (&mut all.completion_tokens_details, one.completion_tokens_details);
            sum.reasoning_tokens += one_details.reasoning_tokens;
            sum.audio_tokens += one_details.audio_tokens;
            sum.image_tokens += one_details.image_tokens;
            if all.prompt_tokens == 0 {
                (all.prompt_tokens, all.prompt_tokens_details) =
                    (one.prompt_tokens, one.prompt_tokens_details);
            }
            all.completion_tokens += one.completion_tokens;
            all.total_tokens = all.prompt_tokens + all.completion_tokens;
            all
        })
        .unwrap_or_default()
}

/// OpenAI's name of the tier that served the answer.
pub(super) fn service_tier(counts: &UsageMetadata<'_>) -> Option<&'static str> {
    let tiers = [("standard", "default"), ("flex", "flex"), ("priority", "priority")];
    let served = counts.service_tier.as_deref()?;
    tiers.iter().find(|(gemini, _)| gemini.eq_ignore_ascii_case(served)).map(|(_, openai)| *openai)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_are_completion_and_tool_prompts_are_prompt() {
        let json = r#"{"promptTokenCount": 10, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 3,
            "thoughtsTokenCount": 4, "cachedContentTokenCount": 2, "totalTokenCount": 22,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8}, {"modality": "IMAGE", "tokenCount": 2}]}"#;

        let usage = of(&serde_json::from_str(json).unwrap());

        assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (15, 7, 22));
        assert_eq!(usage.prompt_tokens_details.cached_tokens, 2);
        assert_eq!(usage.prompt_tokens_details.image_tokens, 2);
        assert_eq!(usage.completion_tokens_details.reasoning_tokens, 4);
    }

    #[test]
    fn several_answers_share_one_prompt() {
        let one =
            ChatUsage { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12, ..ChatUsage::default() };

        let all = together([one, one, one].into_iter());

        assert_eq!((all.prompt_tokens, all.completion_tokens, all.total_tokens), (10, 6, 16));
        assert_eq!(together([one].into_iter()), one);
    }
}
