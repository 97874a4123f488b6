#!/bin/sh
# Measures the dashboard's pages with 100,000 keys and 5 million log rows; `make bench-admin` calls it. Takes about ten
# minutes and 8 GB of disk in a temporary folder.
#
#   ADMIN_BENCH_ROWS  rows of the request log, 5000000 unless set
#   ADMIN_BENCH_KEYS  keys, 100000 unless set
#   ADMIN_BENCH_DIR   a folder that is filled once and used again
set -eu

cd "$(dirname "$0")/.."
exec cargo bench --locked --bench admin
