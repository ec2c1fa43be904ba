# `make run` and `make test` work on a fresh machine with Python 3.11+ and make: the virtual
# environment is made at the first call and brought up to date whenever pyproject.toml changes.
# When nothing changed, no network is needed.

VENV ?= .venv
ARGS ?=
CORES = $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
JOBS ?= $(shell cores=$(CORES); echo $$((cores < 4 ? cores : 4)))
BIN := $(VENV)/bin
PYTHONS := python3.13 python3.12 python3.11 python3
FITS := 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))'
REQUIREMENTS := $(shell cksum < pyproject.toml | tr -d ' ')
STAMPS = $(VENV)/.run-$(REQUIREMENTS) $(VENV)/.dev-$(REQUIREMENTS)

# An environment that cannot be used any more is made again (building/environment.py says when): the
# rules below then run although their files exist.
ifneq ($(wildcard $(VENV)),)
ifneq ($(shell "$(BIN)/python" building/environment.py 2>/dev/null && echo usable),usable)
.PHONY: $(BIN)/python $(STAMPS)
endif
endif

.DEFAULT_GOAL := help
.PHONY: .venv-dev help run test lint check system soak suite sim mutants bench compile format clean

help:
	@echo "make run      a local cluster in three zones on port 6379"
	@echo "              (make run ARGS='--port 7000 --restart')"
	@echo "make test     all tests a change needs (make test ARGS='tests/ops -x')"
	@echo "make check    format, lint, types, tidiness"
	@echo "make sim      the simulator (make sim RUNS=200, make sim SEED=17 TRACE=1,"
	@echo "              make sim CAMPAIGN=power-loss; see tests/sim/README.md)"
	@echo "make mutants  deliberate bugs, each of which the simulator must find"
	@echo "make system   the long tests with real processes"
	@echo "make soak     30 minutes of a real cluster under every fault at once"
	@echo "              (make soak MINUTES=3 SEED=7 FAULTS=kill,cut)"
	@echo "make suite    Redis' own test suite against a local cluster"
	@echo "              (REDIS_SUITE_HOME names its source)"
	@echo "make bench    the comparison with redis-server, by the compiled code"
	@echo "make compile  the hot modules as machine code, under build/compiled"
	@echo "              (make run does it in the background; COMPILED=0 turns it off)"
	@echo "make format   rewrite the files as 'make check' wants them"
	@echo "make clean    remove the virtual environment and caches; data in .memstore stays"

# COMPILED=1 compiles first; COMPILED=0 stays interpreted. Otherwise a compiled tree that is up to
# date is used at once; where there is none the cluster starts interpreted, compiles in the
# background and moves its nodes one by one.
AGAIN := $(MAKE)# under a name of its own: a dry run would start the recipe that names MAKE
# Quoted: the folder's name may hold spaces. No target has the folder's name in it.
PYTHON = "$(if $(filter /%,$(VENV)),,$(CURDIR)/)$(BIN)/python"
LOCAL = exec $(PYTHON) -m memstore local --dir "$(CURDIR)/.memstore"
COMPILE = $(BIN)/python -m building --install build/compiled
BACKGROUND = --compiled-tree build/compiled --compile-command '$(COMPILE)'

run: $(VENV)/.run-$(REQUIREMENTS) $(if $(filter-out 0,$(COMPILED)),compile)
ifeq ($(COMPILED),0)
	@$(LOCAL) $(ARGS)
else
	@if $(AGAIN) --question build/compiled/.done >/dev/null 2>&1; then \
		cd build/compiled && $(LOCAL) $(ARGS); \
	else \
		$(LOCAL) $(BACKGROUND) $(ARGS); \
	fi
endif

# JOBS workers share the test files; a file stays on one worker. JOBS=0 runs all tests in one
# process (for a debugger).
PYTEST = -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# Compiled: pytest runs inside the compiled tree, so that both packages and the tests come from
# there (tests/conftest.py makes sure).
test: $(VENV)/.dev-$(REQUIREMENTS) $(if $(filter-out 0,$(COMPILED)),compile)
ifneq ($(filter-out 0,$(COMPILED)),)
	$(BIN)/python -m tests.compiled_tree build/compiled
	cd build/compiled && MEMSTORE_TEST_COMPILED=1 PYTHONPATH="$(CURDIR)/build/compiled" \
		$(PYTHON) $(PYTEST) $(ARGS)
