# handgen: `make help` lists the targets. Everything needs nothing but make and Python 3.11 (3.12 and 3.13 without the arm).
SHELL := bash
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
RUN := $(VENV)/bin/python -m handgen
STAMP := $(VENV)/.handgen-setup

EXP ?=
SEED ?=
CKPT ?=
PRESET ?=
ARGS ?=
WHAT ?=
INPUT ?=
FEED ?=
COUNT ?=
AGENTS ?=
RUNS ?=
MEMBERS ?=
ROUNDS ?=

# PRESET=paper trains experiments/paper/EXP.yaml, which is laid over experiments/EXP.yaml.
NAME = $(if $(PRESET),$(PRESET)/)$(EXP)
OPTIONS = $(if $(EXP),--config=$(NAME)) $(if $(SEED),--seed_everything=$(SEED)) $(if $(CKPT),--ckpt_path=$(CKPT)) $(ARGS)

.PHONY: help
help:  ## this list
	@echo "usage: make TARGET [EXP=name] [SEED=0] [CKPT=last] [PRESET=paper] [ARGS=\"--model.lr=3e-4\"]"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(STAMP)  ## make .venv and install handgen (done once, and again when pyproject.toml or constraints.txt change)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no python3 found: install Python 3.11"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	  || { echo "error: $(PYTHON) is not Python 3.11 to 3.13: give PYTHON=/path/to/python3.11"; exit 2; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q -c constraints.txt -e ".[dev]"
	@# wandb's schema of sweep files, for a test alone; its own dependencies would replace numpy 2 by numpy 1.
	@$(VENV)/bin/python -m pip install -q --no-deps "sweeps==0.3.0" || echo "note: without wandb's sweeps package one test is skipped"
	@touch $@

.PHONY: doctor
doctor: setup  ## what this machine can do: rendering backends, GPU, threads, disk, data
	@$(RUN) doctor

.PHONY: list
list: setup  ## the experiments, one line each
	@$(RUN) list

.PHONY: train
train: setup  ## train EXP and evaluate it (SEED= ARGS= PRESET=paper; CKPT=last continues)
	@$(RUN) fit $(OPTIONS)

.PHONY: eval
eval: setup  ## evaluate EXP's newest run, or CKPT=file
	@$(RUN) test $(OPTIONS)

.PHONY: frames
frames: setup  ## render EXP's images ahead, once (training does it too if need be)
	@$(RUN) frames $(OPTIONS)

.PHONY: sample
sample: setup  ## draw unselected samples from EXP's newest run, or CKPT=file (INPUT=image.png: repair that, vae_sac; =painting-000.json: paint that again)
	@$(RUN) sample $(OPTIONS) $(if $(INPUT),--input=$(INPUT))

.PHONY: video
video: setup  ## where the videos of EXP's newest run are; with FEED=film, folder or camera number: the arm follows that (arm_sac)
	@if [ -z "$(EXP)" ]; then $(RUN) fit; exit 2; fi; \
	if [ -n "$(FEED)" ]; then $(RUN) video $(OPTIONS) "--feed=$(FEED)"; exit $$?; fi; \
	newest=$$(ls -td runs/$(NAME)/*/videos 2>/dev/null | head -n 1); \
	if [ -n "$$newest" ]; then ls -d $$newest/*; \
	else echo "error: no video under runs/$(NAME): still-image experiments such as vae have none (see make sample)"; exit 2; fi

.PHONY: report
report: setup  ## rewrite the tables of README.md and docs/, the figures and docs/report.html from the records (RUNS="runs/a/b ..." adds runs first)
	@$(RUN) report $(RUNS)

.PHONY: leaderboard
leaderboard: setup  ## hands of every method that has been trained, judged by the same judges (ARGS="--count=1000")
	@$(RUN) leaderboard $(ARGS)

.PHONY: demo
demo: setup  ## one small result of each method in a few minutes, on one page of pictures (runs/demo.html)
	@$(RUN) demo $(ARGS)

.PHONY: bench
bench: setup  ## compare speeds with reference implementations (WHAT=name for one)
	@$(RUN) bench $(WHAT)

.PHONY: sweep
sweep: setup  ## try the settings of experiments/sweeps/EXP.yaml with wandb agents; without an account on this machine (COUNT= AGENTS=)
	@test -n "$(EXP)" || { echo "error: name a sweep with EXP=: $$(cd experiments/sweeps && ls | sed 's/\.yaml//' | xargs)"; exit 2; }
	@$(RUN) sweep $(EXP) $(if $(COUNT),--count=$(COUNT)) $(if $(AGENTS),--agents=$(AGENTS)) $(ARGS)

.PHONY: population
population: setup  ## population-based training of experiments/populations/EXP.yaml on Ray (MEMBERS= ROUNDS= ARGS="--epochs=2 --first=121")
	@test -n "$(EXP)" || { echo "error: name a population with EXP=: $$(cd experiments/populations && ls | sed 's/\.yaml//' | xargs)"; exit 2; }
	@$(VENV)/bin/python -c 'import ray' 2>/dev/null || $(VENV)/bin/python -m pip install -q -c constraints.txt -e ".[population]"
	@$(RUN) population $(EXP) $(if $(MEMBERS),--members=$(MEMBERS)) $(if $(ROUNDS),--rounds=$(ROUNDS)) $(ARGS)

.PHONY: test
test: setup  ## the tests (seconds each)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q -n 2 $(ARGS)

.PHONY: test-slow
test-slow: setup  ## the slow and integration tests
	@$(VENV)/bin/python -c 'import ray' 2>/dev/null || $(VENV)/bin/python -m pip install -q -c constraints.txt -e ".[population]"
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q -n 2 -m "slow or integration" $(ARGS)

.PHONY: lint
lint: setup  ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy --strict -p handgen

.PHONY: format
format: setup  ## lay the code out as `make lint` wants it
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

.PHONY: clean
clean:  ## remove what building and testing left (not .venv, not runs)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
