# Everything a fresh machine with Python 3.11+ and make needs. Each target makes .venv first.
ifndef PYTHON
PYTHON := $(shell for python in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
endif
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SANDBOX := $(VENV)/.sandbox
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: install test test-postgres lint audit docs demo chaos bench quarter fleet lock clean

install: $(STAMP)

$(STAMP): pyproject.toml requirements.lock
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "bitrix-sync needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# the portal of the tests and the demo: no part of what a server installs
$(SANDBOX): $(STAMP) bitrix_sandbox/pyproject.toml
	$(PIP) --no-deps --no-build-isolation -e ./bitrix_sandbox
	@touch $@

# four on two cores: many tests wait in real time for what a process does
test: install $(SANDBOX)
	$(BIN)/python -m pytest -n 4 --dist worksteal

# the suites of the store once more, on a PostgreSQL server of their own; says so where none is installed
test-postgres: install $(SANDBOX)
	$(BIN)/python -m tests.postgres

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# asks the package index for known holes in what the lock file names: needs the network. --strict: what it could not ask
# about is told as an error, and not passed over as "no known vulnerabilities"
audit: install
	$(BIN)/pip-audit --strict --require-hashes --disable-pip -r requirements.lock

# the tables of keys in docs/*/rules.md, those of reports in both READMEs, the JSON Schema: made from declarations
docs: install
	$(BIN)/python -m tools.docs

demo: install $(SANDBOX)
	$(BIN)/bitrix-sync demo

chaos: install $(SANDBOX)
	$(BIN)/python -m tests.chaos

bench: install $(SANDBOX)
	$(BIN)/python -m tests.bench

# do the dates hold that sweeps choose? thirteen weeks, with and without room, in minutes
quarter: install $(SANDBOX)
	$(BIN)/python -m tests.quarter

# many portals, several workers, kills, pauses, outages, on a PostgreSQL server of its own; FLEET=--full for the long ones
fleet: install $(SANDBOX)
	$(BIN)/python -m tests.fleet $(FLEET)

lock: install
	$(BIN)/pip-compile --quiet --extra dev --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-options --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) build dist *.egg-info bitrix_sandbox/build bitrix_sandbox/*.egg-info
