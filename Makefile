# Needs only python3 (3.11 or later, with its venv module) and make; all else goes into .venv.
# Versions are those of constraints.txt. A finished install is not repeated until it or pyproject.toml changes.

PYTHON ?= python3
BIN := .venv/bin
# More than one test process helps from two cores on; make test JOBS=0 runs them in one.
JOBS ?= auto
ARGS ?=

.PHONY: help demo test check bench docs install install-dev install-docs
.DEFAULT_GOAL := help

help:
	@echo "make demo    install, then sweep the built-in digits: the best trials, the test accuracy, a run folder"
	@echo "make test    run the tests (make test ARGS='-k softmax tests/test_losses.py')"
	@echo "make check   lint, format and type checks"
	@echo "make bench   run every script in benchmarks/"
	@echo "make docs    build the documentation's site strictly; open site/index.html"

demo: .venv/installed
	$(BIN)/thalweg sweep digits --overwrite --out runs/demo

test: .venv/installed-dev
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed-dev
	@set -e; for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python "$$script" $(ARGS); done

# A notice about the theme's future is not about these pages: versions are pinned.
docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "the site is in site/: open site/index.html"

install: .venv/installed
install-dev: .venv/installed-dev
install-docs: .venv/installed-docs

# uv is several times faster than pip, but nothing needs it.
ifneq ($(shell command -v uv),)
PIP_INSTALL := uv pip install --python $(BIN)/python
NEW_PIP := true
else
PIP_INSTALL := $(BIN)/python -m pip install
NEW_PIP := $(PIP_INSTALL) "pip>=25.1"
endif

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Thalweg needs Python 3.11 or later; this one is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 ...")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	$(PIP_INSTALL) --constraint constraints.txt --editable .
	@touch $@

# Dependency groups are known to pip from 25.1 on.
.venv/installed-dev: .venv/installed
	$(NEW_PIP)
	$(PIP_INSTALL) --constraint constraints.txt --editable ".[optax,parquet]" --group dev
	@touch $@

.venv/installed-docs: .venv/installed
	$(NEW_PIP)
	$(PIP_INSTALL) --constraint constraints.txt --group docs
	@touch $@
