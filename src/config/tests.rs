//! The configuration as a whole.

use std::{collections::BTreeSet, fs, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::{
    domain::{
        placement::{KeyPlacement, Tier},
        policy::PolicyKind,
        quota::{Limit, LimitSource},
    },
    secrets::Secret,
};

/// A working directory with an environment beside it.
struct Place {
    dir: TempDir,
    env: Vec<(String, String)>,
}

impl Place {
    fn empty() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), env: Vec::new() }
    }

    fn env(variables: &[(&str, &str)]) -> Self {
        Self::empty().and_env(variables)
    }

    fn and_env(mut self, variables: &[(&str, &str)]) -> Self {
        self.env.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    fn dotenv(self, text: &str) -> Self {
        fs::write(self.dir.path().join(".env"), text).unwrap();
        self
    }

    fn local_toml(self, text: &str) -> Self {
        fs::create_dir(self.dir.path().join("config")).unwrap();
        fs::write(self.dir.path().join("config/local.toml"), text).unwrap();
        self
    }

    fn sources(&self) -> Sources {
        Sources { dir: self.dir.path().to_owned(), env: self.env.clone() }
    }

    fn config(&self) -> Config {
        self.loaded().config
    }

    fn loaded(&self) -> Loaded {
        Config::load(&self.sources()).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn errors(&self) -> Vec<String> {
        let errors = Config::load(&self.sources()).expect_err("the configuration is refused");
        errors.problems.iter().map(ToString::to_string).collect()
    }
}

fn env(name: &str, value: &str) -> Place {
    Place::env(&[(name, value)])
}

#[test]
fn without_any_source_the_defaults_hold() {
    let Loaded { config, notices, .. } = Place::empty().loaded();

    assert_eq!(notices, [""; 0]);
    assert_eq!((config.server.host.as_str(), config.server.port), ("127.0.0.1", 8000));
    assert_eq!(config.server.workers, None);
    assert_eq!(config.pool.api_keys, None);
    assert_eq!(config.pool.check_interval, Some(Duration::from_secs(3600)));
    assert_eq!(config.auth.auth_token, None);
    assert_eq!(config.upstream.base_url.origin, "https://generativelanguage.googleapis.com");
    assert_eq!(config.gemini.safety_settings.len(), 4);
    assert_eq!(config.gemini.filtered_models.len(), 5);
    assert_eq!(config.logs.request_retention, Some(Duration::from_secs(30 * 86_400)));
    assert!(config.storage.database.ends_with("data/default_db"));
}

#[test]
fn every_setting_has_a_default_and_every_default_a_reader() {
    let sources = Place::empty().sources();
    let mut reader = Reader::new(Layers::read(&sources));

    Config::read(&mut reader, &sources.dir).unwrap();

    let in_file: BTreeSet<&str> = layers::defaults().keys().map(String::as_str).collect();
    assert_eq!(reader.names_read, in_file);
}

#[test]
fn later_sources_win() {
    let all =
        || Place::empty().local_toml("port = 1\nworkers = 1\nmax_failures = 1").dotenv("PORT=2\nWORKERS=2");

    let config = all().and_env(&[("PORT", "3")]).config();

    assert_eq!((config.server.port, config.server.workers, config.pool.max_failures), (3, Some(2), 1));
}

#[test]
fn blank_values_count_as_not_set() {
    let place =
        Place::empty().dotenv("PORT=9000\nAPI_KEYS=k1\n").and_env(&[("PORT", ""), ("API_KEYS", "  ")]);

    let config = place.config();

    assert_eq!(config.server.port, 9000);
    assert_eq!(config.pool.api_keys.map(|keys| keys.len()), Some(1));
    assert_eq!(env("API_KEYS", "").config().pool.api_keys, None);
    assert_eq!(env("API_KEYS", "[]").config().pool.api_keys, Some(Vec::new()));
}

#[test]
fn an_env_file_of_the_original_is_taken_as_it_is() {
    let place = Place::empty().dotenv(
        r#"# database
DATABASE_TYPE=sqlite
SQLITE_DATABASE=default_db
MYSQL_HOST=gemini-balance-mysql
MYSQL_PORT=3306
API_KEYS=["AIzaSyA-one","AIzaSyA-two"]
ALLOWED_TOKENS=["sk-my-token"]
AUTH_TOKEN=sk-my-admin
TEST_MODEL=gemini-2.5-flash-lite
THINKING_BUDGET_MAP={"gemini-2.5-flash": -1}
FILTERED_MODELS=["gemini-pro-vision", "models/chat-bison-001"]
MAX_FAILURES=10
TIME_OUT=300
TIMEZONE=Asia/Shanghai
PROXIES=[]
CUSTOM_HEADERS={}
LOG_LEVEL=WARNING
SAFETY_SETTINGS=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}, {"category": "HARM_CATEGORY_CIVIC_INTEGRITY", "threshold": "BLOCK_NONE"}]
"#,
    );

    let Loaded { config, notices, .. } = place.loaded();

    let keys = config.pool.api_keys.unwrap();
    assert_eq!(
        keys.iter().map(|placed| placed.key.expose()).collect::<Vec<_>>(),
        ["AIzaSyA-one", "AIzaSyA-two"]
    );
    assert_eq!(config.auth.auth_token.unwrap().expose(), "sk-my-admin");
    assert_eq!(config.gemini.filtered_models[1].as_str(), "chat-bison-001");
    assert_eq!(config.gemini.safety_settings[1].threshold, "BLOCK_NONE");
    assert_eq!(config.logs.level, LogLevel::Warn);
    assert_eq!(notices, ["these settings have no effect yet: MYSQL_HOST, MYSQL_PORT"]);
}

