# The two main commands: `make demo` shows the service at work, and `make test` checks everything.
# The servers come from the package registries and are stored outside the checkout; see README.md.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
# Tests mostly wait for servers, so on small machines more tests than processors run at the same time.
TEST_THREADS ?= $(shell processors=$$(nproc); echo $$((processors < 3 ? 3 : processors)))
# Databases write each commit through to their disk. Where there is plenty of memory, the servers of the tests keep their files there,
# which takes a third of the time off. TEST_TMPDIR= has them on disk.
TEST_TMPDIR ?= $(shell awk -v room="$$(df --output=avail -k /dev/shm 2>/dev/null | tail -1)" \
  '/^MemAvailable/ && $$2 > 14000000 && room > 8000000 { print "/dev/shm" }' /proc/meminfo 2>/dev/null)
TOOLS := cargo java mvn python3

.PHONY: help
help: ## List all targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

.PHONY: tools
tools: ## Report missing tools in one line
	@missing=(); \
	for tool in $(TOOLS); do command -v "$$tool" >/dev/null || missing+=("$$tool"); done; \
	python3 -m pip --version >/dev/null 2>&1 || missing+=("pip (for python3)"); \
	python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=("venv (for python3)"); \
	if [ "$${#missing[@]}" -gt 0 ]; then \
	  printf 'missing: %s; needed are Rust, JDK 17 or later, Maven, Python 3 with pip and venv, and make\n' "$$(IFS=,; echo "$${missing[*]}")" >&2; \
	  exit 1; \
	fi

.PHONY: demo
demo: tools ## Run the service between real servers and watch FalkorDB follow Neo4j (ONCE=1 exits after the first changes)
	$(CARGO) build --quiet --bin neo4j-falkordb-sync --example demo
	ONCE=$(ONCE) $(CARGO) run --quiet --example demo

.PHONY: secrets
secrets: ## Create the passwords and the token that compose.yaml needs, once, in secrets/
	@./config/make-secrets secrets

.PHONY: test
test: tools format lint unit integration ## Run everything that continuous integration checks

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
	$(if $(TEST_TMPDIR),TMPDIR=$(TEST_TMPDIR)) $(CARGO) test --test integration -- --test-threads $(TEST_THREADS)

.PHONY: test-long
test-long: tools ## Run the tests that take minutes
	$(CARGO) test --test integration -- --ignored --nocapture

# The newest Neo4j requires a newer Java than the long-term support version of Neo4j.
NEWER_NEO4J ?= 2026.09.0
NEWER_JAVA_HOME ?= $(firstword $(wildcard /usr/lib/jvm/*-25-* /usr/lib/jvm/*-25))

.PHONY: test-newer
test-newer: tools ## Run the tests that depend on the version of Neo4j, against the newest one (NEWER_NEO4J, NEWER_JAVA_HOME)
	@if [ ! -x "$(NEWER_JAVA_HOME)/bin/java" ]; then echo "SKIPPED: Neo4j $(NEWER_NEO4J) needs Java 25, and there is none: NEWER_JAVA_HOME names one"; exit 0; fi; \
	NEO4J_FALKORDB_SYNC_NEO4J=$(NEWER_NEO4J) NEO4J_FALKORDB_SYNC_JAVA_HOME=$(NEWER_JAVA_HOME) \
	  $(CARGO) test --test integration -- --nocapture pipeline:: generic:: compatibility:: plans:: bolt:: full_sync:: value_round_trip:: identity:: changes:: transaction_log:: && \
	NEO4J_FALKORDB_SYNC_UPGRADE_TO=$(NEWER_NEO4J) NEO4J_FALKORDB_SYNC_UPGRADE_JAVA_HOME=$(NEWER_JAVA_HOME) \
	  $(CARGO) test --test integration -- --nocapture --ignored transaction_log::server::a_server_that_is_upgraded_in_place_is_followed

NEWER_FALKORDB ?= 4.22.1
# Tests that depend on how FalkorDB treats values, names and indices, and tests with graphs of other shapes.
ACROSS_VERSIONS := pipeline:: generic:: compatibility:: value_round_trip:: full_sync:: indices:: changes::

.PHONY: test-newer-falkordb
test-newer-falkordb: tools ## Run the tests that depend on the version of FalkorDB, against the newest one
	NEO4J_FALKORDB_SYNC_FALKORDB=$(NEWER_FALKORDB) $(CARGO) test --test integration -- --nocapture $(ACROSS_VERSIONS)

.PHONY: test-faults
test-faults: tools ## Run faults at every step, and a soak of half an hour (FAULTS_SOAK_SECONDS=300 shortens it)
	$(CARGO) test --features failpoints --test integration -- --nocapture --test-threads 1 --include-ignored faults:: doors:: hostile::
	$(CARGO) test --features failpoints --test failpoints -- --nocapture --test-threads 1

HELM ?= helm
MANIFESTS ?= deploy/kubernetes
CHART := deploy/helm/neo4j-falkordb-sync
# Without the labels that say that Helm installed them.
PLAIN := sed -e '/app.kubernetes.io\/managed-by:/d' -e '/helm.sh\/chart:/d' -e '/^\# Source: /d'

.PHONY: manifests
manifests: ## Write the plain Kubernetes manifests from the Helm chart (needs Helm 3)
	$(HELM) template neo4j-falkordb-sync $(CHART) 2>/dev/null | $(PLAIN) >$(MANIFESTS)/neo4j-falkordb-sync.yaml
	$(HELM) template neo4j-falkordb-sync $(CHART) --set serviceMonitor.enabled=true,prometheusRule.enabled=true \
	  --show-only templates/servicemonitor.yaml --show-only templates/prometheusrule.yaml 2>/dev/null | $(PLAIN) >$(MANIFESTS)/prometheus-operator.yaml

.PHONY: bench
bench: tools ## Run the benchmarks, which report ratios of things measured side by side
	$(CARGO) bench
