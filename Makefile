# Tenantry: `make demo` shows it, `make test` proves it. See README.md and CONTRIBUTING.md.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TIER := .ci/tier
RIG := target/debug/tenantry-rig
TOOLS := target/debug/tenantry-tools
CRDGEN := target/debug/crdgen
# One selection of packages for every build and test: with another one most dependencies are compiled again, for other features.
# `cargo run` is none of them: it selects the package of the program alone.
BUILD := cargo build --locked --workspace --bins
TEST := cargo test --locked --workspace
# Modules of this name need servers; all other tests beside those of e2e/tests need none.
ON_SERVERS := on_servers::
# A bar that is redrawn all the time would be torn by the lines of the tools.
PLAIN := env CARGO_TERM_PROGRESS_WHEN=never
GENERATED := crds/generated charts/tenantry-crds/files docs/reference/conditions.md

.PHONY: help
help: ## What can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# To use it

.PHONY: demo
demo: ready ## From a clean checkout to a served tenant, in one command
	@target/debug/tenantry-demo

.PHONY: up
up: ready ## Start the demo's stack and keep it; writes .rig/env
	@$(RIG) up

.PHONY: down
down: ## Stop what `make up` started
	@if [ -x $(RIG) ]; then $(RIG) down; fi

# To change it: a loop of seconds

.PHONY: check
check: ## Format and lints of what changed, warnings denied
	@$(TIER) format cargo fmt --all --check
	@$(TIER) imports .ci/group-imports
	@$(TIER) clippy cargo clippy --locked --workspace --all-targets -- --deny warnings

.PHONY: quick
quick: ## Every test that needs no server
	@cargo build --quiet --locked --workspace --bin crdgen
	@$(TIER) goldens $(CRDGEN) --check $(GENERATED)
	@$(TIER) quick $(TEST) --lib --bins --test contract -- --skip $(ON_SERVERS)

.PHONY: one
one: ## One test, or all under a path, with its stack: make one T=api::jobs
	@.ci/one "$(T)"

.PHONY: watch
watch: ## check and quick after each change
	@.ci/watch

.PHONY: format
format: ## Put the sources in order
	@cargo fmt --all
	@.ci/group-imports --write

.PHONY: crds
crds: ## Write the CRDs and their reference from the types
	@cargo build --quiet --locked --workspace --bin crdgen
	@$(CRDGEN) $(GENERATED)

.PHONY: build
build: ## All programs, debug build
	@$(TIER) build $(BUILD)

# It depends on little, so that on an empty machine the tools are on their way seconds after the clone.
.PHONY: installer
installer:
	@$(PLAIN) cargo build --locked --package tenantry-toolchain --bin tenantry-tools

.PHONY: tools
tools: installer ## The stack's servers and Helm, built or installed once
	@$(TIER) tools $(TOOLS) all

# All programs and what every stack needs, at the same time; when one fails, the other is ended.
.PHONY: ready
ready: installer
	@$(TIER) build-and-tools $(PLAIN) $(TOOLS) stack -- $(BUILD)

# To prove it: the tiers of `make test`

.PHONY: test
test: ## Everything
	@rm -rf target/tiers
	@$(MAKE) --no-print-directory check habits quick servers stack sweep && code=0 || code=$$?; .ci/summary; exit $$code

# What keeps the repository in order and needs no server. The tools are installed once for the user, at these versions.
MACHETE := .ci/cargo-tool cargo-machete 0.9.2 --with-metadata --skip-target-dir
DENY := .ci/cargo-tool cargo-deny 0.20.2 --locked check \
	--deny unmatched-skip --deny unnecessary-skip --deny license-not-encountered --deny license-exception-not-encountered

.PHONY: habits
habits: ## Docs that build, links that lead somewhere, dependencies that are used, allowed and compiled once
	@$(TIER) links .ci/links
	@$(TIER) features .ci/features
	@$(TIER) machete $(MACHETE)
	@$(TIER) deny $(DENY) bans licenses sources
	@$(TIER) docs env RUSTDOCFLAGS="--deny warnings" cargo doc --quiet --locked --workspace --no-deps --document-private-items

.PHONY: advisories
advisories: ## Known vulnerabilities of what we depend on; fetches the advisory database
	@$(TIER) advisories $(DENY) advisories

.PHONY: servers
servers: ready ## Tests of the control plane's parts on real servers
	@$(TIER) servers $(RIG) run --stack-only --at-once -- $(TEST) --bin tenantry-controlplane -- $(ON_SERVERS)

# The shared platform starts while the tests are built. BIN=api runs one of the test programs.
STACK := $(if $(BIN),$(BIN),platform api isolation faults)
.PHONY: stack
stack: ready ## Tests of the whole platform on the real stack
	@$(TIER) stack$(if $(BIN),-$(BIN)) $(RIG) run --at-once -- $(TEST) $(STACK:%=--test %) --no-fail-fast

.PHONY: sweep
sweep: ready ## A third of the slow tests, another one each time: a death at every side effect, odd manifests
	@.ci/seeded $(MAKE) --no-print-directory part

.PHONY: sweep-all
sweep-all: export TENANTRY_PARTS := 1
sweep-all: sweep ## All of the slow tests

.PHONY: part
part:
	@$(TIER) fuzz $(TEST) --bin tenantry-controlplane -- --ignored --nocapture fuzz
	@$(TIER) isolation $(RIG) run --at-once -- $(TEST) --test isolation
	@$(TIER) sweep $(TEST) --test sweep -- --ignored --nocapture

# To measure it

BENCHES := tenants documents peers noise fleet

.PHONY: bench $(BENCHES:%=bench-%)
bench: $(BENCHES:%=bench-%) ## All benchmarks (release build; -documents and -peers need wrk); one: bench-tenants, -documents, -peers, -noise, -fleet
$(BENCHES:%=bench-%): bench-%: release
	@$(TIER) bench-$* target/release/tenantry-bench $*

.PHONY: bench-builds
bench-builds: release ## This build beside another one, by turns: make bench-builds BESIDE=/its/target/release
	@$(TIER) bench-builds target/release/tenantry-bench builds "$(BESIDE)"

# The programs without the packages of the tests, whose features a release does not have. Nor does it have points to die at.
.PHONY: release
release:
	@$(TIER) release cargo build --locked --release --package tenantry-operator --package tenantry-controlplane
	@if grep --quiet --text TENANTRY_KILL_POINT target/release/tenantry-operator; then echo 'a release has kill points' >&2; exit 1; fi
	@$(TIER) release-bench cargo build --locked --release --package tenantry-bench
