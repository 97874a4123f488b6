//! Google's errors: what each refusal looks like on the wire.
//!
//! Statuses, reasons and quota ids are Google's (<https://ai.google.dev/gemini-api/docs/troubleshooting>, `google/rpc/code.proto`
//! and `google/rpc/error_details.proto`), since clients and gateways decide by them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An error in Google's envelope, before it is framed for the call that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct GoogleError {
    /// HTTP status, 400 to 599.
    pub http: u16,
    /// Canonical name, such as `INVALID_ARGUMENT`.
    pub status: &'static str,
    pub message: String,
    /// Entries of `error.details`; left out when empty.
    pub details: Vec<Value>,
}

impl GoogleError {
    pub fn new(http: u16, status: &'static str, message: impl Into<String>) -> Self {
        Self { http, status, message: message.into(), details: Vec::new() }
    }

    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(400, "INVALID_ARGUMENT", message)
    }

    pub fn unregistered_caller() -> Self {
        let message = "Method doesn't allow unregistered callers (callers without established identity). \
                       Please use API Key or other form of API consumer identity to call this API.";
        Self::new(403, "PERMISSION_DENIED", message)
    }

    pub fn several_credentials() -> Self {
        Self::invalid_argument("Multiple authentication credentials received. Please pass only one.")
    }

    pub fn not_an_access_token() -> Self {
        let message = "Request had invalid authentication credentials. Expected OAuth 2 access token, \
                       login cookie or other valid authentication credential.";
        Self::new(401, "UNAUTHENTICATED", message)
    }

    /// The model does not exist, or not for this method.
    pub fn unknown_model(model: &str, version: &str, method: &str) -> Self {
        let message = format!(
            "models/{model} is not found for API version {version}, or is not supported for {method}. \
             Call ModelService.ListModels to see the list of available models and their supported methods."
        );
        Self::new(404, "NOT_FOUND", message)
    }

    /// A field that the message does not have; `path` is empty at the top level.
    pub fn unknown_name(name: &str, path: &str) -> Self {
        let place = if path.is_empty() { String::new() } else { format!(" at '{path}'") };
        let message =
            format!("Invalid JSON payload received. Unknown name \"{name}\"{place}: Cannot find field.");
        let violation = json!({"field": path, "description": message});
        Self::invalid_argument(message).with(json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation],
        }))
    }

    /// Adds an entry to `error.details`.
    pub fn with(mut self, detail: Value) -> Self {
        self.details.push(detail);
        self
    }

    fn with_reason(self, reason: &str) -> Self {
        self.with(json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com",
            "metadata": {"service": "generativelanguage.googleapis.com"},
        }))
    }

    /// `{"error": {code, message, status, details?}}`.
    pub fn to_json(&self) -> Value {
        let mut error = json!({"code": self.http, "message": self.message, "status": self.status});
        if !self.details.is_empty() {
            error["details"] = self.details.clone().into();
        }
        json!({"error": error})
    }

    /// True when Google's front end answers instead of the service: a page of HTML, no JSON.
    pub fn is_html(&self) -> bool {
        self.http == 502
    }
}

/// A refusal that a plan, the weather or a prompt can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    InvalidKey,
    ExpiredKey,
    Leaked,
    Suspended,
    ServiceDisabled,
    Location,
    PrepayDepleted,
    SpendCap,
    /// 429 without details.
    BareLimit,
    /// The tier of this key does not include the model: a quota of zero.
    LimitZero,
    /// 404: the model is closed to projects that never used it.
    ClosedModel,
    Cancelled,
    Internal,
    BadGateway,
    Overloaded,
    Deadline,
}

impl Refusal {
    /// True when the key or its project is refused for every call, a list of models included.
    pub fn concerns_the_key(self) -> bool {
        use Refusal::{ExpiredKey, InvalidKey, Leaked, Location, ServiceDisabled, Suspended};
        matches!(self, InvalidKey | ExpiredKey | Leaked | Suspended | ServiceDisabled | Location)
    }

    /// The refusal that a bare HTTP status stands for in a prompt's `[[status=…]]`.
    pub fn from_status(status: u16) -> Option<Self> {
        Some(match status {
            403 => Self::Leaked,
            404 => Self::ClosedModel,
            429 => Self::BareLimit,
            499 => Self::Cancelled,
            500 => Self::Internal,
            502 => Self::BadGateway,
            503 => Self::Overloaded,
            504 => Self::Deadline,
            _ => return None,
        })
    }