#[test]
fn a_local_file_may_use_the_types_of_toml_and_any_letter_case() {
    let toml = "PORT = 9000\nworkers = \"2\"\nallowed_tokens = [\"a\", \"b\"]\ntime_out = 1.5\n\
                show_thinking_process = false\ncustom_headers = { X-Team = \"Search\", x-n = 1 }";

    let config = Place::empty().local_toml(toml).config();

    assert_eq!((config.server.port, config.server.workers), (9000, Some(2)));
    assert_eq!(config.auth.allowed_tokens, [Secret::new("a"), Secret::new("b")]);
    assert_eq!(config.upstream.total_timeout, Duration::from_millis(1500));
    assert!(!config.gemini.show_thinking_process);
    let headers: BTreeSet<_> =
        config.upstream.custom_headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(headers, BTreeSet::from([("x-n", "1"), ("x-team", "Search")]));
}

#[test]
fn lists_may_be_json_or_comma_separated_with_quotes_left_on() {
    for text in
        [r#"["a","b"]"#, "a,b", " a , b ,", r#"'["a", "b"]'"#, "a\nb", "'a,b'", r#""a", "b""#, "'a','b'"]
    {
        let tokens = env("ALLOWED_TOKENS", text).config().auth.allowed_tokens;
        assert_eq!(tokens, [Secret::new("a"), Secret::new("b")], "{text}");
    }
}

#[test]
fn switches_understand_the_usual_words() {
    for (text, expected) in
        [("TRUE", true), ("Yes", true), ("on", true), ("1", true), ("False", false), ("0", false)]
    {
        assert_eq!(
            env("SHOW_THINKING_PROCESS", text).config().gemini.show_thinking_process,
            expected,
            "{text}"
        );
    }
}

#[test]
fn all_problems_are_reported_in_one_run_with_name_source_and_example() {
    let place =
        Place::empty().local_toml("prot = 1\nworkers = -1").dotenv("MAX_RETRIES=eleven\n").and_env(&[
            ("PORT", "80000"),
            ("TIMEZONE", "Mars/Olympus"),
            ("BASE_URL", "nonsense"),
            ("SHOW_THINKING_PROCESS", "maybe"),
            ("TIME_OUT", "NaN"),
            ("DATABASE_TYPE", "mysql"),
        ]);

    let errors = place.errors();

    assert_eq!(errors.len(), 9, "{errors:#?}");
    let expected =
        "PORT (from the environment): \"80000\" is not a whole number from 0 to 65535; for example PORT=8000";
    assert!(errors.contains(&expected.to_owned()), "{errors:#?}");
    let starts =
        ["prot (from config/local.toml): is not a setting; did you mean port?", "MAX_RETRIES (from .env)"];
    for start in starts {
        assert!(errors.iter().any(|line| line.starts_with(start)), "{errors:#?}");
    }
}

#[test]
fn every_example_in_an_error_is_itself_accepted() {
    let wrong = [
        "HOST",
        "PORT",
        "WORKERS",
        "SHUTDOWN_TIMEOUT_SECONDS",
        "MAX_BODY_MB",
        "CORS_ALLOWED_ORIGINS",
        "MAX_FAILURES",
        "CHECK_INTERVAL_HOURS",
        "TEST_MODEL",
        "BALANCE_POLICY",
        "DEFAULT_TIER",
        "BASE_URL",
        "CUSTOM_HEADERS",
        "SAFETY_SETTINGS",
        "FILTERED_MODELS",
        "SHOW_THINKING_PROCESS",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "TIMEZONE",
        "DATABASE_TYPE",
        "DATABASE_URL",
        "ENCRYPTION_KEY",
    ];
    for name in wrong {
        let errors = env(name, "no ! no").errors();
        let (_, example) = errors[0].split_once("; for example ").unwrap();
        let (example_name, value) = example.split_once('=').unwrap();
        assert_eq!(example_name, name);
        env(name, value).config();
    }
}

#[test]
fn secrets_appear_neither_in_errors_nor_in_debug_output() {
    let secret = "hunter2";
    let wrong = Place::env(&[
        ("API_KEYS", "[\"hunter2 with spaces\", {\"hunter2\": 1}"),
        ("ALLOWED_TOKENS", "[{\"hunter2\": 1}]"),
        ("DATABASE_URL", "mysql://root:hunter2@host/db"),
        ("ENCRYPTION_KEY", "hunter2"),
        ("CUSTOM_HEADERS", "{\"x-auth\": [\"hunter2\"]}"),
        ("BASE_URL", "https://user:hunter2@host"),
        ("PROXIES", "socks4://user:hunter2@host"),
    ])
    .dotenv("hunter2 is my password\n");
    let errors = Config::load(&wrong.sources()).unwrap_err();
    assert_eq!(errors.problems.len(), 7, "{errors}");
    assert!(!format!("{errors} {errors:?}").contains(secret), "{errors}");

    let right = Place::env(&[
        ("API_KEYS", "hunter2-hunter2-hunter2"),
        ("ALLOWED_TOKENS", "hunter2"),
        ("AUTH_TOKEN", "hunter2"),
        ("ENCRYPTION_KEY", "hunter2 and eight more"),
        ("CUSTOM_HEADERS", "{\"x-auth\": \"hunter2\"}"),
        ("PROXIES", "socks5://user:hunter2@host"),
    ]);
    assert!(!format!("{:?}", right.loaded()).contains(secret));
}

#[test]
fn one_mistake_is_one_problem() {
    for name in ["SAFETY_SETTINGS", "CUSTOM_HEADERS", "API_KEYS", "ALLOWED_TOKENS", "FILTERED_MODELS"] {
        for value in ["[{", "[[1]]"] {
            assert_eq!(env(name, value).errors().len(), 1, "{name}={value}");
        }
    }
}

#[test]
fn a_malformed_local_file_is_reported_by_line_and_not_quoted() {
    let errors = Place::empty().local_toml("port = 1\nauth_token = \"hunter2\n").errors();

    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("line 2") && !errors[0].contains("hunter2"), "{errors:?}");
}

