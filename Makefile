# make demo: watch a race between two tracks.   make test: the whole suite.   make help: the rest.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
READY := $(VENV)/.ready
MODEL := smollm2-135m-instruct
EMBEDDER := all-minilm-l6-v2

.DEFAULT_GOAL := help
.PHONY: help install model demo test lint types docs bench lock clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY) ## set up .venv with everything that is needed

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "vanta needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV). llama-cpp-python comes as source: the first time it compiles for some minutes."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock & \
		pip=$$!; trap "kill $$pip 2>/dev/null; exit 130" INT TERM; waited=0; \
		while kill -0 $$pip 2>/dev/null; do \
			sleep 1; waited=$$((waited + 1)); \
			if [ $$((waited % 30)) -eq 0 ]; then echo "  still installing ($$waited s)"; fi; \
		done; wait $$pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

model: $(READY)
	@$(BIN)/vanta models pull $(MODEL)
	@$(BIN)/vanta models pull $(EMBEDDER)

demo: model ## a scripted conversation over both tracks, drawn
	@$(BIN)/vanta demo

test: model ## the whole suite on all cores, with coverage
	@$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal --cov --cov-report=term

lint: $(READY) ## ruff, both its checks and its format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY) ## mypy, strict
	@$(BIN)/mypy

docs: $(READY) ## write docs/api.md and docs/architecture.svg from the code
	@$(BIN)/python docs/build_api.py
	@$(BIN)/python docs/build_trust.py
	@$(BIN)/python docs/build_architecture.py

bench: model ## the figures of the README
	@$(BIN)/vanta bench overhead
	@$(BIN)/vanta bench race

lock: ## resolve requirements.lock anew (needs uv)
	@uv pip compile --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --no-strip-extras \
		--group dev --all-extras -p 3.11 --upgrade pyproject.toml -o requirements.lock

clean: ## remove what was built here (not your conversations or models)
	@rm -rf $(VENV) build dist .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis
