-- Which key made what lies at Google (files, caches, batches), and for which client; the client as the fingerprint of
-- its token.
CREATE TABLE resources (
    name TEXT NOT NULL PRIMARY KEY,
    key_id BIGINT NOT NULL,
    client TEXT NOT NULL,
    expires_at_ms BIGINT NOT NULL
);
CREATE INDEX resources_expires_at_ms ON resources (expires_at_ms);