else
	$(BIN)/python $(PYTEST) $(ARGS)
endif

lint: $(VENV)/.dev-$(REQUIREMENTS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict -p memstore -p txlog

check: lint
	$(BIN)/python -m pytest tests/test_tidy.py tests/test_import_circles.py \
		tests/test_documents.py

sim: $(VENV)/.dev-$(REQUIREMENTS)
	@$(BIN)/python -m tests.sim $(if $(SEED),--seed $(SEED)) $(if $(RUNS),--runs $(RUNS)) \
		$(if $(FROM),--first $(FROM)) $(if $(STEPS),--steps $(STEPS)) \
		$(if $(FAULTS),--faults $(FAULTS)) $(if $(TRACE),--trace) $(if $(SHRINK),--shrink) \
		$(if $(MUTANT),--mutant $(MUTANT)) $(if $(CAMPAIGN),--campaign $(CAMPAIGN))

mutants: $(VENV)/.dev-$(REQUIREMENTS)
	@$(BIN)/python -m tests.sim.mutants \
		$(if $(SEEDS),--seeds $(SEEDS)) $(if $(MUTANT),--only $(MUTANT))

system: $(VENV)/.dev-$(REQUIREMENTS)
	$(BIN)/python -m pytest -m "" tests/system $(ARGS)

soak: $(VENV)/.dev-$(REQUIREMENTS) $(if $(filter-out 0,$(COMPILED)),compile)
	@$(if $(filter-out 0,$(COMPILED)),MEMSTORE_TREE=build/compiled )$(BIN)/python \
		-m tests.system.soak --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED)) \
		$(if $(FAULTS),--faults $(FAULTS)) $(if $(RATE),--rate $(RATE)) \
		$(if $(NETWORK),--network $(NETWORK))

suite: $(VENV)/.dev-$(REQUIREMENTS)
	$(BIN)/python -m tests.system.redis_suite $(ARGS)

bench: $(VENV)/.dev-$(REQUIREMENTS) compile
	MEMSTORE_TREE=build/compiled $(BIN)/python -m bench $(ARGS)

# hot_modules.txt names the modules. The repository's own tree stays free of binaries, so that an
# edited file is never shadowed by an old one.
HOT := $(shell sed 's/\#.*//' hot_modules.txt)
SOURCES := $(shell find memstore txlog -name '*.py')

IMPOSSIBLE = 3# the exit code where there is no compiler: the log's last line says all

compile: build/compiled/.done
build/compiled/.done: $(SOURCES) hot_modules.txt $(wildcard building/*.py) \
		| $(VENV)/.run-$(REQUIREMENTS)
	@echo "compiling $(words $(HOT)) modules ..."
	@mkdir -p build
	@$(COMPILE) >build/compile.log 2>&1 || { \
		lines=$$([ $$? = $(IMPOSSIBLE) ] && echo 1 || echo 20); \
		tail -n "$$lines" build/compile.log; exit 1; }
	@tail -n 1 build/compile.log

format: $(VENV)/.dev-$(REQUIREMENTS)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# The first interpreter that is new enough and can make environments; a name that exists but does
# not start (a version manager's shim) is passed over.
$(BIN)/python:
	@set -e; for python in $(PYTHONS); do \
		if "$$python" -c $(FITS) >/dev/null 2>&1; then \
			echo "making $(VENV) with $$("$$python" --version)"; \
			rm -f $(VENV)/.run-* $(VENV)/.dev-*; \
			"$$python" -m venv --clear $(VENV); \
			exit 0; \
		fi; \
	done; \
	echo "memstore needs Python 3.11 or newer with venv" \
		"(Debian, Ubuntu: apt-get install python3-venv)" >&2; \
	exit 1

# What `make test` needs and nothing else.
.venv-dev: $(VENV)/.dev-$(REQUIREMENTS)

# The stamps carry the checksum of pyproject.toml, so that a new checkout time alone installs
# nothing again.
$(VENV)/.run-$(REQUIREMENTS): | $(BIN)/python
	@echo "installing memstore into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@rm -f $(VENV)/.run-*; touch $@

$(VENV)/.dev-$(REQUIREMENTS): | $(BIN)/python
	@echo "installing memstore and what its tests need into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@rm -f $(VENV)/.run-* $(VENV)/.dev-*; touch $(VENV)/.run-$(REQUIREMENTS) $@
