#!/bin/sh
# Holds a running gateway against the document of its admin API: no 5xx, no status that is not documented, and bodies of
# the documented shape.
#
#   GEMINI_BALANCE_BIN   the gateway to start (target/debug/gemini-balance)
#   OPENAPI_CACHE        where the packages go (target/openapi)
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
suite=$root/tests/openapi
cache=${OPENAPI_CACHE:-$root/target/openapi}
mkdir -p "$cache"

# The packages are installed anew only when their list has changed.
if ! cmp -s "$suite/requirements.txt" "$cache/requirements.txt"; then
  python3 -m venv "$cache/venv"
  "$cache/venv/bin/pip" install --quiet --disable-pip-version-check -r "$suite/requirements.txt"
  cp "$suite/requirements.txt" "$cache/"
fi

# The value of a string field in the line that the demo prints when it is ready.
field() {
  sed -n "s/^ready .*\"$1\": *\"\([^\"]*\)\".*/\1/p" "$cache/demo.out"
}

: >"$cache/demo.out"
"${GEMINI_BALANCE_BIN:-$root/target/debug/gemini-balance}" demo --port 0 --no-traffic --healthy \
  >"$cache/demo.out" 2>"$cache/demo.err" &
demo=$!
trap 'kill "$demo" 2>/dev/null || true' EXIT
for _ in $(seq 100); do
  grep -q '^ready ' "$cache/demo.out" && break
  sleep 0.1
done
if ! grep -q '^ready ' "$cache/demo.out"; then
  echo "the demo did not become ready:" >&2
  cat "$cache/demo.err" >&2
  exit 1
fi

# The limits keep it within two minutes, and the seed makes two runs alike. Sessions are left out: wrong tokens would lock
# this address out, and the right one would end the run by logging out. So are events, which do not end.
status=0
(cd "$cache" && timeout 110 venv/bin/schemathesis run "$(field gateway)/api/admin/openapi.json" \
  --header "Authorization: Bearer $(field admin_token)" \
  --exclude-path /api/admin/session --exclude-path /api/admin/events \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
  --phases examples,coverage,fuzzing --max-examples 20 --seed 1 --workers 1 --request-timeout 20 --no-color) || status=$?
exit "$status"
