//! What is logged, and for how long it is kept.

use std::time::Duration;

use chrono_tz::Tz;

use super::reader::Reader;

/// Log output and the retention of stored logs.
#[derive(Debug, Clone, PartialEq)]
pub struct Logs {
    pub level: LogLevel,
    pub format: LogFormat,
    /// Whether the error log keeps what users wrote.
    pub record_request_body: bool,
    /// Age at which rows are deleted, in whole days; `None` is never.
    pub error_retention: Option<Duration>,
    /// Age at which rows are deleted, in whole days; `None` is never.
    pub request_retention: Option<Duration>,
    /// Age at which what happened to a key is forgotten, in whole days.
    pub event_retention: Duration,
    /// Rows that each log has at most; `None` for any number.
    pub max_rows: Option<u64>,
    /// Of scheduled work.
    pub timezone: Tz,
}

/// The least severe messages that are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    /// As `tracing` spells it in filters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// The original's words and ours.
pub(super) const LEVELS: [(&str, LogLevel); 7] = [
    ("trace", LogLevel::Trace),
    ("debug", LogLevel::Debug),
    ("info", LogLevel::Info),
    ("warning", LogLevel::Warn),
    ("warn", LogLevel::Warn),
    ("error", LogLevel::Error),
    ("critical", LogLevel::Error),
];

pub(super) const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Logs {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let level = reader.choice("LOG_LEVEL", &LEVELS);
        let format = reader.choice("LOG_FORMAT", &FORMATS);
        let record_request_body = reader.flag("ERROR_LOG_RECORD_REQUEST_BODY");
        let error_retention =
            retention(reader, "AUTO_DELETE_ERROR_LOGS_ENABLED", "AUTO_DELETE_ERROR_LOGS_DAYS");
        let request_retention =
            retention(reader, "AUTO_DELETE_REQUEST_LOGS_ENABLED", "AUTO_DELETE_REQUEST_LOGS_DAYS");
        let event_retention = DAY * reader.number("KEY_HISTORY_DAYS");
        let max_rows = Some(reader.number("LOG_MAX_ROWS")).filter(|rows| *rows > 0);
        let timezone =
            reader.parsed("TIMEZONE", |text| text.parse().map_err(|_| "is not an IANA time zone"))?;
        Some(Self {
            level,
            format,
            record_request_body,
            error_retention,
            request_retention,
            event_retention,
            max_rows,
            timezone,
        })
    }
}

fn retention(reader: &mut Reader, enabled: &'static str, days: &'static str) -> Option<Duration> {
    let (enabled, days) = (reader.flag(enabled), reader.number(days));
    enabled.then(|| DAY * days)
}
