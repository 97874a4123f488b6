-- Client tokens: those that were made in the dashboard, and those of the configuration with what was set for them.
CREATE TABLE client_tokens (
    -- Stands in the request log, so it never comes to mean another token.
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    -- HMAC of the token, of no use without the encryption key.
    fingerprint BLOB NOT NULL UNIQUE,
    -- What may be shown of it.
    prefix TEXT NOT NULL,
    -- 'config' (ALLOWED_TOKENS, AUTH_TOKEN) or 'admin'.
    origin TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT,
    last_used_at_ms BIGINT,
    -- The one that it replaced, which is accepted until then.
    old_fingerprint BLOB,
    old_valid_until_ms BIGINT,
    -- JSON: limits, models, networks, tiers, time zone.
    terms TEXT NOT NULL,
    note TEXT NOT NULL,
    -- JSON of what was used of the limits at the last checkpoint.
    usage TEXT
);
