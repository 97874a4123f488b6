DROP INDEX error_logs_by_time;
CREATE INDEX error_logs_by_time ON error_logs (at_ms);
