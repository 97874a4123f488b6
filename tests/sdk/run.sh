#!/bin/sh
# Runs the suites of the real client SDKs (Python and Node) against a gateway and prints the runners' own closing lines.
#
#   GATEWAY_URL, GATEWAY_TOKEN, SIM_URL   a gateway that is running over the simulated Gemini; without them one is started
#   GEMINI_BALANCE_BIN                    the gateway to start (target/debug/gemini-balance)
#   SDK_TARGET=sim                        no gateway: Google's SDKs and the OpenAI layer straight against the simulation
#   SDK_CACHE                             where the packages go (target/sdk)
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
suites=$root/tests/sdk
cache=${SDK_CACHE:-$root/target/sdk}
mkdir -p "$cache"
export SDK_TARGET="${SDK_TARGET:-gateway}"

# The packages are installed anew only when their list has changed.
install_python() {
  cmp -s "$suites/python/requirements.txt" "$cache/requirements.txt" && return
  python3 -m venv "$cache/venv"
  "$cache/venv/bin/pip" install --quiet --disable-pip-version-check -r "$suites/python/requirements.txt"
  cp "$suites/python/requirements.txt" "$cache/"
}

install_node() {
  mkdir -p "$cache/node"
  cp "$suites"/node/*.js "$suites/node/package.json" "$cache/node/"
  cmp -s "$suites/node/package-lock.json" "$cache/node/package-lock.json" && return
  cp "$suites/node/package-lock.json" "$cache/node/"
  (cd "$cache/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
}

# The value of a string field in the line that a server prints when it is ready.
field() {
  sed -n "s/^ready .*\"$1\": *\"\([^\"]*\)\".*/\1/p" "$cache/server.out"
}

# Starts a server and waits until it says that it is ready.
start() {
  # The line of an earlier run must not be taken for this one's.
  : >"$cache/server.out"
  "$@" >"$cache/server.out" 2>"$cache/server.err" &
  server=$!
  trap 'kill "$server" 2>/dev/null || true' EXIT
  for _ in $(seq 100); do
    grep -q '^ready ' "$cache/server.out" && return
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  echo "$1 did not become ready:" >&2
  cat "$cache/server.err" >&2
  exit 1
}

install_python
install_node

if [ -z "${GATEWAY_URL:-}" ] && [ "$SDK_TARGET" = sim ]; then
  start "${SIM_BIN:-$root/target/debug/examples/sim}" --plan healthy
  SIM_URL=$(field sim)
  GATEWAY_URL=$SIM_URL
  GATEWAY_TOKEN=demo-key-01-well
elif [ -z "${GATEWAY_URL:-}" ]; then
  start "${GEMINI_BALANCE_BIN:-$root/target/debug/gemini-balance}" demo --port 0 --no-traffic --healthy
  GATEWAY_URL=$(field gateway)
  GATEWAY_TOKEN=$(field token)
  SIM_URL=$(field sim)
fi
export GATEWAY_URL GATEWAY_TOKEN SIM_URL

status=0
echo "Python: $("$cache/venv/bin/pip" list --format=freeze | grep -E '^(anthropic|openai|google-genai)=' | tr '\n' ' ')"
PYTHONDONTWRITEBYTECODE=1 "$cache/venv/bin/pytest" --quiet -p no:cacheprovider "$suites/python" || status=1

echo "Node $(node --version): $(cd "$cache/node" && node -p \
  'Object.entries(require("./package.json").dependencies).map((entry) => entry.join("=")).join(" ")')"
# One file at a time: the suites watch the same counters.
(cd "$cache/node" && node --test --test-concurrency=1 --test-reporter=spec) || status=1

exit "$status"
