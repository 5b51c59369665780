# The front door: `make` alone prints what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PLOTS := $(VENV)/.plots
SOAK := tests/e2e/production/test_soak.py
# The checkout's own programs first, also for what they start themselves.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Tests start the operator hundreds of times: without compiled modules that is 2 s of CPU each time.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## Print this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# uv installs in seconds what pip takes minutes for; pip, which every Python has, installs uv.
$(READY): constraints/bootstrap.txt constraints/test.txt pyproject.toml
	@echo "==> Python environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make PYTHON=..."; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --require-hashes -r constraints/bootstrap.txt
	@$(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python constraints/bootstrap.txt constraints/test.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: install
install: $(READY) ## Make the Python environment (.venv) from the pinned, hashed constraints

.PHONY: demo
demo: $(READY) ## The tutorial on a real cluster, end to end; leaves the cluster up
	@caios-testbed demo up

.PHONY: demo-down
demo-down: $(READY) ## End the demo's cluster, emulator and operator
	@caios-testbed demo down

.PHONY: run
run: $(READY) ## Run the operator against the current kubeconfig (all roles in one process)
	@caios-federation run --role all

.PHONY: test
test: test-unit test-component test-contract test-chart test-integration test-e2e ## Every tier of the tests, from units to a real node

.PHONY: test-unit
test-unit: $(READY) ## Units, laws, golden files, repository rules: the inner loop
	pytest tests/unit tests/properties tests/golden tests/meta -n 2 --disable-socket --allow-unix-socket

.PHONY: test-component
test-component: $(READY) ## Conversations over loopback: admission server, emulator, clients
	pytest tests/component -n 2

# Cold, it takes a quarter of an hour; within a test it would look like one that hangs.
.PHONY: programs
programs: $(READY) ## Build Kubernetes, helm and what else the tests run, once per user
	@caios-testbed cluster prepare

.PHONY: test-contract
test-contract: programs ## The CRDs on a real API server
	pytest tests/contract

.PHONY: test-chart
test-chart: programs ## The chart: rendered, linted, refused, accepted by a real API server
	pytest tests/chart

.PHONY: test-integration
test-integration: programs ## The operator against a real control plane
	pytest tests/integration

.PHONY: test-e2e
test-e2e: programs ## The tutorial on a real node
	pytest tests/e2e --ignore=$(SOAK)

.PHONY: soak
soak: programs ## Four hours of the installed operator's life in fast motion: what grows, what leaks
	pytest $(SOAK) -s

.PHONY: bench
bench: ## What everything costs, about half an hour: the tables and the plot of docs/performance.md
	@$(BENCH) measured PARTS="admission startup creates caches reconciling report"

.PHONY: bench-admission
bench-admission: ## What an answer of the admission server costs, beside two yardsticks
	@$(BENCH) measured PARTS=admission

# Distributions and the image have a Python that was compiled with profiles and link-time
# optimisation; one that somebody compiled, by pyenv for example, may take half as long again.
BENCH_PYTHON ?= $(shell /usr/bin/python3 -c 'import ensurepip, sys; assert sys.version_info >= (3, 11); print(sys.executable)' 2>/dev/null || echo $(PYTHON))
BENCH = $(MAKE) --no-print-directory VENV=build/bench-venv PYTHON=$(BENCH_PYTHON)

.PHONY: measured
measured: programs $(PLOTS)
	cd tests && python -m benchmarks $(PARTS)

$(PLOTS): constraints/bench.txt $(READY)
	@$(BIN)/uv pip install --quiet --require-hashes --python $(BIN)/python -r constraints/bench.txt
	@touch $@

.PHONY: lint
lint: $(READY) ## Ruff, formatting, the direction of imports
	ruff check .
	ruff format --check .
	lint-imports

.PHONY: type
type: $(READY) ## mypy --strict on sources and tests
	mypy

.PHONY: format
format: $(READY) ## Format and fix what can be fixed
	ruff check --fix-only --exit-zero .
	ruff format .

.PHONY: golden
golden: $(READY) ## Rewrite the golden files; review the diff
	GOLDEN=rewrite pytest tests/golden -q
	GOLDEN=rewrite pytest tests/chart/test_rendering.py -q

# The same helm as in the tests, built once.
HELM = $$($(BIN)/python -c 'from caios_testbed.cluster import binaries, progress; \
	print(binaries.ensure_binaries(["helm"], progress.Progress.quiet())["helm"])')

.PHONY: image
image: $(READY) ## Build the operator's image from deploy/image/Dockerfile, without a registry
	@caios-testbed image build

.PHONY: chart
chart: $(READY) ## Package the chart into dist/
	$(HELM) package deploy/chart --destination dist

.PHONY: generate
generate: $(READY) ## Rewrite what is generated: reference pages, the chart's copies, the kustomize base
	for script in deploy/observability/generate_dashboard.py deploy/generate_chart.py deploy/kustomize/render.py docs/generate_*.py; do $(BIN)/python $$script || exit 1; done

.PHONY: constraints
constraints: $(READY) ## Resolve the pinned, hashed constraints anew
	$(BIN)/python constraints/compile.py

.PHONY: reviewable
reviewable: lint type test ## Everything CI checks
