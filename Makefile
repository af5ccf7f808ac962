# make run     starts the assistant on this machine, http://127.0.0.1:8080 (PORT= changes it)
# make test    runs all tests
# make check   what CI runs: lint, format, types, tests, the synthesised infrastructure
# make deploy  brings everything up in the AWS account of your credentials (STAGE=, PROFILE=, ARGS="-c alarm_email=…" choose)

PYTHON  ?= python3
PORT    ?= 8080
MODEL   ?= builtin
DATA    ?= .assistant
SECRETS ?=
STAGE   ?= dev
PROFILE ?=
WORKERS ?= 2
ARGS    ?=

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

VENV := .venv
BIN  := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run setup test lint types synth check counts bench bench-quick test-engine test-hard fuzz bench-gpu deploy lock clean

run: $(VENV)/.run
	@$(BIN)/assistant dev --port $(PORT) --data $(DATA) --model $(MODEL) $(if $(SECRETS),--secrets $(SECRETS))

setup: $(VENV)/.dev

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

synth: $(VENV)/.dev
	for profile in basic enterprise; do $(BIN)/python app.py --profile $$profile --out build/cdk.out/$$profile || exit 1; done

check: lint types test counts synth

bench: $(VENV)/.dev
	$(BIN)/python -m tests.benchmarks

# Everything counted, in about a minute: fails when a turn makes one more call, or reads, writes or logs more than its goal, when it
# does so as something grows, or when one message of a small load is lost, out of order or answered twice. Times decide nothing.
counts: $(VENV)/.dev
	$(BIN)/python -m tests.benchmarks turn growth load --quick

bench-quick: $(VENV)/.dev
	$(BIN)/python -m tests.benchmarks --quick

test-engine: $(VENV)/.dev
	$(BIN)/python -m pytest tests/engine -m engine

# What may take long, on every platform: each cell of the fault matrix ROUNDS times, and at once with everybody writing for every
# fifth; processes killed at every step, and KILLS at random moments. The defaults take about twenty minutes on two cores.
# `SEED=… make test-hard` plays a run again.
ROUNDS ?= 5
KILLS ?= 400
HARD ?= 1
RUNS ?= 20000
HARD_TESTS = $(addprefix tests/integration/test_,random_kills.py faults.py crashes.py busy.py silence.py handover.py)
test-hard: $(VENV)/.dev
	HARD=$(HARD) KILLS=$(KILLS) ROUNDS=$(ROUNDS) $(BIN)/python -m pytest $(HARD_TESTS)

fuzz: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/fuzz.txt
	$(BIN)/python -m tests.fuzz --runs $(RUNS)

bench-gpu: $(VENV)/.dev
	$(BIN)/python -m tests.benchmarks.gpu

deploy: $(VENV)/.dev
	$(BIN)/python -m infra.deploy --stage $(STAGE) $(if $(PROFILE),--profile $(PROFILE)) $(ARGS)

# Hash-locked for Python 3.11 to 3.14; addresses are left out, so any index serves.
LOCK = $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header
lock: $(VENV)/.dev
	$(LOCK) pyproject.toml requirements/build.in --all-extras -o requirements/dev.txt
	$(LOCK) pyproject.toml requirements/build.in --extra run -c requirements/dev.txt -o requirements/run.txt
	$(LOCK) pyproject.toml -c requirements/dev.txt -o layers/dependencies/requirements.txt
	$(LOCK) requirements/fuzz.in -o requirements/fuzz.txt

clean:
	rm -rf $(VENV) build cdk.out .mypy_cache .ruff_cache .pytest_cache .hypothesis

# pip's names of packages on one line, as they come.
PROGRESS = sed -un 's/^Collecting \([^=<>~; ]*\).*/\1/p; s/^\(Installing\).*/\1…/p' | while read -r name; do printf '\r\033[K  %s' "$$name"; done; printf '\r\033[K'

# --- set-up -------------------------------------------------------------------------------------

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than Python 3.11; install a newer one and say: make PYTHON=python3.13 …" >&2; exit 1; }
	@echo "making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements/run.txt pyproject.toml $(VENV)/pyvenv.cfg
	@echo "installing what running needs (about a minute the first time)"
	@$(BIN)/python -m pip install --require-hashes -r requirements/run.txt | $(PROGRESS)
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml $(VENV)/pyvenv.cfg
	@echo "installing what building and testing need (a few minutes the first time)"
	@$(BIN)/python -m pip install --require-hashes -r requirements/dev.txt | $(PROGRESS)
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.run
