DELETE FROM keys WHERE deleted_at_ms IS NOT NULL AND origin = 'admin';
UPDATE keys SET origin = 'removed', health = NULL WHERE deleted_at_ms IS NOT NULL;
ALTER TABLE keys DROP COLUMN deleted_at_ms;
ALTER TABLE keys DROP COLUMN last_error;
ALTER TABLE keys DROP COLUMN last_used_at_ms;
ALTER TABLE keys DROP COLUMN failures_total;
ALTER TABLE keys DROP COLUMN requests_total;
DROP TABLE key_events;
