-- SQLite never chose it; single keys are found in the primary key, bucket by bucket.
DROP INDEX rollups_by_name;
