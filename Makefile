# `make help` lists what there is. All of it works from a fresh clone with Python 3.11 or newer, pip and make: the
# targets make .venv on first use, and everything they write stays in the clone (and in pip's own cache).

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# A file's tests stay together: they share houses that take seconds to start, and some go on where the one before ended.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --hypothesis-profile=ci --basetemp=.freshness/tests

.DEFAULT_GOAL := help
.PHONY: help venv demo up test test-all browser faults soak fuzz check lint types floors lock audit sbom bench docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(READY) ## Make .venv with everything in it (the others do so by themselves)

demo: $(READY) ## A day in the life against a sandbox MLM; ends 0 only if every step held
	$(BIN)/freshness up --demo

up: $(READY) ## The whole house on this machine, until Ctrl-C
	$(BIN)/freshness up

test: $(READY) ## Tests, but for the slow ones; 12 to 15 minutes on 2 cores
	@mkdir -p .freshness
	$(PYTEST) -m 'not slow'

test-all: $(READY) ## All tests
	@mkdir -p .freshness
	$(PYTEST)

browser: $(READY) ## Chromium and its driver for the tests of the web console, where there are none
	@.ci/browser

FAULTS ?=
MLM_AWAY_S ?= 300
SHARED_READS ?= 1
faults: $(READY) ## Real processes killed, frozen and cut off under load; FAULTS="redis-flushed …" for some, SHARED_READS=0
	$(BIN)/python -m tests.faults $(if $(filter 0,$(SHARED_READS)),--apart,--write) --away-s $(MLM_AWAY_S) $(FAULTS)

SEEDS ?= 200
FIRST ?= 1
soak: $(READY) ## SEEDS histories of the whole product, step by step; not 0 if one loses a change or breaks a rule
	$(BIN)/python -m tests.simulation.soak --seeds $(SEEDS) --first $(FIRST)

RUNS ?= 1000000
fuzz: $(READY) ## The parsers under fuzz: RUNS inputs in all and every size limit; a quarter of an hour on 2 cores
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(PIP) install --quiet --disable-pip-version-check --no-build-isolation --editable '.[fuzz]'
	$(BIN)/python tests/fuzz/run.py --runs $(RUNS)

check: lint types floors ## Everything that reads the code without running it

lint: $(READY) ## Style and common mistakes (ruff)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY) ## Types (mypy, strict)
	$(BIN)/mypy

floors: $(READY) ## Imports run down only (import-linter)
	$(BIN)/lint-imports

# Beside .venv and not in it: what looks at the packages must not change which they are.
TOOLS := .freshness/tools
TOOL = PYTHONPATH=$(TOOLS) $(PYTHON) -m
$(TOOLS)/.ready:
	@mkdir -p $(TOOLS)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --target $(TOOLS) cyclonedx-bom pip-audit uv
	@touch $@

LOCK = $(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes
BUILT_BY = import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")
lock: $(TOOLS)/.ready ## Lock the dependencies by hash, in requirements/
	$(LOCK) --extra otel pyproject.toml -o requirements/run.txt
	$(LOCK) --extra dev pyproject.toml -c requirements/run.txt -o requirements/dev.txt
	$(PYTHON) -c '$(BUILT_BY)' | $(LOCK) - -o requirements/build.txt

audit: $(TOOLS)/.ready ## Known vulnerabilities of the locked dependencies; says so if nobody can be asked, an error with AUDIT=required
	@PYTHONPATH=$(TOOLS) $(PYTHON) requirements/audit.py

sbom: $(TOOLS)/.ready ## What an installation consists of, as CycloneDX, into .freshness/sbom.json
	$(TOOL) cyclonedx_py requirements --pyproject pyproject.toml --output-file .freshness/sbom.json requirements/run.txt

ONLY ?=
ROUNDS ?= 3
SCALE ?= 1
LONG ?= 0
bench: $(READY) ## Ours, the peers and the limits in turn, into docs/performance.md; ONLY="receive …" for some
	SCALE=$(SCALE) LONG=$(LONG) $(BIN)/python -m benchmarks $(if $(filter 1,$(SCALE)),--write) --rounds $(ROUNDS) $(ONLY)

docs: $(READY) ## The documents as a site, in .freshness/site; not 0 if a link leads nowhere
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo ".freshness/site/index.html"

clean: ## Remove what the targets made, but for .venv
	rm -rf .freshness .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# A venv without its own pip where Python comes without ensurepip (Debian): then the outer pip fills it.
PIP = $$($(BIN)/python -m pip --version >/dev/null 2>&1 && echo $(BIN)/python -m pip || echo $(PYTHON) -m pip --python $(BIN)/python)
# What is locked, and no other: a file whose hash is not written down is refused.
LOCKS := requirements/build.txt requirements/dev.txt
$(READY): pyproject.toml $(LOCKS)
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here; name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is %d.%d; name another: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv || $(PYTHON) -m venv --clear --without-pip .venv
	$(PIP) install --quiet --disable-pip-version-check --require-hashes --no-deps $(LOCKS:%=-r %)
	$(PIP) install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
