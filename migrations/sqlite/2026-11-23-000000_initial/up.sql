-- Times are UTC milliseconds. Ids are made by the gateway.

-- The highest id ever given out in a table, so that an id is never used twice.
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE keys (
    id BIGINT NOT NULL PRIMARY KEY,
    -- HMAC of the secret: finds duplicates without opening anything.
    fingerprint BLOB NOT NULL UNIQUE,
    sealed BLOB NOT NULL,
    -- 'config' (API_KEYS) or 'admin'.
    origin TEXT NOT NULL,
    label TEXT,
    created_at_ms BIGINT NOT NULL,
    -- The last checkpoint of the key's health, as JSON that only its actor understands.
    health TEXT,
    health_at_ms BIGINT
);

-- One row per client request. The id is the request's, which clients see: a UUID of version 7 in plain hexadecimal, so
-- that ids sort by time and the primary key is the index by time as well. A row costs one insertion into one tree.
CREATE TABLE request_logs (
    id TEXT NOT NULL PRIMARY KEY,
    started_at_ms BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    dialect TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    model TEXT NOT NULL,
    stream BOOLEAN NOT NULL,
    -- What the client got.
    status INTEGER NOT NULL,
    -- The key that answered.
    key_id BIGINT,
    -- The name of the client's token, never the token.
    token_id TEXT,
    client_ip TEXT,
    attempts INTEGER NOT NULL,
    -- JSON list with one entry per attempt.
    trail TEXT NOT NULL,
    first_byte_ms BIGINT,
    prompt_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    thoughts_tokens BIGINT NOT NULL,
    error TEXT,
    node TEXT
) WITHOUT ROWID;

CREATE TABLE error_logs (
    id BIGINT NOT NULL PRIMARY KEY,
    request_id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    key_id BIGINT,
    model TEXT NOT NULL,
    -- NULL when there was no answer at all.
    status INTEGER,
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    -- Only with ERROR_LOG_RECORD_REQUEST_BODY.
    request_body TEXT
);
CREATE INDEX error_logs_by_time ON error_logs (at_ms);
