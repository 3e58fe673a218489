# Two commands: `make demo` and `make test`. Needs Python 3.11 or newer and make; everything else goes to .venv.

NEW_ENOUGH = import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python -c '$(NEW_ENOUGH)' 2> /dev/null && echo $$python && break; done)
VENV ?= .venv
BIN = $(VENV)/bin

# options of the demonstration's search; see python workflows/stem_defects.py --help
DEMO ?= --run runs/demo --workers 2 --evaluations 24
# options of pytest, such as PYTEST="-x tests/test_cost.py"
PYTEST ?=
PARALLEL = --numprocesses auto --maxprocesses 4
# two test processes more than cores: many tests wait for processes that start or end
TEST_PROCESSES = $(shell $(BIN)/python -c 'import os; print(min(4, len(os.sched_getaffinity(0)) + 2))')
# for make fuzz: examples that a test gets, and the random seed (by default the seconds since 1970)
EXAMPLES ?= 2000
SEED := $(or $(SEED),$(shell date +%s))

export PIP_DISABLE_PIP_VERSION_CHECK = 1
# tests start hundreds of processes, each of which would compile all modules again
unexport PYTHONDONTWRITEBYTECODE

# for make faults: number of faults
FAULTS ?= 200

.PHONY: help demo check test fuzz faults docs package
.DELETE_ON_ERROR:

help:
	@echo "make demo   evolve a network that finds defects in simulated electron-microscope images (about ten minutes)"
	@echo "make test   run every check: style, layers, types, tests"
	@echo "make check  only style, layers and types"
	@echo "make docs   build the documentation site in build/site; a warning is an error"
	@echo "make package build the source and the binary package in dist/, and install them in a new environment"
	@echo "make fuzz   run the tests with generated examples, with many more of them and a new random seed"
	@echo "make faults put real searches under many random faults (an hour); SEED=7 FAULTS=50 says which and how many"

demo: $(VENV)/installed
	$(BIN)/python workflows/stem_defects.py $(DEMO)

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

test: check
	$(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --durations 15 $(PYTEST)

fuzz: export FUZZ_EXAMPLES = $(EXAMPLES)
fuzz: REPEAT = echo "To repeat this run: make fuzz SEED=$(SEED) EXAMPLES=$(EXAMPLES)"
fuzz: $(VENV)/installed-dev
	@$(REPEAT)
	$(BIN)/pytest -m hypothesis --hypothesis-profile fuzz --hypothesis-seed $(SEED) $(PARALLEL) --dist worksteal \
		--timeout 3600 --durations 15 $(PYTEST); result=$$?; $(REPEAT); exit $$result

faults: export FAULTS_LONG = 1
faults: $(VENV)/installed-dev
	$(BIN)/pytest --timeout 1200 --durations 15 tests/faults $(PYTEST)
	$(BIN)/python -m tests.faults.soak --seed $(SEED) --faults $(FAULTS)

docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	PATH="$(abspath $(BIN)):$$PATH" TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --conf-dir docs/site . build/site
	@echo "documentation: build/site/index.html"

package: $(VENV)/installed
	$(BIN)/python -m pip install --quiet build
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m venv --clear build/installed
	build/installed/bin/pip install --quiet --no-deps dist/*.tar.gz
	build/installed/bin/pip install --quiet --no-deps --force-reinstall dist/*.whl
	cd build && PYTHONPATH=$$(echo $(abspath $(VENV))/lib/python3*/site-packages) installed/bin/menndl cluster check local

# the files are written last: an installation that was cut short is begun again
$(VENV)/installed: setup.cfg pyproject.toml | $(BIN)/python
	@echo "Installing menndl_dask in $(VENV): TensorFlow is large, this takes a minute or three …"
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-dev: setup.cfg pyproject.toml | $(BIN)/python
	@echo "Installing menndl_dask and its tools in $(VENV): TensorFlow is large, this takes a minute or three …"
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/installed

$(BIN)/python:
	@$(or $(PYTHON),false) -c '$(NEW_ENOUGH)' 2> /dev/null || { \
		echo "menndl_dask needs Python 3.11 or newer, found $(or $(shell $(or $(PYTHON),python3) --version 2>&1),none);" >&2; \
		echo "name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
