# Two commands: `make quickstart` and `make test`. Both make their own environment.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python

.PHONY: quickstart test clean

quickstart: $(VENV)/.installed
	$(PY) -m ser_transfer.quickstart

test: $(VENV)/.installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest

# The stamp is written last, so an interrupted installation is taken up again.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "ser_transfer needs Python 3.10 or newer; name one with: make PYTHON=python3.12")'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade "pip>=25.1"
	$(PY) -m pip install --quiet --editable . --group dev
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
