-- What was set in the dashboard. The value is JSON; that of a secret is sealed instead.
CREATE TABLE settings (
    name TEXT PRIMARY KEY NOT NULL,
    value TEXT,
    sealed BLOB,
    -- Of the value in the file or the environment that it covers; none where there was none.
    covers BLOB,
    changed_at_ms BIGINT NOT NULL
);
