# Tenantry: `make demo` shows it, `make test` proves it. See README.md.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TIER := .ci/tier
RIG := target/debug/tenantry-rig
TOOLS := target/debug/tenantry-tools
BUILD := cargo build --locked --workspace --bins
# A bar that is redrawn all the time would be torn by the lines of the tools.
PLAIN := env CARGO_TERM_PROGRESS_WHEN=never
GENERATED := crds/generated charts/tenantry-crds/files docs/reference/conditions.md

.PHONY: help
help: ## What can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ready ## From a clean checkout to a served tenant, in one command
	@target/debug/tenantry-demo

.PHONY: up
up: ready ## Start the demo's stack and keep it; writes .rig/env
	@$(RIG) up

.PHONY: down
down: ## Stop what `make up` started
	@if [ -x $(RIG) ]; then $(RIG) down; fi

.PHONY: build
build: ## All programs, debug build
	@$(TIER) build $(BUILD)

.PHONY: crds
crds: ## Write the CRDs and their reference from the types
	@cargo run --quiet --locked -p tenantry-crds --bin crdgen -- $(GENERATED)

.PHONY: lint
lint: ## Format and lints, warnings denied
	@$(TIER) format cargo fmt --all --check
	@$(TIER) clippy cargo clippy --locked --workspace --all-targets -- --deny warnings

# It depends on little, so that on an empty machine the tools are on their way seconds after the clone.
.PHONY: installer
installer:
	@$(PLAIN) cargo build --locked -p tenantry-toolchain --bin tenantry-tools

.PHONY: tools
tools: installer ## The stack's servers and Helm, built or installed once
	@$(TIER) tools $(TOOLS) all

# All programs and what every stack needs, at the same time; when one fails, the other is ended.
.PHONY: ready
ready: installer
	@$(TIER) build-and-tools $(PLAIN) $(TOOLS) stack -- $(BUILD)

.PHONY: unit
unit: ready ## Tests of each crate (some on a small stack of their own), and goldens
	@$(TIER) goldens cargo run --quiet --locked -p tenantry-crds --bin crdgen -- --check $(GENERATED)
	@$(TIER) unit cargo test --locked --workspace --exclude tenantry-e2e

.PHONY: stack
stack: ready ## Tests of the whole platform on the real stack
	@$(TIER) stack $(RIG) run -- cargo test --locked -p tenantry-e2e --no-fail-fast

# The operator with its kill points beside the usual one, from the same build of everything else.
.PHONY: kill-points
kill-points:
	@$(TIER) kill-points cargo build --locked --workspace --bins --features tenantry-operator/kill-points
	@cp -f target/debug/tenantry-operator target/debug/tenantry-operator-kill-points
	@$(BUILD)

.PHONY: sweep
sweep: ready kill-points ## The slow tests: a death at every point, odd manifests
	@$(TIER) fuzz cargo test --locked -p tenantry-controlplane -- --ignored --nocapture fuzz
	@$(TIER) sweep cargo test --locked -p tenantry-e2e --test sweep -- --ignored --nocapture --test-threads 1

.PHONY: test
test: ## Everything
	@$(TIER) test $(MAKE) --no-print-directory lint unit stack sweep

BENCHES := tenants documents peers fleet

.PHONY: bench $(BENCHES:%=bench-%)
bench: $(BENCHES:%=bench-%) ## All benchmarks (release build; -documents and -peers need wrk); one: bench-tenants, -documents, -peers, -fleet
$(BENCHES:%=bench-%): bench-%: release
	@$(TIER) bench-$* target/release/tenantry-bench $*

.PHONY: release
release:
	@$(TIER) release cargo build --locked --release --bin tenantry-operator --bin tenantry-controlplane --bin tenantry-bench
