-- What operators have set by hand holds on all nodes, whatever each of them has learnt of the key.
ALTER TABLE keys ADD COLUMN disabled BOOLEAN NOT NULL DEFAULT FALSE;
-- Until then, if it is not for good.
ALTER TABLE keys ADD COLUMN disabled_until_ms BIGINT;
-- What was held against the key before that is forgotten.
ALTER TABLE keys ADD COLUMN reset_at_ms BIGINT;
UPDATE keys
SET disabled = TRUE, disabled_until_ms = json_extract(health, '$.disabled.until_ms')
WHERE CASE WHEN json_valid(health) THEN json_extract(health, '$.disabled') IS NOT NULL ELSE FALSE END;
