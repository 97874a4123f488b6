CREATE INDEX rollups_by_name ON rollups (kind, name, step_ms, at_ms);
