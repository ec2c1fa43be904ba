# `make run` and `make test` work on a fresh machine with Python 3.11+ and make: the virtual environment is made at the first call and brought up to date
# whenever pyproject.toml changes. When nothing changed, no network is needed.

VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin
PYTHONS := python3.13 python3.12 python3.11 python3
REQUIREMENTS := $(shell cksum < pyproject.toml | tr -d ' ')

.DEFAULT_GOAL := help
.PHONY: help run test check system soak suite sim mutants bench compile format clean

help:
	@echo "make run      a local cluster in three zones on port 6379 (make run ARGS='--port 7000 --restart')"
	@echo "make test     all tests a change needs (make test ARGS='tests/ops -x')"
	@echo "make check    format, lint, types, tidiness"
	@echo "make sim      the simulator (make sim RUNS=200, make sim SEED=17 TRACE=1, make sim CAMPAIGN=power-loss; see tests/sim/README.md)"
	@echo "make mutants  deliberate bugs, each of which the simulator must find"
	@echo "make system   the long tests with real processes"
	@echo "make soak     30 minutes of a real cluster under every fault at once (make soak MINUTES=3 SEED=7 FAULTS=kill,cut)"
	@echo "make suite    Redis' own test suite against a local cluster (REDIS_SUITE_HOME names its source)"
	@echo "make bench    the comparison with redis-server, by the compiled code"
	@echo "make compile  the hot modules as machine code, under build/compiled (needs a C compiler; make run COMPILED=1 uses it)"
	@echo "make format   rewrite the files as 'make check' wants them"
	@echo "make clean    remove the virtual environment and caches; data in .memstore stays"

run: $(VENV)/.run-$(REQUIREMENTS) $(if $(COMPILED),compile)
	@cd $(if $(COMPILED),build/compiled,.) && exec $(abspath $(BIN))/python -m memstore local --dir $(CURDIR)/.memstore $(ARGS)

test: $(VENV)/.dev-$(REQUIREMENTS) $(if $(COMPILED),compile)
	$(if $(COMPILED),MEMSTORE_TREE=build/compiled )$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev-$(REQUIREMENTS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict -p memstore -p txlog
	$(BIN)/python -m pytest tests/test_tidy.py

sim: $(VENV)/.dev-$(REQUIREMENTS)
	@$(BIN)/python -m tests.sim $(if $(SEED),--seed $(SEED)) $(if $(RUNS),--runs $(RUNS)) $(if $(FROM),--first $(FROM)) $(if $(STEPS),--steps $(STEPS)) \
		$(if $(FAULTS),--faults $(FAULTS)) $(if $(TRACE),--trace) $(if $(SHRINK),--shrink) $(if $(MUTANT),--mutant $(MUTANT)) $(if $(CAMPAIGN),--campaign $(CAMPAIGN))

mutants: $(VENV)/.dev-$(REQUIREMENTS)
	@$(BIN)/python -m tests.sim.mutants $(if $(SEEDS),--seeds $(SEEDS)) $(if $(MUTANT),--only $(MUTANT))

system: $(VENV)/.dev-$(REQUIREMENTS)
	$(BIN)/python -m pytest -m "" tests/system $(ARGS)

soak: $(VENV)/.dev-$(REQUIREMENTS) $(if $(COMPILED),compile)
	@$(if $(COMPILED),MEMSTORE_TREE=build/compiled )$(BIN)/python -m tests.system.soak --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED)) \
		$(if $(FAULTS),--faults $(FAULTS)) $(if $(RATE),--rate $(RATE)) $(if $(NETWORK),--network $(NETWORK))

suite: $(VENV)/.dev-$(REQUIREMENTS)
	$(BIN)/python -m tests.system.redis_suite $(ARGS)

bench: $(VENV)/.dev-$(REQUIREMENTS) compile
	MEMSTORE_TREE=build/compiled $(BIN)/python -m bench $(ARGS)

# The modules of the hot path, as they are, through mypyc. Left out are txlog/messages.py, whose annotations are read at run time, what interpreted classes
# inherit from, and all whose speed nobody waits for. The repository's own tree stays free of binaries, so that an edited file is never shadowed by an old one.
HOT := \
	$(addprefix memstore/engine/,resp.py reply.py effects.py slices.py keyspace.py command.py session.py context.py engine.py requests.py latency.py slowlog.py monitor.py transaction.py facts.py) \
	$(addprefix memstore/engine/values/,discard.py packed.py digits.py chain.py quicklist.py parted.py table.py double.py scored.py ranked.py set.py hash.py sorted.py) \
	$(addprefix memstore/commands/,strings.py parse.py walk.py counters.py lists.py hashes.py sets.py zsets.py) \
	$(addprefix memstore/replication/,shard.py lessor.py looked.py plain.py tracker.py reads.py gates.py recovery.py roles.py) \
	$(addprefix memstore/server/,clocks.py turn.py leading.py following.py connection.py errands.py telling.py node.py) \
	txlog/clock.py txlog/entry.py txlog/wire.py txlog/client/writer.py txlog/client/link.py txlog/client/client.py txlog/client/subscription.py \
	$(addprefix txlog/consensus/,outputs.py feed.py lease.py quorum.py proposer.py acceptor.py patience.py repair.py joining.py campaign.py log.py pace.py limits.py) \
	$(addprefix txlog/storage/,files.py spare.py segment.py positions.py store.py jobs.py segments.py) \
	$(addprefix txlog/server/,driver.py session.py connection.py)
SOURCES := $(shell find memstore txlog -name '*.py')

compile: build/compiled/.done
build/compiled/.done: $(SOURCES) Makefile | $(VENV)/.dev-$(REQUIREMENTS)
	@rm -rf build/compiled && mkdir -p build/compiled && cp -r memstore txlog build/compiled/
	@echo "compiling $(words $(HOT)) modules ..."
	@cd build/compiled && MYPYC_OPT_LEVEL=2 MYPYC_DEBUG_LEVEL=0 $(abspath $(BIN))/mypyc $(HOT) >mypyc.log 2>&1 || { tail -n 20 mypyc.log; exit 1; }
	@touch $@

format: $(VENV)/.dev-$(REQUIREMENTS)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# The first interpreter that is new enough and can make environments; a name that exists but does not start (a version manager's shim) is passed over.
$(BIN)/python:
	@set -e; for python in $(PYTHONS); do \
		if "$$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
			echo "making $(VENV) with $$("$$python" --version)"; "$$python" -m venv $(VENV); exit 0; \
		fi; \
	done; echo "memstore needs Python 3.11 or newer with venv (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1

# The stamps carry the checksum of pyproject.toml, so that a new checkout time alone installs nothing again.
$(VENV)/.run-$(REQUIREMENTS): | $(BIN)/python
	@echo "installing memstore into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@rm -f $(VENV)/.run-*; touch $@

$(VENV)/.dev-$(REQUIREMENTS): | $(BIN)/python
	@echo "installing memstore and what its tests need into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@rm -f $(VENV)/.run-* $(VENV)/.dev-*; touch $(VENV)/.run-$(REQUIREMENTS) $@
