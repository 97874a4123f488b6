//! OpenAI's embeddings by way of `batchEmbedContents`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::Value;

use super::json::{self, At, Object, string, wrong_type};
use crate::{
    convert::{
        ConvertError,
        fate::{Fate, Fates},
        gemini::{
            Part,
            embeddings::{
                BatchEmbedContentsRequest, BatchEmbedContentsResponse, EmbedContent, EmbedContentRequest,
                MAX_BATCH, needs_normalising, normalise,
            },
        },
    },
    domain::model::ModelName,
};

/// Most inputs of one request, as OpenAI has it.
const MAX_INPUTS: usize = 2048;

/// All fields that OpenAI's SDKs can express. Others are ignored as unknown.
pub const FIELD_FATES: &Fates = &[&[
    ("model", Fate::Honoured),
    ("input", Fate::Mapped("texts, at most 2,048, in batches of 100; arrays of token ids are refused")),
    ("dimensions", Fate::Honoured),
    ("encoding_format", Fate::Honoured),
    ("user", Fate::Ignored("an abuse label of OpenAI's")),
]];

#[derive(Debug, PartialEq, Eq)]
pub struct EmbeddingsRequest {
    /// As the client wrote it.
    pub model: String,
    /// At least one, none of them empty.
    pub inputs: Vec<String>,
    pub dimensions: Option<u64>,
    /// Vectors go back as base64 of little-endian floats. Both SDKs ask for it when the user asks for nothing, and one of them
    /// reads a list of numbers as an empty vector then.
    pub base64: bool,
}

/// Reads the body of an embeddings request.
pub fn embeddings_request(body: &[u8]) -> Result<EmbeddingsRequest, ConvertError> {
    let mut request = json::body(body)?;
    let at = request.at();
    Ok(EmbeddingsRequest {
        model: request.require_string("model")?,
        inputs: inputs(request.require("input")?, at.key("input"))?,
        dimensions: request.integer("dimensions", 1..=u64::MAX)?,
        base64: encoding(&mut request)?,
    })
}

fn encoding(request: &mut Object<'_>) -> Result<bool, ConvertError> {
    match request.string("encoding_format")?.as_deref() {
        None | Some("float") => Ok(false),
        Some("base64") => Ok(true),
        Some(other) => Err(ConvertError::UnknownValue {
            param: "encoding_format".to_owned(),
            value: other.to_owned(),
            supported: "'float' and 'base64'",
        }),
    }
}

fn inputs(value: Value, at: At<'_>) -> Result<Vec<String>, ConvertError> {
    let list = match value {
        Value::String(text) => return Ok(vec![not_empty(text, &at)?]),
        Value::Array(list) => list,
        other => return Err(wrong_type(&at, "a string or an array of strings", &other)),
    };
    match list.first() {
        None => return Err(ConvertError::EmptyArray { param: at.to_string() }),
        Some(Value::Number(_) | Value::Array(_)) => return Err(tokens(&at)),
        Some(_) if list.len() > MAX_INPUTS => {
            return Err(ConvertError::ArrayTooLong {
                param: at.to_string(),
                max: MAX_INPUTS,
                length: list.len(),
            });
        }
        Some(_) => {}
    }
    let read = |(index, text)| not_empty(string(text, &at.index(index))?, &at.index(index));
    list.into_iter().enumerate().map(read).collect()
}

fn not_empty(text: String, at: &At<'_>) -> Result<String, ConvertError> {
    if text.is_empty() {
        let reason = "input cannot be an empty string.".to_owned();
        return Err(ConvertError::InvalidValue { param: at.to_string(), reason });
    }
    Ok(text)
}

fn tokens(at: &At<'_>) -> ConvertError {
    let reason = "arrays of token ids cannot be turned back into text for Gemini; send strings instead. \
                  (With LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False).)";
    ConvertError::InvalidValue { param: at.to_string(), reason: reason.to_owned() }
}

impl EmbeddingsRequest {
    /// The calls to Gemini that answer the request together, in the order of the inputs; `model` is Google's name.
    pub fn to_gemini<'a>(&'a self, model: &ModelName) -> Vec<BatchEmbedContentsRequest<'a>> {
        let entry = |text: &'a String| EmbedContentRequest {
            model: model.resource(),
            content: EmbedContent { parts: [Part::text(text.as_str())] },
            output_dimensionality: self.dimensions,
        };
        let batches = self.inputs.chunks(MAX_BATCH);
        batches
            .map(|texts| BatchEmbedContentsRequest { requests: texts.iter().map(entry).collect() })
            .collect()
    }
}

