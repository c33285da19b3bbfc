# Two commands: `make quickstart` and `make test`; `make demo` opens the page. Each makes its environment.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python

.PHONY: quickstart test demo shipped-models clean

quickstart: $(VENV)/.installed
	$(PY) -m ser_transfer.quickstart

test: $(VENV)/.installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest -n auto --dist worksteal

demo: $(VENV)/.installed
	$(PY) -m ser_transfer.demo

# The models in ser_transfer/model/shipped, from EmoDB in EMODB: make shipped-models EMODB=data/emodb CUT=--cut
shipped-models: $(VENV)/.installed
	$(PY) -m ser_transfer.model.shipped --root "$(EMODB)" $(CUT)

# The stamp is written last, so an interrupted installation is taken up again.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "ser_transfer needs Python 3.10 or newer; name one with: make PYTHON=python3.12")'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade "pip>=25.1"
	$(PY) -m pip install --quiet --editable . --group dev
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
