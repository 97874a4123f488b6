//! Every setting once: what it takes, and what a change of it needs.
//!
//! Its default, its group and its help stand in `config/default.toml`; see [`manual`](super::manual).

use super::{gemini, logs};
use crate::domain::{placement::Tier, policy::PolicyKind};

/// A variable of the environment, of `.env`, of `config/local.toml` or of the dashboard.
#[derive(Debug)]
pub struct Setting {
    /// In capitals, as the environment has it.
    pub name: &'static str,
    pub kind: Kind,
    pub applies: Applies,
    /// Never shown, and sealed where it is stored.
    pub is_secret: bool,
    /// What a number counts, such as `MB`.
    pub unit: Option<&'static str>,
    /// A value that would be right; where there is none, the default is.
    pub example: Option<&'static str>,
}

/// What a setting takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Flag,
    /// Whole numbers, both ends included.
    Integer {
        min: i64,
        max: i64,
    },
    /// With fractions, both ends included.
    Seconds {
        min: f64,
        max: f64,
    },
    /// One of these words.
    Choice(fn() -> Vec<&'static str>),
    Text,
    List,
    Map,
    Json,
}

/// When a change counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// With the next request.
    Live,
    Restart,
    /// At the next start too, and it cannot be stored: it says where the stored settings are, or opens them, or is about
    /// one of the nodes that share them.
    Boot,
}

impl Setting {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, applies: Applies::Live, is_secret: false, unit: None, example: None }
    }

    const fn integer(name: &'static str, min: i64, max: i64) -> Self {
        Self::new(name, Kind::Integer { min, max })
    }

    const fn seconds(name: &'static str, min: f64, max: f64) -> Self {
        Self { unit: Some("s"), ..Self::new(name, Kind::Seconds { min, max }) }
    }

    const fn like(self, example: &'static str) -> Self {
        Self { example: Some(example), ..self }
    }

    const fn in_units(self, unit: &'static str) -> Self {
        Self { unit: Some(unit), ..self }
    }

    const fn secret(self) -> Self {
        Self { is_secret: true, ..self }
    }

    const fn at_restart(self) -> Self {
        Self { applies: Applies::Restart, ..self }
    }

    const fn at_boot(self) -> Self {
        Self { applies: Applies::Boot, ..self }
    }
}

const A_MODEL: &str = r#"["gemini-2.5-flash"]"#;

