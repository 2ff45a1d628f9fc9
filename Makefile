# One command each. macOS ships GNU Make 3.81, so nothing newer is used here.

VENV := .venv
PY := $(VENV)/bin/python
PYTEST := $(PY) -m pytest

# What makes the pins, and is none of the course's.
UV := 0.13.9
# What asks for known vulnerabilities, likewise.
PIP_AUDIT := 2.10.1
# What builds and checks a release.
BUILD := 1.3.0
TWINE := 6.2.0

# Two workers: a torch notebook needs most of a gigabyte of memory.
WORKERS ?= 2
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout=180

LAB_OPTIONS := --ServerApp.root_dir="$(CURDIR)" \
	--ServerApp.contents_manager_class=rlhf_course.lab.Contents $(if $(IP),--ip=$(IP)) \
	$(if $(PORT),--port=$(PORT) --ServerApp.port_retries=0) \
	$(if $(filter 0,$(BROWSER)),--no-browser) \
	$(if $(filter 0,$(shell id -u)),--allow-root)
LAB_URL := /lab/tree/notebooks/00_start_here.ipynb

.PHONY: help lab setup lock audit release torture test test-unit test-browser test-full test-portable coverage docs site pdf \
	format lint notebooks bench evidence doctor

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "PYTHON=python3.12  which Python to use (3.11 to 3.13)"
	@echo "CPU=1              set up with PyTorch's build for the CPU (Linux without an NVIDIA GPU)"
	@echo "PORT=8899 IP=0.0.0.0 BROWSER=0  where 'make lab' listens, and whether it opens a browser"

lab: setup  ## open the course in JupyterLab
	$(PY) -m jupyter lab --LabApp.default_url=$(LAB_URL) $(LAB_OPTIONS)

setup:  ## create or update .venv (at once when nothing changed)
	@PYTHON="$(PYTHON)" CPU="$(CPU)" sh tools/setup.sh

lock: setup .lock-tool/uv-$(UV)  ## make requirements.txt from pyproject.toml: ARGS=--upgrade for newer
	@sh tools/lock.sh $(ARGS)

# In a folder of its own: nothing of the course needs it.
.lock-tool/uv-$(UV):
	@rm -rf .lock-tool
	$(PY) -m pip install --disable-pip-version-check --quiet --no-deps \
		--target .lock-tool uv==$(UV)
	@touch $@

audit: setup .audit-tool/pip-audit-$(PIP_AUDIT)  ## known vulnerabilities of the pins, where the network allows
	PYTHONPATH=.audit-tool $(PY) tools/audit.py

.audit-tool/pip-audit-$(PIP_AUDIT):
	@rm -rf .audit-tool
	$(PY) -m pip install --disable-pip-version-check --quiet \
		--target .audit-tool pip-audit==$(PIP_AUDIT)
	@touch $@

release: setup .release-tool/twine-$(TWINE)  ## sdist and wheel in dist, checked; publishes nothing
	PYTHONPATH=.release-tool $(PY) tools/release.py

.release-tool/twine-$(TWINE):
	@rm -rf .release-tool
	$(PY) -m pip install --disable-pip-version-check --quiet \
		--target .release-tool build==$(BUILD) twine==$(TWINE)
	@touch $@

torture: setup  ## kills, storms, full disks: what is lost, in figures (minutes): ARGS="--only journal"
	$(PY) tools/torture.py $(ARGS)

test: lint  ## everything a change has to pass
	@sh tools/beside.sh "$(MAKE) test-unit" "$(MAKE) test-browser"

# One thread each: on two cores, two processes with two OpenMP threads each wait for one another
# (measured: a training loop took more than five times as long). Whole files in the order of
# conftest.py, the longest first.
test-unit: setup  ## unit tests and notebooks, without the browser
	OMP_NUM_THREADS=1 $(PYTEST) -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder \
		-m "not browser" $(NBVAL) $(ARGS)

test-browser: setup  ## the panels in a real Chromium
	OMP_NUM_THREADS=1 $(PYTEST) -q -m browser tests/browser $(ARGS)

test-full: test-portable  ## 'make test' with the tests that take minutes
	$(MAKE) test ARGS="--full $(ARGS)"

test-portable: setup  ## the notebooks under other instruction sets: NB=..., ARGS="--paths 'ATen default'"
	$(PY) tools/portable.py --jobs $(WORKERS) $(NB) $(ARGS)

docs: setup  ## the API site from the docstrings, in build/api
	$(PY) tools/docs.py

site: setup  ## the whole course as pages to read without Python, in build/site
	$(PY) -m tools.site

pdf: site  ## the course on paper, build/course.pdf, printed by a Chromium
	$(PY) -m tools.site.pdf

coverage: setup  ## which lines the unit tests reach
	OMP_NUM_THREADS=1 $(PYTEST) -q -m "not browser" tests --cov=rlhf_lib --cov=rlhf_course \
		--cov-report=term-missing:skip-covered $(ARGS)

format: setup  ## lay the code out; notebooks' cells are left as they are
	$(PY) -m ruff format .

lint: setup  ## style of code and notebooks, and the library's types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check --quiet .
	$(PY) -m pyrefly check

notebooks: setup  ## execute and save notebooks: all of them, or NB=notebooks/10_bert.ipynb
	$(PY) tools/notebooks.py execute $(NB)

bench: setup .bench-peers/installed  ## measure costs and compare them with other libraries
	$(PY) -m benchmarks $(ARGS)

# A peer that cannot be had is reported by the benchmarks, and stops none of them.
.bench-peers/installed: benchmarks/peers.txt
	@rm -rf .bench-peers
	-$(PY) -m pip install --disable-pip-version-check --quiet --no-deps \
		--target .bench-peers -r benchmarks/peers.txt && touch $@

evidence: setup  ## run what the recorded studies lack: STUDY=nb12_sst2 DATA=folder JOBS=2
	$(PY) tools/evidence.py $(STUDY) $(if $(DATA),--data "$(DATA)") --jobs $(or $(JOBS),1) $(ARGS)

doctor: setup  ## check versions, widgets, model and data
	$(PY) -m rlhf_course.doctor --pins requirements.txt
