# `make demo` and `make test` install what they need into .venv by themselves.
PYTHON_BIN := .venv/bin/python
# a process of tests for each core
SEVERAL := -n logical --maxprocesses 8 --dist loadfile
SOURCES := repfusion_mm tools tests benchmarks configs setup.py
DOCUMENTS := README.md CONTRIBUTING.md docs benchmarks configs

.PHONY: help demo test test-all test-gpu lint format docs clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | \
		awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

demo: .venv/.installed-demo  ## Distil a diffusion model of digits, with a report
	$(PYTHON_BIN) -m benchmarks.studies.digits --out work_dirs/demo

test: .venv/.installed-tests  ## Run the tests
	$(PYTHON_BIN) -m pytest $(SEVERAL) -m "not slow and not gpu"

test-all: .venv/.installed-tests  ## Run the tests, the slow ones too
	$(PYTHON_BIN) -m pytest $(SEVERAL) -m "not gpu"

test-gpu: .venv/.installed-tests  ## Run the tests that need a GPU
	$(PYTHON_BIN) -m pytest -m gpu

lint: .venv/.installed-lint  ## Check style and types, the documents' code too
	$(PYTHON_BIN) -m ruff check $(SOURCES)
	.venv/bin/doccmd --language python --command \
		".venv/bin/ruff check --quiet --select E9,F --ignore F821" $(DOCUMENTS)
	$(PYTHON_BIN) -m mypy

format: .venv/.installed-lint  ## Mend what ruff can mend
	$(PYTHON_BIN) -m ruff check --fix $(SOURCES)

docs: .venv/.installed-docs  ## Build the site into site/
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet

clean:  ## Remove the environment and all results
	rm -rf .venv .venv-official site work_dirs .pytest_cache .ruff_cache *.egg-info

.venv/.installed-%: requirements/%.txt $(wildcard requirements/*.txt) setup.py pyproject.toml tools/install.sh
	bash tools/install.sh $*
