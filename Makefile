# Portico. Needs Python 3.11 or newer and make; a C compiler and Python's headers make it faster, not different.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
CHECKED := src tests tools bench clients examples setup.py

.DEFAULT_GOAL := help
.PHONY: help setup run test test-long check format compile bench docs clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1 \t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(STAMP) ## the environment in .venv, and the hot modules compiled where that is possible
	@$(BIN)/python tools/compile.py || test $$? -eq 3 || echo "Portico runs interpreted until that is mended."

$(STAMP): pyproject.toml constraints.txt setup.py
	@$(PYTHON) -c 'import sys; sys.exit("Portico needs Python 3.11 or newer; say which: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt setuptools 'mypy[mypyc]'
	$(BIN)/python -m pip install --quiet --no-build-isolation -c constraints.txt -e '.[all,dev]'
	@touch $@

compile: $(STAMP) ## the hot modules into build/compiled; nothing to do when they are up to date
	$(BIN)/python tools/compile.py

run: setup ## a gateway with an echo service behind it, to try
	@$(BIN)/portico up --demo

test: check ## every check and test but the long ones; ends with what was skipped, and why
	@$(BIN)/python tools/run_tests.py

test-long: setup ## the tests that take minutes: wheels, installs, RabbitMQ; ends with what was missing
	@$(BIN)/python tools/run_tests.py --long

check: setup docs ## lint, types, import laws, sizes, documentation
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/check_sizes.py
	$(BIN)/python tools/check_twins.py

docs: setup ## what the documentation says: commands, options, keys, links and make targets exist
	$(BIN)/python tools/check_docs.py

format: setup ## lay the sources out
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

bench: setup ## Portico beside nginx, HAProxy, Caddy, Envoy; 12 minutes; bench/method.md tells how
	$(BIN)/python bench/run.py

clean: ## what was built; the environment stays
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
