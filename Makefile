# One command per task. Everything runs in .venv, which the first command makes.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help run test check format generate pytest docs simulate chaos accounts bench clean

help: ## show this list
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Flo needs Python 3.11 or newer; $(PYTHON) is older. Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "installing into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)

run: $(STAMP) ## start a three-node cluster on this machine (ARGS="--base-port 9100")
	@$(BIN)/flo up $(ARGS)

test: check pytest ## lint, types, then all tests

check: $(STAMP) ## lint, formatting, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/mypy
	@$(BIN)/pyright

format: $(STAMP) ## format the tree
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

generate: $(STAMP) ## write the blocking client, flo/sync, from the asynchronous one
	@$(BIN)/python -m scripts.generate_sync

pytest: $(STAMP) ## all tests
	@$(BIN)/pytest --numprocesses auto $(ARGS)

docs: $(STAMP) ## run every example and command of the documentation
	@$(BIN)/pytest tests/docs --numprocesses auto $(ARGS)

simulate: $(STAMP) ## simulated clusters from fresh seeds (SEEDS=1000, JOBS=2, SEED=42 to replay one)
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),200) --jobs $(or $(JOBS),1))

chaos: $(STAMP) ## real nodes under faults, and a verdict (MINUTES=15, SEED=42 for the same faults)
	@$(BIN)/pytest tests/chaos/test_chaos.py --long -k test_for_minutes --minutes $(or $(MINUTES),15) $(if $(SEED),--seed $(SEED))

accounts: $(STAMP) ## the same for queues, streams and groups: every delivery is accounted for (MINUTES=15, SEED=42)
	@$(BIN)/pytest tests/chaos/test_accounts.py --long -k test_for_minutes --minutes $(or $(MINUTES),15) $(if $(SEED),--seed $(SEED))

bench: $(STAMP) ## measure this machine, against a cluster that it starts (ARGS="--help" lists what else there is)
	@$(BIN)/python -m bench $(or $(ARGS),run)

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .apart .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
