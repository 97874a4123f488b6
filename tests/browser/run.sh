#!/bin/sh
# Opens the dashboard in a real Chromium over the demo's simulated Gemini.
#
#   GEMINI_BALANCE_BIN   the gateway to start (target/debug/gemini-balance)
#   CHROMIUM             the browser (chromium)
#   BROWSER_CACHE        where the packages go (target/browser)
#   SCREENSHOTS          where the pictures of every page go (target/screenshots)
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
suite=$root/tests/browser
cache=${BROWSER_CACHE:-$root/target/browser}
GEMINI_BALANCE_BIN=${GEMINI_BALANCE_BIN:-$root/target/debug/gemini-balance}
SCREENSHOTS=${SCREENSHOTS:-$root/target/screenshots}
CHROMIUM=${CHROMIUM:-$(command -v chromium || true)}
export GEMINI_BALANCE_BIN SCREENSHOTS CHROMIUM
mkdir -p "$cache" "$SCREENSHOTS"

if [ -z "$CHROMIUM" ]; then
  echo "There is no Chromium here (apt-get install chromium); the dashboard is not tested." >&2
  [ -z "${CI:-}" ]
  exit
fi

if command -v fc-list >/dev/null && [ -z "$(fc-list :lang=zh)" ]; then
  echo "There is no Chinese font here (apt-get install fonts-noto-cjk); pictures of the Chinese pages show boxes." >&2
fi

cp "$suite"/*.js "$suite/package.json" "$suite/.npmrc" "$cache/"
if ! cmp -s "$suite/package-lock.json" "$cache/package-lock.json"; then
  cp "$suite/package-lock.json" "$cache/"
  (cd "$cache" && npm ci --ignore-scripts --no-audit --no-fund --prefer-offline --loglevel=error)
fi

# One file at a time: each has a gateway and a browser of its own.
cd "$cache"
exec node --test --test-concurrency=1 --test-reporter=spec ${1:+"$1.test.js"}