#[test]
fn an_unreadable_env_file_is_a_problem() {
    let place = Place::empty();
    fs::create_dir(place.dir.path().join(".env")).unwrap();

    assert!(place.errors()[0].starts_with(".env (from .env): cannot be read"));
}

#[test]
fn unknown_names_are_noticed_in_the_env_file_and_near_misses_in_the_environment() {
    let place = Place::empty().dotenv("COMPOSE_PROJECT_NAME=x\nALOWED_TOKENS=y\nBROKEN LINE\n").and_env(&[
        ("PATH", "/bin"),
        ("HOME", "/root"),
        ("API_KEY", "secret-value"),
    ]);

    let notices = place.loaded().notices;

    assert_eq!(
        notices,
        [
            ".env: line 3 is not of the form NAME=value and was ignored",
            ".env: not settings of the gateway, and ignored: \
             ALOWED_TOKENS (did you mean ALLOWED_TOKENS?), COMPOSE_PROJECT_NAME",
            "the environment has API_KEY, which is not a setting; did you mean API_KEYS?",
        ]
    );
}

#[test]
fn limits_of_the_operators_own_file_come_before_presets() {
    let place = env("QUOTA_LIMITS", "my.toml");
    assert!(place.errors()[0].contains("cannot be read"));
    let toml = "[[limits]]\nmodels = \"gemini-2.5-*\"\nrequests_per_minute = 3\n";
    fs::write(place.dir.path().join("my.toml"), toml).unwrap();

    let limits = place.config().pool.limits;

    let by_hand = Some(Limit { value: 3, source: LimitSource::Hand });
    for tier in Tier::ALL {
        let found = limits.of(tier).find("gemini-2.5-flash");
        assert_eq!((found.requests_per_minute, found.requests_per_day), (by_hand, None), "{tier:?}");
    }
    let preset = Some(Limit { value: 20, source: LimitSource::Preset });
    assert_eq!(limits.of(Tier::Free).find("gemini-3.8-flash").requests_per_day, preset);
    assert_eq!(limits.of(Tier::Unknown).find("gemini-3.8-flash").requests_per_day, None);
}

