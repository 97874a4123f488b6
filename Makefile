# One list of commands, the same for people and for CI. `make` alone prints it.
#
# `make test` installs the client SDKs below target/; nothing here needs more rights than its user has.

.DEFAULT_GOAL := help
.PHONY: help run demo build test test-rust test-sdk test-web test-browser test-openapi test-simulation test-docs check \
        check-format check-lints check-layers check-dependencies image-check bench bench-admin

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))

help: ## What there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

run: ## Build and serve on 127.0.0.1:8000, with everything that is kept under data/
	cargo run --release --locked

demo: ## The gateway over a simulated Gemini: no key and no network needed
	cargo run --release --locked -- demo

# With the tests, since their dependencies switch on features: a plain build would compile everything again.
build: ## The debug build that the suites run against
	cargo test --locked --no-run

test: test-rust test-simulation test-sdk test-web test-browser test-openapi test-docs ## Every suite that CI runs

test-rust: ## Unit and integration tests
	cargo test --locked

test-simulation: ## Two hours of quotas in virtual time, and the table of what each rule gets out of them
	cargo test --locked --lib quotas::demand -- --ignored --nocapture

test-sdk: build ## Real client SDKs, Python and Node, against a running gateway
	GEMINI_BALANCE_BIN=$(TARGET)/debug/gemini-balance SDK_CACHE=$(TARGET)/sdk tests/sdk/run.sh

test-web: web/node_modules/vitest/package.json ## The dashboard's types, lints and unit tests
	cd web && npm run check && npm test

web/node_modules/vitest/package.json: web/package-lock.json
	cd web && npm ci --ignore-scripts --prefer-offline --loglevel=error
	touch $@

test-browser: build ## The dashboard in a real Chromium; pictures of every page go to target/screenshots
	GEMINI_BALANCE_BIN=$(TARGET)/debug/gemini-balance BROWSER_CACHE=$(TARGET)/browser SCREENSHOTS=$(TARGET)/screenshots \
		tests/browser/run.sh

test-openapi: build ## The admin API against its own document, by schemathesis
	GEMINI_BALANCE_BIN=$(TARGET)/debug/gemini-balance OPENAPI_CACHE=$(TARGET)/openapi tests/openapi/run.sh

test-docs: ## Links, settings, commands and paths that the documents name
	scripts/check_docs.py
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

check: check-format check-lints check-layers check-dependencies ## Format, lints, layers, licences and duplicates

check-format:
	cargo fmt --check

check-lints:
	cargo clippy --locked --all-targets -- -D warnings

check-layers:
	cargo test --locked --test layering

check-dependencies:
	scripts/check_dependencies.py

image-check: build ## The Dockerfile's steps and its health check, without a Docker engine
	scripts/check_image.py $(TARGET)/debug/gemini-balance

bench-admin: ## The dashboard's pages with 100,000 keys and 5 million log rows
	benches/admin.sh

bench: ## CPU, latency and memory beside nginx on this machine; needs nginx and wrk
	benches/run.sh
