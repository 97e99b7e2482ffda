# `make samples` and `make test` need nothing but Python ≥ 3.11: they make a virtual environment where none is active.

PYTHON ?= python3
VENV := $(or $(VIRTUAL_ENV),$(CONDA_PREFIX),$(CURDIR)/.venv)
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: samples test test-slow test-oldest test-highest check format docs pictures site

samples: $(VENV)/.minlm-installed  ## everything from the text to results/samples.txt
	$(BIN)/snakemake --cores all results/samples.txt

test: check  ## linters, type checker and the test suite
	$(BIN)/pytest

test-slow: $(VENV)/.minlm-test-installed  ## the long tests
	$(BIN)/pytest -m slow

# The lower bounds in pyproject.toml are true while the first of these passes. Each makes its environment anew, below the
# user's cache folder, and needs nothing from outside but the package registry. torch is held at its pin, so its bound is
# not tried; TORCH=2.14.1 after the command tries another. Not in CI.
TORCH = $(shell sed -n 's/^torch==//p' constraints.txt)
TRIAL = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/minlm-$@

test-oldest: RESOLUTION = lowest-direct
test-highest: RESOLUTION = highest
test-oldest test-highest:  ## tests, linters and type checker with the oldest or the newest versions that are allowed
	$(PYTHON) -m venv --clear $(TRIAL)
	$(TRIAL)/bin/python -m pip install --quiet --disable-pip-version-check torch==$(TORCH) uv
	$(TRIAL)/bin/uv pip install --quiet --python $(TRIAL)/bin/python --resolution $(RESOLUTION) \
		--editable '.[test,slurm]' torch==$(TORCH)
	@touch $(TRIAL)/.minlm-test-installed
	$(TRIAL)/bin/pytest
	$(MAKE) check VENV=$(TRIAL)

check: $(VENV)/.minlm-test-installed  ## linters and type checker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check --compact-diff Snakefile workflow
	$(BIN)/mypy

format: $(VENV)/.minlm-test-installed  ## put the code into its standard form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

docs: $(VENV)/.minlm-installed  ## write docs/configuration.md from the schema, and the line numbers in docs/reading.md
	$(BIN)/python -m minlm.scripts.config_reference --output docs/configuration.md
	$(BIN)/python docs/line_numbers.py

pictures: $(VENV)/.minlm-test-installed  ## the pictures in docs/images/, from the results in this folder; needs Chromium
	$(PIP_INSTALL) '.[browser]'
	$(BIN)/snakemake --cores all all results/comparison.html
	$(BIN)/python docs/pictures.py

site: docs $(VENV)/.minlm-docs-installed  ## docs/ and the docstrings as a web site in site/; a dead link is an error
	$(BIN)/zensical build --clean --strict

$(VENV)/.minlm-installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing minlm into $(VENV) (a few minutes the first time)."
	$(PIP_INSTALL) .
	@touch $@

$(VENV)/.minlm-test-installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing minlm and what its tests need into $(VENV) (a few minutes the first time)."
	$(PIP_INSTALL) '.[test]'
	@touch $@ $(VENV)/.minlm-installed

$(VENV)/.minlm-docs-installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what the docs site needs into $(VENV)."
	$(PIP_INSTALL) '.[docs]'
	@touch $@ $(VENV)/.minlm-installed

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
