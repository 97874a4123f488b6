DROP TABLE error_logs;
DROP TABLE request_logs;
DROP TABLE keys;
DROP TABLE counters;
