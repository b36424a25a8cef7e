# The ten verbs. `make` explains them. Everything runs from the virtual environment in .venv,
# which is made from the lock files and made again when one of them changes.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
PYTEST := $(RUN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help setup check fmt test test-fast tools demo demo-down bench lock clean

help:  ## Show this
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/.ready  ## Make the virtual environment from the lock files

$(VENV)/.ready: requirements/dev.txt requirements/build.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else \
	  f"emco needs Python >= 3.11, but {sys.executable} is {v[0]}.{v[1]}.\nInstall a newer one and run: make PYTHON=/path/to/python3.11")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "The venv module is missing: install python3-venv"; exit 1; }
	@test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	@if command -v uv >/dev/null; then \
	  uv pip install -q --python $(RUN)/python --require-hashes -r requirements/dev.txt -r requirements/build.txt; \
	else \
	  $(RUN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt -r requirements/build.txt; \
	fi
	@# The build backend looks for its own program on PATH.
	@PATH="$(CURDIR)/$(RUN):$$PATH" $(RUN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

check: setup  ## Formatting, lint, types, import contracts
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports --no-cache

fmt: setup  ## Format, and fix what can be fixed by itself
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

tools: setup  ## Build the sandbox's programs into the cache (about 9 minutes, once)
	@$(RUN)/python -m emco.sandbox.toolchain

test: tools  ## Every test, three files at a time, on real clusters, Temporal servers and PostgreSQL
	$(PYTEST) -n 3 --dist loadfile

test-fast: setup  ## The tests that need no cluster
	$(PYTEST) -m "not e2e"

demo: tools  ## Online Boutique on two clusters, live until everything is ready
	@$(RUN)/emco demo

demo-down: setup  ## Remove everything the demo made, except the cache
	@$(RUN)/emco demo --down

bench: tools  ## Measure against helm and bare applies; writes bench/RESULTS.md
	$(RUN)/python bench/instantiate.py --clusters 4 --apps 50 --write
	$(RUN)/python bench/gates.py --write
	$(RUN)/python bench/notify.py --write

lock: setup  ## Resolve the dependencies anew
	$(RUN)/python -m pip install -q uv
	$(RUN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --upgrade pyproject.toml -o requirements/base.txt
	$(RUN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate -c requirements/base.txt pyproject.toml --group dev -o requirements/dev.txt
	echo 'uv-build>=0.9,<0.14' | $(RUN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate - -o requirements/build.txt

clean:  ## Remove the virtual environment and what tools leave behind
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build *.egg-info
