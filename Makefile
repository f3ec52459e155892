# `make compare` runs the main job, `make test` all checks; both make the virtual environment themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: compare test lint benchmarks figures docs release-check clean

compare: $(READY)
	$(BIN)/python -m tasks.compare

test: $(READY) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmarks: $(READY)
	for name in ops compiled memory peaks forms accuracy training language dense_prediction diffusion; do $(BIN)/python -m benchmarks.$$name || exit 1; done

# Every figure of docs/gallery.md, into assets/; the first time it trains small models, about a quarter of an hour in all.
figures: $(READY)
	$(BIN)/python -m visualizations.gallery

# The documentation as a site, in build/docs; -E reads every page anew, so that none is of an earlier state.
docs: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -E -c docs . build/docs
	@echo "open build/docs/index.html in a browser"

# The distributions, built and installed in fresh environments; not part of `make test`, since it downloads several torches.
release-check: $(READY)
	$(BIN)/python -m release $(RELEASE)

# Anew whenever what is installed, or what is compiled, changes.
$(READY): pyproject.toml requirements.txt setup.py golu/kernels/cpu.c golu/kernels/extension.c golu/kernels/gate.h golu/kernels/simd.h golu/kernels/output.h golu/kernels/gated.h golu/kernels/learned.h golu/kernels/forms.h
	@echo "installing torch and the other packages into $(VENV): a few minutes the first time"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -r requirements.txt
	touch $(READY)

clean:
	rm -rf $(VENV) build *.egg-info golu/kernels/_cpu.so
