# Everything happens in .venv; CONSTRAINTS= (empty) takes the newest versions instead of the tested.
PYTHON ?= python3
CONSTRAINTS ?= -c constraints.txt
BIN := .venv/bin

.PHONY: demo test test-all check browser docs clean

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS) -e ".[tensorboard,test,lint]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS) --no-deps mirdata
	touch $@

demo: .venv/ready  ## train both models on the embedded data set and rank them
	$(BIN)/python -m zoo.train model=linear dataset=synth output_dir=runs/demo/linear resume=true
	$(BIN)/python -m zoo.train model=crnn dataset=synth output_dir=runs/demo/crnn resume=true
	$(BIN)/python -m leaderboard show runs/demo --out runs/demo

# two processes, because much of a test is waiting for the program that it runs
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --durations=10

test: .venv/ready
	$(TEST)

test-all: .venv/ready
	$(TEST) -m ""

browser:  ## Debian's Chromium, for the tests of the pages, which are skipped without
	@command -v chromium > /dev/null || { \
		apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium > /dev/null; }

docs: .venv/ready  ## the guide, as build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv runs build dist
