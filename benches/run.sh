#!/bin/sh
# Measures the whole gateway against nginx on this machine; `make bench` calls it. Takes about five minutes.
#
#   BENCH_SECONDS  length of each measured load, 10 unless set; 3 gives a first impression
#   BENCH_WORKERS  threads of the gateway and processes of nginx, 1 unless set
#
# Needs nginx, wrk and Python 3.10 or newer. Everything runs on 127.0.0.1, on free ports, in a temporary folder.
set -eu

cd "$(dirname "$0")/.."
for tool in nginx wrk python3; do
    command -v "$tool" >/dev/null || PATH="$PATH:/usr/sbin" command -v "$tool" >/dev/null || {
        echo "benches/run.sh needs $tool (Debian: apt-get install nginx-light wrk python3)" >&2
        exit 2
    }
done

cargo build --release --bin gemini-balance
# Before anything else runs on this machine; its figures are part of the table.
cargo bench --bench micro -- "acquire and settle" >/dev/null
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
# Signals go straight to the one process that ends all the others.
PYTHONDONTWRITEBYTECODE=1 exec python3 benches/whole "$target/release"
