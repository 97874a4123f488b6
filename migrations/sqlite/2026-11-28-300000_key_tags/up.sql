-- Words that operators sort their keys by, as a JSON list.
ALTER TABLE keys ADD COLUMN tags TEXT;
