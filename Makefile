# make demo | make quick | make test | make soak | make bench | make results | make docs | make dist; see README.md and CONTRIBUTING.md
PYTHON ?= python3
VENV := .venv
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
DEMO_RUN ?= runs/demo
SOAK_MINUTES ?= 60
RESULTS ?=
PYTEST := $(BIN)/python -m pytest

.PHONY: demo quick test lint types tests nightly docs docs-test dist soak bench results install install-test system-packages clean

install: $(VENV)/.installed
install-test: $(VENV)/.installed-test

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "hpcnas needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed; on Debian: apt-get install python3-venv"; exit 2; }

$(VENV)/.installed: $(VENV)/bin/python setup.py $(CONSTRAINTS)
	@echo "installing hpcnas with torch (about 5 GB) into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[all]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/bin/python setup.py $(CONSTRAINTS)
	@echo "installing hpcnas with torch (about 5 GB) and the test tools into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[test]'
	@touch $@ $(VENV)/.installed

# A real evolutionary search with real training on scikit-learn's digits: two workers, minutes, no download but packages.
demo: install
	$(BIN)/hpcnas head --preset smoke --cluster local --run $(DEMO_RUN)

# Three rings of tests: quick while writing (under a minute; tests/quick.py has the choice), test before a commit, soak for a night.
quick: install-test
	OMP_NUM_THREADS=1 $(PYTEST) -q -n 2 --quick

test: install-test system-packages lint types tests

# Slurm, PostgreSQL, a browser and a small data set of images for the tests that use the real thing.
system-packages:
	@tests/system-packages

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tests.language

types:
	$(BIN)/mypy

# Two processes on two cores; what measures time runs alone afterwards.
tests:
	OMP_NUM_THREADS=1 $(PYTEST) -q -n 2 --dist loadgroup -m "not serial and not nightly"
	$(PYTEST) -q -m serial

# Every GPU kernel, compiled for cards that need not be here; the batch scripts of the newest submitit.
nightly: install-test
	$(PYTEST) -q -m nightly

docs-test: install-test
	$(PYTEST) -q tests/docs

# The site, in site/. A warning is an error; nothing is fetched. The variable silences the theme's notice of its successor.
docs: install-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# Wheel and sdist, each installed in a fresh environment of its own and tried there, outside the repository.
dist: install-test
	rm -rf build dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m tests.packages.smoke dist

soak: install-test
	$(BIN)/python -m tests.chaos.soak --minutes $(SOAK_MINUTES)

# The last is 200 workers on a Slurm of its own, which needs root; where none can be started (4) it says why.
bench: install-test
	$(BIN)/hpcnas bench store
	$(BIN)/hpcnas bench train
	$(BIN)/hpcnas bench loader
	$(BIN)/hpcnas bench startup
	$(BIN)/python -m tests.slurm.scale || [ $$? -eq 4 ]

# Evolution and random search at the paper's recipe on one GPU, full size, tables; the same command goes on, also elsewhere.
results: install
	PATH="$(CURDIR)/$(BIN):$$PATH" bash jobs/results.sh $(RESULTS)

clean:
	rm -rf build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
