# Every target makes the environment it needs: Python 3.11, make and a compiler are enough to begin.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The repository's own data folder, where there is one; tests and the demo read it.
ifneq ($(wildcard ../shared/data),)
export NEUROLENS_DATA ?= $(abspath ../shared/data)
endif

.PHONY: help install lint test browser demo tutorials calibrate coverage zoo bench docs format clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

install: $(READY)  ## make .venv and install everything

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[demo,draw,brain,models,distributed]" --group dev --group docs
	@touch $(READY)

lint: $(READY)  ## formatting, style, types, import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# One thread a process: the tests are many small ones, and two processes share the cores better than two threads.
test: $(READY)  ## the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=2 --dist=worksteal

browser:  ## Debian's Chromium, for the tests of the explorer (needs root)
	apt-get update -q
	apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core

demo: $(READY)  ## a trained network against brain data, operation by operation; writes demo/
	$(BIN)/neurolens demo

tutorials: $(READY)  ## the tutorials run, their exercises checked; writes tutorials/notebooks/
	$(BIN)/python tutorials/export.py

# One thread a model, two models at a time.
zoo: $(READY)  ## hundreds of models traced and proven; goes on where it was stopped; writes docs/zoo.md
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.zoo

calibrate: $(READY)  ## how often every test of RSA is wrong, by simulation; writes docs/calibration.md (20 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.calibration

# Every line that no test runs is in .coverage/lines.txt.
coverage: $(READY)  ## which lines the tests run, room by room; writes .coverage/ (20 minutes)
	rm -rf .coverage && mkdir .coverage
	OMP_NUM_THREADS=1 $(BIN)/python -m coverage run -m pytest --numprocesses=2 --dist=worksteal
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --show-missing > .coverage/lines.txt
	@for room in $$(ls neurolens | grep -v '^_\|typed'); do \
		printf '%-14s %s %%\n' $$room \
			$$($(BIN)/python -m coverage report --include="neurolens/$$room,neurolens/$$room/*" --format=total); \
	done
	@tail -n 1 .coverage/lines.txt

# One section after the other, each on a quiet machine; RSA, encoding and single operations on one thread. The
# explorer is measured in Chromium: make browser.
bench: $(READY)  ## everything measured beside its peers; writes docs/benchmarks.md
	$(BIN)/python -m benchmarks

# A warning is an error. Pages are read from docs/_build/html/index.html.
docs: $(READY)  ## the documentation site; writes docs/_build/html
	$(BIN)/sphinx-build -b html -W --keep-going -q docs docs/_build/html

format: $(READY)  ## format the code in place
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what the targets made
	rm -rf $(VENV) demo tutorials/notebooks docs/_build docs/generated docs/tutorials build dist .mypy_cache .ruff_cache .pytest_cache
