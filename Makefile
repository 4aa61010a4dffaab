# One set of commands for people and for CI. Whichever comes first makes .venv, once, from constraints.txt.
#   make demo    train the bundled English-French sample and translate with it (QUICK=1: a smoke test in seconds)
#   make test    every test
#   make check   format, lint, types, documentation
#   make lowest  tests with the lowest versions that pyproject.toml allows
#   make bench   the benchmarks that need no other data
PYTHON ?= python3
BIN := .venv/bin
MADE := .venv/.made

.PHONY: demo test check lowest bench format

demo: $(MADE)
	$(BIN)/dragoman demo $(if $(QUICK),--quick)

test: $(MADE)
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2

check: $(MADE)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python docs/check.py

# PyTorch is the version of constraints.txt here too, as others are large. Old releases warn of each other.
lowest:
	$(PYTHON) -m venv .venv-lowest
	sed -n '/^dev = /q; /"torch/d; s/^  "\([a-z_-]*\)>=\([0-9.]*\)".*/\1==\2/p' pyproject.toml > .venv-lowest/constraints.txt
	grep '^torch==' constraints.txt >> .venv-lowest/constraints.txt
	.venv-lowest/bin/pip install -q -c .venv-lowest/constraints.txt -e ".[dev]"
	OMP_NUM_THREADS=1 .venv-lowest/bin/pytest -q -n 2 -o filterwarnings=default --disable-warnings $(TESTS)

bench: $(MADE)
	$(BIN)/python benchmarks/start_up.py

format: $(MADE)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python docs/check.py --write

# The stamp is made last: an interrupted installation is begun again. An old Python is refused first: in the .venv that it left, a newer
# one would have its pip, and the old one its python.
$(MADE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("dragoman needs Python 3.11 or later, but $(PYTHON) is %d.%d: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt -e ".[dev]"
	@touch $@