/// In the order of `config/default.toml`.
pub static SETTINGS: &[Setting] = {
    use Kind::{Choice, Flag, Json, List, Map, Text};
    &[
        Setting::new("HOST", Text).at_restart(),
        Setting::integer("PORT", 0, 65_535).at_restart(),
        Setting::integer("WORKERS", 0, 1024).at_restart(),
        Setting::seconds("SHUTDOWN_TIMEOUT_SECONDS", 0.0, 3600.0).at_restart(),
        Setting::integer("MAX_BODY_MB", 1, 4096).in_units("MB"),
        Setting::seconds("HEADER_TIMEOUT_SECONDS", 0.1, 600.0).at_restart(),
        Setting::seconds("BODY_TIMEOUT_SECONDS", 0.1, 600.0),
        Setting::seconds("KEEP_ALIVE_SECONDS", 0.0, 3600.0).at_restart(),
        Setting::integer("MAX_CONNECTIONS", 1, 1_000_000).at_restart(),
        Setting::new("CORS_ALLOWED_ORIGINS", List).like(r#"["https://chat.example.com"]"#),
        Setting::new("TRUSTED_PROXIES", List).like(r#"["127.0.0.1","10.0.0.0/8"]"#),
        Setting::new("NODE_NAME", Text).like("node-1").at_boot(),
        Setting::new("AUTH_TOKEN", Text).secret(),
        Setting::seconds("ADMIN_SESSION_EXPIRE", 60.0, 31_536_000.0),
        Setting::new("ALLOWED_TOKENS", List).like(r#"["sk-a-long-random-text"]"#).secret(),
        Setting::new("API_KEYS", List).like(r#"["AIzaSy…","AQ.… project=alpha tier=free"]"#).secret(),
        Setting::new("DEFAULT_TIER", Choice(|| Tier::ALL.map(Tier::name).to_vec())),
        Setting::new("QUOTA_LIMITS", Text).like("config/my-quotas.toml"),
        Setting::integer("MAX_FAILURES", 1, 100),
        Setting::integer("MAX_RETRIES", 0, 10),
        Setting::integer("CHECK_INTERVAL_HOURS", 0, 8760).in_units("h"),
        Setting::new("TEST_MODEL", Text),
        Setting::new("BALANCE_POLICY", Choice(|| PolicyKind::ALL.map(PolicyKind::name).to_vec())),
        Setting::integer("MAX_WAIT_SECONDS", 0, 600).in_units("s"),
        Setting::integer("MAX_WAITING_REQUESTS", 0, 1_000_000),
        Setting::new("BASE_URL", Text),
        Setting::seconds("TIME_OUT", 1.0, 3600.0),
        Setting::seconds("CONNECT_TIMEOUT_SECONDS", 0.1, 600.0),
        Setting::seconds("FIRST_BYTE_TIMEOUT_SECONDS", 0.1, 3600.0),
        Setting::seconds("IDLE_TIMEOUT_SECONDS", 0.1, 3600.0),
        Setting::seconds("STREAM_HEARTBEAT_SECONDS", 0.0, 600.0),
        Setting::new("CUSTOM_HEADERS", Map).like(r#"{"X-Team":"search"}"#).secret(),
        Setting::new("PROXIES", List).like(r#"["socks5://127.0.0.1:1080"]"#).secret(),
        Setting::new("PROXIES_USE_CONSISTENCY_HASH_BY_API_KEY", Flag),
        Setting::new("ERROR_RULES", Json)
            .like(r#"[{"status":429,"text":"come back tomorrow","verdict":"quota_day"}]"#),
        Setting::integer("MAX_UPSTREAM_CONNECTIONS", 1, 100_000),
        Setting::integer("RETRY_BUDGET_PERCENT", 0, 1000).in_units("%"),
        Setting::new("HEDGING", Flag),
        Setting::integer("HEDGING_MAX_PERCENT", 1, 50).in_units("%"),
        Setting::new("STREAM_CONTINUATION", Flag),
        Setting::new("SAFETY_SETTINGS", Json)
            .like(r#"[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"OFF"}]"#),
        Setting::new("FILTERED_MODELS", List).like(r#"["gemini-pro-vision"]"#),
        Setting::new("SHOW_THINKING_PROCESS", Flag),
        Setting::new("FILES_USER_ISOLATION_ENABLED", Flag),
        Setting::new("OPENAI_PASSTHROUGH", Choice(|| words(&gemini::PASSTHROUGH))),
        Setting::new("MODEL_ALIASES", Map).like(r#"{"gpt-4o":"gemini-2.5-flash"}"#),
        Setting::new("MODEL_RULES", Json)
            .like(r#"[{"models":["gemini-2.5-*"],"body":{"default":{"generationConfig.temperature":1}}}]"#),
        Setting::new("SEARCH_MODELS", List).like(A_MODEL),
        Setting::new("IMAGE_MODELS", List).like(A_MODEL),
        Setting::new("THINKING_MODELS", List).like(A_MODEL),
        Setting::new("CREATE_IMAGE_MODEL", Text),
        Setting::new("THINKING_BUDGET_MAP", Map).like(r#"{"gemini-2.5-flash":-1}"#),
        Setting::new("SHOW_SEARCH_LINK", Flag),
        Setting::new("TOOLS_CODE_EXECUTION_ENABLED", Flag),
        Setting::new("URL_CONTEXT_ENABLED", Flag),
        Setting::new("URL_CONTEXT_MODELS", List).like(A_MODEL),
        Setting::new("URL_NORMALIZATION_ENABLED", Flag),
        Setting::new("FAKE_STREAM_ENABLED", Flag),
        Setting::seconds("FAKE_STREAM_EMPTY_DATA_INTERVAL_SECONDS", 0.1, 600.0),
        Setting::new("STREAM_OPTIMIZER_ENABLED", Flag),
        Setting::seconds("STREAM_MIN_DELAY", 0.0, 1.0),
        Setting::seconds("STREAM_MAX_DELAY", 0.0, 1.0),
        Setting::integer("STREAM_SHORT_TEXT_THRESHOLD", 1, 1_000_000),
        Setting::integer("STREAM_LONG_TEXT_THRESHOLD", 1, 1_000_000),
        Setting::integer("STREAM_CHUNK_SIZE", 1, 1_000_000),
        Setting::seconds("STREAM_MAX_LAG_SECONDS", 0.0, 60.0),
        Setting::new("MEDIA_FETCH_ENABLED", Flag),
        Setting::integer("MEDIA_FETCH_MAX_MB", 1, 1000).in_units("MB"),
        Setting::seconds("MEDIA_FETCH_TIMEOUT_SECONDS", 0.1, 600.0),
        Setting::new("MEDIA_FETCH_PRIVATE_HOSTS", List).like(r#"["images.internal"]"#),
        Setting::new("LOG_LEVEL", Choice(|| words(&logs::LEVELS))),
        Setting::new("LOG_FORMAT", Choice(|| words(&logs::FORMATS))).at_restart(),
        Setting::new("ERROR_LOG_RECORD_REQUEST_BODY", Flag),
        Setting::new("AUTO_DELETE_ERROR_LOGS_ENABLED", Flag),
        Setting::integer("AUTO_DELETE_ERROR_LOGS_DAYS", 1, 3650).in_units("d"),
        Setting::new("AUTO_DELETE_REQUEST_LOGS_ENABLED", Flag),
        Setting::integer("AUTO_DELETE_REQUEST_LOGS_DAYS", 1, 3650).in_units("d"),
        Setting::integer("KEY_HISTORY_DAYS", 1, 3650).in_units("d"),
        Setting::integer("LOG_MAX_ROWS", 0, 1_000_000_000),
        Setting::new("TIMEZONE", Text),
        Setting::new("STORE_RESPONSES", Flag),
        Setting::integer("STORED_RESPONSES_DAYS", 1, 3650).in_units("d"),
        Setting::new("UPDATE_CHECK", Flag),
        Setting::new("UPDATE_CHECK_URL", Text)
            .like("https://api.github.com/repos/OWNER/NAME/releases/latest"),
        Setting::new("DATA_DIR", Text).at_boot(),
        Setting::new("DATABASE_URL", Text).like("sqlite://data/gateway.db").secret().at_boot(),
        Setting::new("DATABASE_TYPE", Text).at_boot(),
        Setting::new("SQLITE_DATABASE", Text).at_boot(),
        Setting::new("ENCRYPTION_KEY", Text).like("a long and random passphrase").secret().at_boot(),
        Setting::new("REDIS_URL", Text).like("redis://127.0.0.1:6379/0").secret().at_boot(),
        Setting::new("REDIS_CA_FILE", Text).like("/etc/ssl/redis-ca.pem").at_boot(),
    ]
};

pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// The words of a table of choices.
pub(super) fn words<T>(choices: &[(&'static str, T)]) -> Vec<&'static str> {
    choices.iter().map(|(word, _)| *word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{layers, manual};

    #[test]
    fn the_settings_are_those_of_the_default_file_in_its_order() {
        let here: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        let there: Vec<&str> = manual::entries().iter().map(|entry| &*entry.name).collect();

        assert_eq!(here, there);
        assert_eq!(there.len(), layers::defaults().len(), "each is read as TOML too");
    }

    #[test]
    fn ranges_that_the_default_file_tells_are_those_that_hold() {
        let told = regex::Regex::new(r"\b(\d[\d.]*) to (\d+(?:\.\d+)?)").unwrap();
        let mut seen = 0;
        for (setting, entry) in SETTINGS.iter().zip(manual::entries()) {
            let range = match setting.kind {
                Kind::Integer { min, max } => (min.to_string(), max.to_string()),
                Kind::Seconds { min, max } => (min.to_string(), max.to_string()),
                _ => continue,
            };
            for found in told.captures_iter(&entry.help) {
                assert_eq!((&found[1], &found[2]), (&*range.0, &*range.1), "{}", setting.name);
                seen += 1;
            }
        }
        assert!(seen > 20, "{seen}");
    }
}
