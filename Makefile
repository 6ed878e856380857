# What a person does with this project. `make` alone lists it.
.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin/python
PIP := $(BIN) -m pip --disable-pip-version-check install --quiet --no-compile --require-hashes
ROOMS := portal pbx recordings cdr events accounts tenants
WORKERS ?= auto

help: ## List what there is to do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.runtime ## Bring up everything on http://localhost:8000 (PORT, BIND, VAR_DIR, SIMULATOR_RATE)
	@exec $(BIN) manage.py up

test: $(VENV)/.dev ## Run every test that needs neither a browser nor a real switch
	@$(BIN) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --leave-out asterisk --leave-out browser --leave-out freeswitch --leave-out edge --stop-services $(ARGS)

test-asterisk: $(VENV)/.dev ## Run the tests against a real Asterisk (tests/asterisk/prepare makes one, as root)
	@$(BIN) -m pytest -m asterisk --require asterisk --stop-services $(ARGS)

test-edge: $(VENV)/.dev ## Run the tests through a real Kamailio (tests/edge/prepare fetches one) to a real Asterisk
	@$(BIN) -m pytest -m edge --require edge --stop-services $(ARGS)

test-freeswitch: $(VENV)/.dev ## Run the same calls against a FreeSWITCH that is named to it (docs/switches/freeswitch.md)
	@$(BIN) -m pytest -m freeswitch --require freeswitch --stop-services $(ARGS)

test-browser: $(VENV)/.browser ## Run the tests in a real browser (needs Chromium: apt install chromium)
	@$(BIN) -m pytest -m browser --require browser --stop-services $(ARGS)

lint: $(VENV)/.dev ## Check style and types
	@$(BIN) -m ruff check .
	@$(BIN) -m ruff format --check .
	@$(BIN) -m mypy $(ROOMS)

fuzz: $(VENV)/.dev ## Feed the parsers of SIP, AMI and the event socket with spoilt bytes for a minute
	@$(BIN) -m tests.fuzz $(ARGS)

bench: $(VENV)/.dev ## Measure the way in on this machine
	@$(BIN) -m benchmarks.intake $(ARGS)

chaos: $(VENV)/.dev ## Kill everything at random while calls flow, and count what arrived
	@$(BIN) -m tests.run.chaos $(ARGS)

bench-push: $(VENV)/.dev ## Measure how soon a finished call is pushed
	@$(BIN) -m benchmarks.push $(ARGS)

bench-recordings: $(VENV)/.dev ## Measure how recordings are sent, sought in and examined
	@$(BIN) -m benchmarks.recordings $(ARGS)

bench-switches: $(VENV)/.dev ## Measure how soon a MESSAGE pauses on a real Asterisk, and what adapters digest
	@$(BIN) -m benchmarks.switches $(ARGS)

setup: $(VENV)/.dev ## Make the environment in .venv, and nothing else

lock: .cache/lock/bin/uv ## Pin what requirements*.in ask for, with hashes and without addresses
	@for name in requirements requirements-dev requirements-browser; do \
		case $$name in requirements) with= ;; requirements-dev) with="-c requirements.lock" ;; *) with="-c requirements-dev.lock" ;; esac; \
		$< pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet $$with $$name.in -o $$name.lock || exit 1; \
	done

.cache/lock/bin/uv: | machine
	@$(PYTHON) -m venv .cache/lock && .cache/lock/bin/python -m pip --disable-pip-version-check install --quiet uv

# What a bare machine must have, each missing piece as one sentence.
machine:
	@command -v git >/dev/null || { echo "git is missing: install it (on Debian: apt install git)." >&2; exit 1; }
	@test -n "$(PYTHON)" || { echo "Python is missing: install Python 3.11 or later (on Debian: apt install python3 python3-venv)." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is too old: Python 3.11 or later is needed; name another by make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv or no pip: install them (on Debian: apt install python3-venv)." >&2; exit 1; }

$(BIN): | machine
	@echo "Making the environment in $(VENV)"
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)

# Each stamp says that its lock is installed; the bigger one holds the smaller.
$(VENV)/.runtime: requirements.lock | $(BIN)
	@test $(VENV)/.dev -nt requirements.lock || { echo "Installing what the portal runs on (half a minute)"; $(PIP) -r requirements.lock; }
	@touch $@

$(VENV)/.dev: requirements-dev.lock | $(BIN)
	@echo "Installing what the portal and its tests run on (a minute)"
	@$(PIP) -r requirements-dev.lock
	@touch $@

$(VENV)/.browser: requirements-browser.lock $(VENV)/.dev
	@echo "Installing what the browser tests run on"
	@$(PIP) -r requirements-browser.lock
	@touch $@

.PHONY: help run test fuzz test-asterisk test-browser lint bench bench-push bench-recordings bench-switches chaos setup lock machine