/// Google gave another number of vectors than it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("asked for {asked} embeddings, got {given}")]
pub struct EmbeddingsMismatch {
    pub asked: usize,
    pub given: usize,
}

#[derive(Debug, PartialEq, Serialize)]
pub struct EmbeddingList<'a> {
    pub object: &'static str,
    pub data: Vec<Embedding>,
    pub model: &'a str,
    pub usage: EmbeddingUsage,
}

impl EmbeddingList<'_> {
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always serialise")
    }
}

#[derive(Debug, PartialEq, Serialize)]
pub struct Embedding {
    pub object: &'static str,
    pub index: usize,
    pub embedding: Vector,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Vector {
    Floats(Vec<f32>),
    /// Little-endian, four bytes each.
    Base64(String),
}

/// Tokens as Google counted them; 0 for models of which it tells no count, since a guess would look like a fact.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct EmbeddingUsage {
    pub prompt_tokens: u64,
    pub total_tokens: u64,
}

/// Joins the answers to `to_gemini`'s calls, given in the same order; `model` is Google's name.
pub fn embeddings_response<'a>(
    batches: Vec<BatchEmbedContentsResponse>,
    request: &'a EmbeddingsRequest,
    model: &ModelName,
) -> Result<EmbeddingList<'a>, EmbeddingsMismatch> {
    let calls = request.inputs.chunks(MAX_BATCH);
    if calls.len() != batches.len() {
        let given = batches.iter().map(|batch| batch.embeddings.len()).sum();
        return Err(EmbeddingsMismatch { asked: request.inputs.len(), given });
    }
    let (mut data, mut usage) = (Vec::with_capacity(request.inputs.len()), EmbeddingUsage::default());
    for (texts, batch) in calls.zip(batches) {
        let (asked, given) = (texts.len(), batch.embeddings.len());
        if asked != given {
            return Err(EmbeddingsMismatch { asked, given });
        }
        usage.prompt_tokens += batch.usage_metadata.map_or(0, |counts| counts.input());
        for embedding in batch.embeddings {
            let embedding = vector(embedding.values, model, request.base64);
            data.push(Embedding { object: "embedding", index: data.len(), embedding });
        }
    }
    usage.total_tokens = usage.prompt_tokens;
    Ok(EmbeddingList { object: "list", data, model: &request.model, usage })
}