    /// The error that a caller of `model` gets.
    pub fn error(self, model: &str) -> GoogleError {
        let denied = |message: &str| GoogleError::new(403, "PERMISSION_DENIED", message);
        let exhausted = |message: String| GoogleError::new(429, "RESOURCE_EXHAUSTED", message);
        match self {
            Self::InvalidKey => GoogleError::invalid_argument(INVALID_KEY).with_reason("API_KEY_INVALID"),
            Self::ExpiredKey => GoogleError::invalid_argument("API key expired. Please renew the API key.")
                .with_reason("API_KEY_INVALID"),
            Self::Leaked => denied("Your API key was reported as leaked. Please use another API key."),
            Self::Suspended => denied("Permission denied: the consumer of this key has been suspended.")
                .with_reason("CONSUMER_SUSPENDED"),
            Self::ServiceDisabled => {
                denied("Generative Language API is disabled in this project.").with_reason("SERVICE_DISABLED")
            }
            Self::Location => GoogleError::new(
                400,
                "FAILED_PRECONDITION",
                "User location is not supported for the API use.",
            ),
            Self::PrepayDepleted => exhausted("Your prepayment credits are depleted.".into()),
            Self::SpendCap => {
                exhausted("Your project has exceeded its monthly spending cap. Please raise the cap.".into())
            }
            Self::BareLimit => exhausted("Resource has been exhausted (e.g. check quota).".into()),
            Self::LimitZero => limit_zero(model),
            Self::ClosedModel => GoogleError::new(
                404,
                "NOT_FOUND",
                format!("This model models/{model} is no longer available to new users."),
            ),
            Self::Cancelled => GoogleError::new(499, "CANCELLED", "The operation was cancelled."),
            Self::Internal => GoogleError::new(500, "INTERNAL", "An internal error has occurred."),
            Self::BadGateway => GoogleError::new(502, "UNKNOWN", "Bad Gateway"),
            Self::Overloaded => {
                GoogleError::new(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")
            }
            Self::Deadline => GoogleError::new(
                504,
                "DEADLINE_EXCEEDED",
                "Deadline expired before operation could complete.",
            ),
        }
    }
}

const INVALID_KEY: &str = "API key not valid. Please pass a valid API key.";

/// The page that stands for a failure of Google's front end.
pub const FRONT_END_PAGE: &str = "<!DOCTYPE html>\n<html lang=en>\n<title>Error 502 (Server Error)</title>\n\
                                  <p><b>502.</b> The server encountered a temporary error.\n</html>\n";

fn limit_zero(model: &str) -> GoogleError {
    let metric = "generativelanguage.googleapis.com/generate_content_free_tier_requests";
    let message = format!(
        "You exceeded your current quota.\n* Quota exceeded for metric: {metric}, limit: 0, model: {model}"
    );
    let violation = |window: &str| {
        json!({
            "quotaMetric": metric,
            "quotaId": format!("GenerateRequestsPer{window}PerProjectPerModel-FreeTier"),
            "quotaDimensions": {"location": "global", "model": model},
        })
    };
    GoogleError::new(429, "RESOURCE_EXHAUSTED", message).with(json!({
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [violation("Day"), violation("Minute")],
    }))
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::recordings, *};

    /// What a gateway decides by: status, canonical name, and the reason or quotas in the details.
    fn essence(body: &Value) -> Vec<Value> {
        let mut essence = vec![body["error"]["code"].clone(), body["error"]["status"].clone()];
        for detail in body["error"]["details"].as_array().into_iter().flatten() {
            let mut ids: Vec<_> =
                detail["violations"].as_array().into_iter().flatten().map(|v| v["quotaId"].clone()).collect();
            ids.sort_by_key(Value::to_string);
            ids.dedup();
            essence.extend(ids);
            essence.push(detail["reason"].clone());
        }
        essence.retain(|fact| !fact.is_null());
        essence
    }

    #[test]
    fn a_refusal_has_what_a_gateway_decides_by_as_google_sends_it() {
        let refusals = [
            ("400-api-key-invalid", Refusal::InvalidKey),
            ("400-api-key-expired", Refusal::ExpiredKey),
            ("403-key-leaked", Refusal::Leaked),
            ("403-consumer-suspended", Refusal::Suspended),
            ("403-service-disabled", Refusal::ServiceDisabled),
            ("400-location-not-supported", Refusal::Location),
            ("429-prepay-depleted", Refusal::PrepayDepleted),
            ("429-spend-cap", Refusal::SpendCap),
            ("429-bare", Refusal::BareLimit),
            ("404-model-closed-to-new-users", Refusal::ClosedModel),
            ("500-internal", Refusal::Internal),
            ("503-overloaded", Refusal::Overloaded),
            ("504-deadline-exceeded", Refusal::Deadline),
            ("499-cancelled", Refusal::Cancelled),
        ];
        for (name, recorded) in recordings("gemini/errors") {
            let refusal = refusals.iter().find(|(recording, _)| *recording == name);
            if let Some((_, refusal)) = refusal {
                assert_eq!(essence(&refusal.error("m").to_json()), essence(&recorded["body"]), "{name}");
            }
        }
    }

    #[test]
    fn an_invalid_key_is_a_400_that_says_so_in_its_reason() {
        let error = Refusal::InvalidKey.error("any").to_json();

        assert_eq!(error["error"]["code"], 400);
        assert_eq!(error["error"]["status"], "INVALID_ARGUMENT");
        assert_eq!(error["error"]["details"][0]["reason"], "API_KEY_INVALID");
    }

    #[test]
    fn an_error_without_details_has_no_such_field() {
        assert!(Refusal::Leaked.error("any").to_json()["error"].get("details").is_none());
    }

    #[test]
    fn an_unknown_name_says_where_it_stands() {
        assert_eq!(
            GoogleError::unknown_name("const", "generation_config.response_schema").message,
            "Invalid JSON payload received. Unknown name \"const\" at 'generation_config.response_schema': \
             Cannot find field."
        );
    }

    #[test]
    fn a_refusal_of_the_key_hits_free_calls_too_and_a_quota_does_not() {
        assert!(Refusal::Leaked.concerns_the_key());
        assert!(!Refusal::BareLimit.concerns_the_key());
    }
}
