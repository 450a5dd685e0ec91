# Everything runs in .venv, which the first target to need it makes. Only python >= 3.11 and make
# are expected on the machine.
PYTHON ?= python3
BIN    := .venv/bin
STAMP  := .venv/.installed
# Spread the tests over the cores; a test that measures time or memory runs in its own process.
WORKERS ?= 2

.PHONY: demo test test-all lint notebook clean
.DELETE_ON_ERROR:

demo: $(STAMP)
	$(BIN)/python reproduce.py 1-3 --profile demo --data-dir demo

test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS)

test-all: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) -m "slow or not slow"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify *.ipynb

notebook: $(STAMP)
	$(BIN)/jupyter lab

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "python >= 3.11 is needed, '$(PYTHON)' is older; use: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt -e .
	touch $@
