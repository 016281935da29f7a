# The commands of the project; `make help` lists them.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
DEV := .venv/dev
BIN := $(DEV)/bin
RUN := .venv/run
JOBS ?= 2
# What Windows lacks is taken from dtms, in its child processes too.
BLIND = PYTHONPATH=$(CURDIR)/tests/posix_blind $(BIN)/python -m pytest -p posix_blind -n $(JOBS) --dist loadfile \
	-m "not tapes and not long" -k "not postgres"
BLIND_QUICK := tests/posix_blind tests/platforms tests/terminal/test_remote.py tests/server/test_over_sockets.py \
	tests/api/test_over_sockets.py tests/gateway_http/test_desk.py tests/ledger/test_concurrency.py \
	tests/up/test_gateway_process.py tests/up/test_run.py::test_up_over_a_tape_reports_what_simulate_reports
BLIND_LONG := tests/posix_blind tests/platforms tests/terminal tests/server tests/api tests/client tests/gateway_http \
	tests/web tests/adapters tests/worker tests/ledger tests/cli tests/up
COVERAGE_FLOOR := 80

.PHONY: help setup demo test test-long test-python tests-alone test-blind coverage check bench-quick drill planted lock lock-windows clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# Twice quiet: what an index has to say of its own would drown the lines that matter; errors are shown.
INSTALL := -m pip install --quiet --quiet --disable-pip-version-check

$(RUN)/.done: requirements/run.txt pyproject.toml
	@echo "Installing dtms into $(RUN): some 100 MB from the package index, about half a minute ..."
	@$(PYTHON) -m venv $(RUN)
	@$(RUN)/bin/python $(INSTALL) --require-hashes -r requirements/run.txt
	@$(RUN)/bin/python $(INSTALL) --no-deps --editable .
	@touch $@

$(DEV)/.done: requirements/dev.txt pyproject.toml
	@echo "Installing dtms with all that checks and tests need into $(DEV): some 400 MB, about a minute ..."
	@$(PYTHON) -m venv $(DEV)
	@$(BIN)/python $(INSTALL) --require-hashes -r requirements/dev.txt
	@$(BIN)/python $(INSTALL) --no-deps --editable .
	@touch $@

setup: $(DEV)/.done ## Install everything that checks and tests need into .venv

demo: $(RUN)/.done ## Run the whole product over the shipped market tape (at most 90 s)
	$(RUN)/bin/dtms demo

check: $(DEV)/.done ## Run every linter and the type checker
	$(BIN)/ruff format --check src tests tools
	$(BIN)/ruff check src tests tools
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --no-warn-unreachable --cache-dir .mypy_cache/win32
	$(BIN)/mypy --platform darwin --no-warn-unreachable --cache-dir .mypy_cache/darwin
	$(BIN)/lint-imports
	$(BIN)/deptry src
	$(BIN)/python tools/lock.py extras

test: check ## Run every check, and every test but the long ones (some 8 minutes)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not tapes and not long" --durations=20
	$(BLIND) $(BLIND_QUICK)

test-python: ## Run the tests of make test under another Python, in an environment of its own: PYTHON=python3.13
	$(MAKE) DEV=.venv/$(notdir $(PYTHON)) tests-alone

tests-alone: $(DEV)/.done
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not tapes and not long"

test-blind: $(DEV)/.done ## Run the tests of up, demo, services, client and ledger without what Windows lacks (some 20 minutes)
	$(BLIND) $(BLIND_LONG)

coverage: $(DEV)/.done ## Run the tests of make test under coverage, which takes three times as long
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not tapes and not long" --cov --cov-report=term:skip-covered --cov-fail-under=$(COVERAGE_FLOOR)

test-long: $(DEV)/.done ## Run what only repeats at length: whole tapes, many seeds, many requests (some 35 minutes)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "tapes or long"

bench-quick: $(DEV)/.done ## Time the parts that need no peer (under 60 s)
	$(BIN)/python -m bench.quick

drill: $(DEV)/.done ## Run the fault simulator: 500 worlds of 400 steps (some 4 minutes)
	$(BIN)/dtms drill simulate --seeds 500 --steps 400 --jobs $(JOBS)

planted: $(DEV)/.done ## Hunt each planted bug with the simulator and write docs/planted-bugs.md (some 10 minutes)
	$(BIN)/python -m tests.drill.measure_planted --jobs $(JOBS) --write

lock: ## Renew the hash-locked requirements (needs uv)
	uv pip compile pyproject.toml --generate-hashes --no-emit-index-url --universal --no-strip-extras --python-version 3.11 --quiet -o requirements/run.txt
	uv pip compile pyproject.toml --extra dev --constraint requirements/run.txt --generate-hashes --no-emit-index-url --universal --no-strip-extras --python-version 3.11 --quiet -o requirements/dev.txt

lock-windows: $(DEV)/.done ## Ask the package index for a Windows wheel of each locked distribution
	$(BIN)/python tools/lock.py windows requirements/run.txt
	$(BIN)/python tools/lock.py windows requirements/dev.txt

clean: ## Remove the environment, caches and run-time files
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage coverage.xml
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
