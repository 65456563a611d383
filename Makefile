# Every target sets up what it needs: a virtual environment in .venv, and one stamp file for each set of
# extras installed there, so that a second run starts at once.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
FUZZ_SECONDS ?= 600
PYTEST := $(BIN)/python -m pytest -n 2

.PHONY: help demo test quick lint bench fuzz docs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   train a small network on handwritten digits, and write out every stage of its compilation"
	@echo "make test   the whole test suite, without what takes many minutes"
	@echo "make quick  the tests that together take less than a minute"
	@echo "make lint   ruff and pyright"
	@echo "make bench  gradc beside NumPy, JAX and PyTorch, and the machine's limits; BENCH=\"--quick calls\" for less"
	@echo "make fuzz   random programs through the whole compiler and under nested transforms, for FUZZ_SECONDS ($(FUZZ_SECONDS))"
	@echo "make docs   the documentation, into build/docs"
	@echo "make clean  remove what these targets made"

demo: $(VENV)/stamp-examples
	$(BIN)/python examples/digits.py

test: $(VENV)/stamp-test
	$(PYTEST) -m "not slow"

quick: $(VENV)/stamp-test
	$(PYTEST) -m "not slow and not long"

lint: $(VENV)/stamp-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/stamp-bench
	$(BIN)/python -m benchmarks --peers $(VENV)/peers $(BENCH)

fuzz: $(VENV)/stamp-test
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

docs: $(VENV)/stamp-docs $(VENV)/stamp-test
	$(BIN)/python -m docs
	$(BIN)/pdoc --math --output-directory build/docs gradc

clean:
	rm -rf $(VENV) build dist dumps .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "gradc needs Python 3.11 or newer; say which one with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The environment's Python is an order-only prerequisite: it is a link to a file whose time means nothing.
$(VENV)/stamp-%: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	@touch $@
