# Every target makes its own .venv first: a machine needs Python 3.11 or newer and make, nothing else.
# Another Python: make test PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# No look-up of newer versions, and pyright runs on the Node of the lock, not on the system's.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
export PYRIGHT_PYTHON_GLOBAL_NODE := 0

.DEFAULT_GOAL := help
.PHONY: help demo test check dev bench bench-safety coverage lock

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(READY)  ## a month of a coworking space with three sites, in the sandbox
	$(BIN)/printbridge demo

test: $(READY)  ## every test
	$(EVERY_TEST)

check: $(READY)  ## lint, format, types, then every test, the definitions among them
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(EVERY_TEST)

dev: $(READY)  ## Dagster's UI and the schedules on 127.0.0.1:3000, for bridge.toml or, without one, a sandbox
	$(BIN)/printbridge dev

bench: $(READY)  ## the benchmarks
	$(BIN)/python -m benchmarks

bench-safety: $(READY)  ## the proofs of money safety, long: hours
	$(BIN)/python -m tests.campaign

coverage: $(READY)  ## every branch of the code that moves money and people, or an error
	$(BIN)/coverage run -m pytest $(MONEY_TESTS:%=tests/%.py)
	$(BIN)/coverage report --show-missing --precision 1 --fail-under 100 --include "$(MONEY_CODE)"

lock:  ## new exact versions in requirements.lock; needs uv
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --only-binary :all: --emit-build-options \
	    --generate-hashes --no-strip-extras --no-annotate --custom-compile-command "make lock" --group dev \
	    --output-file requirements.lock pyproject.toml

# A process for each core; the tests of a file stay together, for they share servers. More than four would wait for the
# longest files. One file or one test is run without this: it would only wait for the processes.
EVERY_TEST := $(BIN)/pytest --numprocesses logical --maxprocesses 4 --dist loadfile

MONEY_TESTS := $\
store/test_ledger store/test_lines store/test_ownership store/test_stops store/test_sites $\
effects/test_effect effects/test_sales effects/test_credits effects/test_deleted effects/test_flags effects/test_users $\
domain/people/test_accounts domain/people/test_plan domain/people/test_differences domain/people/test_ownership $\
domain/people/test_parts domain/people/test_writes domain/people/test_reasons domain/people/test_holdings $\
domain/people/test_balances domain/test_jobs domain/money/test_assigned domain/money/test_attribution $\
domain/money/test_charges domain/money/test_credits domain/money/test_lookup domain/money/test_days $\
domain/money/test_history domain/money/test_payers domain/money/test_reconcile domain/money/test_detector $\
domain/money/test_prices domain/money/test_recovery domain/money/test_references domain/money/test_reversals $\
domain/money/test_retried domain/money/test_sharing domain/money/test_grants domain/money/test_acceptance $\
operations/test_recover operations/test_access operations/test_adopt operations/test_assign operations/test_held $\
operations/test_invitations operations/remedies/test_held operations/remedies/test_books $\
services/ezeep/test_system steps/test_bad_input steps/test_sync steps/test_reruns steps/test_refunds steps/test_retries $\
steps/test_setup_changes steps/test_report steps/test_teams steps/test_hands steps/test_credits_by_hand steps/test_ezeep
MONEY_CODE := pipeline/effects/*.py,pipeline/domain/money/*.py,pipeline/domain/people/*.py,$\
pipeline/steps/charge.py,pipeline/steps/decide.py,pipeline/steps/sync_users.py,$\
pipeline/store/assignments.py,pipeline/store/history.py,pipeline/store/ledger.py,pipeline/store/lines.py,$\
pipeline/store/ownership.py,pipeline/store/sites.py,pipeline/store/stops.py,$\
pipeline/operations/recover.py,pipeline/operations/held.py,pipeline/services/papercut/system.py,$\
pipeline/services/ezeep/system.py

# Nothing is fetched that the lock does not name with its hash; the project itself is built without fetching a builder.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "printbridge needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@
