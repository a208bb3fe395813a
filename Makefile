# `make` alone lists the targets. Variables: ARGS goes to the command behind a target, PYTHON names the Python that
# .venv is made from, BENCHMARKS the benchmarks to run, BUF a buf of your own in place of the one from npm.
.DEFAULT_GOAL := help
VENV := .venv
TOOLS := .tools
PYTHON ?=
ARGS ?=

BUF_VERSION := 1.75.0
UV_VERSION := 0.13.9
BUF ?= $(TOOLS)/buf-$(BUF_VERSION)/node_modules/.bin/buf
UV ?= $(TOOLS)/uv-$(UV_VERSION)/bin/uv
PY := $(VENV)/bin/python

# The scripts among benchmarks/: each has a main.
BENCHMARKS ?= $(patsubst benchmarks/%.py,%,$(shell grep -ls '^if __name__' benchmarks/*.py))
CHECKS := check-format check-lint check-types check-protos check-breaking check-generated

.PHONY: help setup serve test check format gen bench lock clean $(CHECKS)

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## Create .venv with the locked dependencies (PYTHON=python3.12 to choose the Python)
	@tools/setup.sh $(VENV) "$(PYTHON)"

# exec: Ctrl-C, and a SIGTERM to make, reach the service itself, and make waits for it to end.
serve: setup  ## Start the service in the foreground, on a demo store if you name no other (ARGS="--port 9001")
	@exec $(VENV)/bin/forecast-grpc serve $(ARGS)

# All of them in two processes: see tests/conftest.py for what goes together.
test: setup  ## Run the tests (ARGS="tests/test_wire.py -k horizon" for some of them, in one process)
	@exec $(PY) -m pytest $(if $(ARGS),$(ARGS),--numprocesses 2 --dist loadgroup)

# A make of its own: all checks run, side by side, and each reports, whichever fails.
check: setup $(BUF)  ## Check formatting, lint, types, the protos and the generated code
	@$(MAKE) --no-print-directory --keep-going $(if $(filter -j%,$(MAKEFLAGS)),,-j4) \
		$(if $(filter output-sync,$(.FEATURES)),--output-sync=target) $(CHECKS)

check-format check-protos check-breaking check-generated: $(BUF)

check-format:
	@$(PY) -m ruff format --quiet --diff .
	@$(BUF) format --diff --exit-code

check-lint:
	@$(PY) -m ruff check --quiet .

check-types:
	@$(PY) -m mypy --no-error-summary .

check-protos:
	@$(BUF) lint

check-breaking:
	@tools/breaking.sh $(BUF)

check-generated:
	@$(PY) tools/generate.py $(BUF) --check

format: setup $(BUF)  ## Format the code and the protos, and mend what lint can mend
	@$(PY) -m ruff check --quiet --fix-only .
	@$(PY) -m ruff format --quiet .
	@$(BUF) format --write

gen: setup $(BUF)  ## Generate forecast_grpc/v1 anew from protos/
	@$(PY) tools/generate.py $(BUF)

bench: setup  ## Run the benchmarks, which write tables and plots (BENCHMARKS=throughput for one of them)
	@set -e; for name in $(BENCHMARKS); do echo "--- $$name"; $(PY) -m benchmarks.$$name $(ARGS); done

lock: $(UV)  ## Write requirements.txt anew from pyproject.toml (ARGS=--upgrade for the newest versions)
	@$(UV) pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" \
		--quiet --output-file requirements.txt $(ARGS)

clean:  ## Remove what make has made: environment, tools, caches
	@rm -rf $(VENV) $(TOOLS) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find forecast_grpc clients benchmarks tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# No lock file: npm's would name the registry. The version is exact, and the package has no dependencies but its
# own binaries of the same version.
$(TOOLS)/buf-$(BUF_VERSION)/node_modules/.bin/buf:
	@command -v npm >/dev/null || { echo "buf comes from npm, and there is no npm here: install Node.js 18 or newer, or name a buf $(BUF_VERSION) of your own with BUF=/path/to/buf." >&2; exit 1; }
	@echo "Installing buf $(BUF_VERSION) ..."
	@npm install --prefix $(TOOLS)/buf-$(BUF_VERSION) --no-save --no-package-lock --no-audit --no-fund \
		--ignore-scripts --loglevel=error @bufbuild/buf@$(BUF_VERSION) >/dev/null
	@touch $@

$(TOOLS)/uv-$(UV_VERSION)/bin/uv:
	@python=$$(tools/find_python.sh "$(PYTHON)") && $$python -m venv --clear $(TOOLS)/uv-$(UV_VERSION)
	@$(TOOLS)/uv-$(UV_VERSION)/bin/python -m pip --quiet --disable-pip-version-check install uv==$(UV_VERSION)
