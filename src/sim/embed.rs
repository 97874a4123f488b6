//! Vectors: the same text gives the same vector, of length one.

use serde::Serialize;

use super::{errors::GoogleError, models::Model, request::EmbedRequest};

/// Dimensions when none are asked for, and the most there are.
pub const MAX_DIMENSIONS: usize = 3_072;

/// A vector as Google writes it.
#[derive(Debug, PartialEq, Serialize)]
pub struct Embedding {
    pub values: Vec<f32>,
}

/// Embeds one entry; in a batch each names the model of its path.
pub fn embed(request: &EmbedRequest, model: &Model, is_batch: bool) -> Result<Embedding, GoogleError> {
    let named = request.model.as_deref().map(|name| name.trim_start_matches("models/"));
    if is_batch && named != Some(model.id) {
        return Err(GoogleError::invalid_argument(
            "* BatchEmbedContentsRequest.requests[].model: model must match the model of the path.\n",
        ));
    }
    if request.content.parts.is_empty() {
        return Err(GoogleError::invalid_argument(
            "* EmbedContentRequest.content: contents is not specified\n",
        ));
    }
    let dimensions = request.output_dimensionality.unwrap_or(MAX_DIMENSIONS);
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        return Err(GoogleError::invalid_argument(format!(
            "* EmbedContentRequest.output_dimensionality: must be between 1 and {MAX_DIMENSIONS}.\n"
        )));
    }
    Ok(Embedding { values: vector(&request.content.text(), dimensions) })
}

/// A unit vector that depends on the text alone.
pub fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut state =
        text.bytes().fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)) | 1;
    let mut values: Vec<f32> = (0..dimensions)
        .map(|_| {
            state = step(state);
            // The upper 24 bits fit a float exactly.
            (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
        })
        .collect();
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        values.iter_mut().for_each(|value| *value /= length);
    }
    values
}

/// FNV-1a of 64 bits; source: <http://www.isthe.com/chongo/tech/comp/fnv/>.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// One step of xorshift64; source: G. Marsaglia, "Xorshift RNGs", 2003.
fn step(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^ (state << 17)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_has_length_one_and_depends_on_the_text() {
        let vector_of = |text| vector(text, 256);

        let length: f32 = vector_of("a").iter().map(|value| value * value).sum();

        assert!((length - 1.0).abs() < 1e-4);
        assert_eq!(vector_of("a"), vector_of("a"));
        assert_ne!(vector_of("a"), vector_of("b"));
    }

    #[test]
    fn an_empty_text_and_zero_dimensions_do_no_harm() {
        assert_eq!(vector("", 3).len(), 3);
        assert!(vector("a", 0).is_empty());
    }
}
