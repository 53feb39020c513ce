# All that is done to this project by hand. `make` alone says what there is.

CARGO ?= cargo
TOOLS := cargo java mvn python3

.DEFAULT_GOAL := help
.PHONY: help tools format-check lint unit integration test test-long build demo

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make demo ONCE=1    ends when the first changes have arrived (exit code 0), or says why not (1)"
	@echo "  NEO4J_FALKORDB_SYNC_CACHE=DIR    keeps the downloaded servers there, not in ~/.cache"

tools: ## check that everything is there that tests and demo need
	@missing=; \
	for tool in $(TOOLS); do command -v $$tool >/dev/null 2>&1 || missing="$$missing $$tool"; done; \
	java -version 2>&1 | awk -F '"' '/version/ { split($$2, v, "[.+-]"); if (v[1] + 0 >= 17) ok = 1 } END { exit !ok }' \
		|| missing="$$missing java-17-or-later"; \
	python3 -m pip --version >/dev/null 2>&1 || missing="$$missing python3-pip"; \
	$(CARGO) fmt --version >/dev/null 2>&1 || missing="$$missing rustfmt"; \
	$(CARGO) clippy --version >/dev/null 2>&1 || missing="$$missing clippy"; \
	if [ -n "$$missing" ]; then echo "missing:$$missing (Rust by rustup, JDK 17, Maven, Python 3 with pip)" >&2; exit 1; fi

format-check:
	$(CARGO) fmt --check

lint:
	$(CARGO) clippy --all-targets -- -D warnings

unit:
	$(CARGO) test --lib --bins

integration: tools
	$(CARGO) test --test integration

test: tools format-check lint unit integration ## format, lints, unit tests, tests against real servers

test-long: tools ## the tests that take minutes: those that `make test` leaves out
	$(CARGO) test --test integration -- --ignored --nocapture

build:
	$(CARGO) build

demo: tools build ## a Neo4j that keeps changing and a FalkorDB that follows, on this machine
	@ONCE="$(ONCE)" $(CARGO) run --quiet --example demo
