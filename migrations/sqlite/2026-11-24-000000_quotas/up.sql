-- What the operator says of a key: its project, its tier, its share of the traffic, and as JSON its models.
ALTER TABLE keys ADD COLUMN project TEXT;
ALTER TABLE keys ADD COLUMN tier TEXT;
ALTER TABLE keys ADD COLUMN weight INTEGER NOT NULL DEFAULT 1;
ALTER TABLE keys ADD COLUMN models TEXT;

-- What each project has used and learnt, as JSON that only its ledger understands.
CREATE TABLE quota_ledgers (
    project TEXT NOT NULL PRIMARY KEY,
    ledger TEXT NOT NULL,
    updated_at_ms BIGINT NOT NULL
);
