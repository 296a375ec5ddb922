# make demo   set up, draw faces, train on them, judge, and leave a page to look at
# make test   set up and run the tests
# make smoke  build the wheel and use it in a new environment outside the checkout
# make check  set up and run the linters, the type checker and the spelling checker

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
              $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

.PHONY: demo test smoke check
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	$(BIN)/recombine demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

smoke: SHELL := /bin/bash
smoke:
	@test -n "$(PYTHON)" || { echo "recombine needs Python 3.11 or newer, and none was found; name it: make smoke PYTHON=/path/to/python3.12" >&2; exit 1; }
	set -e; new=$$(mktemp -d); trap 'rm -rf "$$new"' EXIT; pip="$$new/venv/bin/python -m pip --quiet --disable-pip-version-check"; \
	$(PYTHON) -m venv "$$new/venv"; \
	$$pip wheel --no-deps --wheel-dir "$$new" .; \
	$$pip install -c constraints.txt "$$new"/*.whl; \
	cp tests/smoke.py "$$new"; cd "$$new"; env -u PYTHONPATH venv/bin/python smoke.py "$$new"

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/codespell $$(git ls-files)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "recombine needs Python 3.11 or newer, and none was found; install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu install the package python3-venv" >&2; exit 1; }

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,fast]'
	touch $@ $(VENV)/.installed
