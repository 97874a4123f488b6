DROP INDEX error_logs_by_request;
DROP INDEX error_logs_by_key;
DROP INDEX request_logs_by_key;
DROP TABLE unsummed_logs;
DROP TABLE key_states;
DROP TABLE rollups;
