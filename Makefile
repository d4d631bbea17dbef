# quell: `make demo` runs the first experiments, `make test` runs the tests. Every target installs
# what it needs and is quick when there is nothing to do.

SHELL := /bin/bash
.DEFAULT_GOAL := build

# Downloads and compiler results live outside of the repository, so that later clones reuse them.
QUELL_CACHE ?= $(HOME)/.cache/quell
export QUELL_CACHE
export CCACHE_DIR ?= $(QUELL_CACHE)/ccache

BUILD ?= build
PRESET ?= release
JOBS ?= $(shell nproc)

.PHONY: build demo notebooks test slurm test-slurm benchmarks bench bench-smoke bench-pipeline sanitize fuzz format lint generate check-generated check-format clean setup

setup:
	@tools/setup.sh

$(BUILD)/build.ninja: CMakePresets.json | setup
	@cmake --preset $(PRESET) -B $(BUILD) > $(BUILD).log 2>&1 || (cat $(BUILD).log; false)
	@rm -f $(BUILD).log

build: setup $(BUILD)/build.ninja
	@cmake --build $(BUILD) -j $(JOBS)

# The program alone, without tests.
quell: setup $(BUILD)/build.ninja
	@cmake --build $(BUILD) -j $(JOBS) --target quell

demo: quell
	@$(BUILD)/quell run experiments/quickstart/w8a8.yaml experiments/quickstart/w6a6.yaml \
	  experiments/quickstart/w4a4.yaml experiments/quickstart/outliers.yaml --overwrite
	@tools/draw_outliers.sh runs/quickstart-outliers
	@echo
	@echo "Each run has a folder under runs/. For example:"
	@echo "  $(BUILD)/quell inspect runs/quickstart-w6a6/results.h5"
	@echo "  $(BUILD)/quell check experiments/quickstart/w6a6.yaml"
	@echo "  make notebooks"

# Figures into runs/notebooks, from a sweep and the like that take some minutes the first time.
notebooks: quell
	@tools/notebooks.sh $(BUILD)/quell runs

# LABELS=fast runs the tests that take less than a minute; without it all run.
test: build slurm
	@rm -rf $(BUILD)/test-results
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS) $(if $(LABELS),-L '$(LABELS)'); \
	  status=$$?; tools/test_summary.py $(BUILD)/test-results; exit $$status

# For the tests of `quell sweep --slurm`; `make test-slurm` runs them alone.
slurm:
	@tools/slurm/install.sh

test-slurm: build slurm
	@$(BUILD)/tests/slow_test --file=slurm_test

# Benchmarks are no part of `make build`.
benchmarks: setup $(BUILD)/build.ninja
	@cmake --build $(BUILD) -j $(JOBS) --target benchmarks

# The kernels, some minutes. BENCH=--all: all bits, hot and cold; others: --help of a program.
bench: benchmarks
	@mkdir -p $(BUILD)/benchmarks; status=0; \
	  for name in fake_quantize learned_quantize observer range_search; do \
	    echo; echo "== $$name"; \
	    $(BUILD)/tests/$${name}_benchmark --benchmark_out=$(BUILD)/benchmarks/$$name.json $(BENCH) \
	      || status=1; \
	  done; \
	  echo; echo "== quantized forward pass"; $(BUILD)/tests/forward_benchmark || status=1; \
	  echo; echo "== engines"; $(BUILD)/tests/engine_benchmark || status=1; \
	  echo; echo "== adaround"; $(BUILD)/tests/adaround_benchmark || status=1; \
	  echo; echo "== threshold search"; $(BUILD)/tests/threshold_search_benchmark || status=1; \
	  exit $$status

# Whether they run at all.
bench-smoke: benchmarks
	@for name in fake_quantize learned_quantize observer range_search; do \
	    $(BUILD)/tests/$${name}_benchmark --smoke || exit 1; done

# The published pipeline against ours, on models and data; an hour or more.
bench-pipeline: benchmarks
	@$(BUILD)/tests/published_pipeline_benchmark

# All with -Werror and the assertions of the standard library: the fast tests with AddressSanitizer
# and UndefinedBehaviorSanitizer, the concurrent ones with ThreadSanitizer.
sanitize: setup
	@tools/sanitize.sh $(JOBS)

# Each reader of foreign bytes for a minute; SECONDS_EACH=600 TARGET=pickle: longer, and one alone.
SECONDS_EACH ?= 60
fuzz: setup
	@tools/setup.sh clang-14 libclang-rt-14-dev
	@cmake --preset fuzz > /dev/null
	@cmake --build --preset fuzz -j $(JOBS)
	@fuzz/fuzz.sh build-fuzz $(SECONDS_EACH) $(TARGET)

format: setup
	@git ls-files '*.cpp' '*.h' '*.cu' | xargs clang-format -i

check-format: setup
	@git ls-files '*.cpp' '*.h' '*.cu' | xargs clang-format --dry-run --Werror

# Configures without precompiled headers, which clang cannot read.
lint: setup
	@cmake --preset $(PRESET) -B build-lint -DQUELL_PRECOMPILED=OFF -DQUELL_TESTS=OFF > /dev/null
	@git ls-files 'framework/*.cpp' 'observers/*.cpp' 'quantizers/*.cpp' 'transforms/*.cpp' \
	  'solvers/*.cpp' 'models/*.cpp' 'tasks/*.cpp' 'engines/*.cpp' | xargs -P $(JOBS) -n 4 clang-tidy -quiet -p build-lint

# Files that follow from the plug-ins' descriptions.
generate: quell
	@$(BUILD)/quell list --markdown > docs/plugins.md
	@$(BUILD)/quell schema > docs/experiment.schema.json
	@$(BUILD)/quell list --keys > docs/keys.md

check-generated: quell
	@diff -u docs/plugins.md <($(BUILD)/quell list --markdown) && \
	  diff -u docs/experiment.schema.json <($(BUILD)/quell schema) && \
	  diff -u docs/keys.md <($(BUILD)/quell list --keys) || \
	  (echo "Generated files are stale: run \`make generate\` and commit the result."; false)

clean:
	@rm -rf $(BUILD) build-* runs
