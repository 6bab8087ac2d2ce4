# One environment, .venv, for everything; each target brings it up to date first.
#   make demo ARGS="--until 2013-05-01"      replay a year of flights
#   make test ARGS="tests/events -x"         checks, then tests
#   make bench ONLY=serving                  measure a part beside its peers
.DEFAULT_GOAL := help
.PHONY: help demo test check crash load hostile soak compat bench docs lock ui setup clean
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# uv takes a fifth of pip's time and knows nothing of pip's settings: where it fails, pip goes on.
LOCKED = --no-deps --require-hashes
# Compiled at once, as pip does: else the first start of everything takes three times as long.
UV = $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python
INSTALL = install() { $(UV) $(LOCKED) "$$@" || { \
  echo "setup: once more, with pip"; $(PIP) install -qq $(LOCKED) "$$@"; }; }; install
BUILT := src/setpoint/server/static/.built
ARGS ?=
ONLY ?=

# Tests run in as many processes as there are cores, a file of them in one; in the order of folders,
# where those with processes and browsers of their own come first.
WORKERS ?= logical

# Small shared machines: more threads than cores makes LightGBM and BLAS slower, not faster.
export OMP_NUM_THREADS ?= 1
export POLARS_MAX_THREADS ?= 2

help:
	@echo "demo    replay a year of flights through the whole loop   (ARGS=… go to setpoint demo)"
	@echo "test    check, then every test                            (ARGS=… go to pytest)"
	@echo "check   lint, format, types, layers"
	@echo "crash   kill a replay at every point and compare"
	@echo "load    many clients at once, killed and crowded, for minutes"
	@echo "hostile clients that mean no good, bad bytes, for half an hour"
	@echo "soak    ten million requests to one server, its memory    (REQUESTS=…)"
	@echo "compat  run foreign clients against it, publish what is answered"
	@echo "bench   measure beside the peers                          (ONLY=… one part)"
	@echo "ui      rebuild the pages' script and style"
	@echo "docs    write the reference anew from the code"
	@echo "lock    resolve dependencies anew"

demo: $(VENV)/.installed $(BUILT)
	@$(BIN)/setpoint demo $(ARGS)

test: check $(BUILT)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.dev
	@echo "check: ruff"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { $(BIN)/ruff format --check .; exit 1; }
	@echo "check: layers"
	@$(BIN)/lint-imports --no-logo > $(VENV)/layers.log || { cat $(VENV)/layers.log; exit 1; }
	@echo "check: types"
	@$(BIN)/python hatch_build.py check
	@$(BIN)/mypy --num-workers 2

crash: $(VENV)/.dev $(BUILT)
	@CRASH_POINTS=all $(BIN)/python -m pytest -m crash $(ARGS)

load: $(VENV)/.dev $(BUILT)
	@LOAD=long $(BIN)/python -m pytest -m load $(ARGS)

hostile: $(VENV)/.dev
	@$(BIN)/python -m tests.compat.environments schemathesis atheris
	@LOAD=long HOSTILE=3000 $(BIN)/python -m pytest -m "long or not long" $(addprefix tests/,\
	  load/test_hostile.py load/test_described.py load/test_bytes.py \
	  serve/test_bad_bytes.py serve/test_bad_values.py serve/test_guarding.py) $(ARGS)

REQUESTS ?= 10000000
soak: $(VENV)/.dev
	@SOAK=$(REQUESTS) $(BIN)/python -m pytest tests/load/test_soak.py $(ARGS)

compat: $(VENV)/.dev $(BUILT)
	@$(BIN)/python -m tests.compat.environments
	@$(BIN)/python -m pytest tests/compat -m "long or not long" $(ARGS)
	@$(BIN)/python -m tests.compat.matrix

bench: $(VENV)/.dev
	@$(BIN)/python -m bench $(ONLY) $(ARGS)

ui: $(VENV)/.installed
	@$(BIN)/python hatch_build.py build

docs: $(VENV)/.dev
	@$(BIN)/python -m tests.docs.reference

setup: $(VENV)/.dev

# What running needs; a few seconds when it is there already.
$(VENV)/.installed: $(addprefix requirements/,install.lock lock.txt build.lock) pyproject.toml hatch_build.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "setup: Python 3.11 or newer is needed; name it: make PYTHON=python3.12 …" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "setup: creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "setup: installing the locked dependencies (a minute the first time)"
	@$(PIP) install -qq $(LOCKED) -r requirements/install.lock
	@$(INSTALL) -r requirements/lock.txt -r requirements/build.lock
	@echo "setup: building setpoint"
	@$(PIP) install -qq --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q src
	@touch $@

# The pages, for an editable install: a wheel builds them itself.
$(BUILT): $(wildcard frontend/*.json) $(shell find frontend/src -type f) | $(VENV)/.installed
	@$(BIN)/python hatch_build.py build

# What testing needs besides.
$(VENV)/.dev: $(VENV)/.installed requirements/dev.lock
	@echo "setup: installing test tools"
	@$(INSTALL) -r requirements/dev.lock
	@touch $@

# The locks hold versions and hashes only, no address: any index can serve them.
LOCK = $(BIN)/python -m uv pip compile --quiet --no-config --universal --python-version 3.11 \
  --fork-strategy fewest --generate-hashes --no-header --no-emit-index-url --no-annotate --upgrade
lock:
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install -qq $(LOCKED) -r requirements/install.lock
	@$(LOCK) pyproject.toml --extra postgres --extra s3 --extra grpc --extra otel --group dev -o requirements/dev.lock
	@$(LOCK) pyproject.toml -c requirements/dev.lock -o requirements/lock.txt
	@$(LOCK) --group build -c requirements/dev.lock -o requirements/build.lock
	@$(LOCK) --group install -o requirements/install.lock
	@wc -l requirements/*

clean:
	@rm -rf $(VENV) build dist frontend/node_modules src/setpoint/server/static
