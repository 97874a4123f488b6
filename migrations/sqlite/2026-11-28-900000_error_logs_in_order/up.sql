-- As pages are sorted. By the time alone, SQLite reads and sorts the whole table to find where a page ends.
DROP INDEX error_logs_by_time;
CREATE INDEX error_logs_by_time ON error_logs (at_ms, id);
