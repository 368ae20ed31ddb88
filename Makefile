# vaetune: `make search` to find a VAE, `make test` to check that all of it works.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: install search test check docs bench torture clean help

install: $(VENV)/installed ## make .venv and install vaetune with tested versions

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@

search: install ## search on the packaged digits, export the best model, write the report
	$(BIN)/vaetune search hyperband
	$(BIN)/vaetune best --export
	@echo "Open results/report.html in a browser."

check: $(VENV)/installed-dev ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check ## lint, types and the whole test suite, as CI runs it
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations=20

docs: $(VENV)/installed-dev ## build the documentation into build/docs/
	$(BIN)/python -m sphinx --quiet --fail-on-warning --fresh-env docs build/docs
	@echo "Open build/docs/index.html in a browser."

bench: $(VENV)/installed-dev ## measure vaetune beside Keras Tuner, Optuna and Ray Tune (four hours; it goes on)
	$(BIN)/python benchmarks/side_by_side.py --workload one-step
	$(BIN)/python benchmarks/side_by_side.py --workload digits
	$(BIN)/python benchmarks/side_by_side.py --workload workers
	$(BIN)/vaetune search hyperband --quiet --results build/bench
	$(BIN)/python benchmarks/goals.py --results build/bench
	$(BIN)/python benchmarks/two_workers.py
	$(BIN)/python benchmarks/many_workers.py
	$(BIN)/python benchmarks/simulate.py
	$(BIN)/python benchmarks/tables.py

torture: $(VENV)/installed-dev ## the long forms of tests; kill searches and workers at least 95 times, compare
	$(BIN)/python -m pytest -n 2 -m long
	$(BIN)/python tests/stress/torture.py

clean: ## remove .venv, caches and builds; results stay
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
