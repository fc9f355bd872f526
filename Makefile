# Tenantry: `make demo` shows it, `make test` proves it. See README.md.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TIER := .ci/tier
RIG := target/debug/tenantry-rig
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
	@cargo run --quiet --locked -p tenantry-crds --bin crdgen -- $(GENERATED)

.PHONY: lint
lint: ## Format and lints, warnings denied
	@$(TIER) format cargo fmt --all --check
	@$(TIER) clippy cargo clippy --locked --workspace --all-targets -- --deny warnings

.PHONY: tools
tools: build ## The stack's servers, built or installed once
	@$(TIER) tools $(RIG) tools

.PHONY: unit
unit: tools ## Tests of each crate (some on a small stack of their own), and goldens
	@$(TIER) goldens cargo run --quiet --locked -p tenantry-crds --bin crdgen -- --check $(GENERATED)
	@$(TIER) unit cargo test --locked --workspace --exclude tenantry-e2e

.PHONY: stack
stack: tools ## Tests of the whole platform on the real stack
	@$(TIER) stack $(RIG) run -- cargo test --locked -p tenantry-e2e --no-fail-fast

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
	@$(TIER) test $(MAKE) --no-print-directory lint unit stack sweep

BENCHES := tenants documents peers fleet

.PHONY: bench $(BENCHES:%=bench-%)
bench: $(BENCHES:%=bench-%) ## All benchmarks (release build; -documents and -peers need wrk); one: bench-tenants, -documents, -peers, -fleet
$(BENCHES:%=bench-%): bench-%: release
	@$(TIER) bench-$* target/release/tenantry-bench $*

.PHONY: release
release:
	@$(TIER) release cargo build --locked --release --bin tenantry-operator --bin tenantry-controlplane --bin tenantry-bench

# Habits: what keeps the repository in order and needs no server. The tools are installed once for the user, at these versions.
MACHETE := .ci/cargo-tool cargo-machete 0.9.2 --with-metadata --skip-target-dir
DENY := .ci/cargo-tool cargo-deny 0.20.2 --locked check \
	--deny unmatched-skip --deny unnecessary-skip --deny license-not-encountered --deny license-exception-not-encountered

.PHONY: habits
habits: ## Docs that build, links that lead somewhere, imports in order, dependencies that are used and allowed
	@$(TIER) imports .ci/group-imports
	@$(TIER) links .ci/links
	@$(TIER) machete $(MACHETE)
	@$(TIER) deny $(DENY) bans licenses sources
	@$(TIER) docs env RUSTDOCFLAGS="--deny warnings" cargo doc --quiet --locked --workspace --no-deps --document-private-items

.PHONY: advisories
advisories: ## Known vulnerabilities of what we depend on; fetches the advisory database
	@$(TIER) advisories $(DENY) advisories