fn vector(mut values: Vec<f32>, model: &ModelName, base64: bool) -> Vector {
    if needs_normalising(model.as_str(), values.len()) {
        normalise(&mut values);
    }
    if !base64 {
        return Vector::Floats(values);
    }
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Vector::Base64(STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::convert::{
        fixtures,
        gemini::embeddings::ContentEmbedding,
        testing::{assert_fates, assert_printed, with},
    };

    fn read(fields: Value) -> Result<EmbeddingsRequest, ConvertError> {
        embeddings_request(with(json!({"model": "m"}), &fields).to_string().as_bytes())
    }

    #[test]
    fn every_field_of_the_sdk_has_a_fate_and_meets_it() {
        let sdk_fields = json!({"model": "n", "input": "hello", "dimensions": 256, "encoding_format": "base64", "user": "u"});
        let convert = |fields: &Value| {
            let request = read(with(json!({"input": "hi"}), fields))?;
            Ok(request.to_gemini(&model(&request.model))[0].to_json())
        };
        assert_fates(FIELD_FATES, &sdk_fields, &["encoding_format"], |_| json!({}), convert);
        assert_printed(FIELD_FATES);
    }

    fn answer(vectors: usize) -> BatchEmbedContentsResponse {
        let embeddings = vec![ContentEmbedding { values: vec![3.0, 4.0] }; vectors];
        BatchEmbedContentsResponse { embeddings, usage_metadata: None }
    }

    fn model(name: &str) -> ModelName {
        ModelName::parse(name).unwrap()
    }

    #[test]
    fn tokens_are_refused_with_what_to_set() {
        for tokens in [json!([1, 2]), json!([[1, 2], [3]])] {
            let error = read(json!({ "input": tokens })).unwrap_err();

            assert!(error.to_string().contains("check_embedding_ctx_length=False"), "{error}");
            assert_eq!(error.param(), Some("input"));
        }
    }

    #[test]
    fn empty_inputs_are_refused_by_their_place() {
        assert_eq!(read(json!({"input": ""})).unwrap_err().param(), Some("input"));
        assert_eq!(read(json!({"input": ["a", ""]})).unwrap_err().param(), Some("input[1]"));
        assert_eq!(read(json!({"input": []})).unwrap_err().code(), Some("empty_array"));
        assert_eq!(read(json!({"input": ["a", 1]})).unwrap_err().code(), Some("invalid_type"));
        assert_eq!(read(json!({"input": null})).unwrap_err().code(), Some("missing_required_parameter"));
    }

    #[test]
    fn more_than_a_hundred_inputs_are_several_calls() {
        let inputs: Vec<String> = (0..250).map(|number| number.to_string()).collect();
        let request = read(json!({"input": inputs, "dimensions": 256})).unwrap();

        let calls = request.to_gemini(&model("gemini-embedding-2"));

        assert_eq!(calls.iter().map(|call| call.requests.len()).collect::<Vec<_>>(), [100, 100, 50]);
        assert_eq!(
            serde_json::to_value(&calls[2].requests[49]).unwrap(),
            json!({"model": "models/gemini-embedding-2", "content": {"parts": [{"text": "249"}]}, "outputDimensionality": 256})
        );
        let list =
            embeddings_response(vec![answer(100), answer(100), answer(50)], &request, &model("x")).unwrap();
        assert_eq!(list.data.last().unwrap().index, 249);
    }

    #[test]
    fn base64_is_little_endian_floats() {
        let request = read(json!({"input": "a", "encoding_format": "base64"})).unwrap();

        let list = embeddings_response(vec![answer(1)], &request, &model("gemini-embedding-2")).unwrap();

        assert_eq!(list.data[0].embedding, Vector::Base64("AABAQAAAgEA=".into()));
    }

    #[test]
    fn short_vectors_of_the_first_model_are_normalised() {
        let request = read(json!({"input": "a"})).unwrap();
        let vector = |name| {
            embeddings_response(vec![answer(1)], &request, &model(name)).unwrap().data.remove(0).embedding
        };

        assert_eq!(vector("gemini-embedding-001"), Vector::Floats(vec![0.6, 0.8]));
        assert_eq!(vector("gemini-embedding-2"), Vector::Floats(vec![3.0, 4.0]));
    }

    #[test]
    fn a_missing_vector_is_an_error_and_never_shifts_the_others() {
        let request = read(json!({"input": ["a", "b"]})).unwrap();

        let mismatch = embeddings_response(vec![answer(1)], &request, &model("x"));

        assert_eq!(mismatch, Err(EmbeddingsMismatch { asked: 2, given: 1 }));
    }

    #[test]
    fn requests_of_real_clients_convert_unless_they_hold_tokens() {
        for (path, text) in
            fixtures::files("clients", ".json").iter().filter(|(path, _)| path.contains("openai-"))
        {
            let file: Value = serde_json::from_str(text).unwrap();
            for recorded in file["requests"].as_array().unwrap() {
                if recorded["target"] != "/v1/embeddings" {
                    continue;
                }
                let outcome = embeddings_request(recorded["body"].to_string().as_bytes());

                assert_eq!(outcome.is_err(), recorded["call"] == "embeddings.tokens", "{path}: {outcome:?}");
            }
        }
    }

    #[test]
    fn recorded_answers_become_unit_vectors() {
        for (path, text) in fixtures::files("gemini/exchanges", "-batch.json") {
            let file: Value = serde_json::from_str(&text).unwrap();
            let body = &file["exchanges"][0]["response"]["body"];
            let Ok(batch) = serde_json::from_value::<BatchEmbedContentsResponse>(body.clone()) else {
                panic!("{path} is unreadable");
            };
            let inputs = vec!["x".to_owned(); batch.embeddings.len()];
            let request = EmbeddingsRequest { model: "m".into(), inputs, dimensions: None, base64: false };

            let list = embeddings_response(vec![batch], &request, &model("gemini-embedding-001")).unwrap();

            for Embedding { embedding, .. } in list.data {
                let Vector::Floats(values) = embedding else { panic!("floats were asked for") };
                let length: f32 = values.iter().map(|value| value * value).sum();
                assert!((length - 1.0).abs() < 1e-3, "{path}: {length}");
            }
        }
    }
}
