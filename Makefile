# Everything here runs anywhere: locally, in CI, on a server. Each target makes .venv by itself.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$python && break; done)
JOBS ?= $(shell .venv/bin/python -c 'import os; print(min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()))' 2>/dev/null || echo 1)
PORT ?= 5000
VENV := .venv
READY := $(VENV)/.ready
UV := $(shell command -v uv 2>/dev/null)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
# uv trusts what the machine trusts, as pip does.
export UV_SYSTEM_CERTS := true

.DEFAULT_GOAL := help
.PHONY: help env repro test test-all backends packages audit faults lint docs ui serve promote verify bench profile lock clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

env: $(READY) ## make .venv from requirements.lock (uv where installed, else pip)

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found. Install one, or name it: make PYTHON=/path/to/python"; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version) and $(if $(UV),uv,pip): a few minutes and 3 GB, once"
ifneq ($(UV),)
	@uv venv --quiet --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)
	@uv pip sync --quiet --python $(VENV)/bin/python --compile-bytecode --require-hashes requirements.lock
	@uv pip install --quiet --python $(VENV)/bin/python --no-deps --no-build-isolation --editable .
else
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
endif
	@touch $@

repro: $(READY) ## run the active study, or make STUDY=name active first: every stage that is not up to date (JOBS=N)
	@python -m textrnn repro --jobs $(JOBS) $(if $(STUDY),--study "$(STUDY)")

# sys.monitoring, where Python has it (3.12), makes coverage cheap; `make test COVERAGE=` does without.
COVERAGE ?= --cov
test: export COVERAGE_CORE ?= $(shell .venv/bin/python -c 'import sys; print("sysmon" if hasattr(sys, "monitoring") else "ctrace")' 2>/dev/null)
test: $(READY) lint ## lint, types, all tests except the long ones, and their coverage
	@python -m pytest -m "not long" $(COVERAGE)

test-all: $(READY) lint ## lint, types, and every test: what CI runs
	@python -m pytest

backends: $(READY) ## install Keras' other backends, JAX and PyTorch, into .venv-backends and test them
	@bash .ci/backends

packages: ## install what the long tests need besides Python packages: PostgreSQL, Chromium, xfsprogs, gitlab-ci-local (Debian, Ubuntu)
	@bash .ci/packages

audit: $(READY) ## look up known vulnerabilities of the packages in requirements.lock (needs the network)
	@bash .ci/audit

faults: $(READY) ## break a tiny study in every way that docs/reliability.md lists, and write that page (ONLY="FAULT …": shows these)
	@PYTHONPATH=tests python -m faults $(if $(ONLY),--only $(ONLY))

lint: $(READY) ## ruff and mypy
	@python -m ruff check .
	@python -m ruff format --check .
	@python -m mypy

docs: $(READY) ## build the documentation as a site, site/index.html; a warning is an error
	@python -m sphinx --fresh-env --nitpicky --fail-on-warning --keep-going --quiet -c docs . site
	@echo "open site/index.html"

ui: $(READY) ## open MLflow's dashboard on the study's leaderboard, http://127.0.0.1:5000 (PORT=5000)
	@python -m textrnn ui --port $(PORT)

serve: PORT := 5001
serve: $(READY) ## serve the champion: POST to http://127.0.0.1:5001/invocations (PORT=5001)
	@python -m textrnn serve --port $(PORT)

promote: $(READY) ## fetch what dvc.lock names, register the best model, and let it become champion if a paired test says so
	@test -z "$$(python -m dvc config core.remote 2>/dev/null)" || python -m dvc pull --quiet --allow-missing
	@python -m textrnn sync
	@python -m textrnn register
	@python -m textrnn promote || test $$? -eq 3 # the champion stays: that, too, is an answer

verify: $(READY) ## repeat the study from empty caches and compare it with dvc.lock, stage by stage
	@python -m textrnn verify --jobs $(JOBS)

bench: $(READY) ## measure against the usual ways: reports/benchmarks.md (DATA=folder with IMDB and GloVe)
	@python -m benchmarks $(if $(DATA),--data "$(DATA)")

profile: $(READY) ## repeat the study in a copy and draw where its time goes: reports/profile.svg (JOBS=N, STUDY=name)
	@python -m benchmarks.profile --jobs $(JOBS) $(if $(STUDY),--study "$(STUDY)")

lock: ## resolve requirements.lock anew from pyproject.toml (needs uv)
	@uv pip compile pyproject.toml --universal --generate-hashes --extra cpu --extra dev --extra docs --extra ray \
		--python-version 3.11 --no-emit-index-url --no-annotate --custom-compile-command "make lock" --output-file requirements.lock --quiet

clean: ## remove the environment; data, runs and caches stay
	@rm -rf $(VENV)
