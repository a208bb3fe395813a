# `make` alone lists the targets. Variables: ARGS goes to the command behind a target, PYTHON names the Python that
# .venv is made from, BENCHMARKS the benchmarks to run, BUF a buf of your own in place of the one from npm.
.DEFAULT_GOAL := help
VENV := .venv
TOOLS := .tools
PYTHON ?=
ARGS ?=

BUF_VERSION := 1.75.0
UV_VERSION := 0.13.9
GO_PLUGIN_VERSION := 1.36.12
GO_GRPC_PLUGIN_VERSION := 1.6.2
ES_PLUGIN_VERSION := 2.17.0
BUF ?= $(TOOLS)/buf-$(BUF_VERSION)/node_modules/.bin/buf
UV ?= $(TOOLS)/uv-$(UV_VERSION)/bin/uv
PY := $(VENV)/bin/python

# The generators of stubs for Go and TypeScript, where there is a toolchain to install them with: on other machines
# tools/generate.py leaves these languages out, and says so.
GO_PLUGINS := $(TOOLS)/go-plugins-$(GO_PLUGIN_VERSION)-$(GO_GRPC_PLUGIN_VERSION)
ES_PLUGIN := $(TOOLS)/protoc-gen-es-$(ES_PLUGIN_VERSION)/node_modules/.bin
PLUGINS := $(if $(shell command -v go),$(GO_PLUGINS)/protoc-gen-go) $(if $(shell command -v npm),$(ES_PLUGIN)/protoc-gen-es)
GENERATE = PATH="$(abspath $(GO_PLUGINS)):$(abspath $(ES_PLUGIN)):$$PATH" $(PY) tools/generate.py $(BUF)

# The scripts among benchmarks/: each has a main.
BENCHMARKS ?= $(patsubst benchmarks/%.py,%,$(shell grep -ls '^if __name__' benchmarks/*.py))
CHECKS := check-format check-lint check-types check-protos check-breaking check-generated

.PHONY: help setup serve test check format gen bench lock clean $(CHECKS)

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## Create .venv with the locked dependencies (PYTHON=python3.12 to choose the Python)
	@tools/setup.sh $(VENV) "$(PYTHON)"

# exec: Ctrl-C, and a SIGTERM to make, reach the service itself, and make waits for it to end.
serve: setup  ## Start the service in the foreground, on a demo store if you name no other (ARGS="--grpc-port 9001")
	@exec $(VENV)/bin/forecast-grpc serve $(ARGS)

# All of them in two processes (see tests/conftest.py for what goes together), but those marked `alone`, which come
# when the cores are free: both lots run, whichever fails.
test: setup  ## Run the tests (ARGS="tests/test_wire.py -k horizon" for some of them, in one process)
ifdef ARGS
	@exec $(PY) -m pytest $(ARGS)
else
	@status=0; $(PY) -m pytest --numprocesses 2 --dist loadgroup --no-loadscope-reorder -m "not alone" || status=$$?; \
		$(PY) -m pytest -m alone && exit $$status
endif

# A make of its own: all checks run, side by side, and each reports, whichever fails.
check: setup $(BUF) $(PLUGINS)  ## Check formatting, lint, types, the protos and the generated code
	@$(MAKE) --no-print-directory --keep-going $(if $(filter -j%,$(MAKEFLAGS)),,-j4) \
		$(if $(filter output-sync,$(.FEATURES)),--output-sync=target) $(CHECKS)

check-format check-protos check-breaking check-generated: $(BUF)
check-generated: $(PLUGINS)

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
	@$(GENERATE) --check

format: setup $(BUF)  ## Format the code and the protos, and mend what lint can mend
	@$(PY) -m ruff check --quiet --fix-only .
	@$(PY) -m ruff format --quiet .
	@$(BUF) format --write

gen: setup $(BUF) $(PLUGINS)  ## Generate the stubs of every language anew from protos/
	@$(GENERATE)

bench: setup  ## Run the benchmarks, which write tables and plots (BENCHMARKS=comparison for one of them)
	@set -e; for name in $(BENCHMARKS); do echo "--- $$name"; $(PY) -m benchmarks.$$name $(ARGS); done

# The second holds what an image needs, in the versions of the first.
LOCK = $(UV) pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-annotate --custom-compile-command "make lock" --quiet
lock: $(UV)  ## Write requirements.txt anew from pyproject.toml (ARGS=--upgrade for the newest versions)
	@$(LOCK) --all-extras --output-file requirements.txt $(ARGS)
	@$(LOCK) --extra fit --extra onnx --constraints requirements.txt --output-file deploy/requirements.txt --upgrade

clean:  ## Remove what make has made: environment, tools, caches
	@rm -rf $(VENV) $(TOOLS) build dist *.egg-info clients/*/node_modules clients/*/dist clients/*/target clients/*/.venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find forecast_grpc clients benchmarks tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# No lock file: npm's would name the registry. The version is exact, and the package has no dependencies but its
# own binaries of the same version.
$(TOOLS)/buf-$(BUF_VERSION)/node_modules/.bin/buf:
	@command -v npm >/dev/null || { echo "buf comes from npm, and there is no npm here: install Node.js 18 or newer, or name a buf $(BUF_VERSION) of your own with BUF=/path/to/buf." >&2; exit 1; }
	@echo "Installing buf $(BUF_VERSION) ..."
	@npm install --prefix $(TOOLS)/buf-$(BUF_VERSION) --no-save --no-package-lock --no-audit --no-fund \
		--ignore-scripts --loglevel=error @bufbuild/buf@$(BUF_VERSION) >/dev/null
	@touch $@

# The same for the TypeScript generator: its few dependencies come in whichever version is the newest.
$(ES_PLUGIN)/protoc-gen-es:
	@echo "Installing protoc-gen-es $(ES_PLUGIN_VERSION) ..."
	@npm install --prefix $(dir $(patsubst %/,%,$(dir $(ES_PLUGIN)))) --no-save --no-package-lock --no-audit --no-fund \
		--ignore-scripts --loglevel=error @bufbuild/protoc-gen-es@$(ES_PLUGIN_VERSION) >/dev/null
	@touch $@

$(GO_PLUGINS)/protoc-gen-go:
	@echo "Installing protoc-gen-go $(GO_PLUGIN_VERSION) ..."
	@GOBIN=$(abspath $(GO_PLUGINS)) go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v$(GO_GRPC_PLUGIN_VERSION)
	@GOBIN=$(abspath $(GO_PLUGINS)) go install google.golang.org/protobuf/cmd/protoc-gen-go@v$(GO_PLUGIN_VERSION)

$(TOOLS)/uv-$(UV_VERSION)/bin/uv:
	@python=$$(tools/find_python.sh "$(PYTHON)") && $$python -m venv --clear $(TOOLS)/uv-$(UV_VERSION)
	@$(TOOLS)/uv-$(UV_VERSION)/bin/python -m pip --quiet --disable-pip-version-check install uv==$(UV_VERSION)
