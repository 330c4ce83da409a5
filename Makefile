# Two commands do everything on a fresh machine: `make demo` runs the main job, `make test` passes the tests.
# Each sets up .venv by itself and is quick the second time.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test check clean

demo: $(VENV)/.core
	$(BIN)/python run_pipeline.py --cams configs/demo/cams.yaml --output out/demo --video
	$(BIN)/python -m pipeline evaluate --gt configs/demo/cams.yaml --pred out/demo/global_tracks.csv
	@echo "Look at out/demo: mosaic.mp4, report.html, global_tracks.csv, identities.csv, events.jsonl"

test: $(VENV)/.dev
	$(PYTEST)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST)

clean:
	rm -rf $(VENV) out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found; install it or call: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11; call: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Machines without a screen lack the libraries that opencv-python draws windows with; the headless build needs none.
CV2 := $(BIN)/python -c "import cv2" 2>/dev/null || $(PIP) --force-reinstall --no-deps opencv-python-headless

$(VENV)/.core: $(VENV)/bin/python pyproject.toml
	$(PIP) --editable .
	@$(CV2)
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(PIP) --editable ".[dev,train,ultralytics]"
	@$(CV2)
	@touch $@ $(VENV)/.core