#[test]
fn words_behind_a_key_place_it() {
    let keys = |text: &str| env("API_KEYS", text).config().pool.api_keys.unwrap();

    let listed = keys(r#"["k1 project=Alpha tier=free", "  k2\tweight=7  ", "k3"]"#);
    let words = keys("k1 project=alpha tier=free, k2 weight=7\nk3");

    assert_eq!(listed, words);
    assert_eq!(listed[0].placement.project.as_ref().unwrap().as_str(), "alpha");
    assert_eq!((listed[1].key.expose(), listed[1].placement.weight), ("k2", 7));
    assert_eq!(listed[2].placement, KeyPlacement::default());
}

#[test]
fn places_that_cannot_be_are_refused_with_the_number_of_the_key() {
    for (keys, problem) in [
        ("k1, k2 tier=gold", "key 2 has tier=gold, which is none of free, tier1, tier2, tier3, unknown"),
        ("k1 weight=0", "key 1 has weight=0, which is not a whole number from 1 to 100"),
        ("k1 projekt=a", "key 1 has projekt=… behind it; the names are project, tier"),
        ("k1 k2", "key 1 has something behind it that is not name=value"),
        ("k1 project=a, k1 project=b", "key 2 is key 1 again, in another place"),
        ("k1 project=a tier=free, k2 project=A tier=tier1", "the keys of project a are in different tiers"),
    ] {
        let errors = env("API_KEYS", keys).errors();

        assert!(errors.len() == 1 && errors[0].contains(problem), "{errors:?}");
    }
}

#[test]
fn keys_are_kept_in_order_and_what_is_none_is_counted() {
    let Loaded { config, notices, .. } =
        env("API_KEYS", r#"["k2", "k1", "", "k2", " k1 ", "your_api_key_1"]"#).loaded();

    let keys = config.pool.api_keys.unwrap();
    assert_eq!(keys.iter().map(|placed| placed.key.expose()).collect::<Vec<_>>(), ["k2", "k1"]);
    assert_eq!(
        notices,
        [
            "API_KEYS: 1 blank entry was left out",
            "API_KEYS: 2 duplicate entries were left out",
            "API_KEYS: 1 placeholder entry was left out",
        ]
    );
}

#[test]
fn no_retries_at_all_are_one_attempt() {
    let Loaded { config, notices, .. } = env("MAX_RETRIES", "0").loaded();

    assert_eq!((config.pool.max_attempts, notices.len()), (1, 1));
}

#[test]
fn the_database_is_found_by_url_or_by_name() {
    let at = |variables: &[(&str, &str)]| Place::env(variables).config().storage.database;

    assert_eq!(at(&[("DATABASE_URL", "sqlite:///srv/x.db")]), PathBuf::from("/srv/x.db"));
    assert!(at(&[("DATABASE_URL", "sqlite://elsewhere/x.db")]).ends_with("elsewhere/x.db"));
    assert!(at(&[("DATA_DIR", "d"), ("SQLITE_DATABASE", "s")]).ends_with("d/s"));
    assert!(at(&[("DATABASE_URL", "sqlite://x.db"), ("DATABASE_TYPE", "mysql")]).ends_with("x.db"));
}

#[test]
fn other_databases_are_refused_with_what_to_do() {
    for (name, value) in [
        ("DATABASE_TYPE", "mysql"),
        ("DATABASE_URL", "mysql://h/d"),
        ("DATABASE_URL", "postgres://h/d"),
        ("DATABASE_URL", "x.db"),
        ("DATABASE_URL", "sqlite://"),
        ("SQLITE_DATABASE", "../x"),
    ] {
        let errors = env(name, value).errors();
        assert!(errors.len() == 1 && errors[0].contains(&format!("for example {name}=")), "{errors:?}");
    }
}

#[test]
fn headers_that_are_the_gateways_own_are_refused() {
    for headers in
        [r#"{"Host": "x"}"#, r#"{"x-goog-api-key": "x"}"#, r#"{"a b": "x"}"#, r#"{"a": "x\ny"}"#, "[]", "x"]
    {
        assert!(!env("CUSTOM_HEADERS", headers).errors().is_empty(), "{headers}");
    }
}

#[test]
fn names_in_small_letters_count_unless_the_exact_one_is_there() {
    assert_eq!(Place::env(&[("port", "1")]).config().server.port, 1);
    assert_eq!(Place::env(&[("PORT", "2"), ("port", "1")]).config().server.port, 2);
}

#[test]
fn rules_of_errors_are_read_in_their_order_and_what_is_wrong_is_told_by_number() {
    let rules = r#"[{"status":429,"text":"tomorrow","verdict":"quota_day","cooldown_seconds":3600},
                    {"status":503,"verdict":"client_fault"}]"#;
    let config = env("ERROR_RULES", rules).config();
    assert_eq!(config.upstream.error_rules.len(), 2);
    assert!(config.upstream.error_rules[0].matches(429, "Come back TOMORROW.", None));

    let wrong =
        r#"[{"status":503,"verdict":"overloaded"},{"status":429,"verdict":"quta_day"},{"verdict":"x"}]"#;
    let errors = env("ERROR_RULES", wrong).errors();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(
        errors[0]
            .starts_with("ERROR_RULES (from the environment): rule 2: the verdict \"quta_day\" is none of"),
        "{errors:?}"
    );
    assert!(errors[1].contains("rule 3: has neither a status nor a text"), "{errors:?}");

    for (text, problem) in
        [("{}", "is not a list of rules"), ("[", "is not valid JSON"), ("7", "is not a list of rules")]
    {
        let errors = env("ERROR_RULES", text).errors();
        assert!(errors[0].contains(problem), "{errors:?}");
    }
}

#[test]
fn a_policy_that_is_misspelt_is_told_with_those_there_are() {
    for misspelt in ["p2", "P2C!", "roundrobin", "random", "least in flight"] {
        let errors = env("BALANCE_POLICY", misspelt).errors();

        let [error] = &errors[..] else { panic!("{errors:?}") };
        assert!(error.starts_with("BALANCE_POLICY"), "{error}");
        for policy in PolicyKind::ALL {
            assert!(error.contains(policy.name()), "{error}");
        }
    }
}
