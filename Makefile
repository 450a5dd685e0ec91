# Everything runs in .venv, which the first target to need it makes. Only python (3.11 to 3.14) and
# make are expected on the machine.
PYTHON ?= python3
BIN    := .venv/bin
STAMP  := .venv/.installed
# The official scorer needs older packages than the project: an environment of its own.
REFEREE := .venv-referee/.installed
# fastai and MONAI, beside the packages of .venv, so that all contenders run on the same torch.
PEERS := .venv-peers/.installed
GOLDEN ?= tests/golden/official-scores.json
# Spread the tests over two cores, one worker more as some tests wait. No worker is idle while
# another has some left; a test that measures time or memory runs in its own process.
WORKERS ?= 3
# `make test MARKS="not slow and not gpu"`: these in the place of the usual ones.
MARKS ?=
# Many tests start a python: compiled once, also where this variable says not to keep what is.
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: demo test test-whole test-all coverage lint lock notebook bench bench-peers gpu referee compiler clean
.DELETE_ON_ERROR:

demo: $(STAMP)
	$(BIN)/python reproduce.py 1-3 seg-6 --profile demo --data-dir demo

test: $(STAMP)
	$(PYTEST) $(if $(MARKS),-m "$(MARKS)")

# Whole trainings, notebooks and commands as users run them, most in a process of its own.
test-whole: $(STAMP)
	$(PYTEST) -m "whole and not slow and not gpu" tests

test-all: $(STAMP)
	$(PYTEST) -m "not gpu"

# Statements and branches that both run, in the processes that it starts, too.
coverage: $(STAMP)
	COVERAGE_FILE=$(CURDIR)/.coverage $(PYTEST) -m "not slow and not gpu" --cov --cov-report=term:skip-covered

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify *.ipynb
	$(BIN)/mypy

# After a change of requirements*.txt. Versions that still fit stay; `rm requirements.lock` first
# to take the newest of what the project's own packages need.
lock: $(STAMP)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --no-header requirements-dev.txt -o requirements.lock

notebook: $(STAMP)
	$(BIN)/jupyter lab

# Keep the machine quiet meanwhile. The original-size images: ISIC2017_FULLRES=<their folder>.
bench: $(STAMP)
	$(BIN)/python -m bench

# Where there is an NVIDIA GPU: its tests, its speed, real training, in nine minutes.
gpu: $(STAMP)
	bash bench/gpu.sh

# Beside fastai, MONAI and others; options in ARGS="--parts labels --images 64".
bench-peers: $(PEERS)
	PYTHONPATH=.venv-peers $(BIN)/python -m bench.peers $(ARGS)

# Ask the official scorer about the fixed cases; the tests compare our scores with its answers.
referee: $(REFEREE)
	PYTHONPATH=tests/helpers $(BIN)/python -m referee.build .venv-referee $(GOLDEN)
	@echo "the official scorer's answers: $(GOLDEN)"

clean:
	rm -rf .venv .venv-referee .venv-peers build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Exactly the files whose hashes the lock has, for python 3.11 to 3.14 on any platform.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || { \
	  echo "python 3.11 to 3.14 is needed, '$(PYTHON)' is another; use: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m compileall -qq -j 0 .venv/lib || true # some packages have files for other pythons
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

$(REFEREE): tests/helpers/referee/requirements.txt | $(STAMP)
	@$(MAKE) --no-print-directory compiler
	$(BIN)/python -m venv .venv-referee
	.venv-referee/bin/python -m pip install --quiet -r $<
	touch $@

$(PEERS): bench/peers/requirements.txt $(STAMP)
	rm -rf .venv-peers
	$(BIN)/python -m pip install --quiet --no-deps --target .venv-peers -r $<
	touch $@

# One of the scorer's packages, zipfile-deflate64, comes as C source. Asked is what python asks.
compiler: | $(STAMP)
	@cc=$${CC:-$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("CC"))')}; \
	cc=$${cc%% *}; missing=; \
	header=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h; \
	command -v "$$cc" >/dev/null || missing="the C compiler $$cc"; \
	test -f "$$header" || missing="$${missing:+$$missing and }python's header $$header"; \
	test -z "$$missing" || { \
	  echo "the official scorer has to be compiled in part; not found: $$missing"; \
	  echo "Debian, Ubuntu: apt-get install gcc python3-dev; macOS: xcode-select --install;"; \
	  echo "another compiler: make CC=clang referee"; exit 1; }
