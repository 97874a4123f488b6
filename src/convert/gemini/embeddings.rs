//! `batchEmbedContents`, which Google's own SDKs use even for one text.

use serde::{Deserialize, Serialize};

use super::{Part, response::null_as_default};
use crate::domain::usage::Usage;

/// Most entries of one call.
pub const MAX_BATCH: usize = 100;

#[derive(Debug, Serialize)]
pub struct BatchEmbedContentsRequest<'a> {
    pub requests: Vec<EmbedContentRequest<'a>>,
}

impl BatchEmbedContentsRequest<'_> {
    /// The JSON that goes to Google.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always serialise")
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EmbedContentRequest<'a> {
    /// `models/ID`; every entry repeats it.
    pub model: String,
    pub content: EmbedContent<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_dimensionality: Option<u64>,
}

#[derive(Debug, Serialize)]
pub struct EmbedContent<'a> {
    pub parts: [Part<'a>; 1],
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BatchEmbedContentsResponse {
    #[serde(deserialize_with = "null_as_default")]
    pub embeddings: Vec<ContentEmbedding>,
    /// Only from gemini-embedding-2 on.
    pub usage_metadata: Option<Usage>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ContentEmbedding {
    #[serde(deserialize_with = "null_as_default")]
    pub values: Vec<f32>,
}

/// Whether the model normalises its vectors only at their full length. Source: Google's page on embeddings.
pub fn needs_normalising(model: &str, dimensions: usize) -> bool {
    const FULL_LENGTH: usize = 3072;
    model == "gemini-embedding-001" && dimensions < FULL_LENGTH
}

/// Scales a vector to length 1; one of zeros stays as it is.
pub fn normalise(values: &mut [f32]) {
    let length = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        values.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_scaled_to_length_one() {
        let mut values = [3.0, 4.0];

        normalise(&mut values);

        assert_eq!(values, [0.6, 0.8]);
    }

    #[test]
    fn nothing_is_divided_by_zero() {
        let mut values = [0.0, 0.0];

        normalise(&mut values);

        assert_eq!(values, [0.0, 0.0]);
    }
}
