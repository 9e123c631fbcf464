# make demo | test | lint | app: each sets up what it needs first, from nothing but Python 3.10 to 3.13.
# UV_TORCH_BACKEND=cpu make demo takes torch's CPU build (200 MB instead of 5 GB).
# Tests run in a process for each core, at most eight; TEST_PROCESSES=0 make test is one process.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
TEST_PROCESSES ?= auto

.PHONY: demo test lint app setup lock clean

demo: $(READY)
	$(BIN)/python scripts/demo.py $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --maxprocesses 8 --dist worksteal $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

app: $(READY)
	$(BIN)/python scripts/app.py $(ARGS)

setup: $(READY)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; (3, 10) <= sys.version_info < (3, 14) or sys.exit("Python 3.10 to 3.13 is needed, $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	command -v uv || test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	PATH="$$PATH:$(BIN)" uv pip install --python $(BIN)/python --compile-bytecode -r requirements.txt
	PATH="$$PATH:$(BIN)" uv pip install --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# The pins again, for all Pythons (ARGS=--upgrade: newer ones). Torch pins the CUDA packages that belong to it by itself.
lock: $(READY)
	PATH="$$PATH:$(BIN)" uv pip compile pyproject.toml --extra dev --universal --python-version 3.10 --annotation-style line \
		--custom-compile-command "make lock" --quiet --output-file requirements.txt $(ARGS)
	sed -E -i.bak '/^(cuda-|nvidia-|triton=)/d' requirements.txt && rm requirements.txt.bak

clean:
	rm -rf $(VENV)
