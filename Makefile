# Two commands do everything: `make demo` shows the service at work, `make test` checks all of it.
# Servers come from the package registries and are kept outside the checkout; see README.md.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
# Tests mostly wait for servers, so there are more of them at once than small machines have processors.
TEST_THREADS ?= $(shell processors=$$(nproc); echo $$((processors < 3 ? 3 : processors)))
TOOLS := cargo java mvn python3

.PHONY: help
help: ## Show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

.PHONY: tools
tools: ## Say in one line which tools are missing
	@missing=(); \
	for tool in $(TOOLS); do command -v "$$tool" >/dev/null || missing+=("$$tool"); done; \
	python3 -m pip --version >/dev/null 2>&1 || missing+=("pip (for python3)"); \
	python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=("venv (for python3)"); \
	if [ "$${#missing[@]}" -gt 0 ]; then \
	  printf 'missing: %s; needed are Rust, JDK 17 or later, Maven, Python 3 with pip and venv, and make\n' "$$(IFS=,; echo "$${missing[*]}")" >&2; \
	  exit 1; \
	fi

.PHONY: demo
demo: tools ## Run the service between real servers and watch FalkorDB follow Neo4j (ONCE=1 ends by itself)
	$(CARGO) build --quiet --bin neo4j-falkordb-sync --example demo
	ONCE=$(ONCE) $(CARGO) run --quiet --example demo

.PHONY: secrets
secrets: ## Make the passwords and the token that compose.yaml needs, once, in secrets/
	@./config/make-secrets secrets

.PHONY: test
test: tools format lint unit integration ## Everything that continuous integration checks

.PHONY: format
format:
	$(CARGO) fmt --all -- --check

.PHONY: lint
lint:
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps --document-private-items --quiet

.PHONY: unit
unit:
	$(CARGO) test --lib --bins --test packaging

.PHONY: integration
integration: tools
	$(CARGO) test --test integration -- --test-threads $(TEST_THREADS)

.PHONY: test-long
test-long: tools ## What takes longer than a cup of tea
	$(CARGO) test --test integration -- --ignored --nocapture

# The newest Neo4j wants a newer Java than the long-term support version.
NEWER_NEO4J ?= 2026.09.0
NEWER_JAVA_HOME ?= $(firstword $(wildcard /usr/lib/jvm/*-25-* /usr/lib/jvm/*-25))

.PHONY: test-newer
test-newer: tools ## The tests that depend on the version of Neo4j, against the newest one (NEWER_NEO4J, NEWER_JAVA_HOME)
	@if [ ! -x "$(NEWER_JAVA_HOME)/bin/java" ]; then echo "SKIPPED: Neo4j $(NEWER_NEO4J) needs Java 25, and there is none: NEWER_JAVA_HOME names one"; exit 0; fi; \
	NEO4J_FALKORDB_SYNC_NEO4J=$(NEWER_NEO4J) NEO4J_FALKORDB_SYNC_JAVA_HOME=$(NEWER_JAVA_HOME) \
	  $(CARGO) test --test integration -- --nocapture pipeline:: generic:: compatibility:: plans:: bolt:: full_sync:: value_round_trip:: identity:: changes:: transaction_log:: && \
	NEO4J_FALKORDB_SYNC_UPGRADE_TO=$(NEWER_NEO4J) NEO4J_FALKORDB_SYNC_UPGRADE_JAVA_HOME=$(NEWER_JAVA_HOME) \
	  $(CARGO) test --test integration -- --nocapture --ignored transaction_log::server::a_server_that_is_upgraded_in_place_is_followed

NEWER_FALKORDB ?= 4.22.1
# Tests that depend on what FalkorDB makes of values, names and indices, and other people's graphs.
ACROSS_VERSIONS := pipeline:: generic:: compatibility:: value_round_trip:: full_sync:: indices:: changes::

.PHONY: test-newer-falkordb
test-newer-falkordb: tools ## The tests that depend on the version of FalkorDB, against the newest one
	NEO4J_FALKORDB_SYNC_FALKORDB=$(NEWER_FALKORDB) $(CARGO) test --test integration -- --nocapture $(ACROSS_VERSIONS)

.PHONY: test-faults
test-faults: tools ## Faults at every step, and a soak of half an hour (FAULTS_SOAK_SECONDS=300 is shorter)
	$(CARGO) test --features failpoints --test integration -- --nocapture --test-threads 1 --include-ignored faults:: doors:: hostile::
	$(CARGO) test --features failpoints --test failpoints -- --nocapture --test-threads 1

.PHONY: bench
bench: tools ## Measure, as ratios of things measured side by side
	$(CARGO) bench
