# Every target makes the set-up that it needs and is a line or two that a person could type.
# `make help` lists them.

PYTHON ?= python3
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

INSTALLED := .venv/.installed
SNAKEMAKE := .venv/bin/snakemake --profile cluster/profiles/local

# CUDA=1 or CUDA=0 on the command line chooses mmcv's operators, also for a .venv that is there.
# (CUDA in the environment means nothing: some clusters' modules set it to a folder.)
ifeq ($(origin CUDA),command line)
OPERATORS := $(if $(filter 0,$(CUDA)),cpu,cuda)
$(INSTALLED): always
endif

.PHONY: help setup demo mini test lint bench lock always

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(INSTALLED) ## make .venv, compile mmcv's operators (CUDA=1 or 0, PYTHON=python3.11)

$(INSTALLED): setup/install.sh setup/build_mmcv.py setup/requirements.txt setup/mmcv.txt pyproject.toml
	PYTHON=$(PYTHON) setup/install.sh $(OPERATORS)
	touch $@

demo: setup ## two rows of the results table on the mini set, with their baselines
	$(SNAKEMAKE) --config suite=mini -- demo

mini: setup ## all eight rows on the mini set
	$(SNAKEMAKE) --config suite=mini

test: lint ## lint, unit tests and the workflow's tests
	OMP_NUM_THREADS=1 .venv/bin/pytest -n auto tests/unit
	.venv/bin/pytest tests/workflow

lint: setup
	.venv/bin/ruff check .
	.venv/bin/snakefmt --check Snakefile workflow/rules
	.venv/bin/snakemake --lint

bench: setup ## time the loss
	.venv/bin/python benchmarks/loss.py

lock: setup ## resolve setup/requirements.in anew
	cd setup && ../.venv/bin/uv pip compile --quiet --universal --python-version 3.11 \
		--no-emit-index-url --custom-compile-command "make lock" \
		--upgrade requirements.in -o requirements.txt
