# Tenantry: `make demo` shows it, `make test` proves it. See README.md.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TIER := .ci/tier
RIG := target/debug/tenantry-rig
# One selection of packages for every build and test: with another one most dependencies are compiled again, for other features.
CARGO_TEST := cargo test --locked --workspace
# Modules of this name need servers, everything else beneath the programs needs none.
ON_SERVERS := on_servers::
GENERATED := crds/generated charts/tenantry-crds/files docs/reference/conditions.md

.PHONY: help
help: ## What can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## From a clean checkout to a served tenant, in one command
	@target/debug/tenantry-demo

.PHONY: up
up: build ## Start the demo's stack and keep it; writes .rig/env
	@$(RIG) up

.PHONY: down
down: ## Stop what `make up` started
	@if [ -x $(RIG) ]; then $(RIG) down; fi

.PHONY: build
build: ## All programs, debug build
	@$(TIER) build cargo build --locked --workspace --bins

.PHONY: crds
crds: ## Write the CRDs and their reference from the types
	@cargo run --quiet --locked --bin crdgen -- $(GENERATED)

.PHONY: format
format: ## Put the sources in order
	@cargo fmt --all
	@.ci/group-imports --write

.PHONY: check
check: ## Format and lints of what changed, warnings denied
	@$(TIER) format cargo fmt --all --check
	@$(TIER) imports .ci/group-imports
	@$(TIER) clippy cargo clippy --locked --workspace --all-targets -- --deny warnings

.PHONY: features
features: ## Builds and tests share their dependencies
	@$(TIER) features .ci/features

.PHONY: quick
quick: ## Every test that needs no server
	@$(TIER) goldens cargo run --quiet --locked --bin crdgen -- --check $(GENERATED)
	@$(TIER) quick $(CARGO_TEST) --lib --bins --test contract -- --skip $(ON_SERVERS)

.PHONY: one
one: ## One test, or all under a path, with its stack: make one T=api::jobs
	@.ci/one "$(T)"

.PHONY: watch
watch: ## check and quick after each change
	@.ci/watch

.PHONY: tools
tools: build ## The stack's servers, built or installed once
	@$(TIER) tools $(RIG) tools

.PHONY: servers
servers: tools ## Tests of the programs' parts on real servers
	@$(TIER) servers $(RIG) run --stack-only --at-once -- $(CARGO_TEST) --bin tenantry-controlplane -- $(ON_SERVERS)

# The shared platform starts while the tests are built. BIN=api runs one of the test programs.
STACK := $(if $(BIN),$(BIN),platform api faults)
.PHONY: stack
stack: tools ## Tests of the whole platform on the real stack
	@$(TIER) stack$(if $(BIN),-$(BIN)) $(RIG) run --at-once -- $(CARGO_TEST) $(STACK:%=--test %) --no-fail-fast

# The operator with its kill points beside the usual one, from the same build of everything else.
.PHONY: kill-points
kill-points:
	@$(TIER) kill-points cargo build --locked --workspace --bins --features tenantry-operator/kill-points
	@cp -f target/debug/tenantry-operator target/debug/tenantry-operator-kill-points
	@cargo build --locked --workspace --bins

.PHONY: sweep
sweep: tools kill-points ## The slow tests: a death at every point, odd manifests
	@$(TIER) fuzz cargo test --locked -p tenantry-controlplane -- --ignored --nocapture fuzz
	@$(TIER) sweep cargo test --locked -p tenantry-e2e --test sweep -- --ignored --nocapture --test-threads 1

.PHONY: test
test: ## Everything
	@rm -rf target/tiers
	@$(MAKE) --no-print-directory check features quick servers stack sweep; code=$$?; .ci/summary; exit $$code

BENCHES := tenants documents peers fleet

.PHONY: bench $(BENCHES:%=bench-%)
bench: $(BENCHES:%=bench-%) ## All benchmarks (release build; -documents and -peers need wrk); one: bench-tenants, -documents, -peers, -fleet
$(BENCHES:%=bench-%): bench-%: release
	@$(TIER) bench-$* target/release/tenantry-bench $*

# The programs without the packages of the tests, whose features a release does not have.
.PHONY: release
release:
	@$(TIER) release cargo build --locked --release --package tenantry-operator --package tenantry-controlplane
	@$(TIER) release-bench cargo build --locked --release --package tenantry-bench
