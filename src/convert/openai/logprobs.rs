//! Log probabilities of tokens, where a model tells them.

use serde::Serialize;

use crate::convert::gemini::response::{LogprobsResult, TokenCandidate};

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Logprobs {
    pub content: Vec<Token>,
    /// Always `null`: refusals are ours and have no tokens.
    pub refusal: (),
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Token {
    #[serde(flatten)]
    pub chosen: Candidate,
    pub top_logprobs: Vec<Candidate>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    pub token: String,
    pub logprob: f64,
    /// The token in UTF-8.
    pub bytes: Vec<u8>,
}

/// The tokens of one event, with at most `alternatives` others for each.
pub(super) fn read(result: &LogprobsResult<'_>, alternatives: u64) -> Logprobs {
    let alternatives = usize::try_from(alternatives).unwrap_or(usize::MAX);
    let token = |(at, chosen): (usize, &TokenCandidate<'_>)| {
        let others = result.top_candidates.get(at).map_or(&[][..], |top| &top.candidates);
        Token {
            chosen: candidate(chosen),
            top_logprobs: others.iter().take(alternatives).map(candidate).collect(),
        }
    };
    Logprobs { content: result.chosen_candidates.iter().enumerate().map(token).collect(), refusal: () }
}

fn candidate(token: &TokenCandidate<'_>) -> Candidate {
    let text = token.token.to_string();
    Candidate { bytes: text.as_bytes().to_vec(), token: text, logprob: token.log_probability }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_their_bytes_and_as_many_others_as_asked_for() {
        let json = r#"{"chosenCandidates": [{"token": "é", "logProbability": -0.5}, {"token": "x", "logProbability": -1}],
            "topCandidates": [{"candidates": [{"token": "é", "logProbability": -0.5}, {"token": "e", "logProbability": -2}]}]}"#;

        let read = |alternatives| read(&serde_json::from_str(json).unwrap(), alternatives);

        assert_eq!(read(1).content[0].chosen.bytes, [0xc3, 0xa9]);
        assert_eq!(read(1).content[0].top_logprobs.len(), 1);
        assert_eq!(read(5).content[0].top_logprobs[1].token, "e");
        assert_eq!(read(5).content[1].top_logprobs, []);
    }
}
