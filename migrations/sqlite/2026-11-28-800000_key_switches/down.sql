ALTER TABLE keys DROP COLUMN reset_at_ms;
ALTER TABLE keys DROP COLUMN disabled_until_ms;
ALTER TABLE keys DROP COLUMN disabled;
