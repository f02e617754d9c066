# make demo     opens napari on the sample with the reconstruction on    make demo ARGS="--screenshot demo.png"
# make test     runs the tests                                           make test ARGS="-k volume -x"
# make walk     goes through the plugin in a real window, with pictures    make walk ARGS=folder
# make coverage runs them too, and tells which share of the code they run
# make lint     style, types and the rules of imports
# make docs     builds docs/_build/html
# make clean    removes the environment and everything built
#
# Each target makes .venv when it is missing and installs into it only what is missing.
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
ARGS ?=
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint requirements/test-constraints.txt
INPUTS := pyproject.toml requirements/test-constraints.txt
RUN := $(BIN)/python scripts/with_display.py $(BIN)/python -m

# three test processes, and all programs that they start, would else compile everything anew
test coverage: export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test walk coverage lint docs clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	@bash scripts/system_libraries.sh
	@$(RUN) napari_niiv demo $(ARGS)

test: $(VENV)/.installed-test
	@bash scripts/system_libraries.sh
	@$(RUN) pytest $(ARGS)

walk: $(VENV)/.installed
	@bash scripts/system_libraries.sh
	@$(BIN)/python scripts/with_display.py $(BIN)/python scripts/walk_through.py $(or $(ARGS),walk)

coverage: $(VENV)/.installed-coverage
	@bash scripts/system_libraries.sh
	@$(RUN) pytest --cov --cov-report=term $(ARGS)

lint: $(VENV)/.installed-lint
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf $(VENV) .tox build dist htmlcov .coverage* docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.created:
	@$(PYTHON) scripts/check_python.py
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "Python's venv module is missing; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PIP) install --quiet --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.installed: $(VENV)/.created $(INPUTS)
	@echo "installing napari-niiv with napari (the first time this takes some minutes)"
	@$(INSTALL) --editable ".[all]"
	@touch $@

# The tests need what the demo needs and some more, in one call of pip.
$(VENV)/.installed-test: $(VENV)/.created $(INPUTS)
	@echo "installing napari-niiv with napari and the test tools (the first time this takes some minutes)"
	@$(INSTALL) --editable ".[all]" --group test
	@touch $(VENV)/.installed $@

$(VENV)/.installed-coverage: $(VENV)/.installed-test
	@$(INSTALL) --group coverage
	@touch $@

$(VENV)/.installed-lint: $(VENV)/.installed
	@$(INSTALL) --group lint --group types --group imports
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	@$(INSTALL) --group docs
	@touch $@
