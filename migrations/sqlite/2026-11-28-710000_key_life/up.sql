-- What has happened to keys: why each is as it is, and on whose account.
CREATE TABLE key_events (
    id BIGINT NOT NULL PRIMARY KEY,
    key_id BIGINT NOT NULL,
    -- When it happened first.
    at_ms BIGINT NOT NULL,
    -- The same happened so often within an hour, and so lately.
    times BIGINT NOT NULL,
    last_at_ms BIGINT NOT NULL,
    -- Words; src/domain/key_event.rs knows them.
    kind TEXT NOT NULL,
    from_state TEXT,
    to_state TEXT,
    reason TEXT,
    cause TEXT,
    model TEXT,
    until_ms BIGINT,
    account TEXT NOT NULL
);
CREATE INDEX key_events_by_key ON key_events (key_id, id);
CREATE INDEX key_events_by_kind ON key_events (kind, id);

-- What a key has done since it was added.
ALTER TABLE keys ADD COLUMN requests_total BIGINT NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN failures_total BIGINT NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN last_used_at_ms BIGINT;
ALTER TABLE keys ADD COLUMN last_error TEXT;
-- A key that was deleted in the dashboard stays so long as that can be taken back.
ALTER TABLE keys ADD COLUMN deleted_at_ms BIGINT;
