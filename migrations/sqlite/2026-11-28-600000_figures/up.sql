-- Sums of the request log, written in the same transaction as its rows, so that no page has to scan the log. Each request
-- is added to one row of every kind and step.
CREATE TABLE rollups (
    -- 'total', 'model', 'token', 'dialect', 'status', 'key'.
    kind TEXT NOT NULL,
    -- Length of the bucket in milliseconds: a minute, an hour, a day.
    step_ms BIGINT NOT NULL,
    -- Where it begins, in UTC.
    at_ms BIGINT NOT NULL,
    -- Of its kind; '' where there is only one.
    name TEXT NOT NULL,
    -- Of tokens and keys, which are summed up by model; '' with the others.
    model TEXT NOT NULL,
    requests BIGINT NOT NULL,
    succeeded BIGINT NOT NULL,
    client_errors BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    rescued BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    thoughts_tokens BIGINT NOT NULL,
    last_at_ms BIGINT NOT NULL,
    -- Histograms; src/domain/histogram.rs knows their form.
    first_byte BLOB NOT NULL,
    duration BLOB NOT NULL,
    PRIMARY KEY (kind, step_ms, at_ms, name, model)
) WITHOUT ROWID;
-- One key among a hundred thousand, over months: its rows lie far apart in the primary key.
CREATE INDEX rollups_by_name ON rollups (kind, name, step_ms, at_ms);

-- How many keys were in each state, minute by minute and later hour by hour.
CREATE TABLE key_states (
    at_ms BIGINT NOT NULL PRIMARY KEY,
    active BIGINT NOT NULL,
    cooling BIGINT NOT NULL,
    half_open BIGINT NOT NULL,
    invalid BIGINT NOT NULL,
    disabled BIGINT NOT NULL
);

-- Rows of the logs from before there were roll-ups, which are added to them piece by piece: those with lower ids.
CREATE TABLE unsummed_logs (
    log TEXT NOT NULL PRIMARY KEY,
    before_id TEXT NOT NULL
);
-- '~' comes after every digit.
INSERT INTO unsummed_logs SELECT 'request_logs', MAX(id) || '~' FROM request_logs HAVING COUNT(*) > 0;
INSERT INTO unsummed_logs SELECT 'error_logs', MAX(id) + 1 FROM error_logs HAVING COUNT(*) > 0;

-- The requests of one key among many; also what `COUNT(*)` walks over, since it is by far the smallest tree.
CREATE INDEX request_logs_by_key ON request_logs (key_id, id);
-- The failures of one key, newest first.
CREATE INDEX error_logs_by_key ON error_logs (key_id, at_ms);
-- What Google said to the attempts of one request.
CREATE INDEX error_logs_by_request ON error_logs (request_id);
