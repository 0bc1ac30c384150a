# usbench: install, demonstrate, check, measure. `make demo` and `make test` need Python 3.11 or later.

PYTHON ?= python3
BIN := .venv/bin
DATA ?= data
BUDGET ?= 25m
PRESET ?= paper

.PHONY: install demo test check slow toy clean \
	bench bench-build bench-verify bench-metrics bench-views bench-evaluate bench-propl bench-scan \
	bench-reuse results-gpu

install: .venv/installed

# constraints.txt holds the versions the suite was last tested with
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "usbench needs Python 3.11 or later; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[offline,dev]'
	touch $@

demo: install  ## synthetic archives -> data set -> two methods -> tables, figures and a page, in demo/
	rm -rf demo
	$(BIN)/python -m dataset_builders.phantom demo/raw
	$(BIN)/usbench build-data --raw demo/raw --out demo/data --allow-missing
	$(BIN)/usbench run --method unet --split 1_4 --preset mini --set steps=10 --data demo/data --results demo/results
	$(BIN)/usbench run --method propl --split 1_4 --preset mini --set steps=10 --data demo/data --results demo/results
	$(BIN)/usbench report --results demo/results --figures --html demo/report.html --data demo/data

check: install  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check  ## everything that is not marked slow
	$(BIN)/pytest --numprocesses logical --maxprocesses 4

slow: install  ## the rest: the full real build, where ../shared/real is
	$(BIN)/pytest -m slow

toy: install  ## the semi-supervised methods against labelled images alone, 8 of 264 labelled
	$(BIN)/python -m baselines.toy

bench-build: install  ## build time against merely decoding the same files
	$(BIN)/python -m benchmark.bench.build

bench-verify: install  ## verification of a data set against merely decoding it: make bench-verify DATA=data
	$(BIN)/python -m benchmark.bench.verify $(DATA)

bench-metrics: install  ## metrics against MONAI and MedPy, same masks, same run
	$(BIN)/python -m benchmark.bench.metrics

bench-views: install  ## views against albumentations, same images, same run
	$(BIN)/python -m benchmark.bench.views

bench-evaluate: install  ## evaluation against a loop image by image
	$(BIN)/python -m benchmark.bench.evaluate

bench-propl: install  ## ProPL's step against the released arithmetic
	$(BIN)/python -m propl.bench --batch 8
	$(BIN)/python -m propl.bench --preset mini --steps 10

bench-scan: install  ## the selective scan against loops
	$(BIN)/python -m baselines.networks.scan.bench

bench-reuse: install  ## 24 runs by workers of a sweep against a process each: make bench-reuse DATA=data
	$(BIN)/python -m benchmark.bench.reuse --method propl --task FH --runs 24 --threads 1 --data $(DATA)

results-gpu: install  ## what is to be run on a GPU, as far as BUDGET goes; again to go on
	$(BIN)/python results/gpu.py --data $(DATA) --budget $(BUDGET) --preset $(PRESET)

bench: bench-build bench-metrics bench-views bench-evaluate bench-propl bench-scan  ## all of them

clean:
	rm -rf .venv demo build *.egg-info
