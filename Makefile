# `make explore` and `make test` are all that a reader needs; both install what is missing.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PORT ?= 5006
ON_ALL_CORES := -n logical --maxprocesses 4 --no-loadscope-reorder
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install explore test test-slow screenshots lint bench clean

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "modecomb_viz needs Python 3.11 or newer; set PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || tools/install-venv $(PYTHON)
	$(BIN)/pip install --quiet -c constraints.txt --editable '.[dev]'
	@touch $@

explore: install
	$(BIN)/panel serve apps/explorer.py --warm --address 127.0.0.1 --allow-websocket-origin 127.0.0.1:$(PORT) \
		--allow-websocket-origin localhost:$(PORT) --port $(PORT) $(if $(DISPLAY),--show)

test: install
	@tools/install-chromium
	$(BIN)/python -m pytest -m "not slow" $(ON_ALL_CORES)

test-slow: install
	@tools/install-chromium
	$(BIN)/python -m pytest -m slow $(ON_ALL_CORES)

screenshots: install
	@tools/install-chromium
	$(BIN)/python tests/benchmarks/screenshots.py screenshots

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

bench: install
	$(BIN)/modecomb bench

clean:
	rm -rf .venv build dist
