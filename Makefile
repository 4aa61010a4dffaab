# One set of commands for people and for CI. Whichever comes first makes .venv, once, from constraints.txt.
#   make demo    train the bundled English-French sample and translate with it (QUICK=1: a smoke test in seconds)
#   make test    every test
#   make check   format, lint, types, documentation
#   make bench   the benchmarks that need no other data
PYTHON ?= python3
BIN := .venv/bin
MADE := .venv/.made

.PHONY: demo test check bench format

demo: $(MADE)
	$(BIN)/dragoman demo $(if $(QUICK),--quick)

test: $(MADE)
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2

check: $(MADE)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python docs/check.py

bench: $(MADE)
	$(BIN)/python benchmarks/start_up.py

format: $(MADE)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python docs/check.py --write

# The stamp is made last: an interrupted installation is begun again.
$(MADE): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt -e ".[dev]"
	@touch $@
