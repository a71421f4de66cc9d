# ccdflow's task verbs: `make` lists them.

VENV ?= .venv
PYTHON ?= python3
CORES ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
BIN := $(VENV)/bin
# Made when the environment is complete, so that an interrupted installation is resumed.
RUNTIME := $(VENV)/.ccdflow-runtime
CLUSTER := $(VENV)/.ccdflow-slurm
DEVELOPER := $(VENV)/.ccdflow-developer
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
# Packages are compiled by all cores and without their own tests, by pip on one core with them. Nearly
# half of all code is never imported here, or a part of it by one command: Python compiles what is.
UNUSED := tests|pip|setuptools|pkg_resources|networkx|dask|skimage|zarr|imageio|tifffile|git|fontTools
UNUSED := $(UNUSED)|scipy/(stats|optimize|signal|integrate|interpolate|spatial|io|cluster|linalg|fft|constants)
UNUSED := $(UNUSED)|astropy/(cosmology|visualization|timeseries|samp|convolution)|hypothesis/extra|pygments/lexers
UNUSED := $(UNUSED)|sqlalchemy/(dialects|testing|ext)|numpy/(distutils|f2py)|pydantic/v1|fsspec|coverage
UNUSED := $(UNUSED)|sphinx|docutils|snowballstemmer|babel|myst_parser|markdown_it
COMPILE := -$(BIN)/python -m compileall -qq -j 0 -x '/($(UNUSED))/' $(VENV)/lib

# Without compiled modules each of the hundreds of processes of the tests compiles ccdflow anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

##@ The two to begin with

.PHONY: demo
demo: $(RUNTIME) ## simulate the CCD guide's night (once), reduce it, and list the products
	$(BIN)/python scripts/simulate.py raw=demo/raw
	$(BIN)/snakemake --cores $(CORES) --config raw=demo/raw results=demo/results
	$(BIN)/python scripts/demo.py raw=demo/raw results=demo/results

.PHONY: test
test: check tests ## check the style, then run all tests

##@ Your own frames

.PHONY: env
env: $(RUNTIME) ## make or renew the environment that ccdflow runs with in VENV (default .venv)

.PHONY: new-camera
new-camera: $(RUNTIME) ## propose a camera's profile: FRAME=a bias [FLAT=a flat]
	@test -n "$(FRAME)" || { echo "which frame? make new-camera FRAME=bias.fits.gz FLAT=flat.fits.gz"; exit 1; }
	$(BIN)/python scripts/new_camera.py "$(FRAME)" $(if $(FLAT),"$(FLAT)")

.PHONY: slurm
slurm: $(CLUSTER) ## add what a cluster needs to the environment (docs/slurm.md)

##@ Measurements

.PHONY: bench
bench: $(RUNTIME) ## speed beside the guide's loop, IRAF, Siril and others: 23 min, 16 GB of disk
	$(BIN)/python benchmarks/frames.py
	$(BIN)/python benchmarks/combining.py
	$(BIN)/python benchmarks/combining_job.py
	$(BIN)/python benchmarks/masters.py
	$(BIN)/python benchmarks/calibrating.py
	$(BIN)/python benchmarks/guide_night.py

.PHONY: bench-scale
bench-scale: $(RUNTIME) ## archives of up to a million tiny frames
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/grown.py --nights 1000 10000 --out benchmarks/grown.md

.PHONY: torture
torture: $(DEVELOPER) ## the long form of the fault and rebuild tests
	# The docstrings of tests/workflow/test_torture.py and test_random_events.py name the variables
	# that say how much: CCDFLOW_KILLS, CCDFLOW_EVENTS, CCDFLOW_TORTURE_ARCHIVES and others.
	$(BIN)/python -m pytest -q -m torture

##@ Developing

.PHONY: tests
tests: $(DEVELOPER) ## run all tests
	# One worker more than cores: the tests on a cluster mostly wait. tests/conftest.py has the order.
	$(BIN)/python -m pytest -q --durations=15 -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: quick
quick: $(DEVELOPER) ## run the tests that need neither Snakemake nor Slurm
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder --ignore=tests/workflow \
	  -m 'not slurm and not torture'

.PHONY: check
check: $(DEVELOPER) ## formatting and lint of Python and Snakemake code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

.PHONY: coverage
coverage: $(DEVELOPER) ## lines that no test in one process reaches, below 10 % of all: 13 min
	$(BIN)/python -m coverage run --source=scripts/ccdflow --data-file=.coverage -m pytest -q \
	  --ignore=tests/workflow --ignore=tests/slurm
	$(BIN)/python -m coverage report --skip-covered --sort=cover --fail-under=90

.PHONY: docs
docs: $(DEVELOPER) ## the documentation as a site: docs/_build/index.html
	rm -rf docs/api
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build

.PHONY: format
format: $(DEVELOPER) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/snakefmt Snakefile rules

.PHONY: dev-env
dev-env: $(DEVELOPER) ## add the developer's tools to the environment, as the verbs above do

.PHONY: clean
clean: ## remove the demo, caches and the environment; your raw frames and results stay
	rm -rf demo docs/_build docs/api .venv .snakemake .pytest_cache .ruff_cache .hypothesis .coverage bench-data
	find scripts tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## list these verbs
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

# The folder of the environment, for a Python that is new enough. An environment that works stays, with
# the Python that it has: venv cannot put another one in its place. `make clean` removes it.
define MAKE_VENV
@$(BIN)/python -c 'import pip' 2>/dev/null || { \
  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ccdflow needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12")' && \
  echo 'Making the environment in $(VENV): a minute or two.' && \
  $(PYTHON) -m venv $(if $(wildcard $(VENV)/pyvenv.cfg),--clear) $(VENV); }
endef

$(RUNTIME): envs/requirements.txt envs/constraints.txt
	$(MAKE_VENV)
	$(PIP) install --no-compile -r envs/requirements.txt -c envs/constraints.txt
	$(COMPILE)
	@touch $@

$(CLUSTER): envs/requirements-slurm.txt $(RUNTIME)
	$(PIP) install --no-compile -r envs/requirements-slurm.txt -c envs/constraints.txt
	$(COMPILE)
	@touch $@

# uv uses all cores, and less time of them than pip. Without it parts of the packages are installed at
# the same time, as pip uses one core; the last pip installs anything that is missing, or fails.
$(DEVELOPER): envs/requirements.txt envs/requirements-dev.txt envs/requirements-slurm.txt envs/constraints.txt
	$(MAKE_VENV)
	-$(PIP) install --no-compile uv -c envs/constraints.txt && \
	  $(BIN)/uv pip install -q --system-certs --python $(BIN)/python \
	  -r envs/requirements-dev.txt -c envs/constraints.txt || \
	  grep -v '^#' envs/constraints.txt | xargs -n 24 -P $(CORES) $(PIP) install --no-deps --no-compile
	$(PIP) install --no-compile -r envs/requirements-dev.txt -c envs/constraints.txt
	$(COMPILE)
	@touch $(RUNTIME) $@
