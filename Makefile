PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help venv fmt lint type unit prepare lab-test test docs bench bench-scale test-matrix demo demo-down

help: ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(VENV)/.done ## Make the virtual environment

$(VENV)/.done: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

fmt: venv ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: venv ## Check style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

type: venv ## Check types
	$(BIN)/mypy

unit: venv ## Tests that need no host
	$(BIN)/pytest tests/unit tests/packaging -n 2 -q

prepare: venv ## Build the lab: Docker engine, host images, Ollama, Open WebUI
	$(BIN)/python -m tests.lab prepare

lab-test: prepare ## Tests on real hosts
# What fails beside other tests on a busy machine is run again alone: only a second failure counts, both are shown.
	$(BIN)/pytest tests/lab -n 2 --dist loadfile -q || \
		$(BIN)/pytest tests/lab -q --last-failed --last-failed-no-failures none

test: lint type prepare unit lab-test ## Everything

test-matrix: venv ## The roles on real images: IMAGES=ubuntu:24.04,rockylinux/rockylinux:9 [ARTIFACTS=lab]
	@[ -n "$(IMAGES)" ] || { echo 'say which images: make test-matrix IMAGES=ubuntu:24.04,rockylinux/rockylinux:9' >&2; exit 3; }
	IMAGES='$(IMAGES)' ARTIFACTS='$(ARTIFACTS)' $(BIN)/pytest tests/images -q

docs: venv ## Write the pages that are made from the code
	$(BIN)/python -m tests.docs

bench: venv ## What runs cost, beside the floor and beside other tools: about 12 minutes; PARTS='nochange' for some
	$(BIN)/python -m tests.bench $(PARTS)

bench-scale: venv ## What hundreds of light hosts cost, some of which are none
	$(BIN)/python -m tests.bench.scale

demo: venv ## Two servers that did not exist a minute ago, and a chat between them
	$(BIN)/python -m tests.lab demo

demo-down: venv ## Remove the demo's servers
	$(BIN)/python -m tests.lab demo-down
