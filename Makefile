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

# So do TORCH=cu13, GPU=v100 DRIVER=535 (of the nodes, on a login node) and VENV=/scratch/me/fgd.
WISHES := $(foreach name,TORCH GPU DRIVER VENV,$(if $(filter command,$(origin $(name))),$(name)))
WISHES := $(strip $(WISHES))
ifneq ($(WISHES),)
$(INSTALLED): always
endif

.PHONY: help setup demo mini study full test test-slurm test-torch test-full test-mmdet3 lint docs tutorial bench
.PHONY: reliability audit lock wheelhouse gpu-kit zoo-sweep always

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(INSTALLED) ## .venv, mmcv (CUDA= TORCH= GPU= DRIVER= PYTHON= VENV= WHEELS=)

LOCKS := setup/requirements.txt setup/requirements-cu13.txt

$(INSTALLED): setup/install.sh setup/build_mmcv.py $(LOCKS) setup/mmcv.txt pyproject.toml
	$(foreach name,TORCH GPU DRIVER VENV,$(name)='$(if $(filter $(name),$(WISHES)),$($(name)))') \
		PYTHON=$(PYTHON) WHEELS='$(WHEELS)' setup/install.sh $(OPERATORS)
	touch $@

demo: setup ## two rows of the table on the mini set, with baselines
	$(SNAKEMAKE) --config suite=mini -- demo

mini: setup ## all eight rows on the mini set
	$(SNAKEMAKE) --config suite=mini

study: setup ## seeds, ablations: docs/results-mini.md (4 h, two cores)
	$(SNAKEMAKE) --config suite=study
	.venv/bin/fgd study configs/suites/study.yaml --results results/study \
		--command "make study" --out docs/results-mini.md

full: setup ## rehearse all rows at full size (CPU): docs/full-size.md
	.venv/bin/fgd prove configs/suites/{coco,more,yolox}.yaml \
		--json results/full-size.json --markdown docs/full-size.md

test: lint ## lint, unit tests, small trainings, the workflow (ALL=1)
	OMP_NUM_THREADS=1 .venv/bin/pytest -n auto --dist worksteal tests/unit
	OMP_NUM_THREADS=1 .venv/bin/pytest -n auto --dist worksteal tests/training
	.venv/bin/pytest -n 2 $(if $(ALL),,-m 'not less') tests/workflow

test-slurm: setup ## tests on a real Slurm (root; DEBIAN=trixie, ALL=1)
	$(if $(DEBIAN),tests/slurm/in_debian.sh $(DEBIAN),.venv/bin/pytest) $(if $(ALL),,-m 'not less') tests/slurm

test-torch: ## unit and training tests with TORCH=2.14.1, in an environment of its own (TESTS=)
	PYTHON=$(PYTHON) TESTS='$(TESTS)' setup/test_torch.sh '$(if $(filter TORCH,$(WISHES)),$(TORCH))'

test-full: setup ## tests of all rows at full size and what they inherit
	.venv/bin/pytest tests/full

test-mmdet3: setup ## students in mmdet 3, its teachers here (environment .mmdet3)
	OMP_NUM_THREADS=1 .venv/bin/python -W ignore tests/mmdet3/prove.py results/mini

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check fgd cluster benchmarks setup tests docs
	.venv/bin/mypy
	.venv/bin/snakefmt --check Snakefile workflow/rules
	.venv/bin/snakemake --lint
	.venv/bin/mkdocs build --strict --site-dir .site

docs: setup ## write the reference, build the pages in .site, check links
	.venv/bin/python docs/make_reference.py
	.venv/bin/mkdocs build --strict --site-dir .site

tutorial: setup ## the tutorial's commands as written, at their real size
	FGD_TUTORIAL=full .venv/bin/pytest tests/workflow/test_tutorial.py

bench: setup ## time loss, step, ranks, evaluation (results/benchmarks/)
	.venv/bin/python benchmarks/run.py $(BENCH)

gpu-kit: setup ## pack benchmarks for a GPU machine without a network
	.venv/bin/python benchmarks/make_kit.py --out results/gpu-kit $(KIT)

wheelhouse: .tools/bin/pip ## all that setup installs, in a folder (PYTHON_VERSION=3.12)
	TORCH='$(if $(filter TORCH,$(WISHES)),$(TORCH))' \
		.tools/bin/python setup/make_wheelhouse.py --out '$(or $(WHEELS),wheelhouse)' \
		$(if $(PYTHON_VERSION),--python $(PYTHON_VERSION)) $(if $(TORCH_IS_THERE),--torch-is-there)

.tools/bin/pip: setup/requirements.txt
	$(PYTHON) -m venv .tools
	$@ install --quiet $$(grep -E '^(packaging|pip|setuptools|wheel)==' $<)
	touch $@

reliability: setup ## count kills, wrong input, faults: docs/reliability.md
	PYTHONPATH=tests .venv/bin/python -W ignore -m reliability $(COUNTS)

zoo-sweep: setup ## ask all of the zoo's models (hours; WHAT=show)
	OMP_NUM_THREADS=1 .venv/bin/python -W ignore tests/full/zoo_sweep.py $(WHAT)

audit: setup ## licences, known vulnerabilities (offline: DATABASE=clone)
	.venv/bin/python setup/audit.py $(DATABASE)

COMPILE := ../.venv/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--no-emit-index-url --custom-compile-command "make lock"

lock: setup ## resolve setup/requirements.in anew
	cd setup && $(COMPILE) --upgrade requirements.in -o requirements.txt
	cd setup && cp requirements.txt requirements-cu13.txt && \
		$(COMPILE) requirements.in --override requirements-cu13.in -o requirements-cu13.txt
