# vaetune: `make search` finds a VAE, `make test` checks that everything works.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: install search test check docs bench torture clean help

install: $(VENV)/installed ## create .venv and install vaetune with the tested versions

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/pip
	$(PIP_INSTALL) --editable .
	@touch $@

# One call of pip installs both, because each call resolves all dependencies. Pip compiles on one
# core, `compileall` on all. It skips what no test imports: tests of packages, and two parts of Ray.
# It returns 1 if a package contains a file for another Python.
$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/pip
	$(PIP_INSTALL) --no-compile --editable '.[dev]'
	$(BIN)/python -m compileall -q -j 0 -x '/(tests?|rllib|serve)/' $(VENV)/lib vaetune >/dev/null || true
	@touch $(VENV)/installed $@

search: install ## search on the packaged digits, export the winner and write the report
	$(BIN)/vaetune search hyperband
	$(BIN)/vaetune best --export
	@echo "Open results/report.html in a browser."

check: $(VENV)/installed-dev ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Three processes keep two cores busy, because some tests wait for browsers and for Ray.
test: check ## check style and types and run all tests, as in CI
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=20

docs: $(VENV)/installed-dev ## build the documentation into build/docs/
	$(BIN)/python -m sphinx --quiet --fail-on-warning --fresh-env docs build/docs
	@echo "Open build/docs/index.html in a browser."

bench: $(VENV)/installed-dev ## compare with Keras Tuner, Optuna and Ray Tune (eight hours; can be continued)
	$(BIN)/python benchmarks/side_by_side.py --workload one-step
	$(BIN)/python benchmarks/side_by_side.py --workload digits
	$(BIN)/python benchmarks/side_by_side.py --workload workers
	$(BIN)/vaetune search hyperband --quiet --results build/bench
	$(BIN)/python benchmarks/goals.py --results build/bench
	$(BIN)/python benchmarks/two_workers.py
	$(BIN)/python benchmarks/many_workers.py
	$(BIN)/python benchmarks/simulate.py
	$(BIN)/python benchmarks/anomalies.py corrections
	$(BIN)/python benchmarks/anomalies.py digits
	$(BIN)/python benchmarks/anomalies.py threshold
	$(BIN)/python benchmarks/race.py --images benchmarks/data/letters.npz
	$(BIN)/python benchmarks/race.py --seeds 3
	$(BIN)/python benchmarks/tables.py

torture: $(VENV)/installed-dev ## run long tests that kill searches and workers at least 125 times
	$(BIN)/python -m pytest -n 2 -m long
	$(BIN)/python tests/stress/torture.py

clean: ## remove .venv, caches and builds, but no results
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
