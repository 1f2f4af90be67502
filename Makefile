# Everything works in .venv/ at the root. `make` alone says what there is.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help
help: ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# The stamp is newer than the pins: nothing to install.
.venv/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv/ (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: setup
setup: .venv/installed ## Install everything into .venv/

.PHONY: run
run: .venv/installed ## Start the gateway on 127.0.0.1:8080 in front of a demo upstream
	@exec $(BIN)/gateway demo

.PHONY: lint
lint: .venv/installed ## Style, types and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: test
test: lint ## All checks and tests, those against a real redis-server included
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 3
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	@$(BIN)/python -m tests.outside_tools --missing

# What is read before anybody is known: requests, answers, addresses, fields, tokens; and YAML.
EXAMPLES ?= 100000
.PHONY: fuzz
fuzz: .venv/installed ## Feed every reader with anything, for a night; EXAMPLES=1000 for minutes
	FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/hostile/test_fuzz.py tests/hostile/test_fuzz_tokens.py tests/config/test_loader.py

.PHONY: bench
bench: .venv/installed ## Four questions about speed, answered beside other gateways; benchmarks/install.sh brings those
	$(BIN)/python -m benchmarks

.PHONY: format
format: .venv/installed ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: pins
pins: ## Pin all dependencies anew, with hashes
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		--extra dev --output-file requirements.txt pyproject.toml
